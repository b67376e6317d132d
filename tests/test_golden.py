"""The whole settings of every experiment stay what they are, unless a change is meant."""

import pytest

from msk_jax.experiment import names
from tests.golden import SETTINGS, SIZES, settings_text


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", names())
def test_settings_are_those_of_the_golden_file(name, size):
    """A changed default shows here; where it is meant: `python -m tests.golden settings`."""
    golden = (SETTINGS / f"{name}_{size}.txt").read_text(encoding="utf-8")
    assert settings_text(name, size).splitlines() == golden.splitlines()


def test_there_is_a_file_for_each_experiment_and_no_other():
    due = {f"{name}_{size}" for name in names() for size in SIZES}
    assert {file.stem for file in SETTINGS.iterdir()} == due
