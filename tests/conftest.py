"""Four pretended devices, a compile cache, and one tiny cohort for all tests."""

import contextlib
import fcntl
import gc
import importlib
import importlib.util
import json
import os
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from msk_jax.environment import xla_refusal
from msk_jax.errors import UserError
from msk_jax.files import write_json

REPOSITORY = Path(__file__).resolve().parent.parent
CHECKOUT = REPOSITORY / "tests" / "checkout"


def _take_own_experiments() -> None:
    """Those beside these tests, where another checkout's are installed, or none."""
    found = importlib.util.find_spec("msk_jax.experiments")
    if found is None or Path(found.origin).parent != REPOSITORY / "experiments":
        importlib.import_module("tests.checkout.sitecustomize")
        places = [str(CHECKOUT), str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, places))


_take_own_experiments()


def _taken(*flags: str) -> list[str]:
    """Those flags that this jaxlib takes, which is asked once: XLA ends the process at others."""
    answers = REPOSITORY / ".cache" / f"xla_flags_{version('jaxlib')}.json"
    try:
        refusals = json.loads(answers.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        refusals = {}
    new = {flag: xla_refusal(flag) for flag in flags if flag not in refusals}
    if new:
        refusals |= new
        with contextlib.suppress(OSError, UserError):  # then it is asked anew next time
            answers.parent.mkdir(parents=True, exist_ok=True)
            write_json(answers, refusals)
    return [flag for flag in flags if not refusals[flag]]


# Read when jax and TensorFlow load, so set before anything imports them.
# Tiny networks are compiled for longer than they run: without optimisation and in one piece each,
# that takes less than half the time.
os.environ["XLA_FLAGS"] = " ".join(
    [
        "--xla_force_host_platform_device_count=4",
        *_taken(
            "--xla_backend_optimization_level=0",
            "--xla_cpu_use_fusion_emitters=false",
            "--xla_cpu_parallel_codegen_split_count=1",
        ),
    ]
)
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(REPOSITORY / ".cache" / "xla"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")

import pytest  # noqa: E402

# Traced programs are millions of objects that live on: looking for garbage among them after every
# 700 new ones would take a quarter of the time.
gc.set_threshold(200_000, 50, 1000)

_MOST_MEMORY = 3 * 2**30

TINY = str(REPOSITORY / "tests" / "tiny_experiment.py")
TINY_SPINE = str(REPOSITORY / "tests" / "tiny_spine.py")


@pytest.fixture(scope="module", autouse=True)
def bounded_memory():
    """Compiled programs of earlier files are forgotten where gigabytes have gathered."""
    yield
    status = Path("/proc/self/statm")
    if (
        status.exists()
        and int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") > _MOST_MEMORY
    ):
        import jax

        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="session")
def tiny():
    """The tiny experiment."""
    from msk_jax.experiment import load

    return load(TINY)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """`made_once(name, make)`: the folder that `make(folder)` fills, by one worker for all."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent

    def folder(name: str, make: Callable[[Path], None]) -> Path:
        with open(root / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (root / f"{name}.made").exists():
                make(root / name)
                (root / f"{name}.made").touch()
        return root / name

    return folder


@pytest.fixture(scope="session")
def phantom_cohort(made_once, tiny) -> Path:
    """Folder of nine phantom patients."""
    from msk_jax.phantoms import write_cohort

    return made_once("cohort", lambda folder: write_cohort(folder, tiny.phantom))


@pytest.fixture(scope="session")
def shards(made_once, tiny, phantom_cohort) -> Path:
    """Folder of their shards."""
    from msk_jax.data.build.builder import build_cohort

    dicom, manifest = phantom_cohort / "dicom", phantom_cohort / "manifest.csv"
    return made_once(
        "shards",
        lambda folder: build_cohort(
            tiny.cohort, dicom, manifest, folder, num_folds=tiny.split.folds
        ),
    )


@pytest.fixture(scope="session")
def spine_cohort(made_once) -> Path:
    """Folder of sixteen phantom spines."""
    from msk_jax.experiment import load
    from msk_jax.phantoms import write_cohort

    return made_once("spines", lambda folder: write_cohort(folder, load(TINY_SPINE).phantom))


@pytest.fixture(scope="session")
def spine_shards(made_once, spine_cohort) -> Path:
    """Folder of their shards."""
    from msk_jax.data.build.builder import build_cohort
    from msk_jax.experiment import load

    tiny = load(TINY_SPINE)
    dicom, manifest = spine_cohort / "dicom", spine_cohort / "manifest.csv"
    return made_once(
        "spine_shards",
        lambda folder: build_cohort(
            tiny.cohort,
            dicom,
            manifest,
            folder,
            num_folds=tiny.split.folds,
            held_out=tiny.split.held_out,
        ),
    )


@pytest.fixture(scope="session")
def spine_run(made_once, spine_shards, tmp_path_factory) -> Path:
    """A trained and evaluated workdir of theirs; each worker has its own copy."""
    from tests.verbs.conftest import verb

    def make(workdir: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("msk_jax.study.heat_maps._PER_KIND", 1)
            verb("train", TINY_SPINE, "--data-dir", spine_shards, "--workdir", workdir)
        verb("evaluate", TINY_SPINE, "--workdir", workdir)

    made = made_once("spine_run", make)
    return shutil.copytree(made, tmp_path_factory.mktemp("spine_run") / "run")


@pytest.fixture(scope="session")
def need():
    """`need("timm")`: skips where a reference is missing, without importing it.

    torchvision without its compiled part cannot be imported before `parity.references` has been
    at work.
    """

    def check(*packages: str) -> None:
        for package in packages:
            if importlib.util.find_spec(package) is None:
                pytest.skip(f"{package} is the reference and is not installed")

    return check
