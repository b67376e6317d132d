"""What the machine lends a command: a terminal, XLA's flags, devices, folders for caches.

Nothing here loads JAX before it is asked for devices: XLA ends the process at a flag that it does
not know, so its flags are tried before.
"""

import errno
import functools
import logging
import os
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

from msk_jax.errors import UserError

_TRY_FLAGS = "from jaxlib import xla_client; xla_client.make_cpu_client()"
_TRY_SECONDS = 120
_COMPILATIONS = "JAX_COMPILATION_CACHE_DIR"


def prepare() -> None:
    """Make this process fit to run a verb, whatever its terminal, home and flags are.

    Raises:
        UserError: XLA would end the process at `XLA_FLAGS`.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, as by `>&-`
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        stream = getattr(sys, name)
        # A letter that the terminal does not have is shown by its number.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    refusal = xla_refusal(os.environ.get("XLA_FLAGS", ""))
    if refusal:
        raise UserError(
            f"XLA does not take the environment variable XLA_FLAGS ({refusal}). Take the flag out "
            "of it: flags come and go with the version of JAX."
        )
    # Figures become files, so that no window is needed, nor what a notebook has set.
    os.environ["MPLBACKEND"] = "agg"
    logger = logging.getLogger("msk_jax")
    logger.handlers, logger.propagate = [_Notes()], False
    # Where there is no folder for its caches, matplotlib takes a temporary one and says so.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)


class _Notes(logging.Handler):
    """What the library notes, as lines for the person at the keyboard, each once in a command."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self._said = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Print the sentence of a record."""
        sentence = record.getMessage()
        if sentence not in self._said:
            self._said.add(sentence)
            print(sentence, file=sys.stderr)


@functools.cache
def xla_refusal(flags: str) -> str:
    """Why this machine's XLA does not start with these `XLA_FLAGS`, in its words; "" if it does.

    The library is asked, in a process of its own (0.2 s): names of flags stand in it that it no
    longer takes.
    """
    if not flags.strip():
        return ""
    environment = {**os.environ, "XLA_FLAGS": flags, "TF_CPP_MIN_LOG_LEVEL": "2"}
    words = [sys.executable, "-c", _TRY_FLAGS]
    try:
        trial = subprocess.run(
            words,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TRY_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""  # not asked, so nothing is known against them
    if trial.returncode == 0:
        return ""
    lines = trial.stderr.splitlines()
    about_flags = [line for line in lines if "parse_flags" in line or "command_line_flags" in line]
    if not about_flags:
        return ""
    # As glog prints it: "F1201 09:13:24.688057   11917 parse_flags_from_env.cc:234] Unknown ..."
    return re.sub(r"^\w\d{4} \S+ +\d+ \S+\] ", "", about_flags[0]).strip()[:200]


def keep_compilations() -> None:
    """Let a verb reuse what an earlier one compiled, where a folder takes it.

    The folder is JAX_COMPILATION_CACHE_DIR if the user has set it, else
    XDG_CACHE_HOME/msk_jax/xla, else ~/.cache/msk_jax/xla. A cache that cannot be kept or read is
    none: everything is compiled anew.
    """
    loaded = sys.modules.get("jax")
    stated = loaded.config.jax_compilation_cache_dir if loaded else os.environ.get(_COMPILATIONS)
    folder = stated or _compilations_folder()
    if folder is not None and "://" not in str(folder) and not _takes_files(Path(folder)):
        folder = None
    # Read when jax is imported, which most commands never do.
    os.environ.pop(_COMPILATIONS, None)
    if folder is not None:
        os.environ[_COMPILATIONS] = str(folder)
    if loaded:
        kept = None if folder is None else str(folder)
        loaded.config.update("jax_compilation_cache_dir", kept)
    # Entries that are damaged, or that no longer find room, are said once per program.
    # A program of half a second is worth keeping too: a single film waits for several of them.
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
    for doing in ("reading", "writing"):
        warnings.filterwarnings("ignore", f"Error {doing} persistent compilation cache entry")


def home() -> Path | None:
    """The user's home; None for a user of whom the machine knows none, as in a container."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def _compilations_folder() -> Path | None:
    caches = os.environ.get("XDG_CACHE_HOME")
    if not caches and (known := home()) is not None:
        caches = known / ".cache"
    return Path(caches) / "msk_jax" / "xla" if caches else None


def _takes_files(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def check_devices() -> None:
    """Raises UserError where JAX finds no device to compute on."""
    fault = device_fault()
    if fault:
        raise UserError(fault)


def device_fault() -> str:
    """What keeps JAX from its devices, in a sentence; "" where it has some."""
    import jax

    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        wanted = jax.config.jax_platforms
        reason = (str(error).strip().splitlines() or ["none is there"])[0]
        reason = reason.partition(" (set JAX_PLATFORMS")[0][:200]
        asked = f"JAX_PLATFORMS is {wanted!r}, and JAX" if wanted else "JAX"
        return (
            f"{asked} finds no such device on this machine ({reason}). Set JAX_PLATFORMS=cpu to "
            "compute on the processor; a GPU or TPU needs its driver and its own JAX, as pip "
            'install -U "jax[cuda13]" or "jax[tpu]".'
        )
    return ""


def system_fault(error: Exception, words: Sequence[str] = ()) -> str:
    """What the machine lacks, in a sentence; "" where the error is of another kind.

    Args:
        error: what a verb ended with.
        words: of its command line.
    """
    if unsaid := _not_encoded(error, words):
        return (
            f"The name {unsaid} has bytes that are no letters in this locale and cannot be passed "
            "on. Set PYTHONUTF8=1, or rename the file or folder."
        )
    if isinstance(error, MemoryError):
        return f"This machine has too little memory ({error or 'none is left'})."
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return (
            "This machine lets no more threads start. Raise the limit (ulimit -u) or end other "
            "programs."
        )
    if isinstance(error, ImportError) and not (error.name or "").startswith("msk_jax"):
        return (
            f"A Python package cannot be loaded ({error}). Install it, or msk_jax again with all "
            "that it needs."
        )
    if isinstance(error, OSError):
        return _file_fault(error)
    return ""


def _not_encoded(error: BaseException | None, words: Sequence[str]) -> str:
    """The text that could not become UTF-8, of this error or of one that it came from.

    TensorFlow's own errors do not say which: then a word of the command line that cannot either.
    """
    in_tensorflow = isinstance(error, ValueError) and "unicode" in str(error)
    while error is not None:
        if isinstance(error, UnicodeEncodeError) and "surrogates" in error.reason:
            return error.object
        error = error.__cause__ or error.__context__
    return next((w for w in words if in_tensorflow and re.search("[\ud800-\udfff]", w)), "")


def _file_fault(error: OSError) -> str:
    where, what = error.filename or "A file", error.strerror or str(error)
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return f"Too many files are open at once ({where}). Raise the limit, as ulimit -n 4096."
    if error.errno == errno.ENOENT and "temporary directory" in what:
        return f"{what}. Set the environment variable TMPDIR to a folder that takes files."
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS):
        elsewhere = "give another folder"
        if error.filename is None:
            elsewhere += " (for temporary files set TMPDIR)"
        return (
            f"{where} could not be written ({what}). Make room or {elsewhere}, then run the same "
            "command again."
        )
    return f"{where} could not be read or written ({what}). Check the path and its rights."
