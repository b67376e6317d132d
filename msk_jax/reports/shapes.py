"""Shapes that several parts of metrics.json have, for `msk_jax.files.fault`."""

from typing import Any

TEXT = (str, None)
"""Text, or nothing."""
_BOUNDS = ({"low": float, "high": float}, {"low": None, "high": None})


def figure(**answered: Any) -> tuple:
    """A figure with an interval, without one, or without an answer at all."""
    plain = {"why": TEXT, "clustered?": (*_BOUNDS, None)}
    given = {"value": float, **plain, **answered}
    return (*({**given, **bounds} for bounds in _BOUNDS), {"value": None, **_BOUNDS[1], **plain})


POINTS = {"false_positive_rate": [float], "sensitivity": [float]}
"""Points of an ROC curve."""
