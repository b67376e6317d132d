"""The page of what will be trained on: complete, and safe from what headers contain."""

import numpy as np
import pandas as pd

from msk_jax.reports.inspection import draw_page

EVIL = '<script>alert("x")</script>'


def page(quality):
    rng = np.random.default_rng(0)
    records = [
        {
            "volume": rng.integers(-500, 900, (5, 16, 16)),
            "unit_id": f"P-{k}/left",
            "view": "",
            "label": k % 2,
        }
        for k in range(3)
    ]
    return draw_page(f"Cohort {EVIL}", records, quality, ("normal", EVIL), (400.0, 1500.0))


def test_everything_is_shown_and_nothing_runs():
    html = page(pd.DataFrame({"patient_id": ["P-1", EVIL], "noise": [12.5, 30.0]}))
    assert html.count("data:image/png;base64,") == 4  # two classes, values, quality
    assert "3 records, 3 of them shown, 2 scans." in html and "12.5" in html
    assert "<script" not in html and "&lt;script&gt;" in html


def test_without_scans():
    assert page(pd.DataFrame({"patient_id": []})).count("data:image/png") == 3
