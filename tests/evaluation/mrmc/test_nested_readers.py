import numpy as np
import pandas as pd
import pytest
from scipy.stats import f_oneway, ttest_ind

from msk_jax.errors import UserError
from msk_jax.evaluation.mrmc.analysis import obuchowski_rockette
from msk_jax.evaluation.mrmc.covariance import covariance
from msk_jax.evaluation.mrmc.nested_readers import nested_readers, readers_are_nested
from msk_jax.evaluation.mrmc.ratings import Ratings, ratings_from_table
from msk_jax.evaluation.mrmc.settings import MrmcSettings
from msk_jax.evaluation.mrmc.simulation import RoeMetz
from msk_jax.evaluation.mrmc.study import analyse, design
from msk_jax.evaluation.plots.readers import reader_figure


def drawn(readers, cases, seed, effect=0.0):
    """A study of two modalities with `readers` each, who read the same cases."""
    truth, ratings = RoeMetz(effect=effect).draw(sum(readers), cases, cases, seed)
    ratings[0, readers[0] :] = ratings[1, : readers[0]] = np.nan
    return truth, ratings


def result_of(truth, ratings, **options):
    count = ratings.shape[:2]
    names = {"modality_names": tuple("xyz"[: count[0]])}
    names["reader_names"] = tuple(f"r{j}" for j in range(count[1]))
    return nested_readers(truth, ratings, **names, **options)


def test_with_fixed_cases_it_is_the_analysis_of_variance():
    truth, ratings = drawn((3, 5), 15, 0)
    result = result_of(truth, ratings, random="readers")
    parts = [row[np.isfinite(row)] for row in result.accuracy]
    expected = f_oneway(*parts)
    assert (result.statistic, result.p) == pytest.approx(tuple(expected), rel=1e-9)
    interval = ttest_ind(*parts).confidence_interval()
    ((_, _, test),) = result.differences
    assert (test.low, test.high) == pytest.approx((interval.low, interval.high), rel=1e-9)


@pytest.mark.parametrize("readers", [(4, 4), (2, 5)])
def test_every_term_written_out(readers):
    truth, ratings = drawn(readers, 20, 3, effect=0.5)
    result = result_of(truth, ratings, method="delong")
    rows = np.concatenate([ratings[0, : readers[0]], ratings[1, readers[0] :]])
    spread = covariance(truth.astype(bool), rows, "auc", "delong")
    r0, r1 = readers
    first = result.accuracy[0, :r0]
    second = result.accuracy[1, r0:]
    cov3 = spread[:r0, r0:].mean()
    pairs = r0 * (r0 - 1) + r1 * (r1 - 1)
    inside = spread[:r0, :r0].sum() + spread[r0:, r0:].sum() - np.trace(spread)
    between = max(inside / pairs - cov3, 0.0)
    ms = (np.sum((first - first.mean()) ** 2) + np.sum((second - second.mean()) ** 2)) / (
        r0 + r1 - 2
    )
    variance = ms * (1 / r0 + 1 / r1) + 2 * between
    ((_, _, test),) = result.differences
    assert test.standard_error == pytest.approx(np.sqrt(variance))
    assert result.df2 == pytest.approx((r0 + r1 - 2) * (variance / (ms * (1 / r0 + 1 / r1))) ** 2)
    assert test.statistic**2 == pytest.approx(result.statistic) and between > 0
    assert test.p == pytest.approx(result.p)


def test_fixed_readers_have_the_variance_of_their_means_over_cases():
    truth, ratings = drawn((3, 3), 20, 5)
    result = result_of(truth, ratings, method="delong", random="cases")
    spread = covariance(
        truth.astype(bool), np.concatenate([ratings[0, :3], ratings[1, 3:]]), "auc", "delong"
    )
    contrast = np.repeat([1 / 3, -1 / 3], 3)
    ((_, _, test),) = result.differences
    assert test.standard_error**2 == pytest.approx(contrast @ spread @ contrast)
    assert test.p == pytest.approx(result.p) and result.df2 is None


def test_null_studies_are_rejected_at_the_level():
    rejected = sum(
        result_of(*drawn((4, 4), 20, seed), method="delong").p < 0.05 for seed in range(60)
    )
    # 5 % of 60 is 3; a binomial count of 10 or more has a probability below 0.002.
    assert rejected < 10


def test_the_study_as_a_whole():
    truth, ratings = drawn((3, 4), 15, 1)
    names = tuple(f"r{j}" for j in range(7))
    study = Ratings(truth, ratings, ("x", "y"), names, tuple(map(str, range(30))), {})
    result = analyse(study, MrmcSettings())
    assert result["design"] == "readers nested in modalities" and not result["overall"]["by_reader"]
    assert result["overall"]["accuracy"][1][0] is None and result["overall"]["p"] > 0
    assert [len(part["readers"]) for part in result["roc"].values()] == [3, 4]
    assert result["next_study"] == [] and "factorial" in result["next_study_why"]
    axis = reader_figure(result["overall"]).axes[0]
    # A reader's one dot, among lines of two points.
    marked = [line.get_ydata() for line in axis.lines if line.get_marker() != "None"]
    dots = [rows[0] for rows in marked if len(rows)]
    assert [dots.count(row) for row in range(7)] == [1] * 7
    own = ratings.copy()
    own[0, :, 15:] = own[1, :, :15] = np.nan
    assert design(own) == "readers and cases nested in modalities"


def test_a_table_may_give_each_reader_one_modality():
    rows = [
        (f"{modality}{reader}", case, modality, case % 2, case)
        for modality in "xy"
        for reader in range(2)
        for case in range(6)
    ]
    table = pd.DataFrame(rows, columns=["reader", "case", "modality", "truth", "rating"])
    assert readers_are_nested(ratings_from_table(table.astype(str), "t").ratings)
    # One reader in both and the others in one is neither design.
    table.loc[table["reader"] == "y0", "reader"] = "x0"
    with pytest.raises(UserError, match="or each in one alone"):
        ratings_from_table(table.astype(str), "t")


def test_what_cannot_be_analysed():
    truth, ratings = drawn((1, 3), 15, 1)
    with pytest.raises(ValueError, match="Modality x has one reader"):
        result_of(truth, ratings)
    assert result_of(truth, ratings, random="cases").p > 0
    whole = RoeMetz().draw(3, 10, 10, 0)[1]
    assert readers_are_nested(ratings) and not readers_are_nested(whole)
    with pytest.raises(ValueError, match="too few cases"):
        obuchowski_rockette(truth, ratings)
    ratings[0, 0, :16] = np.nan
    with pytest.raises(ValueError, match="Reader r0 has read too few cases"):
        result_of(truth, ratings, random="cases")
