"""How fast the statistics are, whether their intervals hold what they say, and the type-I error.

    python -m benchmarks.evaluation speed --samples 10000 --shape 256 256 128
    python -m benchmarks.evaluation coverage --repeats 2000
    python -m benchmarks.evaluation readers --repeats 2000

On two idle cores: speed about 5 minutes (nearly all of it scikit-learn's loop), coverage and
readers about 10 minutes each. Results are in docs/measured/statistics.md.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Literal

import numpy as np
import tyro
from scipy.special import expit, ndtr
from scipy.stats import norm

from msk_jax.evaluation.classes.auc_bootstrap import bootstrap_areas
from msk_jax.evaluation.classes.binary import binary_figures
from msk_jax.evaluation.classes.calibration import calibration_figures
from msk_jax.evaluation.classes.roc import clustered_auc, delong, weighted_areas
from msk_jax.evaluation.classes.roc_comparison import roc_areas
from msk_jax.evaluation.core.resampling import cluster_bootstrap
from msk_jax.evaluation.masks.surface import surface_distances
from msk_jax.evaluation.mrmc.analysis import obuchowski_rockette
from msk_jax.evaluation.mrmc.simulation import RoeMetz


@dataclasses.dataclass(frozen=True)
class Speed:
    """Time the bootstrap of an AUC difference and the surface distances beside other libraries."""

    cases: int = 4542
    """Cases of the bootstrap; every third patient has two."""
    samples: int = 10_000
    """Samples of the bootstrap."""
    loop_samples: int = 0
    """Samples of scikit-learn's loop, scaled up to `samples`; 0: all of them."""
    shape: tuple[int, int, int] = (256, 256, 128)
    """Of the masks."""
    repeats: int = 3
    """Runs of each, in turn; the median is shown."""

    def run(self) -> None:
        _bootstrap_speed(self)
        _surface_speed(self)


def _bootstrap_speed(settings: Speed) -> None:
    """Ours compiled, against one roc_auc_score after another over the same kind of sample."""
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    n = settings.cases
    patients = np.arange(n) * 3 // 4
    labels = rng.random(n) < 0.3
    scores = rng.normal(labels * np.array([[1.2], [1.0]]), 1.0)
    members = [np.flatnonzero(patients == p) for p in range(patients.max() + 1)]
    loop = settings.loop_samples or settings.samples

    def ours() -> None:
        bootstrap_areas(labels, scores, patients, samples=settings.samples)

    def theirs() -> None:
        for _ in range(loop):
            drawn = rng.integers(0, len(members), len(members))
            kept = np.concatenate([members[p] for p in drawn])
            areas = [roc_auc_score(labels[kept], row[kept]) for row in scores]
            assert areas[0] != areas[1]

    first = _seconds(ours)
    times = _in_turn([ours, theirs], settings.repeats)
    slow = times[1] * settings.samples / loop
    print(
        f"bootstrap of an AUC difference, {settings.samples} samples of {n} cases: ours "
        f"{times[0]:.2f} s ({first:.2f} s with compilation), scikit-learn in a loop {slow:.1f} s"
        f"{'' if loop == settings.samples else f' (scaled up from {loop} samples)'}, "
        f"{slow / times[0]:.0f} times"
    )


def _surface_speed(settings: Speed) -> None:
    """HD95 of two rough ellipsoids."""
    grid = np.indices(settings.shape) / np.reshape(settings.shape, (3, 1, 1, 1)) - 0.5
    rough = 0.012 * np.sin(40 * grid[0]) * np.cos(33 * grid[1]) * np.sin(29 * grid[2])
    mask = np.sqrt((grid**2).sum(0)) + rough < 0.30
    reference = np.sqrt(((grid - 0.01) ** 2).sum(0)) < 0.29
    spacing = (0.7, 0.7, 1.5)
    runs: dict[str, Callable[[], float]] = {
        "ours, surfels": lambda: surface_distances(mask, reference, spacing).hd95_mm,
        "ours, boundary": lambda: (
            surface_distances(mask, reference, spacing, convention="boundary").hd95_mm
        ),
        "surface-distance": lambda: _surface_distance(mask, reference, spacing),
        "MONAI": lambda: _monai(mask, reference, spacing),
    }
    values = {name: run() for name, run in runs.items()}
    times = _in_turn(list(runs.values()), settings.repeats)
    shape = "x".join(map(str, settings.shape))
    for (name, value), seconds in zip(values.items(), times, strict=True):
        print(f"HD95, {shape}: {name} {seconds:.2f} s ({value:.4f} mm)")


def _surface_distance(mask: np.ndarray, reference: np.ndarray, spacing: tuple) -> float:
    import surface_distance

    found = surface_distance.compute_surface_distances(reference, mask, spacing)
    return float(surface_distance.compute_robust_hausdorff(found, 95))


