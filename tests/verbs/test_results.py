"""DICOM results beside predictions: what fails there costs no predictions."""

from types import SimpleNamespace

import pandas as pd
import pytest

from msk_jax.data.cohort import Cohort
from msk_jax.data.dicom import scan
from msk_jax.errors import UserError
from msk_jax.experiment import Experiment
from msk_jax.verbs import predict
from tests.data.ct_files import ramp, write_ct


class Refusing:
    """Takes the results of every series but one."""

    def __init__(self):
        self.taken = []

    def write(self, files, found, picture, shown, name):
        if not self.taken:
            self.taken.append(name)
            patient = f"KLINIK-{files[0].parent.name}"
            raise UserError(f"The server did not take {files[0].name} of {patient}.")
        self.taken.append(name)


def test_a_refusal_is_listed_and_the_predictions_stand(tmp_path, monkeypatch):
    for k in range(2):
        write_ct(tmp_path / "in" / str(k), ramp(), patient_id=f"KLINIK-{k}")
    cohort = Cohort(classes=("a", "b"))
    saved = SimpleNamespace(
        stage=SimpleNamespace(network=lambda axis: None, preprocess=None),
        experiment=Experiment("any", cohort, stage=None, modality="CT"),
        thresholds={"patient": 0.5},
        beside={},
    )  # fmt: skip
    table = pd.DataFrame({"level": ["patient"], "prob": [0.75], "label": [0], "fold": [0]})
    monkeypatch.setattr(predict, "parallel_predict", lambda *_: None)
    monkeypatch.setattr(predict, "_predict_series", lambda *_: (table, {}))
    monkeypatch.setattr(predict, "_read", lambda *_: (None, {"left": None}))
    monkeypatch.setattr(predict, "_findings", lambda *_: [])
    monkeypatch.setattr(predict, "_draw", lambda *_: "b")
    (tmp_path / "out").mkdir()
    results, secret = Refusing(), b"0123456789abcdef"
    jobs, rejected = predict._jobs(scan(tmp_path / "in"), None, cohort, secret)
    out = tmp_path / "out"
    tables, unwritten = predict._predict_all(saved, jobs, rejected, out, secret, results)
    predict._write(saved, out, tables, rejected + unwritten, None)
    with pytest.raises(UserError, match="results of 1 of these series"):
        predict._tell(out, len(tables), rejected, unwritten, 0)
    assert len(results.taken) == len(pd.read_csv(tmp_path / "out" / "predictions.csv")) == 2
    listed = pd.read_csv(tmp_path / "out" / "rejected.csv")
    assert listed["reason"].str.startswith("Predicted, but: The server did not take").all()
    assert "KLINIK" not in listed.to_string() and "000.dcm" not in listed.to_string()
