"""Cross-validation folds over patients. No patient is ever in two of them."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from msk_jax.data.shards.build_folder import COHORT_NAME, SPLITS_NAME, read_cohort
from msk_jax.errors import UserError
from msk_jax.files import read_json

_SPLITS = {
    "num_folds": int,
    "seed": int,
    "cohort_digest": str,
    "folds": [[str]],
    "test_sets?": {str: [str]},
}
_PARTS = ("test", "validation", "train")
SplitKind = Literal["patient", "site", "manifest"]
HELD_OUT = "held-out"
EXTERNAL = "external_"
"""Names of test sets: drawn by chance, and all of one site."""
POOLED_SITES = "external"
"""What the patients of all test sites together are called; no list of its own in `splits.json`."""
MIN_FOLDS = 3  # one to test, one to choose the operating point on, one or more to train on


def make_folds(
    labels: Mapping[str, int], num_folds: int, seed: int, classed: bool = True
) -> dict[str, int]:
    """Deal patients into folds, each class spread evenly (scikit-learn's StratifiedKFold).

    Args:
        labels: class of each patient.
        num_folds: K of the K-fold cross-validation, at least 3.
        seed: of the shuffle.
        classed: whether patients have classes; those without have one label.

    Returns:
        Fold 0 to K - 1 of each patient, whatever the order of `labels`.

    Raises:
        UserError: too few folds, or fewer patients of a class than folds.
    """
    from sklearn.model_selection import StratifiedKFold

    check_enough(labels, num_folds, classed)
    patients = sorted(labels)
    splitter = StratifiedKFold(num_folds, shuffle=True, random_state=seed)
    classes = np.array([labels[patient] for patient in patients])
    folds = [
        [patients[i] for i in test] for _, test in splitter.split(np.zeros(len(classes)), classes)
    ]
    return _check_folds(folds, patients, "The new split")


def check_held_out(share: float, split: SplitKind) -> None:
    """Raise a UserError where patients cannot be held out of the folds."""
    if not 0 <= share <= 0.5:
        raise UserError(f"--held-out is {share:g}; it may be from 0 to 0.5.")
    if share and split != "patient":
        raise UserError(
            f"A split by {split} says itself who is tested. Give --held-out 0, or --split patient."
        )


def draw_held_out(labels: Mapping[str, int], share: float, seed: int) -> list[str]:
    """Patients who are in no fold, of every class the same share as far as whole patients go.

    Args:
        labels: class of each patient.
        share: of the patients, 0 to 0.5.
        seed: of the draw.

    Raises:
        UserError: too few patients for one of every class.
    """
    if not share:
        return []
    from sklearn.model_selection import train_test_split

    patients = sorted(labels)
    classes = [labels[patient] for patient in patients]
    try:
        _, drawn = train_test_split(patients, test_size=share, random_state=seed, stratify=classes)
    except ValueError:
        raise UserError(
            f"{len(patients)} usable patients are too few to hold out {share:.0%} with one of "
            "every class. Add patients, or give another --held-out (0 holds out none)."
        ) from None
    return sorted(drawn)


def external_sets(sites: Mapping[str, str], training_site: str) -> dict[str, list[str]]:
    """The patients of every site but one, by the name of their test set, `external_<site>`.

    Args:
        sites: of each patient.
        training_site: the one whose patients are in folds; '' gives no test sets.

    Raises:
        UserError: nobody is of the training site, or somebody's site is not known.
    """
    if not training_site:
        return {}
    unknown = sorted(patient for patient, site in sites.items() if not site)
    if unknown:
        raise UserError(
            f"{len(unknown)} patient(s) have no site, {unknown[0]} first; networks are trained on "
            f"site {training_site} and tested on each other. Fill the column site of the manifest."
        )
    if training_site not in sites.values():
        raise UserError(
            f"No usable patient is of the training site {training_site}; there are "
            f"{', '.join(sorted(set(sites.values())))}. Correct the column site of the manifest, "
            "or give the experiment another training_site."
        )
    return {
        f"{EXTERNAL}{site}": sorted(p for p, found in sites.items() if found == site)
        for site in sorted(set(sites.values()) - {training_site})
    }


def check_sites(
    folds: Mapping[str, int], test_sets: Mapping[str, Iterable[str]], sites: Mapping[str, str]
) -> None:
    """Refuse test sets by site that are not all of that site, and only of it.

    Args:
        folds: fold of each patient.
        test_sets: by name, patients who are in no fold.
        sites: of each patient in the shards.

    Raises:
        UserError: a patient of an external site is in a fold, or one of another site in its set.
    """
    for name, members in test_sets.items():
        if not name.startswith(EXTERNAL):
            continue
        site = name.removeprefix(EXTERNAL)
        if {p for p, found in sites.items() if found == site} != set(members):
            inside = sum(sites.get(patient) == site for patient in folds)
            raise UserError(
                f"The test set {name} of {SPLITS_NAME} is not the patients of site {site} "
                f"({inside} of them are in folds). Build the cohort again with --overwrite."
            )


def split_column(split: SplitKind) -> str:
    """The column of the manifest that a kind of split goes by."""
    return "site" if split == "site" else "split"


def check_split(
    rows, labels: Mapping[str, int], split: SplitKind, num_folds: int, classed: bool = True
) -> int:
    """The number of folds that a kind of split leads to, before anything is read.

    Args:
        rows: of the manifest.
        labels: class of each patient.
        split: see `builder.build_cohort`.
        num_folds: counts for folds of patients.
        classed: whether patients have classes.

    Raises:
        UserError: a patient of two sites, too few sites, a part of the split without patients, or
            too few patients of a class; a patient without a site.
    """
    if split == "patient":
        check_enough(labels, num_folds, classed)
        return num_folds
    column = split_column(split)
    groups: dict[str, str] = {}
    for row in rows:
        value = getattr(row, column)
        if not value or groups.setdefault(row.patient_id, value) != value:
            raise UserError(
                f"Row {row.row} of the manifest gives no {column}, or another than before for this "
                f"patient. A split by {split} needs one for each patient."
            )
    values = set(groups.values())
    if split == "manifest" and values != set(_PARTS):
        raise UserError(
            f"The column split has {', '.join(sorted(values))}; {', '.join(_PARTS)} are needed."
        )
    if len(values) < MIN_FOLDS:
        raise UserError(
            f"The manifest has {len(values)} site(s); leaving one out needs at least {MIN_FOLDS}: "
            "one to test, one to choose the operating point on, and one to train on."
        )
    return len(values)


def folds_by_group(
    groups: Mapping[str, str],
    labels: Mapping[str, int],
    split: SplitKind,
    num_folds: int,
    classed: bool = True,
) -> dict[str, int]:
    """Each site, or each part of a split that the manifest gives, as a fold.

    Args:
        groups: site, or part, of each patient.
        labels: class of each patient.
        split: `site` or `manifest`.
        num_folds: sites or parts of the manifest.
        classed: whether patients have classes, of which training needs two.

    Returns:
        Fold of each patient. Of a manifest's parts, test is fold 0, validation 1 and train 2, so
        that model 0 is the one that was meant.

    Raises:
        UserError: a site or part has lost all its patients, or the training part has one class.
    """
    order = _PARTS if split == "manifest" else tuple(sorted(set(groups.values())))
    folds = {patient: order.index(group) for patient, group in groups.items()}
    if len(set(folds.values())) < num_folds:
        raise UserError(
            f"After rejections, {num_folds - len(set(folds.values()))} of {num_folds} sites or "
            "parts of the split have no patient left. Repair their studies or the manifest."
        )
    models = [0] if split == "manifest" else range(num_folds)
    for k in models if classed else ():
        parts = roles(folds, k)
        classes = {labels[patient] for patient, role in parts.items() if role == "train"}
        if len(classes) < 2:
            raise UserError(
                f"The training patients of model {k} ({split}: test on {order[k]}) are all of one "
                "class. Change the split."
            )
    return folds


def check_enough(labels: Mapping[str, int], num_folds: int, classed: bool = True) -> None:
    """Raise a UserError unless there is a patient of every class, if any, for each fold."""
    if num_folds < MIN_FOLDS:
        raise UserError(
            f"{num_folds} folds were asked for, but testing, choosing the operating point and "
            f"training need one each. Give --num-folds {MIN_FOLDS} or more."
        )
    if not classed:
        if len(labels) < num_folds:
            raise UserError(
                f"There are too few usable patients for {num_folds} folds ({len(labels)}). Add "
                "patients or give a smaller --num-folds."
            )
        return
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


def write_folds(
    path: Path,
    folds: Mapping[str, int],
    seed: int,
    digest: str,
    test_sets: Mapping[str, Iterable[str]] | None = None,
) -> None:
    """Write `splits.json`: one list of pseudonyms per fold, and what they were made from.

    Args:
        path: where.
        folds: fold of each patient.
        seed: that they were drawn with.
        digest: see `cohort_digest`.
        test_sets: by name, patients who are in no fold; those without patients are left out.
    """
    num_folds = max(folds.values()) + 1
    lists = [sorted(p for p, fold in folds.items() if fold == k) for k in range(num_folds)]
    content = {"num_folds": num_folds, "seed": seed, "cohort_digest": digest, "folds": lists}
    tested = {name: sorted(members) for name, members in (test_sets or {}).items() if members}
    if tested:
        content["test_sets"] = tested
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
    path, content = _read_splits(data_dir)
    tested = [patient for members in content.get("test_sets", {}).values() for patient in members]
    inside = None if labels is None else set(labels) - set(tested)
    folds = _check_folds(content["folds"], inside, str(path))
    twice = sorted(set(tested) & set(folds))
    if twice or len(set(tested)) < len(tested):
        raise UserError(
            f"{path} has patients in more than one test set, or in one and a fold "
            f"({', '.join(twice[:3])}). Build the cohort again with --overwrite."
        )
    if labels is not None:
        _check_origin(content, labels, data_dir)
    return folds


def load_test_sets(data_dir: Path) -> dict[str, set[str]]:
    """By name, the patients of a built cohort who are in no fold; `load_folds` checks them.

    Raises:
        UserError: no or damaged `splits.json`.
    """
    return {
        name: set(found) for name, found in _read_splits(data_dir)[1].get("test_sets", {}).items()
    }


def _read_splits(data_dir: Path) -> tuple[Path, dict]:
    path = data_dir / SPLITS_NAME
    if not path.is_file():
        raise UserError(
            f"There is no {path}. Build the cohort with `msk-jax build` or give its --data-dir."
        )
    way_out = "Build the cohort again with --overwrite."
    content = read_json(path, _SPLITS, way_out)
    if len(content["folds"]) != content["num_folds"] or not all(content["folds"]):
        raise UserError(f"{path} is damaged: it lacks folds, or some are empty. {way_out}")
    return path, content


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
            f"{data_dir / SPLITS_NAME} belongs to another build ({'; '.join(faults)}). Put "
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