def _monai(mask: np.ndarray, reference: np.ndarray, spacing: tuple) -> float:
    import torch
    from monai.metrics import compute_hausdorff_distance

    a, b = (torch.from_numpy(m)[None, None].float() for m in (mask, reference))
    options = {"include_background": True, "percentile": 95, "spacing": list(spacing)}
    return compute_hausdorff_distance(a, b, **options).item()


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _in_turn(runs: list[Callable[[], object]], repeats: int) -> list[float]:
    """Median seconds of each, run one after the other so that all meet the same machine."""
    times = [[_seconds(run) for run in runs] for _ in range(repeats)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


@dataclasses.dataclass(frozen=True)
class Coverage:
    """How often the 95 % intervals hold the truth, at the sizes of the published studies."""

    parts: tuple[Literal["areas", "clustered", "calibration"], ...] = (
        "areas",
        "clustered",
        "calibration",
    )
    """Of independent cases; of two joints a patient; of probabilities."""
    sizes: tuple[int, ...] = (29, 100, 700, 4500)
    """Cases."""
    repeats: int = 2000
    """Simulated studies of each size."""
    bootstrap_samples: int = 500
    """Samples of each bootstrap."""
    area: float = 0.85
    """True AUC of the better model; the other's separation is 0.8 of it."""

    def run(self) -> None:
        print("Of the intervals that there are, % that hold the truth; in brackets % without one")
        for part in self.parts:
            study = {
                "areas": self._areas,
                "clustered": self._clustered,
                "calibration": self._calibrated,
            }[part]
            for size in self.sizes:
                found = [study(size, np.random.default_rng(seed)) for seed in range(self.repeats)]
                print(f"{size} cases, {self.repeats} studies: " + _shares(found), flush=True)

    @property
    def _separation(self) -> float:
        return float(np.sqrt(2) * norm.ppf(self.area))

    def _areas(self, size: int, rng: np.random.Generator) -> dict[str, float]:
        """Whether each interval holds the truth; NaN where there is none."""
        separation = self._separation
        labels = (np.arange(size) < 0.4 * size).astype(int)
        shared = rng.normal(size=size) * np.sqrt(0.5)
        apart = rng.normal(size=(2, size)) * np.sqrt(0.5)
        scores = labels * separation * np.array([[1.0], [0.8]]) + shared + apart
        true = [float(ndtr(separation * share / np.sqrt(2))) for share in (1.0, 0.8)]
        difference = true[0] - true[1]
        seed = int(rng.integers(2**31))
        drawn = bootstrap_areas(labels, scores, samples=self.bootstrap_samples, seed=seed)
        called = binary_figures(labels, scores[0] >= separation / 2, samples=2)
        return {
            "area": _holds(delong(labels, scores[0]), true[0]),
            "difference of areas": _holds(roc_areas(labels, scores).compare(), difference),
            "the same, bootstrap": _holds(drawn.difference, difference),
            "sensitivity": _holds(called["sensitivity"], ndtr(separation / 2)),
        }

    def _clustered(self, size: int, rng: np.random.Generator) -> dict[str, float]:
        """Two joints a patient, half of the spread shared, labels by joint."""
        labels = (rng.random(size) < 0.4).astype(int)
        patients = np.arange(size) // 2
        shared = rng.normal(size=size)[patients] * np.sqrt(0.5)
        scores = labels * self._separation + shared + rng.normal(size=size) * np.sqrt(0.5)
        # `bootstrap_areas` would compile anew for every number of patients with a positive joint.
        drawn = cluster_bootstrap(
            patients,
            lambda weights: weighted_areas(labels == 1, scores, weights),
            samples=self.bootstrap_samples,
            seed=int(rng.integers(2**31)),
            strata=np.isin(patients, patients[labels == 1]),
        )
        return {
            "clustered area": _holds(clustered_auc(labels, scores, patients), self.area),
            "the same, bootstrap": float(drawn.low[0] <= self.area <= drawn.high[0]),
        }

    def _calibrated(self, size: int, rng: np.random.Generator) -> dict[str, float]:
        """A model whose logit is right: slope 1, intercept and in the large 0."""
        predictor = rng.normal(-0.4, 1.3, size)
        labels = (rng.random(size) < expit(predictor)).astype(int)
        figures = calibration_figures(labels, expit(predictor), samples=2)
        true = {"slope": 1.0, "intercept": 0.0, "in_the_large": 0.0}
        return {name: _holds(figures[name], value) for name, value in true.items()}


def _shares(found: list[dict[str, float]]) -> str:
    columns = {name: np.array([study[name] for study in found]) for name in found[0]}
    return ", ".join(
        f"{name} {100 * np.nanmean(hits):.1f} ({100 * np.isnan(hits).mean():.1f})"
        for name, hits in columns.items()
    )


def _holds(figure, truth: float) -> float:
    return np.nan if figure.low is None else float(figure.low <= truth <= figure.high)


@dataclasses.dataclass(frozen=True)
class Readers:
    """Type-I error and power of the analysis of reader studies, from Roe and Metz's model."""

    readers: int = 5
    """Readers of a study."""
    positives: int = 25
    """Positive cases."""
    negatives: int = 25
    """Negative cases."""
    effect: float = 0.0
    """Separation of the first modality minus that of the second; 0: type-I error."""
    repeats: int = 2000
    """Simulated studies."""

    def run(self) -> None:
        model = RoeMetz(effect=self.effect)
        rejected = {"delong": 0, "unbiased": 0, "jackknife": 0}
        for seed in range(self.repeats):
            study = model.draw(self.readers, self.positives, self.negatives, seed)
            for method in rejected:
                rejected[method] += obuchowski_rockette(*study, method=method).p < 0.05
        for method, count in rejected.items():
            share = count / self.repeats
            error = np.sqrt(share * (1 - share) / self.repeats)
            print(f"{method}: rejected {100 * share:.1f} % ± {100 * error:.1f} (standard error)")


if __name__ == "__main__":
    tyro.cli(Speed | Coverage | Readers).run()
