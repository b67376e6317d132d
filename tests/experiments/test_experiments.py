"""Every experiment: its networks fit its crops, its texts are there, its shapes are as stated."""

import ast
import dataclasses
import inspect
import itertools
import textwrap

import jax
import jax.numpy as jnp
import pytest

from msk_jax import experiment as catalogue
from msk_jax.methods.estimator import Estimator
from msk_jax.models import MS25DNetConfig
from msk_jax.tasks.settings import Classification

CLASSIFIERS = [
    name
    for name in catalogue.names()
    if (stage := catalogue.load(name).network_stage) and isinstance(stage.task, Classification)
]


def _stage(experiment, form):
    """The first stage, as published or at the size of a laptop."""
    return (experiment if form == "full" else experiment.at_small_size()).stages[0]


def _shapes(experiment, stage):
    size = experiment.cohort.region.size
    stored = jnp.zeros((2, size, size, stage.method.model.num_slices), jnp.int16)
    image = jax.eval_shape(stage.method.preprocess.window, stored)
    logits, endpoints = jax.eval_shape(
        lambda: stage.method.model.build().init_with_output(
            jax.random.key(0), jnp.zeros(image.shape)
        )[0]
    )
    return {"logits": logits.shape, **{name: e.shape for name, e in endpoints.items()}}


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("form", ["full", "small"])
def test_network_takes_the_crops_of_its_cohort(name, form):
    experiment = catalogue.load(name)
    stage = _stage(experiment, form)
    shapes = _shapes(experiment, stage)
    assert shapes["logits"] == (2, len(experiment.cohort.classes))
    assert set(stage.method.model.explained_endpoints) <= set(shapes)


def test_shape_trace_of_the_full_network():
    """128-pixel crops, ResNet-34 at stride 8: stride 4, 8, 8, 8; four levels of 256 channels."""
    experiment = catalogue.load("sacroiliitis")
    shapes = _shapes(experiment, experiment.stages[0])
    assert shapes["stage1"] == (2, 32, 32, 64)
    assert shapes["stage2"] == (2, 16, 16, 128)
    assert shapes["stage3"] == (2, 16, 16, 256)
    assert shapes["stage4"] == (2, 16, 16, 512)
    assert shapes["context"] == (2, 16, 16, 256)
    assert [shapes[f"pyramid{i}"] for i in range(4)] == [
        (2, 32, 32, 256),
        (2, 16, 16, 256),
        (2, 16, 16, 256),
        (2, 16, 16, 256),
    ]
    assert shapes["features"] == (2, 1024)


@pytest.mark.parametrize(
    "output_stride, rates, top",
    [(32, (1, 2, 3), 8), (16, (1, 2, 4, 6), 16)],
)
def test_shape_trace_of_whole_pelvis_crops(output_stride, rates, top):
    """256-pixel pictures and ResNet-50: 64, 32, 16 and `top` pixels; 256 to 2048 channels."""
    config = MS25DNetConfig(backbone="resnet50", output_stride=output_stride, aspp_rates=rates)
    logits, endpoints = jax.eval_shape(
        lambda: config.build().init_with_output(jax.random.key(0), jnp.zeros((1, 256, 256, 5)))[0]
    )
    sizes = {"stage1": (64, 256), "stage2": (32, 512), "stage3": (16, 1024), "stage4": (top, 2048)}
    sizes |= {"context": (top, 256), "pyramid0": (64, 256), "pyramid3": (top, 256)}
    for name, (side, channels) in sizes.items():
        assert endpoints[name].shape == (1, side, side, channels)
    assert endpoints["features"].shape == (1, 1024) and logits.shape == (1, 2)


@pytest.mark.parametrize(
    "variant, parameters",
    # Published counts of the 1000-class networks less their last layer (width x 1000 + 1000) and
    # with a one-channel-more stem: 64 x 7 x 7 for each channel beyond three.
    [
        ("resnet18", 11_689_512 - 513_000),
        ("resnet34", 21_797_672 - 513_000),
        ("resnet50", 25_557_032 - 2_049_000),
    ],
)
def test_encoder_has_the_published_number_of_parameters(variant, parameters):
    config = MS25DNetConfig(backbone=variant, output_stride=32, aspp=False, rfpn=False)
    shapes = jax.eval_shape(
        lambda: config.build().init(jax.random.key(0), jnp.zeros((1, 64, 64, config.num_slices)))
    )
    encoder = shapes["params"]["encoder"]
    count = sum(leaf.size for leaf in jax.tree.leaves(encoder))
    assert count == parameters + 2 * 64 * 7 * 7  # five slices instead of three colours


