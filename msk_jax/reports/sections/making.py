"""How a run was made: commands, versions, and all settings."""

from msk_jax.reports.formats import flat_settings, mapping
from msk_jax.reports.inputs import ReportInputs
from msk_jax.reports.sections.section import Section, filled

_SETTINGS = (
    ("model", "Model"),
    ("before", "Phases before the recipe"),
    ("recipe", "Recipe"),
    ("preprocess", "Preprocessing"),
    ("evaluation", "Evaluation"),
)


def section(inputs: ReportInputs) -> Section:
    """The section."""
    run = inputs.run
    details = [(title, flat_settings(run[key])) for key, title in _SETTINGS if run.get(key)]
    details += [
        (f"Stage {name}", flat_settings(steps))
        for name, steps in mapping(run.get("stages")).items()
    ]
    html = filled("making", inputs, run=run, details=details)
    return Section("How this was made", "making", html)
