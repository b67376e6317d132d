"""The command line: `msk-jax VERB [EXPERIMENT] [flags]`, and the sentence where it cannot go on.

What is heavy is imported when a verb is known, so that an import that this machine does not allow
ends in a sentence too.
"""

import os
import select
import sys
import traceback
from collections.abc import Sequence

from msk_jax import environment
from msk_jax.errors import Stopped, UserError
from msk_jax.files import bucket_fault

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
    words = list(sys.argv[1:] if args is None else args)
    try:
        environment.prepare()
        if not words or words[0] in ("-h", "--help"):
            print(USAGE)
            return
        _dispatch()(words)
    except UserError as error:
        _leave(str(error))
    except Stopped as stopped:
        print(f"msk-jax: {stopped}", file=sys.stderr)
        sys.exit(143)
    except BrokenPipeError as error:
        if not _reader_left():
            _leave(environment.system_fault(error))
        # What is still buffered goes nowhere; Python would complain of it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)  # rich ends the verbs that print by it so, without a word
    except Exception as error:
        sentence = _sentence(error, words)
        if not sentence:
            raise
        _leave(sentence)
    except KeyboardInterrupt:
        print("Stopped. Run the same command again to go on.", file=sys.stderr)
        sys.exit(130)


def _dispatch():
    """The verbs, loaded."""
    from msk_jax.flags.dispatch import dispatch

    environment.keep_compilations()
    return dispatch


def _sentence(error: Exception, words: Sequence[str]) -> str:
    """What a person can do about it; "" where it is a fault of ours."""
    jax = sys.modules.get("jax")
    if jax is not None and isinstance(error, jax.errors.JaxRuntimeError):
        sentence = _device_refused(error)
    elif refused := bucket_fault(error):
        sentence = (
            f"A bucket could not be read or written ({refused}). Check the address, and that this "
            "machine may use it: `gcloud auth application-default login`."
        )
    else:
        sentence = environment.system_fault(error, words)
    if not sentence and jax and isinstance(error, RuntimeError | AssertionError):
        # JAX looks for its devices when they are first used, anywhere.
        sentence = environment.device_fault()
    if not sentence and isinstance(error, RuntimeError | ValueError) and _came_of_loading(error):
        reason = (str(error).strip().splitlines() or [""])[0][:200]
        return (
            f"A Python package cannot be loaded ({type(error).__name__}: {reason}). If that names "
            "an environment variable or the value of one, as OMP_NUM_THREADS, mend or unset it; "
            "else install msk_jax again with all that it needs."
        )
    return sentence


def _came_of_loading(error: Exception) -> bool:
    """Whether a package of others could not be loaded, as JAX at a variable of its own. A file with
    an experiment, which belongs to no package, is its author's to mend."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    packages = [frame.f_globals.get("__package__") or "" for frame in frames]
    ours = [i for i, name in enumerate(packages) if name.partition(".")[0] == "msk_jax"]
    first = max(ours, default=0) + 1
    return any(
        name and frame.f_code.co_name == "<module>"
        for name, frame in zip(packages[first:], frames[first:], strict=True)
    )


def _device_refused(error: Exception) -> str:
    """What the device or another host refused, in a sentence."""
    import jax

    reason = str(error).strip().splitlines()[0][:200]
    if "RESOURCE_EXHAUSTED" in reason or "memory" in reason.lower():
        return (
            f"The device has too little memory ({reason}). Lower --batch-size, or give --bf16, "
            "--remat or --accumulate."
        )
    if jax.process_count() > 1:
        return f"Another host was lost ({reason}). Run the same command on all of them to go on."
    return ""


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
