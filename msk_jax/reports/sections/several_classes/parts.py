"""What the sections of several classes go through: each level in each set of patients."""

from collections.abc import Mapping
from typing import Any

from msk_jax.reports.inputs import ReportInputs
from msk_jax.reports.sections.section import levels_with


def parts_with(inputs: ReportInputs, figure: str) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Level, on whom, and the figures, where this one is among them: out of fold, then each test
    set that has cases."""
    parts = []
    for name, level in levels_with(inputs, figure).items():
        parts.append((name, "out of fold", level))
        parts += [
            (name, where, part)
            for where, part in level.get("test_sets", {}).items()
            if part["n"] and figure in part
        ]
    return parts
