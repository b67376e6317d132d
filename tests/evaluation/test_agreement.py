import numpy as np
import pytest

from msk_jax.evaluation.agreement import cohen_kappa, fleiss_kappa, icc, kappa_band, mcnemar

TABLE = [[20, 2, 0], [1, 19, 3], [0, 0, 18]]
FIRST = np.repeat([0, 0, 0, 1, 1, 1, 2, 2, 2], np.ravel(TABLE))
SECOND = np.repeat([0, 1, 2] * 3, np.ravel(TABLE))

# P. E. Shrout and J. L. Fleiss, Psychol Bull 1979;86:420, table 2: six cases, four readers.
MEASURED = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
)


def test_mcnemar_anchor():
    right_a = np.repeat([True, False, True, False], [15, 5, 40, 8])
    right_b = np.repeat([False, True, True, False], [15, 5, 40, 8])
    result = mcnemar(right_a, right_b)
    assert (result.only_a, result.only_b) == (15, 5)
    assert result.p_exact == pytest.approx(0.0413895, abs=1e-7)
    assert result.chi2 == pytest.approx(4.05, abs=1e-12)
    assert result.p_chi2 == pytest.approx(0.0441713, abs=1e-7)


def test_mcnemar_beside_statsmodels(need):
    need("statsmodels")
    from statsmodels.stats.contingency_tables import mcnemar as reference

    rng = np.random.default_rng(0)
    a, b = rng.random(80) < 0.8, rng.random(80) < 0.6
    table = [[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]]
    ours = mcnemar(a, b)
    assert ours.p_exact == pytest.approx(reference(table, exact=True).pvalue, abs=1e-12)
    other = reference(table, exact=False, correction=True)
    assert (ours.chi2, ours.p_chi2) == pytest.approx((other.statistic, other.pvalue), abs=1e-12)


def test_mcnemar_without_discordant_cases():
    assert mcnemar([True, False], [True, False]).p_exact == 1.0
    assert mcnemar([True, False], [True, False]).chi2 is None
    with pytest.raises(ValueError, match="equal vectors"):
        mcnemar([True], [True, False])


@pytest.mark.parametrize(
    ("weights", "kappa"), [(None, 0.857143), ("linear", 0.891566), ("quadratic", 0.926829)]
)
def test_kappa_anchor_and_statsmodels(weights, kappa, need):
    ours = cohen_kappa(FIRST, SECOND, weights)
    assert ours.value == pytest.approx(kappa, abs=1e-6)
    need("statsmodels")
    from statsmodels.stats.inter_rater import cohens_kappa

    wt = {None: None, "linear": "linear", "quadratic": "quadratic"}[weights]
    theirs = cohens_kappa(np.array(TABLE), wt=wt)
    assert ours.value == pytest.approx(theirs.kappa, abs=1e-12)
    assert ours.low == pytest.approx(theirs.kappa_low, abs=1e-9)
    assert ours.high == pytest.approx(min(theirs.kappa_upp, 1.0), abs=1e-9)


def test_kappa_without_an_answer():
    assert cohen_kappa([1, 1], [1, 1]).value is None
    assert cohen_kappa([], []).value is None
    perfect = cohen_kappa([0, 1, 2], [0, 1, 2])
    assert perfect.value == 1.0 and perfect.low is None and perfect.why
    with pytest.raises(ValueError, match="whole numbers"):
        cohen_kappa([0.5], [1])


@pytest.mark.parametrize(
    ("kappa", "words"),
    [(-0.1, "poor"), (0.2, "slight"), (0.21, "fair"), (0.6, "moderate"), (0.81, "almost perfect")],
)
def test_bands(kappa, words):
    assert kappa_band(kappa) == words


def test_fleiss_published_example():
    # J. L. Fleiss' example as printed in many places: 14 raters, 10 cases, 5 classes, kappa 0.210.
    counts = np.array(
        [
            [0, 0, 0, 0, 14],
            [0, 2, 6, 4, 2],
            [0, 0, 3, 5, 6],
            [0, 3, 9, 2, 0],
            [2, 2, 8, 1, 1],
            [7, 7, 0, 0, 0],
            [3, 2, 6, 3, 0],
            [2, 5, 3, 2, 2],
            [6, 5, 2, 1, 0],
            [0, 2, 2, 3, 7],
        ]
    )
    ratings = np.array([np.repeat(np.arange(5), row) for row in counts])
    result = fleiss_kappa(ratings, samples=200)
    assert result.value == pytest.approx(0.210, abs=5e-4)
    assert result.low < result.value < result.high


def test_fleiss_beside_statsmodels_and_degenerate(need):
    assert fleiss_kappa(np.ones((5, 3), int)).value is None
    with pytest.raises(ValueError, match="readers >= 2"):
        fleiss_kappa([[0], [1]])
    need("statsmodels")
    from statsmodels.stats.inter_rater import aggregate_raters
    from statsmodels.stats.inter_rater import fleiss_kappa as reference

    ratings = np.random.default_rng(0).integers(0, 3, (40, 5))
    theirs = reference(aggregate_raters(ratings)[0])
    assert fleiss_kappa(ratings, samples=10).value == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("ICC1", 0.17),
        ("ICC2", 0.29),
        ("ICC3", 0.71),
        ("ICC1k", 0.44),
        ("ICC2k", 0.62),
        ("ICC3k", 0.91),
    ],
)
def test_icc_of_shrout_and_fleiss(kind, value):
    assert icc(MEASURED, kind).value == pytest.approx(value, abs=0.005)


def test_icc_intervals_as_psych_prints_them():
    # R psych::ICC, its documented example on the same data: lower and upper bounds.
    bounds = {"ICC1": (-0.133, 0.723), "ICC2": (0.019, 0.761), "ICC3": (0.342, 0.946)}
    for kind, (low, high) in bounds.items():
        result = icc(MEASURED, kind)
        assert (result.low, result.high) == pytest.approx((low, high), abs=5e-4)


def test_icc_of_equal_readers():
    assert icc([[1, 1], [2, 2], [3, 3]], "ICC2").value == 1.0
    # Mean squares: cases 2, readers 1.5. Of the mean of both readers 2 / (2 + 1.5 / 3).
    assert icc([[1, 2], [2, 3], [3, 4]], "ICC2k").value == pytest.approx(0.8)
    shifted = icc([[1, 2], [2, 3], [3, 4]], "ICC2")
    assert shifted.value == pytest.approx(2 / 3) and shifted.low is None
    assert icc([[1, 1], [1, 1]], "ICC3").value is None
    with pytest.raises(ValueError, match="two readers"):
        icc([[1], [2]])
