"""Numbers as a reader wants to see them."""

import pytest

from msk_jax.reports.formats import opening, p_value


@pytest.mark.parametrize(
    ("p", "digits", "shown"),
    [
        (1.05e-8, 3, "< 0.001"),
        (0.00099, 3, "< 0.001"),
        (0.00099, 4, "0.0010"),
        (0.001, 3, "0.001"),
        (0.0449, 3, "0.045"),
        (0.0, 4, "< 0.0001"),
        (None, 3, "—"),
    ],
)
def test_no_p_value_is_shown_as_nought(p, digits, shown):
    assert p_value(p, digits) == shown


def test_a_name_keeps_its_own_capitals():
    assert opening("site B (external)") == "Site B (external)"
    assert opening("") == ""
