"""Selection by logistic regression under an L1 penalty, over a path of penalties.

The algorithm is glmnet's (Friedman, Hastie and Tibshirani, J Stat Softw 2010;33(1)): a weighted
least-squares problem about the present weights, whose lasso scikit-learn's coordinate descent
solves. scikit-learn's own L1 logistic regression either penalises the intercept (liblinear) or
approaches zeros slowly (saga).
"""

import warnings

import numpy as np
from scipy.special import expit, log_expit, logit

from msk_jax.methods.estimator import Lasso
from msk_jax.methods.inner_folds import inner_folds
from msk_jax.methods.selection.choice import Choice, standardised

_ROUNDS = 100
_CHANGE = 1e-6
"""Share of the greatest weight by which none changes any more."""
_TOLERANCE = 1e-8
_EXPLAINED = 0.95
"""Share of the deviance at which the path ends: from there on weights only grow."""


def lasso(
    step: Lasso, values: np.ndarray, labels: np.ndarray, groups: np.ndarray, seed: int
) -> Choice:
    """The columns of the chosen penalty.

    Args:
        step: settings.
        values: [rows, columns], none missing.
        labels: class of each row [rows], every class among them.
        groups: patient of each row [rows].
        seed: of the inner folds.

    Raises:
        UserError: the inner folds cannot be made.
    """
    (x,) = standardised(values)
    grid = penalties(x, labels, step.penalties)
    weights, _ = l1_path(x, labels, grid)
    used = np.any(weights != 0, axis=1)
    deviances, sizes = [], []
    for fit, judge in inner_folds(labels, groups, step.folds, seed):
        known, asked = standardised(values[fit], values[judge])
        path = l1_path(known, labels[fit], grid)
        target = _targets(labels)[judge]
        deviances.append([_deviance(target, asked @ w.T + b) for w, b in zip(*path, strict=True)])
        sizes.append(len(judge))
    place = chosen_penalty(np.array(deviances), np.array(sizes, float), step.rule)
    if step.keep is not None:
        while place > 0 and used[place].sum() > step.keep:
            place -= 1
    # The first column on the path; of one where none enters.
    first = int(np.argmax(used.any(axis=1)))
    strongest = int(np.argmax(np.abs(weights[first]).max(axis=0)))
    places = np.flatnonzero(used[place])
    return Choice(places if len(places) else np.array([strongest]), strongest)


def penalties(x: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """Falling penalties [count], from the least under which no column has a weight.

    The last is a hundredth of it where columns outnumber rows, else a thousandth.
    """
    shares = _targets(labels)
    top = np.abs(x.T @ (shares - shares.mean(axis=0))).max(initial=0.0) / len(x)
    ratio = 1e-2 if x.shape[0] < x.shape[1] else 1e-3
    return max(top, 1e-12) * np.geomspace(1, ratio, count)


def l1_path(x: np.ndarray, labels: np.ndarray, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Minima of mean log-loss + penalty * sum of absolute weights, by penalty.

    Args:
        x: [rows, columns].
        labels: class of each row [rows], from 0 on without a gap.
        grid: falling penalties [penalties].

    Returns:
        Weights [penalties, scores, columns] and intercepts [penalties, scores]. Two classes have
        one score, the log-odds of the second; of more each has one, against the rest. Where
        nearly all deviance is explained the last minimum is repeated.
    """
    targets = _targets(labels)
    weights = np.zeros((len(grid), targets.shape[1], x.shape[1]))
    intercepts = np.zeros((len(grid), targets.shape[1]))
    for k, target in enumerate(targets.T):
        weight, intercept = np.zeros(x.shape[1]), float(logit(target.mean()))
        null, done = _deviance(target, np.full(len(x), intercept)), False
        for i, penalty in enumerate(grid):
            if not done:
                weight, intercept = _descend(x, target, float(penalty), weight, intercept)
                left = _deviance(target, x @ weight + intercept)
                done = left < (1 - _EXPLAINED) * null
            weights[i, k], intercepts[i, k] = weight, intercept
    return weights, intercepts


def _descend(
    x: np.ndarray, target: np.ndarray, penalty: float, weight: np.ndarray, intercept: float
) -> tuple[np.ndarray, float]:
    """Weight [columns] and intercept at the minimum for a target of 0 and 1 [rows]."""
    from sklearn import config_context
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import enet_path

    for _ in range(_ROUNDS):
        eta = x @ weight + intercept
        probs = expit(eta)
        curvature = np.maximum(probs * (1 - probs), 1e-5)
        response = eta + (target - probs) / curvature
        share, root = curvature / curvature.sum(), np.sqrt(curvature)
        centre, level = share @ x, share @ response
        scaled = np.asfortranarray((x - centre) * root[:, None])
        wanted = (response - level) * root
        gram = scaled.T @ scaled if len(x) > x.shape[1] else False
        # Checks of arguments would take longer than the solution.
        with warnings.catch_warnings(), config_context(skip_parameter_validation=True):
            # The next round goes on from where it stopped.
            warnings.simplefilter("ignore", ConvergenceWarning)
            _, path, _ = enet_path(
                scaled,
                wanted,
                l1_ratio=1.0,
                alphas=[penalty],
                coef_init=weight.copy(),  # which is written to
                Xy=scaled.T @ wanted,
                tol=_TOLERANCE,
                max_iter=300,
                check_input=False,
                precompute=gram,
            )
        before, weight = weight, path[:, 0].copy()
        last, intercept = intercept, float(level - centre @ weight)
        change = max(np.abs(weight - before).max(initial=0.0), abs(intercept - last))
        if change < _CHANGE * (1 + np.abs(weight).max(initial=0.0)):
            break
    return weight, intercept


def chosen_penalty(deviances: np.ndarray, sizes: np.ndarray, rule: str) -> int:
    """Place of the penalty by inner deviance.

    Args:
        deviances: mean deviance of the held-out rows [folds, penalties], penalties falling.
        sizes: held-out rows of each fold [folds].
        rule: `min` or `1se`, see `estimator.Lasso`.
    """
    share = sizes / sizes.sum()
    mean = share @ deviances
    best = int(np.argmin(mean))
    if rule == "min":
        return best
    spread = share @ (deviances - mean) ** 2
    error = np.sqrt(spread[best] / (len(sizes) - 1))
    return int(np.argmax(mean <= mean[best] + error))


def _targets(labels: np.ndarray) -> np.ndarray:
    """What each score aims at [rows, scores]."""
    classes = np.arange(labels.max() + 1)
    return (labels[:, None] == (classes[1:] if len(classes) == 2 else classes)).astype(float)


def _deviance(target: np.ndarray, eta: np.ndarray) -> float:
    """Twice the mean log-loss of log-odds [rows], or of several against the rest [rows, scores]."""
    return -2 * float((target * log_expit(eta) + (1 - target) * log_expit(-eta)).sum() / len(eta))
