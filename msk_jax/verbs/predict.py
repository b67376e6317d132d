"""`msk-jax predict`: new patients, from the checkpoint alone."""

import contextlib
import csv
import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd

from msk_jax.config import from_json
from msk_jax.data.deidentify import default_key_path, load_key, load_or_create_key, pseudonym
from msk_jax.data.dicom import Scan, Series, read_series, scan
from msk_jax.data.records import clean_reason
from msk_jax.data.regions import JointVolume
from msk_jax.data.sources import opened
from msk_jax.errors import UserError
from msk_jax.evaluation.predictions import LEVELS, pool
from msk_jax.experiment import Experiment, Stage
from msk_jax.explain.overlay import Plane, draw_overlay
from msk_jax.files import csv_text, replacing
from msk_jax.training.checkpoints import Checkpoints
from msk_jax.training.parallel import parallel_predict, predict_all
from msk_jax.training.step import AXIS
from msk_jax.verbs import console
from msk_jax.verbs.evaluate import MODEL_NAME
from msk_jax.verbs.heatmaps import crop_plane, explain
from msk_jax.verbs.results import DicomResults

_BATCH_PER_DEVICE = 16
# What `evaluate` puts beside the networks.
_SETTINGS = {
    "experiment": dict,
    "stage": dict,
    "num_members": int,
    "thresholds": dict.fromkeys(LEVELS, (float, None)),
}


@dataclasses.dataclass(frozen=True)
class SavedModel:
    """What `msk-jax evaluate` left in `workdir/model`."""

    experiment: Experiment
    stage: Stage
    thresholds: dict[str, float | None]
    members: list[Any]


def run(
    workdir: Path,
    dicom: str | Path,
    out: Path,
    key: Path | None,
    dicom_results: bool = False,
    server: str = "",
) -> None:
    """Predict every CT series of a source; what cannot be read is listed, not fatal."""
    saved = load_model(workdir)
    console.check_new_folder(out, "--out")
    with opened(dicom) as source:
        found = scan(source.folder, files=source.files, unpacked=source.unpacked)
        results = None
        if dicom_results or server:
            results = DicomResults.of(out, saved.experiment.name, model_folder(workdir), server)
        _predict_all(saved, found, out, key, results)


def _predict_all(
    saved: SavedModel, found: Scan, out: Path, key: Path | None, results: DicomResults | None
) -> None:
    secret = load_key(key) if key else load_or_create_key(default_key_path(None))
    console.writable_folder(out, "--out")
    predict = parallel_predict(saved.stage.network(AXIS), saved.stage.preprocess)
    tables, rejected, unwritten = [], [], []
    with _all_or_nothing(out), console.progress_bar("Predicting series") as update:
        for done, (uid, files) in enumerate(sorted(found.series.items())):
            header = found.headers[uid]
            # Files without a PatientID may be anyone's: each series is then a patient.
            owner = pseudonym(header.patient_id or uid, secret)
            name = f"{owner}_{pseudonym(uid, secret)[2:8]}"
            try:
                series = read_series(files, saved.experiment.modality)
                joints = saved.experiment.cohort.region.extract(series)
            except Exception as error:  # a hostile file must not take the others with it
                reason = clean_reason(error, files, header.patient_id)
                rejected.append((name, header.modality, reason))
            else:
                table, stacks = _predict_series(saved, predict, joints, name)
                tables.append(table)
                picture = out / f"{name}.png"
                _draw(saved, series, joints, table, stacks, picture)
                finding = saved.experiment.cohort.classes[1]
                try:
                    if results is not None:
                        results.write(files, table, finding, picture, name)
                except UserError as error:  # the predictions stand
                    reason = clean_reason(error, files, header.patient_id)
                    unwritten.append((name, header.modality, f"Predicted, but: {reason}"))
            update(done + 1, len(found.series), "")
        _write(saved, out, tables, rejected + unwritten)
    if not tables:
        raise UserError(
            f"None of the {len(rejected)} series could be predicted; {out / 'rejected.csv'} gives "
            f"the reasons. The first: {rejected[0][2]}"
        )
    console.say(
        f"{len(tables)} series predicted, {len(rejected)} refused (see rejected.csv), "
        f"{len(found.skipped)} files passed over. Probabilities are in {out / 'predictions.csv'}, "
        "one picture per series beside it."
    )
    console.say("This is research software, not a medical device.")
    if unwritten:
        raise UserError(
            f"The DICOM results of {len(unwritten)} of these series were not written or not taken "
            f"by the server; {out / 'rejected.csv'} gives the reasons. The first: {unwritten[0][2]}"
        )


