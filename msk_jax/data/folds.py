"""Cross-validation folds over patients. No patient is ever in two of them."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from sklearn.model_selection import StratifiedKFold

from msk_jax.data.target import COHORT_NAME, SPLITS_NAME, read_cohort
from msk_jax.errors import UserError
from msk_jax.files import read_json

_SPLITS = {"num_folds": int, "seed": int, "cohort_digest": str, "folds": [[str]]}
MIN_FOLDS = 3  # one to test, one to choose the operating point on, one or more to train on


def make_folds(labels: Mapping[str, int], num_folds: int, seed: int) -> dict[str, int]:
    """Deal patients into folds, each class spread evenly (scikit-learn's StratifiedKFold).

    Args:
      labels: class of each patient.
      num_folds: K of the K-fold cross-validation, at least 3.
      seed: of the shuffle.

    Returns:
      Fold 0 to K - 1 of each patient. The order of `labels` plays no part.

    Raises:
      UserError: too few folds, or fewer patients of a class than folds.
    """
    check_enough(labels, num_folds)
    patients = sorted(labels)
    splitter = StratifiedKFold(num_folds, shuffle=True, random_state=seed)
    classes = np.array([labels[patient] for patient in patients])
    folds = [
        [patients[i] for i in test] for _, test in splitter.split(np.zeros(len(classes)), classes)
    ]
    return _check_folds(folds, patients, "The new split")


def check_enough(labels: Mapping[str, int], num_folds: int) -> None:
    """Raise a UserError unless every class has at least one patient for each fold."""
    if num_folds < MIN_FOLDS:
        raise UserError(
            f"{num_folds} folds were asked for, but testing, choosing the operating point and "
            f"training need one each. Give --num-folds {MIN_FOLDS} or more."
        )
    counts = Counter(labels.values())
    smallest = min(counts.values(), default=0)
    if len(counts) < 2 or smallest < num_folds:
        listed = ", ".join(f"class {label}: {counts[label]}" for label in sorted(counts))
        ways = ["Add patients"]
        if len(counts) >= 2 and smallest >= MIN_FOLDS:
            ways.append(f"give --num-folds {smallest}")
        raise UserError(
            f"There are too few usable patients for {num_folds} folds ({listed or 'none'}); every "
            f"class needs at least {num_folds}. {' or '.join(ways)}."
        )


def roles(folds: Mapping[str, int], k: int) -> dict[str, str]:
    """What each patient is for model k: fold k tests, fold k + 1 (mod K) validates, rest train."""
    num_folds = max(folds.values()) + 1
    if not 0 <= k < num_folds:
        raise ValueError(f"fold {k} of {num_folds}")
    names = {k: "test", (k + 1) % num_folds: "validation"}
    return {patient: names.get(fold, "train") for patient, fold in folds.items()}


def write_folds(path: Path, folds: Mapping[str, int], seed: int, digest: str) -> None:
    """Write `splits.json`: one list of pseudonyms per fold, and what they were made from."""
    num_folds = max(folds.values()) + 1
    lists = [sorted(p for p, fold in folds.items() if fold == k) for k in range(num_folds)]
    content = {"num_folds": num_folds, "seed": seed, "cohort_digest": digest, "folds": lists}
    Path(path).write_text(json.dumps(content, indent=1) + "\n")


def load_folds(data_dir: Path, labels: Mapping[str, int] | None = None) -> dict[str, int]:
    """Read the folds of a built cohort.

    Args:
      data_dir: of the build.
      labels: class of each patient in the shards; given them, the folds must be those that were
        drawn for these very shards.

    Raises:
      UserError: no or damaged `splits.json`, a patient in two folds, a patient of the shards in
        none, or folds of another build, in which someone might be tested who was trained on.
    """
    path = Path(data_dir) / SPLITS_NAME
    if not path.is_file():
        raise UserError(
            f"There is no {path}. Build the cohort with `msk-jax build` or give its --data-dir."
        )
    way_out = "Build the cohort again with --overwrite."
    content = read_json(path, _SPLITS, way_out)
    if len(content["folds"]) != content["num_folds"] or not all(content["folds"]):
        raise UserError(f"{path} is damaged: it lacks folds, or some are empty. {way_out}")
    folds = _check_folds(content["folds"], labels, str(path))
    if labels is not None:
        _check_origin(content, labels, data_dir)
    return folds


def _check_origin(content: Mapping, labels: Mapping[str, int], data_dir: Path) -> None:
    """Refuse folds that were drawn for other patients or labels, or with another seed or number.

    What they were drawn from is compared, not drawn anew: scikit-learn may shuffle otherwise in
    another version.
    """
    drawn = read_cohort(data_dir)["fingerprint"]
    faults = [
        f"{name} is {content[name]} there and {drawn[name]} in {COHORT_NAME}"
        for name in ("seed", "num_folds")
        if content[name] != drawn[name]
    ]
    if content["cohort_digest"] != cohort_digest(labels):
        faults.append("its patients or their labels are not those of the shards")
    if faults:
        raise UserError(
            f"{Path(data_dir) / SPLITS_NAME} belongs to another build ({'; '.join(faults)}). Put "
            "back the file of this build, or build the cohort again with --overwrite."
        )


def cohort_digest(labels: Mapping[str, int]) -> str:
    """SHA-256 over the patients (pseudonyms) and their classes."""
    lines = "\n".join(f"{patient},{labels[patient]}" for patient in sorted(labels))
    return hashlib.sha256(lines.encode()).hexdigest()


def _check_folds(
    folds: list[list[str]], patients: Iterable[str] | None, where: str
) -> dict[str, int]:
    """Fold by patient, if no patient is in two folds and everyone is in one."""
    found: dict[str, int] = {}
    for k, fold in enumerate(folds):
        for patient in fold:
            if patient in found:
                raise UserError(
                    f"{where} has patient {patient} in fold {found[patient]} and in fold {k}. A "
                    "patient must be in one fold only; build the cohort again with --overwrite."
                )
            found[patient] = k
    missing = sorted(set(patients) - set(found)) if patients is not None else []
    if missing:
        raise UserError(
            f"{where} has no fold for {len(missing)} patient(s) of the shards, {missing[0]} first. "
            "Build the cohort again with --overwrite."
        )
    return found
