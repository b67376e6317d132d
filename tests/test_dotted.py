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
    other = changed(spine, {"classify.recipe.epochs": 3, "classify.recipe.augmentation.flip": 0.25})
    assert (
        other.stage("classify").method.recipe.epochs == 3
        and other.stage("classify").method.recipe.augmentation.flip == 0.25
    )
    back = changed(
        other,
        {
            "classify.recipe.epochs": spine.stages[0].method.recipe.epochs,
            "classify.recipe.augmentation.flip": spine.stages[0].method.recipe.augmentation.flip,
        },
    )
    assert back == spine and other != spine


def test_one_of_several_things_goes_by_its_number(spine):
    other = changed(spine, {"classify.before.0.epochs": 4})
    assert [phase.epochs for phase in other.stage("classify").method.before] == [4]
    assert other.stage("classify").method.before[0].rates == spine.stages[0].method.before[0].rates


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
            "classify.recipe.epoch",
            "There is no setting 'classify.recipe.epoch'. Did you mean classify.recipe.epochs?",
        ),
        (
            "recipe.learning_rate",
            "Did you mean classify.recipe.learning_rate or classify.before.0.learning_rate?",
        ),
        ("classify.before.1.epochs", "There is no setting 'classify.before.1.epochs'"),
        (
            "classify.recipe.epochs.more",
            "There is no setting 'classify.recipe.epochs.more'",
        ),
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
        ("classify.recipe.epochs", "many"),
        ("classify.recipe.epochs", 2.5),
        ("classify.recipe.optimiser", "adam"),
        ("classify.recipe.augmentation", Phase()),
        ("classify.recipe.rates", (("encoder/.*", "slow"),)),
    ],
)
def test_a_value_of_another_kind_is_refused(spine, path, value):
    with pytest.raises(UserError, match=f"The setting '{path}' cannot be"):
        changed(spine, {path: value})


def test_every_path_leads_somewhere(spine):
    known = list(paths(spine))
    assert {
        "classify.recipe.epochs",
        "classify.before.0.epochs",
        "cohort.spine.region.plane",
    } <= set(known)
    assert len(known) == len(set(known)) > 100


def test_a_small_size_is_checked_when_the_file_is_loaded(tiny):
    with pytest.raises(
        UserError, match=r"no setting 'classify\.model\.widht'.*classify\.model\.width"
    ):
        dataclasses.replace(tiny, small={"classify.model.widht": 8})
    small = dataclasses.replace(tiny, small={"classify.model.width": 8})
    assert (
        small.at_small_size().stages[0].method.model.width == 8
        and small.stage("classify").method.model.width == 4
    )
    assert small.at_small_size().small == {}


def test_a_small_size_goes_into_json_and_comes_back():
    experiment = load("sacroiliitis")
    back = from_json(to_json(experiment), Experiment, "a file")
    assert back.small == experiment.small and back.at_small_size() == experiment.at_small_size()


def test_a_variant_is_the_small_system_with_its_changes(tiny):
    from msk_jax.verbs.ablate import variant

    small = dataclasses.replace(
        tiny, small={"classify.model.width": 8, "classify.recipe.epochs": 5}
    )
    ablation = Ablation(tiny.phantom, 3, {}, changes={"classify.recipe.epochs": 7})
    system = variant(small, ablation, {"classify.model.aspp": False})
    network = system.stages[0].method
    assert (network.model.width, network.recipe.epochs, network.model.aspp) == (8, 7, False)
