from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import f, ncf

from msk_jax.evaluation.mrmc.analysis import (
    Components,
    _components,
    _global_test,
    _ms_interaction,
    _ms_modality,
    difference_test,
    obuchowski_rockette,
)
from msk_jax.evaluation.mrmc.covariance import accuracies, covariance
from msk_jax.evaluation.mrmc.ratings import Ratings
from msk_jax.evaluation.mrmc.settings import MrmcSettings
from msk_jax.evaluation.mrmc.simulation import RoeMetz
from msk_jax.evaluation.mrmc.sizing import cases_needed, power
from msk_jax.evaluation.mrmc.study import analyse, design, to_plain

# Van Dyke's study (5 readers, 2 modalities, 114 cases) as the MRMCaov user guide (version 0.3.0,
# B. J. Smith and S. L. Hillis) prints it: areas of the readers, components, tests.
AREAS = np.array(
    [
        [0.9196457, 0.8587762, 0.9038647, 0.9731079, 0.8297907],
        [0.9478261, 0.9053140, 0.9217391, 0.9993559, 0.9299517],
    ]
)
DELONG = Components(
    0.0015364254, 0.0002045840, 0.0007921325, 0.0003420090, 0.0003395265, 0.0002358497
)
JACKKNIFE = Components(
    0.0015349993, 0.0002004025, 0.0008022883, 0.0003466137, 0.0003440748, 0.0002390284
)


@pytest.fixture(scope="module")
def study():
    """Three readers, two modalities, 40 cases, with ties."""
    truth, ratings = RoeMetz(effect=0.4).draw(3, 18, 22, seed=1)
    return truth.astype(bool), np.round(ratings, 1)


@pytest.mark.parametrize(
    ("components", "random", "statistic", "df2", "p", "error"),
    [
        (DELONG, "readers and cases", 4.484854, 15.06611, 0.05123303, 0.0206825),
        (JACKKNIFE, "cases", 5.475953, None, 0.01927984, 0.01871748),
        (JACKKNIFE, "readers", 8.704, 4.0, 0.04195875, 0.01484629),
    ],
)
def test_published_tests_from_published_areas(components, random, statistic, df2, p, error):
    result = _global_test(AREAS, components, random)
    # The areas are printed with seven digits.
    assert result[0] == pytest.approx(statistic, rel=2e-5)
    assert result[2] is df2 if df2 is None else result[2] == pytest.approx(df2, rel=2e-5)
    assert result[3] == pytest.approx(p, rel=5e-5)
    assert result[4] == pytest.approx(error, rel=2e-5)


def _with_mean_squares(ms_modality, ms_interaction):
    """Accuracies [2, 5] of these mean squares, the first modality below the second."""
    half = np.sqrt(ms_modality / 5 / 2)
    turned = np.array([1.0, -1.0, 2.0, -2.0, 0.0])
    turned *= np.sqrt(ms_interaction * 4 / 2 / np.sum(turned**2))
    return 0.8 + np.stack([turned - half, half - turned])


def test_published_mean_squares():
    assert _ms_modality(AREAS) == pytest.approx(0.004796171, rel=2e-6)
    assert _ms_interaction(AREAS) == pytest.approx(0.0005510306, rel=2e-6)


@pytest.mark.parametrize(
    ("ms_modality", "ms_interaction", "statistic", "df2", "p", "difference"),
    [
        # Unbiased covariance of the areas; sensitivity with the jackknife. Printed are F, df2, p
        # and the difference; the denominator is MS(T) / F, of which df2 gives MS(TR).
        (0.004796171, 0.0005510306, 4.489614, 15.03418, 0.0511618, -0.04380032),
        (2.5 * 0.09777778**2, None, 6.689493, 15.71732, 0.02008822, -0.09777778),
    ],
)
def test_other_published_tests(ms_modality, ms_interaction, statistic, df2, p, difference):
    denominator = ms_modality / statistic
    if ms_interaction is None:
        ms_interaction = denominator / np.sqrt(df2 / 4)
    between = (denominator - ms_interaction) / 5
    accuracy = _with_mean_squares(ms_modality, ms_interaction)
    components = Components(0.0, 0.0, 0.001, 0.0, between, 0.0)
    result = _global_test(accuracy, components, "readers and cases")
    assert result[0] == pytest.approx(statistic, rel=1e-6)
    assert result[2] == pytest.approx(df2, rel=1e-5)
    assert result[3] == pytest.approx(p, rel=1e-5)
    apart = accuracy[0].mean() - accuracy[1].mean()
    assert apart == pytest.approx(difference, rel=1e-6)
    test = difference_test(apart, result[4], result[2], 0.95)
    assert test.p == pytest.approx(p, rel=1e-5)