@pytest.mark.parametrize("name", catalogue.names())
def test_what_is_told_of_it(name):
    experiment = catalogue.load(name)
    assert experiment.name == name
    for text in (
        experiment.paper.title,
        experiment.paper.task,
        experiment.paper.input,
        experiment.paper.source,
    ):
        assert text and "\n" not in text
    parts = [part for part, _ in _settings(experiment, "full")]
    parts += [experiment.split, experiment.cohort, *experiment.cohort.fields]
    parts += [stage.method for stage in experiment.stages]
    fields = {field.name for part in parts for field in dataclasses.fields(part)}
    assert set(experiment.choices) <= fields, "a choice must name its field"
    assert all(0 < figure.value < 1 for figure in experiment.paper.published)


PUBLISHED = {
    "sacroiliitis": {"num_slices", "aspp", "rfpn"},
    "thoracolumbar": set(),
    "thoracolumbar_ao": set(),
    "osteoporosis": {"grid"},
    "knee_tumour": set(),
    "fixation_risk": {"by"},
    "empty_lacunae": {"network"},
}
"""Settings that the paper prints."""

NOT_OPEN = {
    "num_classes": "follows from the cohort's classes",
    "context_slices": "follows from the published five slices",
    "volumetric": "a switch of the ablation: the published stem takes slices as channels",
    "allow_degenerate": "a switch of the ablation: lets through what is refused",
    "seed": "of a run, no setting of the system",
    "checkpoint_every": "of a run; changes no number",
    "remat": "how a batch is fitted into memory; changes no number",
    "accumulate": "how a batch is fitted into memory",
    "poly_power": "counts only with the schedule `poly`",
    "step_epochs": "counts only with the schedule `step`",
    "step_factor": "counts only with the schedule `step`",
    "shuffle_labels": "a check, never a result",
    "leave": "columns of words and log-odds, which are not standardised",
    "unshrunk": "the log-odds of the network beside columns that `strength` shrinks",
    "columns": "the log-odds that are read",
    "num_slices": "three planes of colour",
    "unit": "the column of the manifest",
}
"""Settings that no paper would state, with the reason."""


def _settings(experiment, form):
    """The parts of a system and the fields of each."""
    system = experiment if form == "full" else experiment.at_small_size()
    parts = [system.judging.evaluation]
    if system.network_stage is not None:
        network = system.network_stage.method
        parts += [network.model, network.preprocess, network.recipe, system.cohort.region]
    steps = [
        step
        for stage in system.stages
        if isinstance(stage.method, Estimator)
        for step in stage.method.steps
    ]
    # Of a step the defaults are explained where they are declared.
    stated = [
        (step, [f for f in dataclasses.fields(step) if getattr(step, f.name) != f.default])
        for step in steps
    ]
    return [(part, dataclasses.fields(part)) for part in parts] + stated


def _explained_in_place(cls):
    """Fields whose docstring is marked [U]: it says why an unpublished value is what it is."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0].body
    return {
        field.target.id
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(text, ast.Expr)
        and "[U]" in str(ast.literal_eval(text.value))
    }


@pytest.mark.parametrize("name", catalogue.names())
def test_every_setting_is_published_or_its_choice_explained(name):
    experiment = catalogue.load(name)
    for form in ("full", "small"):
        for part, fields in _settings(experiment, form):
            known = PUBLISHED[name] | set(NOT_OPEN) | set(experiment.choices)
            known |= _explained_in_place(type(part))
            unexplained = {field.name for field in fields} - known
            assert not unexplained, f"{type(part).__name__}: {unexplained}"
    assert not PUBLISHED[name] & set(experiment.choices), "printed by the paper, and so no choice"
    assert all(len(reason.split()) >= 2 for reason in experiment.choices.values())


@pytest.mark.parametrize("name", catalogue.names())
def test_a_choice_speaks_of_the_small_system_where_that_differs(name):
    experiment = catalogue.load(name)
    pairs = zip(_settings(experiment, "full"), _settings(experiment, "small"), strict=True)
    for (full, fields), (small, _) in pairs:
        for field in fields:
            if getattr(full, field.name) != getattr(small, field.name):
                reason = experiment.choices[field.name]
                assert "small" in reason.lower(), field.name
