"""The ablation, and what it and the demo take up."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from msk_jax.errors import UserError
from msk_jax.experiment import Ablation, load, load_ablation
from msk_jax.verbs import ablate, phantom


def test_ablation_trains_every_variant_and_takes_up_finished_ones(run, shards, tiny, tmp_path):
    # The whole network is trained already, by the same settings: only evaluated here.
    shutil.copytree(run, tmp_path / "out" / "whole" / "seed_0")
    ablation = Ablation(
        phantom=tiny.phantom,
        num_folds=tiny.split.folds,
        variants={"whole": {}, "without RFPN": {"stage.method.model.rfpn": False}},
    )
    table = ablate.run(tiny, ablation, tmp_path / "out", shards, seeds=1)
    assert list(table["variant"]) == ["whole", "without RFPN"]
    assert table[["slice", "joint", "patient"]].apply(lambda c: c.between(0, 1)).all(axis=None)
    changed = json.loads((tmp_path / "out" / "without_rfpn" / "seed_0/settings.json").read_text())
    assert changed["stage"]["model"]["rfpn"] is False
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "out" / "ablation.csv"), table)
    assert (tmp_path / "out" / "ablation.png").stat().st_size > 10_000
    # A finished run is read, not trained again: what stands in its file comes back.
    done = tmp_path / "out" / "whole" / "seed_0" / "areas.json"
    done.write_text(json.dumps({"slice": 0.25, "joint": 0.5, "patient": 0.75}))
    again = ablate.run(tiny, ablation, tmp_path / "out", shards, seeds=1, only=("whole",))
    assert again[["slice", "joint", "patient"]].values.tolist() == [[0.25, 0.5, 0.75]]


def test_summary_by_hand():
    table = pd.DataFrame(
        {
            "variant": ["a", "a", "b", "b"],
            "seed": [0, 1, 0, 1],
            "slice": [0.8, 0.9, 0.7, 0.7],
            "joint": [0.5, 0.5, 0.5, 0.7],
            "patient": [1.0, 1.0, 0.5, 0.5],
        }
    )
    a, b = ablate.summarise(table).to_dict("records")
    assert a["slice_mean"] == pytest.approx(0.85) and a["slice_difference"] == 0
    assert a["slice_sd"] == pytest.approx(0.0707107, abs=1e-6)  # 0.1 / sqrt(2)
    assert b["slice_difference"] == pytest.approx(-0.15)
    assert b["joint_mean"] == pytest.approx(0.6) and b["patient_difference"] == pytest.approx(-0.5)


@pytest.mark.parametrize(
    "name", ["knee_tumour", "osteoporosis", "thoracolumbar", "thoracolumbar_ao"]
)
def test_every_variant_of_an_ablation_is_another_system(name):
    """Regions, recipes and networks that can be made; and with weights two more variants."""
    experiment, ablation = load(name), load_ablation(name)
    weights = Path("weights.safetensors")
    variants = ablate.all_variants(experiment, ablation, weights)
    assert len(variants) == len(ablation.variants) + 2
    systems = {}
    for title, changes in variants.items():
        system = ablate.variant(experiment, ablation, changes)
        stage = system.stages[0]
        stage.method.check()
        assert stage.method.before == changes.get(
            "classify.before", experiment.at_small_size().stages[0].method.before
        )
        stage.method.model.build()
        systems[title] = (stage, system.cohort)
    assert len({repr(system) for system in systems.values()}) == len(variants)
    (without, _), (pretrained, _) = list(systems.values())[-2:]
    assert without.model == pretrained.model == experiment.stages[0].method.model
    assert (without.recipe.init_from, pretrained.recipe.init_from) == (None, weights)


def test_variants_of_another_region_want_their_own_shards(tiny, tmp_path, capsys):
    variants = {
        "coarse": {"cohort.pelvis.region.pixel_mm": 6.0},
        "fine": {"cohort.pelvis.region.pixel_mm": 1.0},
    }
    ablation = Ablation(tiny.phantom, tiny.split.folds, variants)
    with pytest.raises(UserError, match="No variant is left for these shards"):
        ablate.run(tiny, ablation, tmp_path, tmp_path / "shards", seeds=1)
    assert "Left out: coarse, fine." in capsys.readouterr().out


def test_ablation_of_the_paper_and_of_nothing(tiny, tmp_path):
    variants = load_ablation("sacroiliitis").variants
    assert {"stage.method.model.num_slices": 1} in variants.values()
    assert {"stage.method.model.volumetric": True} in variants.values()
    with pytest.raises(UserError, match="no ablation"):
        load_ablation("nowhere")
    ablation = Ablation(tiny.phantom, tiny.split.folds, {"whole": {}})
    with pytest.raises(UserError, match="No variant is called half; there are: whole"):
        ablate.run(tiny, ablation, tmp_path, None, seeds=1, only=("half",))
    with pytest.raises(UserError, match=r"no\.safetensors"):
        ablate.run(tiny, ablation, tmp_path, None, seeds=1, init_from=tmp_path / "no.safetensors")


def test_a_cohort_of_other_settings_is_not_taken_for_this_one(tiny, phantom_cohort):
    import dataclasses

    assert phantom.resume(tiny, phantom_cohort, tiny.phantom) == phantom_cohort / "manifest.csv"
    with pytest.raises(UserError, match="other settings"):
        phantom.resume(tiny, phantom_cohort, dataclasses.replace(tiny.phantom, severity=0.5))