def test_published_interval_of_the_difference():
    test = difference_test(-0.04380032, 0.0206825, 15.06611, 0.95)
    # The bounds are printed with seven digits, the standard error with six.
    assert (test.low, test.high) == pytest.approx((-0.0878672, 0.0002666), abs=1e-6)


def test_published_reader_variances_from_published_covariances():
    spread = np.empty((2, 5, 2, 5))
    same_t = np.eye(2, dtype=bool)[:, None, :, None] & np.ones((1, 5, 1, 5), bool)
    same_r = np.eye(5, dtype=bool)[None, :, None, :] & np.ones((2, 1, 2, 1), bool)
    for where, value in (
        (same_t & same_r, DELONG.error),
        (~same_t & same_r, DELONG.cov1),
        (same_t & ~same_r, DELONG.cov2),
        (~same_t & ~same_r, DELONG.cov3),
    ):
        spread[where] = value
    result = _components(AREAS, spread)
    assert result.reader == pytest.approx(DELONG.reader, rel=1e-4)
    assert result.modality_reader == pytest.approx(DELONG.modality_reader, rel=1e-4)


def test_whole_analysis_hangs_together(study):
    result = obuchowski_rockette(*study, method="delong", modality_names=("aided", "unaided"))
    first, second, test = result.differences[0]
    assert (first, second) == ("aided", "unaided")
    assert test.statistic**2 == pytest.approx(result.statistic)
    assert test.p == pytest.approx(result.p)
    means = [m.value for m in result.modalities]
    assert test.difference == pytest.approx(means[0] - means[1])
    assert np.mean(result.accuracy) == pytest.approx(np.mean(means))


def test_a_reader_alone_is_the_paired_test(study):
    from msk_jax.evaluation.classes.roc_comparison import roc_areas

    truth, ratings = study
    result = obuchowski_rockette(truth, ratings, method="delong")
    for j, (_, _, _, test) in enumerate(result.by_reader):
        alone = roc_areas(truth, ratings[:, j]).compare()
        assert test.difference == pytest.approx(alone.difference)
        assert test.standard_error == pytest.approx(alone.standard_error)


@pytest.mark.parametrize("measure", ["auc", "sensitivity", "specificity", "accuracy"])
def test_jackknife_by_leaving_out(study, measure):
    truth, ratings = study
    rows = ratings.reshape(6, -1)
    if measure != "auc":
        rows = (rows > 0.7).astype(float)
    counted = {"sensitivity": truth, "specificity": ~truth}.get(measure, np.ones(40, bool))
    left_out = np.stack(
        [
            accuracies(np.delete(truth, i), np.delete(rows, i, 1), measure)
            for i in np.flatnonzero(counted)
        ]
    )
    n = len(left_out)
    expected = np.cov(left_out.T) * (n - 1) ** 2 / n
    result = covariance(truth, rows, measure, "jackknife")
    np.testing.assert_allclose(result, expected, atol=1e-14)


