import numpy as np

from msk_jax.evaluation.detection import froc, match_points
from msk_jax.evaluation.masks.segmentation import segmentation_figures
from msk_jax.evaluation.measurement import bland_altman
from msk_jax.evaluation.plots.outcomes import (
    agreement_figure,
    froc_figure,
    segmentation_figure,
    survival_figure,
)
from msk_jax.evaluation.survival import KaplanMeier


def test_survival_shows_the_curve_and_who_is_at_risk():
    curve = KaplanMeier(
        np.array([0.0, 5, 9]),
        np.array([1, 0.6, 0.3]),
        np.array([1, 0.4, 0.1]),
        np.array([1, 0.8, 0.6]),
        np.array([0.0, 5, 10]),
        np.array([9, 6, 1]),
    )
    axis = survival_figure({"treated": curve}, "months").axes[0]
    np.testing.assert_allclose(axis.lines[0].get_ydata(), [1, 0.6, 0.3])
    assert {"9", "6", "1"} <= {text.get_text() for text in axis.texts}
    assert axis.get_xlabel() == "Time (months)"
    # More groups than there are styles.
    many = survival_figure({str(i): curve for i in range(6)}, "months").axes[0]
    assert len(many.lines) == 6


def test_froc_ends_where_nothing_more_is_found():
    truths, found = [np.zeros((1, 3)), np.zeros((0, 3))], [np.ones((1, 3)), np.ones((1, 3))]
    result = froc(match_points(found, [[0.9], [0.4]], truths, 2.0), samples=20)
    line = froc_figure({"model": result}).axes[0].lines[0]
    assert line.get_xdata()[-1] == 8 and line.get_ydata()[-1] == 1.0
    none = froc(match_points(found, [[0.9], [0.4]], [np.zeros((0, 3))] * 2, 2.0))
    assert froc_figure({"model": none}).axes[0].get_legend_handles_labels()[1] == ["model"]


def test_segmentation_draws_means_with_intervals():
    whole, shifted = np.ones((2, 6, 6), bool), np.arange(72).reshape(2, 6, 6) % 6 < 4
    spacings = [(1, 1, 1)] * 2
    good = segmentation_figures([shifted, whole], [whole, whole], spacings)
    # One mask is empty: there is no distance, which the picture says.
    lost = segmentation_figures([whole & False, whole], [whole, whole], spacings)
    axes = segmentation_figure({"head": good, "lesion": lost}).axes
    assert axes[0].lines[1].get_xdata()[0] == good["dice"].value == np.mean([0.8, 1.0])
    assert [text.get_text() for text in axes[2].texts] == ["no answer"]
    assert axes[2].get_xlabel() == "HD95 (mm)"


def test_agreement_draws_bias_and_limits():
    a, b = [1.0, 2.0, 4.0, 3.0], [1.5, 1.0, 4.5, 2.0]
    result = bland_altman(a, b)
    axis = agreement_figure(a, b, result, "mm").axes[0]
    drawn = [line.get_ydata()[0] for line in axis.lines[1:]]
    np.testing.assert_allclose(drawn, [result.bias.value, result.lower.value, result.upper.value])
