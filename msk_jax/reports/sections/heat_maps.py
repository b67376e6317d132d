"""Heat maps of what raised a probability."""

from msk_jax.evaluation.studies.kinds import kind_of_study
from msk_jax.reports import images
from msk_jax.reports.inputs import ReportInputs
from msk_jax.reports.sections.section import Section, classes_of, filled

_MOST = 24


def section(inputs: ReportInputs) -> Section | None:
    """The section; a sentence where there are no heat maps; None where nothing was classified."""
    if not len(inputs.predictions):
        return None
    one_of_several = kind_of_study(inputs.metrics).names_classes
    html = filled(
        "heat_maps",
        inputs,
        heat_maps=[
            {**entry, "src": images.data_uri(entry["png"], "image/png")}
            for entry in inputs.heat_maps[:_MOST]
        ],
        num_heat_maps=len(inputs.heat_maps),
        heat_maps_missing=inputs.heat_maps_missing,
        explained_class="the class that was called" if one_of_several else classes_of(inputs)[1],
    )
    return Section("Where the network looked", "heat-maps", html)