def test_unbiased_by_its_definition(study):
    truth, ratings = study
    kept = np.r_[0:5, 22:26]
    truth, rows = truth[kept], ratings[:, 0][:, kept]
    x, y = rows[:, truth][:, :, None], rows[:, ~truth][:, None]
    kernels = (x > y) + 0.5 * (x == y)
    a, b = kernels
    m, n = a.shape
    # E[ab] over two pairs without a common case: the sum over all but those that share a row or
    # a column.
    pairs = np.einsum("ij,kh->ikjh", a, b)
    apart = ~np.eye(m, dtype=bool)[:, :, None, None] & ~np.eye(n, dtype=bool)
    product = pairs[np.broadcast_to(apart, pairs.shape)].mean()
    expected = a.mean() * b.mean() - product
    assert covariance(truth, rows, "auc", "unbiased")[0, 1] == pytest.approx(expected, abs=1e-15)


def test_cases_nested_in_readers_share_nothing(study):
    truth, ratings = study
    nested = np.full((2, 3, 120), np.nan)
    for j in range(3):
        nested[:, j, 40 * j : 40 * (j + 1)] = ratings[:, j]
    result = obuchowski_rockette(np.tile(truth, 3), nested)
    whole = obuchowski_rockette(truth, ratings)
    assert (result.components.cov2, result.components.cov3) == (0.0, 0.0)
    assert result.components.cov1 == pytest.approx(whole.components.cov1)
    # As in the user guide: without covariance between readers, the F of fixed cases.
    fixed = obuchowski_rockette(truth, ratings, random="readers")
    assert (result.statistic, result.df2, result.p) == pytest.approx(
        (fixed.statistic, fixed.df2, fixed.p)
    )


def test_split_plot_uses_what_groups_share(study):
    truth, ratings = study
    split = np.full((2, 6, 80), np.nan)
    split[:, :3, :40], split[:, 3:, 40:] = ratings, ratings
    result = obuchowski_rockette(np.tile(truth, 2), split)
    whole = obuchowski_rockette(truth, ratings)
    # Six of the fifteen pairs of readers share cases.
    assert result.components.cov2 == pytest.approx(whole.components.cov2 * 6 / 15)
    unbiased = obuchowski_rockette(np.tile(truth, 2), split, method="unbiased")
    assert unbiased.components.error == pytest.approx(
        obuchowski_rockette(truth, ratings, method="unbiased").components.error
    )


