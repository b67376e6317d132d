"""A study of one's own, as the guide has it: PNG files, a table, thirty lines."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from msk_jax.data.build.builder import build_cohort
from msk_jax.data.shards.build_folder import read_cohort
from msk_jax.data.shards.stored import read_records
from msk_jax.errors import UserError
from msk_jax.experiment import load
from msk_jax.verbs import cohort as cohort_verb
from tests.conftest import REPOSITORY


@pytest.fixture
def hands(tmp_path):
    """The experiment of the guide in a file, and eight patients, one of whose pictures is text."""
    text = (REPOSITORY / "docs" / "guides" / "your-own-study.md").read_text()
    (tmp_path / "hands.py").write_text(text.partition("```python\n")[2].partition("```")[0])
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for number in range(8):
        # Wide, and brighter to the left of the picture.
        picture = np.linspace(200, 40, 90)[None] + rng.normal(0, 3, (60, 90))
        path = tmp_path / "images" / f"H{number}.png"
        Image.fromarray(picture.astype(np.uint8)).save(path)
        label = ("normal", "arthritis")[number % 2]
        rows.append({"patient_id": f"H{number}", "path": path.name, "label": label, "age": 50})
    path.write_text("no picture")
    pd.DataFrame(rows).to_csv(tmp_path / "labels.csv", index=False)
    return tmp_path


def test_pictures_become_shards(hands):
    experiment = load(str(hands / "hands.py"))
    build_cohort(
        experiment.cohort, hands / "images", hands / "labels.csv", hands / "shards", num_folds=3
    )
    records = list(read_records(hands / "shards"))
    assert sorted(record["label"] for record in records) == [0] * 4 + [1] * 3
    for record in records:
        # 90 x 60 pixels fill the width of 128; above and below is padding.
        rows = record["volume"][0]
        assert rows.shape == (128, 128) and record["age"] == 50
        assert (np.diff(rows[64, 4:124:20].astype(int)) < -300).all()
        assert np.ptp(rows[:16]) == 0 and np.ptp(rows[-16:]) == 0
    (rejected,) = pd.read_csv(hands / "shards" / "rejected.csv").to_dict("records")
    assert "cannot be read as PNG, JPEG or TIFF" in rejected["reason"]
    assert "H7" not in str(rejected)
    # A PNG without a resolution: nobody knows how large its pixels are.
    facts = read_cohort(hands / "shards")
    assert facts["pixel_mm"] == facts["quality"]["coverage_mm"] == "unknown"
    cohort_verb.inspect(hands / "shards", hands / "page.html")
    assert "7 scans (quality: " in (hands / "page.html").read_text()


def test_network_takes_these_pictures(hands):
    stage = load(str(hands / "hands.py")).stages[0]
    image = stage.method.preprocess.window(jnp.zeros((2, 128, 128, 1), jnp.int16))
    (logits, _), _ = jax.eval_shape(
        stage.method.model.build().init_with_output, jax.random.key(0), image
    )
    assert logits.shape == (2, 2)


def test_there_is_nothing_synthetic(hands):
    with pytest.raises(UserError, match=r"hands has no phantom patients.*msk-jax build"):
        load(str(hands / "hands.py")).synthetic()
