"""DICOM results beside predictions: what fails there costs no predictions."""

from concurrent.futures import Future
from types import SimpleNamespace

import pandas as pd
import pytest

from msk_jax.data.privacy.pseudonyms import pseudonym
from msk_jax.data.sources.scan import scan
from msk_jax.errors import UserError
from msk_jax.experiment import Judging
from msk_jax.study.new_patients import Answer, Case, jobs_of
from msk_jax.verbs import predict
from tests.cohorts import cohort_of
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
    cohort = cohort_of(classes=("a", "b"))
    saved = SimpleNamespace(
        experiment=SimpleNamespace(cohort=cohort, judging=Judging()),
        thresholds={"patient": 0.5},
        estimators={},
    )
    table = pd.DataFrame({"level": ["patient"], "prob": [0.75], "label": [0], "fold": [0]})
    (tmp_path / "out").mkdir()
    out, secret = tmp_path / "out", b"0123456789abcdef"
    jobs, rejected = jobs_of(scan(tmp_path / "in"), None, cohort, secret)

    def read(jobs, saved, secret):
        return (Case(job, pseudonym(job.uid, secret), None, {"left": None}) for job in jobs)

    drawn = Future()
    drawn.set_result("b")
    monkeypatch.setattr(predict, "read_cases", read)
    monkeypatch.setattr(
        predict, "predict_cases", lambda saved, cases: [[Answer(case, table, ()) for case in cases]]
    )
    monkeypatch.setattr(predict, "findings", lambda *_: [])
    monkeypatch.setattr(predict, "drawings_of", lambda saved, answers, out: answers)
    monkeypatch.setattr(predict, "draw_beside", lambda drawings, pool: [drawn for _ in drawings])
    results = Refusing()
    run = predict._Run(saved, out, secret, results, pictures=True)
    tables = run.predict(jobs)
    predict._write(saved, out, tables, rejected + run.unwritten, None)
    with pytest.raises(UserError, match="results of 1 of these series"):
        predict._tell(out, len(tables), rejected, run.unwritten, 0, pictures=True)
    assert len(results.taken) == len(pd.read_csv(tmp_path / "out" / "predictions.csv")) == 2
    listed = pd.read_csv(tmp_path / "out" / "rejected.csv")
    assert listed["reason"].str.startswith("Predicted, but: The server did not take").all()
    assert "KLINIK" not in listed.to_string() and "000.dcm" not in listed.to_string()
