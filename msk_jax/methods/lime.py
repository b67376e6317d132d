"""Local weights of an estimator: a linear model that answers as it does near one row.

Source: M. T. Ribeiro, S. Singh and C. Guestrin, "Why should I trust you?", KDD 2016:1135, for
tables, numbers not cut into ranges. The authors' package has had no release since 2020.
"""

import numpy as np
import pandas as pd

from msk_jax.errors import UserError
from msk_jax.methods.fitting import Fitted

_RIDGE = 1.0


def local_weights(
    fitted: Fitted,
    rows: pd.DataFrame,
    background: pd.DataFrame,
    seed: int,
    of_class: int = 1,
    samples: int = 5000,
) -> pd.DataFrame:
    """Weights of each variable near each row [rows, variables].

    Samples are drawn around the background: numbers normally, by its means and standard
    deviations, words as often as there. A ridge regression of the probability on the standardised
    numbers, and on whether a word is that of the row, weighs each sample by
    sqrt(exp(-(distance / width)^2)) with a width of 0.75 * sqrt(variables).

    Args:
        fitted: the estimator.
        rows: to be explained, with the columns of the training.
        background: rows to draw like, as those of the training.
        seed: of what is drawn; each row has draws of its own.
        of_class: whose probability.
        samples: drawn per row, the row itself among them.

    Returns:
        Probability per standard deviation of a number, or for having the word of the row. What the
        row lacks stays missing in all samples and has the weight 0.

    Raises:
        UserError: a row is refused, or there is no background.
    """
    if not len(background):
        raise UserError("Local weights need background rows. Give those of the training.")
    fitted.design(background.iloc[:1])  # which refuses other columns
    seeds = np.random.SeedSequence(seed).spawn(len(rows))
    weights = [
        _weights(fitted, rows.iloc[[i]], background, np.random.default_rng(one), of_class, samples)
        for i, one in enumerate(seeds)
    ]
    shape = (len(rows), len(fitted.variables))
    return pd.DataFrame(
        np.array(weights).reshape(shape), index=rows.index, columns=list(fitted.variables)
    )


def _weights(
    fitted: Fitted,
    row: pd.DataFrame,
    background: pd.DataFrame,
    rng: np.random.Generator,
    of_class: int,
    samples: int,
) -> np.ndarray:
    """Weights [variables] near one row."""
    cells, features = {}, np.zeros((samples, len(fitted.variables)))
    place = np.zeros(len(fitted.variables))
    for j, name in enumerate(fitted.variables):
        known = background[name]
        if name in fitted.words:
            word = "" if pd.isna(row[name].iloc[0]) else str(row[name].iloc[0])
            cells[name], features[:, j] = _words(known, word, rng, samples)
            place[j] = 1.0
        else:
            number = float(row[name].iloc[0])
            cells[name], features[:, j], place[j] = _numbers(known, number, rng, samples)
    lacking = [name for name in fitted.variables if pd.isna(row[name].iloc[0])]
    features[:, [fitted.variables.index(name) for name in lacking]] = 0.0
    place[[fitted.variables.index(name) for name in lacking]] = 0.0
    probs = fitted.predict(pd.DataFrame(cells))[:, of_class]
    width = 0.75 * np.sqrt(len(fitted.variables))
    distance = ((features - place) ** 2).sum(axis=1)
    return ridge(features, probs, np.sqrt(np.exp(-distance / width**2)))


def ridge(features: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Coefficients [features] of weighted least squares with intercept and a ridge penalty of 1.

    Args:
        features: [samples, features].
        target: [samples].
        weights: [samples].
    """
    share = weights / weights.sum()
    x = features - share @ features
    products = (x * weights[:, None]).T
    penalty = _RIDGE * np.eye(features.shape[1])
    return np.linalg.solve(products @ x + penalty, products @ (target - share @ target))


def _numbers(
    known: pd.Series, number: float, rng: np.random.Generator, samples: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Cells, standardised cells [samples], and the standardised cell of the row itself."""
    mean, scale = known.mean(), known.std(ddof=0)
    scale = scale if scale > 0 else 1.0
    drawn = rng.standard_normal(samples)
    if np.isnan(number) or np.isnan(mean):
        return np.full(samples, number), np.zeros(samples), 0.0
    place = (number - mean) / scale
    drawn[0] = place
    cells = mean + scale * drawn
    cells[0] = number
    return cells, drawn, place


def _words(
    known: pd.Series, word: str, rng: np.random.Generator, samples: int
) -> tuple[np.ndarray, np.ndarray]:
    """Cells, and whether they are the word of the row [samples]."""
    if not word:
        return np.full(samples, "", object), np.zeros(samples)
    present = known.dropna().astype(str)
    present = present[present != ""].to_numpy(object)
    drawn = rng.choice(present, samples) if len(present) else np.full(samples, word, object)
    drawn[0] = word
    return drawn, (drawn == word).astype(float)
