"""Numbers and settings as a reader wants to see them."""

import json
from collections.abc import Mapping
from typing import Any

from msk_jax.evaluation.plots.plots import interval_of

UNKNOWN = "—"
"""What stands where nothing is known."""

_THIN = "\u202f"


def mapping(content: Any) -> dict[str, Any]:
    """The mapping, or an empty one for anything else."""
    return dict(content) if isinstance(content, Mapping) else {}


def plural(level: str) -> str:
    """The name of a level for several: `slice` stacks, vertebrae, patients."""
    return {"slice": "slice stacks", "vertebra": "vertebrae"}.get(level, f"{level}s")


def percent(share: float | None) -> str:
    """0.913 as `91.3 %`."""
    return UNKNOWN if share is None else f"{decimals(100 * share, 1)}{_THIN}%"


def decimals(number: float | None, digits: int = 3) -> str:
    """A number with a true minus sign."""
    return UNKNOWN if number is None else f"{number:.{digits}f}".replace("-", "−")


def p_value(p: float | None, digits: int = 3, unknown: str = UNKNOWN) -> str:
    """A p-value, `< 0.001` where rounding would make it nought."""
    if p is None:
        return unknown
    least = 10.0**-digits
    return f"< {least:.{digits}f}" if p < least else decimals(p, digits)


def opening(words: str) -> str:
    """The words with a capital first letter; `capitalize` would make `site B` `Site b`."""
    return words[:1].upper() + words[1:]


def interval(figures: Mapping[str, Any], scale: float = 100.0, digits: int = 1) -> str:
    """The interval that counts patients, where there is one, as `73.0 to 99.0`."""
    low, high = interval_of(figures)
    if low is None or high is None:
        return "no interval"
    return f"{decimals(scale * low, digits)} to {decimals(scale * high, digits)}"


def value(content: Any) -> str:
    """Any JSON value as short text."""
    if content is None:
        return UNKNOWN
    if isinstance(content, bool):
        return "yes" if content else "no"
    if isinstance(content, float):
        return f"{content:.4g}".replace("-", "−" if "e" not in f"{content:.4g}" else "-")
    if isinstance(content, Mapping):
        return ", ".join(
            f"{key} ({value(entry)})" if isinstance(entry, Mapping) else f"{key} {value(entry)}"
            for key, entry in content.items()
        )
    if isinstance(content, list | tuple):
        if any(isinstance(entry, Mapping) for entry in content):
            return json.dumps(content)
        return ", ".join(value(entry) for entry in content)
    return str(content)


def about(row: Mapping[str, Any]) -> str:
    """Site, sex and age of a row of predictions, as far as they are known."""
    known = [
        value(row[name])
        for name in ("site", "sex", "age")
        if row.get(name) not in (None, "") and row[name] == row[name]
    ]
    return ", ".join(known)


def flat_settings(entries: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as (dotted name, text)."""
    rows = []
    for key, entry in mapping(entries).items():
        if isinstance(entry, Mapping) and entry:
            rows += flat_settings(entry, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", value(entry)))
    return rows
