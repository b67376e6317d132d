"""The command line: `msk-jax VERB [EXPERIMENT] [flags]`. Flags are made from dataclasses."""

import dataclasses
import errno
import os
import select
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msk_jax.errors import Stopped, UserError
from msk_jax.files import bucket_fault

if TYPE_CHECKING:
    from msk_jax.experiment import Experiment

USAGE = """msk-jax: musculoskeletal imaging AI, from DICOM to the statistics of a reader study

  msk-jax experiments                     which systems there are
  msk-jax demo EXPERIMENT                 the whole way on phantom patients, in minutes

  msk-jax phantom EXPERIMENT --out DIR    synthetic patients as DICOM series
  msk-jax build EXPERIMENT --dicom DIR --manifest CSV --data-dir DIR
                                          DICOM and labels to TFRecord shards
  msk-jax train EXPERIMENT --data-dir DIR --workdir DIR
                                          one network per fold, and what they say of
                                          every patient; run again to resume
  msk-jax evaluate EXPERIMENT --workdir DIR
                                          figures, by the predictions alone
  msk-jax evaluate --predictions FILE     figures of any model from its table
  msk-jax mrmc --ratings FILE             a reader study from its table of ratings
  msk-jax report --workdir DIR            one HTML page
  msk-jax predict --workdir DIR --dicom DIR --out DIR
                                          new patients, from the checkpoint alone
  msk-jax manifest DIR --experiment NAME  a draft of the manifest, from DICOM headers
  msk-jax deidentify DIR --out DIR        copies that name nobody
  msk-jax inspect DIR                     a page of what will be trained on
  msk-jax audit DIR --dicom DIR           whether anything built names a patient
  msk-jax fetch ADDRESS --out DIR         series from a DICOMweb server
  msk-jax ablate EXPERIMENT --out DIR     what each part is worth, over seeds
  msk-jax tpu-check EXPERIMENT            whether a training step fits a TPU slice
  msk-jax pseudonym ID [ID ...]           the pseudonyms of patient IDs

  msk-jax models                          which networks there are
  msk-jax convert torch-to-flax FILE --model NAME --out DIR
                                          weights from PyTorch, and back
  msk-jax parity [NAME ...]               the same network here and in PyTorch

`msk-jax VERB EXPERIMENT --help` explains every flag and shows that experiment's defaults.
EXPERIMENT is a name or a .py file that defines `experiment`.
"""


def main(args: Sequence[str] | None = None) -> None:
    """Run one verb. Exit status 0, or 2 with a sentence where something given cannot be used."""
    _cache_compilations()
    try:
        _dispatch(list(sys.argv[1:] if args is None else args))
    except UserError as error:
        _leave(str(error))
    except Stopped as stopped:
        print(f"msk-jax: {stopped}", file=sys.stderr)
        sys.exit(143)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _reader_left():
            # What is still buffered goes nowhere; Python would complain of it at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)  # rich ends the verbs that print by it so, without a word
        where, what = error.filename or "A file", error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS):
            _leave(
                f"{where} could not be written ({what}). Make room or give another folder, then "
                "run the same command again."
            )
        _leave(f"{where} could not be read or written ({what}). Check the path and its rights.")
    except Exception as error:
        if _is_of_device(error):
            _leave_device(error)
        refused = bucket_fault(error)
        if not refused:
            raise
        _leave(
            f"A bucket could not be read or written ({refused}). Check the address, and that this "
            "machine may use it: `gcloud auth application-default login`."
        )
    except KeyboardInterrupt:
        print("Stopped. Run the same command again to go on.", file=sys.stderr)
        sys.exit(130)


def _cache_compilations() -> None:
    """Let a verb reuse what an earlier one compiled, unless the user has set another place."""
    # Read when jax is imported, which most commands never do.
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(home / "msk_jax" / "xla")


def _is_of_device(error: Exception) -> bool:
    """Whether XLA raised it, which it cannot have before jax is imported."""
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(error, jax.errors.JaxRuntimeError)


def _leave_device(error: Exception) -> None:
    """What the device or another host refused, in a sentence; anything else is a fault of ours."""
    reason = str(error).strip().splitlines()[0][:200]
    if "RESOURCE_EXHAUSTED" in reason or "memory" in reason.lower():
        _leave(
            f"The device has too little memory ({reason}). Lower --batch-size, or give --bf16, "
            "--remat or --accumulate."
        )
    import jax

    if jax.process_count() > 1:
        _leave(f"Another host was lost ({reason}). Run the same command on all of them to go on.")
    raise error


def _reader_left() -> bool:
    """Whether nobody reads what is printed any more, as after `msk-jax ... --help | head`."""
    if not hasattr(select, "poll"):  # Windows
        return False
    pipe = select.poll()
    pipe.register(sys.stdout, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in pipe.poll(0))


def _leave(sentence: str) -> None:
    print(f"msk-jax: {sentence}", file=sys.stderr)
    sys.exit(2)


def _dispatch(args: list[str]) -> None:
    if not args or args[0] in ("-h", "--help"):
        print(USAGE)
        return
    # Only now: whoever asks for no more than that need not wait for what reads flags.
    import tyro

    from msk_jax import experiment as catalogue
    from msk_jax.flags import plain, study

    verb, rest = args[0], args[1:]
    if verb in plain.VERBS:
        tyro.cli(plain.VERBS[verb], args=rest, prog=f"msk-jax {verb}").run()
        return
    for (name, flag), cls in plain.BY_FLAG.items():
        if verb == name and any(word.split("=")[0] == flag for word in rest):
            tyro.cli(cls, args=rest, prog=f"msk-jax {verb}").run()
            return
    if verb not in study.VERBS:
        known = ", ".join([*study.VERBS, *plain.VERBS])
        raise UserError(f"There is no verb {verb!r}. The verbs are: {known}.")
    if not rest or rest[0].startswith("-"):
        if {"-h", "--help"} & set(rest):
            rest = [catalogue.names()[0], *rest]
        else:
            raise UserError(
                f"Name the experiment: `msk-jax {verb} EXPERIMENT ...`; there is "
                f"{', '.join(catalogue.names())}."
            )
    # What is printed as the next command must find the experiment again, also by its file.
    found = dataclasses.replace(catalogue.load(rest[0]), address=rest[0])
    cls = study.VERBS[verb]
    default = _defaults(cls, found, small="--small" in rest)
    tyro.cli(cls, args=rest[1:], default=default, prog=f"msk-jax {verb} {rest[0]}").run(found)


def _defaults(cls: type, experiment: "Experiment", small: bool):
    """The verb's flags with the experiment's own values."""
    import tyro

    stage = experiment.small if small else experiment.stage
    own = {
        "evaluation": experiment.evaluation,
        "model": stage.model,
        "preprocess": stage.preprocess,
        "recipe": stage.recipe,
        "before": stage.before,
    }
    values = {}
    for field in dataclasses.fields(cls):
        if field.name == "phantom":
            values[field.name] = experiment.synthetic()
        elif field.name in own:
            values[field.name] = own[field.name]
        elif field.default is dataclasses.MISSING:
            values[field.name] = tyro.MISSING
    return cls(**values)
