"""What the source leaves open, the value it has in this run, and why."""

from collections.abc import Mapping
from typing import Any

from msk_jax.reports.cohort import of_fields
from msk_jax.reports.formats import flat_settings, mapping, value
from msk_jax.reports.inputs import ReportInputs
from msk_jax.reports.sections.section import Section, experiment_of, filled


def section(inputs: ReportInputs) -> Section | None:
    """The section; None where the experiment gives no reasons."""
    choices = _choices(inputs.run, inputs.cohort, mapping(experiment_of(inputs).get("choices")))
    if not choices:
        return None
    html = filled("choices", inputs, choices=choices)
    return Section("What the source leaves open", "choices", html)


def _choices(
    run: Mapping[str, Any], cohort: Mapping[str, Any] | None, choices: Mapping[str, str]
) -> list[tuple[str, str, str]]:
    """Field, the value it had in this run (empty where the run does not say), and the reason."""
    parts = {name: run.get(name) for name in ("model", "recipe", "preprocess", "evaluation")}
    parts |= {
        "region": of_fields(cohort, "region"),
        "cohort": {
            "folds": mapping(cohort).get("num_folds"),
            "held_out": mapping(mapping(cohort).get("fingerprint")).get("held_out"),
        },
        "phases": {"before": run.get("before")},
        **{
            f"{stage}.{step}": settings
            for stage, steps in mapping(run.get("stages")).items()
            for step, settings in mapping(steps).items()
        },
    }
    values: dict[str, str] = {}
    for part, settings in parts.items():
        # A choice may speak of a group as a whole, as of all that augmentation does.
        groups = [(k, value(e)) for k, e in mapping(settings).items() if isinstance(e, Mapping)]
        for name, text in [*flat_settings(settings), *groups]:
            values[f"{part}.{name}"] = text
            values.setdefault(name, text)
    return [(field, values.get(field, ""), str(reason)) for field, reason in choices.items()]
