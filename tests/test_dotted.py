"""Settings changed by dotted paths."""

import dataclasses

import pytest

from msk_jax.config import from_json, to_json
from msk_jax.data.feed.augment import Augmentation
from msk_jax.dotted import changed, paths
from msk_jax.errors import UserError
from msk_jax.experiment import Ablation, Experiment, load
from msk_jax.training.recipe import Phase, Recipe


@pytest.fixture
def spine():
    """An experiment with a phase before its recipe."""
    return load("thoracolumbar")


def test_what_is_named_changes_and_nothing_else(spine):
    other = changed(spine, {"stage.recipe.epochs": 3, "stage.recipe.augmentation.flip": 0.25})
    assert other.stage.recipe.epochs == 3 and other.stage.recipe.augmentation.flip == 0.25
    back = changed(
        other,
        {
            "stage.recipe.epochs": spine.stage.recipe.epochs,
            "stage.recipe.augmentation.flip": spine.stage.recipe.augmentation.flip,
        },
    )
    assert back == spine and other != spine


def test_one_of_several_things_goes_by_its_number(spine):
    other = changed(spine, {"stage.before.0.epochs": 4})
    assert [phase.epochs for phase in other.stage.before] == [4]
    assert other.stage.before[0].rates == spine.stage.before[0].rates


def test_what_holds_others_changes_before_them():
    """In whatever order they are written."""
    new = Augmentation(flip=0.5, noise=0.3)
    for changes in (
        {"augmentation.noise": 0.1, "augmentation": new},
        {"augmentation": new, "augmentation.noise": 0.1},
    ):
        recipe = changed(Recipe(), changes)
        assert (recipe.augmentation.flip, recipe.augmentation.noise) == (0.5, 0.1)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (
            "stage.recipe.epoch",
            "There is no setting 'stage.recipe.epoch'. Did you mean stage.recipe.epochs?",
        ),
        (
            "recipe.learning_rate",
            "Did you mean stage.recipe.learning_rate or stage.before.0.learning_rate?",
        ),
        ("stage.before.1.epochs", "There is no setting 'stage.before.1.epochs'"),
        ("stage.recipe.epochs.more", "There is no setting 'stage.recipe.epochs.more'"),
        ("", "There is no setting ''"),
    ],
)
def test_a_path_that_is_none_shows_the_nearest(spine, path, words):
    with pytest.raises(UserError) as raised:
        changed(spine, {path: 1})
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("stage.recipe.epochs", "many"),
        ("stage.recipe.epochs", 2.5),
        ("stage.recipe.optimiser", "adam"),
        ("stage.recipe.augmentation", Phase()),
        ("stage.recipe.rates", (("encoder/.*", "slow"),)),
    ],
)
def test_a_value_of_another_kind_is_refused(spine, path, value):
    with pytest.raises(UserError, match=f"The setting '{path}' cannot be"):
        changed(spine, {path: value})


def test_every_path_leads_somewhere(spine):
    known = list(paths(spine))
    assert {"stage.recipe.epochs", "stage.before.0.epochs", "cohort.region.plane"} <= set(known)
    assert len(known) == len(set(known)) > 100


def test_a_small_size_is_checked_when_the_file_is_loaded(tiny):
    with pytest.raises(UserError, match=r"no setting 'stage\.model\.widht'.*stage\.model\.width"):
        dataclasses.replace(tiny, small={"stage.model.widht": 8})
    small = dataclasses.replace(tiny, small={"stage.model.width": 8})
    assert small.small_stage.model.width == 8 and small.stage.model.width == 4
    assert small.at_small_size().small == {}


def test_a_small_size_goes_into_json_and_comes_back():
    experiment = load("sacroiliitis")
    back = from_json(to_json(experiment), Experiment, "a file")
    assert back.small == experiment.small and back.small_stage == experiment.small_stage


def test_a_variant_is_the_small_system_with_its_changes(tiny):
    from msk_jax.verbs.ablate import variant

    small = dataclasses.replace(tiny, small={"stage.model.width": 8, "stage.recipe.epochs": 5})
    ablation = Ablation(tiny.phantom, 3, {}, changes={"stage.recipe.epochs": 7})
    system = variant(small, ablation, {"stage.model.aspp": False})
    stage = system.stage
    assert (stage.model.width, stage.recipe.epochs, stage.model.aspp) == (8, 7, False)