def test_designs_have_names():
    whole = np.ones((2, 4, 8))
    assert design(whole).startswith("factorial")
    cases = np.arange(8)
    for owner, name in (
        (cases // 2 == np.arange(4)[:, None], "cases nested in readers"),
        (cases // 4 == np.arange(4)[:, None] // 2, "split plot"),
    ):
        assert design(np.where(owner, whole, np.nan)).startswith(name)
    by_modality = cases // 4 == np.arange(2)[:, None, None]
    assert design(np.where(by_modality, whole, np.nan)) == "cases nested in modalities"
    whole[0, 0, 0] = np.nan
    assert design(whole).startswith("unbalanced")


def test_a_nested_study_sizes_no_next_one(study):
    truth, ratings = study
    names = tuple("abc")
    whole = Ratings(truth.astype(int), ratings, ("x", "y"), names, tuple(map(str, range(40))), {})
    assert len(analyse(whole, MrmcSettings())["next_study"]) == 5
    ratings = ratings.copy()
    ratings[:, 0, 0] = np.nan
    result = analyse(replace(whole, ratings=ratings), MrmcSettings())
    assert result["next_study"] == [] and "factorial" in result["next_study_why"]


def test_no_variance_is_no_proof(study):
    truth, _ = study
    ratings = np.stack([np.tile(truth, (3, 1)), np.zeros((3, 40))]).astype(float)
    plain = to_plain(obuchowski_rockette(truth, ratings))
    assert plain["statistic"] is None and plain["p"] is None


def test_null_studies_are_rejected_at_the_level():
    rejected = 0
    for seed in range(120):
        truth, ratings = RoeMetz().draw(4, 20, 20, seed)
        rejected += obuchowski_rockette(truth, ratings, method="delong").p < 0.05
    # 5 % of 120 is 6; a binomial count of 15 or more has a probability below 0.002.
    assert rejected < 15


def test_simulated_areas_are_the_expected_ones():
    model = RoeMetz(separation=1.2, effect=0.3)
    for modality in (0, 1):
        areas = [
            accuracies(
                (drawn := model.draw(5, 100, 100, s))[0].astype(bool), drawn[1][modality], "auc"
            ).mean()
            for s in range(40)
        ]
        error = np.std(areas, ddof=1) / np.sqrt(40)
        assert np.mean(areas) == pytest.approx(model.expected_auc(modality), abs=4 * error)


@pytest.mark.parametrize("readers", [8, 12])
def test_power_is_the_share_of_studies_that_reject(readers):
    """Accuracies drawn from Obuchowski and Rockette's model itself, tested with its components."""
    c = Components(0.0015, 0.0004, 0.0008, 0.00035, 0.00034, 0.00024)
    apart, same = 0.06, np.eye(readers)
    own = c.cov2 + (c.error - c.cov2) * same + c.modality_reader * same
    between = c.cov3 + (c.cov1 - c.cov3) * same
    spread = np.block([[own, between], [between, own]])
    rng = np.random.default_rng(0)
    drawn = rng.multivariate_normal(np.repeat([0.8 + apart, 0.8], readers), spread, 3000)
    rejected = [
        _global_test(row.reshape(2, readers), c, "readers and cases")[3] < 0.05 for row in drawn
    ]
    expected = power(c, 100, readers=readers, cases=100, difference=apart).power
    assert 0.2 < expected < 0.95
    # The standard error of 3000 is 0.007; with few readers the test itself is off its level.
    assert np.mean(rejected) == pytest.approx(expected, abs=0.025)


def test_power_by_the_formula_of_hillis_and_others():
    # 114 pilot cases, 251 to come, six readers; every term written out.
    scale, readers = 114 / 251, 6
    c = JACKKNIFE
    noise, between = scale * (c.error - c.cov1), scale * (c.cov2 - c.cov3)
    denominator = c.modality_reader + noise + (readers - 1) * between
    df2 = (readers - 1) * (denominator / (c.modality_reader + noise - between)) ** 2
    chance = ncf.sf(f.isf(0.05, 1, df2), 1, df2, readers * 0.0438003**2 / 2 / denominator)
    options = {"readers": readers, "difference": 0.0438003}
    assert power(c, 114, cases=251, **options).power == pytest.approx(chance, abs=1e-9)
    found = cases_needed(c, 114, **options)
    assert found.cases == 251
    assert power(c, 114, cases=250, **options).power < 0.8 <= found.power
    assert cases_needed(c, 114, readers=2, difference=0.01) is None
    assert power(c, 114, readers=5, cases=114, difference=0.0).power == pytest.approx(0.05)
    with pytest.raises(ValueError, match="two readers"):
        power(c, 114, readers=1, cases=100, difference=0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ratings": np.zeros((1, 3, 40))}, "two modalities"),
        ({"ratings": np.zeros((2, 1, 40))}, "--random cases"),
        ({"truth": np.zeros(40)}, "cases of both"),
        ({"ratings": np.full((2, 3, 40), np.inf)}, "finite"),
        ({"method": "delong", "ratings": np.full((2, 3, 40), np.nan)}, "too few cases"),
        (
            {"truth": np.arange(3) % 2, "ratings": np.arange(18.0).reshape(2, 3, 3)},
            "fewer than two positive or two negative cases.*Add cases",
        ),
        ({"measure": "accuracy"}, "calls, 0 or 1"),
        (
            {"method": "unbiased", "measure": "accuracy", "ratings": np.zeros((2, 3, 40))},
            "take --covariance jackknife",
        ),
    ],
)
def test_what_cannot_be_analysed(study, change, message):
    truth, ratings = study
    given = {"truth": truth, "ratings": ratings, **change}
    with pytest.raises(ValueError, match=message):
        obuchowski_rockette(given.pop("truth"), given.pop("ratings"), **given)
