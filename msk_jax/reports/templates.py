"""Templates of the page and of its sections, filled."""

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from msk_jax.reports.formats import decimals, interval, opening, p_value, percent, plural, value


def fill(template: str, **context: Any) -> str:
    """A template as text; what it asks for must be in the context.

    Args:
        template: its file below this folder, as `sections/cohort.html.j2`.
        context: by name.
    """
    return _environment().get_template(template).render(**context)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("msk_jax.reports", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    formats = (percent, interval, value, decimals, plural, p_value, opening)
    environment.filters.update({function.__name__: function for function in formats})
    return environment
