"""Studies to records on many machines: the conversion as an Apache Beam pipeline.

The pipeline's workers convert one study after the other, as `conversion.convert` does, and leave
what they made in a folder that they share with the machine that started it. There it is read in
the order of the studies, so that the shards have the bytes of any other build.
"""

import contextlib
import functools
import io
import pickle
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from msk_jax.data.build.conversion import Converted, convert_one, load, prepare, save
from msk_jax.data.build.records import Study
from msk_jax.data.cohort.cohort import Cohort
from msk_jax.data.cohort.manifest import Manifest
from msk_jax.errors import UserError

# Beam's `DirectRunner` would first fetch another runner from the network.
LOCAL_RUNNER = "FnApiRunner"


def pipeline_options(words: Sequence[str]):
    """Beam's own options.

    Args:
        words: `name=value`, or `name` for a switch, as `runner=FlinkRunner`. Without a runner the
            pipeline runs on this machine.

    Returns:
        apache_beam.options.pipeline_options.PipelineOptions.

    Raises:
        UserError: Beam is not installed, has no such runner or refuses a value.
    """
    try:
        from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
        from apache_beam.runners.runner import create_runner
    except ImportError as error:
        raise UserError(
            "--beam needs Apache Beam, which is not installed: pip install 'msk_jax[beam]'."
        ) from error
    options = PipelineOptions([f"--{word.lstrip('-')}" for word in words])
    said = io.StringIO()
    try:
        standard = options.view_as(StandardOptions)
        standard.runner = standard.runner or LOCAL_RUNNER
        # A value of a wrong kind ends in SystemExit, after a page of usage.
        with contextlib.redirect_stderr(said):
            options.get_all_options()
        create_runner(standard.runner)
    except (Exception, SystemExit) as error:
        last = said.getvalue().strip().splitlines()[-1:]
        reason = error if isinstance(error, Exception) else " ".join(last).partition("error: ")[2]
        raise UserError(
            f"Apache Beam does not take the options {' '.join(words)!r} ({reason}). Give them as "
            "name=value, for example --beam runner=FlinkRunner flink_master=host:8081."
        ) from None
    return options


def convert_with_beam(
    studies: Sequence[Study],
    cohort: Cohort,
    manifest: Manifest,
    options: Sequence[str],
    shared: Path,
    cache: Path | None = None,
) -> Iterator[Converted]:
    """As `conversion.convert`, by a Beam pipeline.

    Args:
        studies: of the manifest; their files must be where the workers see them too.
        cohort: what to take from them.
        manifest: checked rows.
        options: see `pipeline_options`.
        shared: folder that the workers see too, for what they made.
        cache: as for `convert`; the workers must see it too.

    Raises:
        UserError: the pipeline failed, or a worker left nothing.
    """
    found = pipeline_options(options)
    if cache is not None:
        prepare(Path(cache))
    with tempfile.TemporaryDirectory(prefix=".beam-", dir=shared) as temporary:
        # A study lists hundreds of files: too much for the description of a pipeline.
        folder = Path(temporary).absolute()
        for k, study in enumerate(studies):
            files = tuple(file.absolute() for file in study.files)
            (folder / f"{k}.study").write_bytes(pickle.dumps(replace(study, files=files)))
        convert_numbered = functools.partial(
            _convert_numbered,
            folder=folder,
            cohort=cohort,
            manifest=replace(manifest, rows=()),
            cache=None if cache is None else Path(cache).absolute(),
        )
        _run(convert_numbered, len(studies), found)
        for k, study in enumerate(studies):
            made = load(folder / f"{k}.npz")
            if made is None:
                raise UserError(
                    f"The Beam pipeline ended and left nothing of study {study.pseudonym}. Give a "
                    "--data-dir on a disk that all its workers share with this machine."
                )
            yield made


def _convert_numbered(
    number: int, folder: Path, cohort: Cohort, manifest: Manifest, cache: Path | None
) -> None:
    study = pickle.loads((folder / f"{number}.study").read_bytes())
    save(folder / f"{number}.npz", convert_one(study, cohort, manifest, cache))


def _run(convert_numbered, count: int, options) -> None:
    import apache_beam as beam

    try:
        with beam.Pipeline(options=options) as pipeline:
            numbers = pipeline | "Studies" >> beam.Create(range(count)) | beam.Reshuffle()
            numbers | "Convert" >> beam.Map(convert_numbered)
    except Exception as error:
        reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise UserError(
            f"The Beam pipeline failed ({reason[0][:300]}). Its workers need msk_jax and must see "
            "the DICOM files, the --data-dir and the --cache under the same paths."
        ) from error