@contextlib.contextmanager
def _all_or_nothing(out: Path) -> Iterator[None]:
    """The folder was empty; empty it again on the way out of a failure, so that it can be given
    a second time."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            for entry in out.iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        raise


def model_folder(workdir: Path) -> Path:
    """`workdir/model`, or `workdir` itself when it is such a folder."""
    return workdir / MODEL_NAME if (workdir / MODEL_NAME).is_dir() else workdir


def load_model(workdir: Path) -> SavedModel:
    """The ensemble that `evaluate` left in a run's folder, or in this very folder."""
    folder = model_folder(workdir)
    if not (folder / "0").is_dir():
        raise UserError(
            f"There is no trained model in {workdir}. Give the --workdir of `msk-jax evaluate`, "
            "which puts the networks of all folds together."
        )
    with Checkpoints(folder) as checkpoint:
        settings = checkpoint.settings(0, _SETTINGS)
        stage = from_json(settings["stage"], Stage, folder / "0")
        experiment = from_json(settings["experiment"], Experiment, folder / "0")
        size = experiment.cohort.region.size
        image = np.zeros((1, size, size, stage.model.num_slices), np.int16)
        like = jax.eval_shape(
            lambda: stage.model.build().init(jax.random.key(0), stage.preprocess.window(image))
        )
        # Said plainly, or the checkpoint wants as many devices as it was saved on.
        here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        like = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here),
            {name: like[name] for name in ("params", "batch_stats")},
        )
        count = settings["num_members"]
        tree = checkpoint.restore(0, {f"member_{k}": like for k in range(count)})
    return SavedModel(
        experiment,
        stage,
        settings["thresholds"],
        [tree[f"member_{k}"] for k in range(count)],
    )


def _predict_series(
    saved: SavedModel, predict, joints: dict[str, JointVolume], name: str
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Rows of all levels for one series, and its stacks by unit."""
    context, half = saved.experiment.cohort.region.context_slices, saved.stage.model.num_slices // 2
    batch_size = _BATCH_PER_DEVICE * jax.local_device_count()
    rows, stacks = [], {}
    for side, joint in joints.items():
        for k, centre in enumerate(range(context, len(joint.z_mm) - context)):
            unit_id = f"{name}/{side}/{k}"
            stacks[unit_id] = np.moveaxis(joint.voxels[centre - half : centre + half + 1], 0, -1)
            rows.append({"patient_id": name, "unit_id": unit_id, "level": "slice", "fold": 0})
    volumes = np.stack(list(stacks.values()))
    batches = [volumes[i : i + batch_size] for i in range(0, len(volumes), batch_size)]
    probabilities = np.mean(
        [predict_all(predict, member, batches, batch_size) for member in saved.members], axis=0
    )
    table = pd.DataFrame(rows).assign(label=0, prob=probabilities[:, 1].astype(np.float64))
    table = pool(
        table,
        dict.fromkeys((f"{name}/{side}" for side in joints), 0),
        {name: 0},
        joint=saved.experiment.evaluation.joint_pool,
        patient=saved.experiment.evaluation.patient_pool,
    )
    return table.assign(patient_id=name.rsplit("_", 1)[0]), stacks


def _draw(saved: SavedModel, series: Series, joints, table, stacks, path: Path) -> None:
    """The slice with the highest probability, with the heat maps of its joints."""
    slices = table[table["level"] == "slice"].sort_values("prob")
    k = int(slices["unit_id"].iloc[-1].rsplit("/", 1)[1])
    context = saved.experiment.cohort.region.context_slices
    joint_probabilities = table[table["level"] == "joint"].set_index("unit_id")["prob"]
    name, maps, words = path.stem, [], []
    for side, joint in joints.items():
        volume = stacks[f"{name}/{side}/{k}"]
        cams = [explain(saved.stage, member, volume[None])[0] for member in saved.members]
        cam = np.mean(cams, axis=0)
        place = (joint.origin_mm, joint.spacing_mm, joint.mirrored)
        maps.append(crop_plane(cam, *place, stored_side=volume.shape[0]))
        words.append(f"{side} {joint_probabilities[f'{name}/{side}']:.2f}")
    z_mm = float(joint.z_mm[context + k])
    row = round((z_mm - series.origin_mm[2]) / series.spacing_mm[2])
    slice_ = Plane(
        series.voxels[int(np.clip(row, 0, len(series.voxels) - 1))],
        (series.origin_mm[0], series.origin_mm[1]),
        (series.spacing_mm[0], series.spacing_mm[1]),
    )
    window = (saved.stage.preprocess.window_level, saved.stage.preprocess.window_width)
    title = f"{name}, z {z_mm:.1f} mm; probability of {saved.experiment.cohort.classes[1]}: "
    with replacing(path) as temporary:
        draw_overlay(slice_, maps, window, title + ", ".join(words)).savefig(temporary)


def _write(saved: SavedModel, out: Path, tables, rejected) -> None:
    if tables:
        table = pd.concat(tables)
        limits = table["level"].map(saved.thresholds).astype(float)
        # Without an operating point nobody is called healthy: the cell stays empty.
        positive = (table["prob"] >= limits).astype("Int64").where(limits.notna())
        table = table.assign(threshold=limits, positive=positive)
        with replacing(out / "predictions.csv") as temporary:
            table.drop(columns=["label", "fold"]).to_csv(temporary, index=False)
        with replacing(out / "predictions.json") as temporary:
            table.drop(columns=["label", "fold"]).to_json(temporary, orient="records", indent=1)
    with replacing(out / "rejected.csv") as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("series", "modality", "reason"))
        writer.writerows([tuple(map(csv_text, row)) for row in rejected])
