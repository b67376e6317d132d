"""Numbers and words as columns, by hand."""

import numpy as np
import pandas as pd
import pytest

from msk_jax.errors import UserError
from msk_jax.methods.design import design, design_columns
from tests.methods.tables import ORDERED, WORDS


def _rows():
    return pd.DataFrame(
        {"age": [50, None, 61.5], "bone": ["tibia", "", "femur"], "garden": ["IV", "I", None]},
        index=["a", "b", "c"],
    )


def test_words_become_indicators_and_ordered_ones_places():
    columns = design(_rows(), WORDS, ORDERED)
    nan = np.nan
    expected = {
        "age": [50, nan, 61.5],
        "bone=tibia": [1, nan, 0],
        "bone=fibula": [0, nan, 0],
        "garden": [3, 0, nan],
    }
    pd.testing.assert_frame_equal(columns, pd.DataFrame(expected, index=["a", "b", "c"]))


def test_all_words_may_have_indicators_and_empty_may_be_a_word():
    words = WORDS | {"bone": ("", "femur", "tibia")}
    columns = design(_rows()[["bone"]], words, ORDERED, "all")
    assert list(columns) == ["bone=", "bone=femur", "bone=tibia"]
    np.testing.assert_array_equal(columns, [[0, 0, 1], [1, 0, 0], [0, 1, 0]])
    assert {c.variable for c in design_columns(("bone",), words, ORDERED, "all")} == {"bone"}


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        ({"bone": ["patella", "", "femur"]}, "column bone has the word 'patella' in 1 of 3"),
        ({"age": [1, "old", 2]}, "column age has 'old' in 1 of 3 rows"),
        ({"age": [1, np.inf, 2]}, "column age has 'inf'"),
        ({"bone=tibia": [1, 2, 3]}, "two columns by the name of bone=tibia"),
    ],
)
def test_cells_that_cannot_be_read(cells, sentence):
    with pytest.raises(UserError, match=sentence):
        design(_rows().assign(**cells), WORDS, ORDERED)


def test_a_column_without_allowed_words():
    with pytest.raises(UserError, match="bone allows no words"):
        design(_rows(), WORDS | {"bone": ()}, ORDERED)
