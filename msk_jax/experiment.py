"""What a published system is, in values and names; and finding one by name."""

import dataclasses
import importlib
import importlib.util
import pkgutil
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from msk_jax.data.cohort.cohort import Cohort
from msk_jax.data.feed.augment import Preprocess
from msk_jax.dotted import changed
from msk_jax.errors import UserError
from msk_jax.evaluation.mrmc.settings import ReaderModel
from msk_jax.evaluation.settings import EvaluationSettings
from msk_jax.models import NetworkConfig
from msk_jax.phantoms import AnyPhantom
from msk_jax.training.logistic_model import LogisticModel
from msk_jax.training.recipe import Phase, Recipe

if TYPE_CHECKING:
    import flax.linen as nn

    from msk_jax.tasks.classification import Classification

# The folder experiments/ as it is installed: nobody's own package of that name is taken for it.
_PACKAGE = "msk_jax.experiments"


@dataclasses.dataclass(frozen=True)
class Published:
    """A figure as the paper prints it."""

    name: str
    """Its name, as in `metrics.json`: `sensitivity`, `specificity`, `validation_accuracy`."""
    value: float
    """The figure, 0 to 1."""
    level: str
    """What was counted: one of the cohort's levels, or `not stated`."""
    note: str = ""
    """What a reader must know to compare."""
    model: str = ""
    """Of several models, which: `image` or the name of one in `Experiment.beside`."""
    test_set: str = ""
    """Of several test sets, which of ours stands for it."""
    readers: str = ""
    """Of a reader study, whose: `network`, or a group and how it read, as `junior aided`."""


@dataclasses.dataclass(frozen=True)
class Signs:
    """What masks of the cohort mark, and a heat map should show."""

    name: str
    """What it is, in the plural or without a number."""
    codes: tuple[int, ...] = ()
    """Labels of the masks that count; all above 0 where there are none."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """One trained part of a system."""

    model: NetworkConfig
    """The network."""
    preprocess: Preprocess
    """From stored values to its input."""
    recipe: Recipe
    """How it is trained."""
    before: tuple[Phase, ...] = ()
    """What is trained before, one phase after the other, as in staged transfer."""

    def check(self) -> None:
        """Raises UserError where the recipe or a phase has a field that cannot be what it is."""
        for recipe in (*(phase.of(self.recipe) for phase in self.before), self.recipe):
            recipe.check()

    @property
    def task(self) -> "Classification":
        """What the network learns."""
        from msk_jax.tasks.classification import Classification

        return Classification.of(self.recipe, self.model.num_classes)

    def network(self, axis_name: str | None = None) -> "nn.Module":
        """The Flax module, in the precision that it is trained and used in."""
        import jax.numpy as jnp

        dtype = jnp.bfloat16 if self.recipe.bf16 else None
        return self.model.build(axis_name=axis_name, dtype=dtype)


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One published system: its cohort, its network, its training, its evaluation."""

    name: str
    """What the command line calls it."""
    cohort: Cohort
    """What is taken from real patients."""
    stage: Stage
    """The system as published, open choices filled in."""
    small: Mapping[str, object] = dataclasses.field(default_factory=dict)
    """What is otherwise at a size that a laptop trains in minutes, by dotted paths, as
    `{"stage.recipe.epochs": 22}`; by default nothing."""
    title: str = ""
    task: str = ""
    modality: str = ""
    input: str = ""
    """What the network sees, in a few words."""
    source: str = ""
    """Citation of the paper."""
    phantom: AnyPhantom | None = None
    """Synthetic patients to try it on, as many as were published; none for a study of one's own."""
    num_folds: int = 5
    """Folds of the cross-validation, by patient."""
    held_out: float = 0.0
    """Share of the patients who are in no fold and are tested by the networks of all folds."""
    demo_patients: int = 0
    """Phantom patients of the demo."""
    evaluation: EvaluationSettings = dataclasses.field(default_factory=EvaluationSettings)
    published: tuple[Published, ...] = ()
    choices: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Settings that the paper leaves open -> why ours is what it is."""
    beside: tuple[LogisticModel, ...] = ()
    """Models of the patients' table that are fitted and judged beside the network."""
    pool_sites: bool = False
    """Whether the patients of all external sites are a test set together too, `external`."""
    signs: Signs | None = None
    """What a heat map should show, where the cohort has masks."""
    readers: ReaderModel | None = None
    """Simulated readers of all patients of test sets, alone and with the network's help."""
    address: str = ""
    """How the user named it on the command line: its name or the path of its file."""

    def __post_init__(self):
        if self.small:  # a path that is none is said when the file is loaded
            self.at_small_size()

    def at_small_size(self) -> "Experiment":
        """The experiment at the size that a laptop trains in minutes, which has no smaller one."""
        return changed(dataclasses.replace(self, small={}), self.small)

    @property
    def small_stage(self) -> Stage:
        """The stage at the size that a laptop trains in minutes."""
        return self.at_small_size().stage

    def synthetic(self) -> AnyPhantom:
        """Its phantom. Raises UserError where it has none."""
        if self.phantom is None:
            raise UserError(
                f"{self.name} has no phantom patients. Build it from your own images: `msk-jax "
                f"build {self.address or self.name} --help`."
            )
        return self.phantom


@dataclasses.dataclass(frozen=True)
class Ablation:
    """What is taken away from a network to see what it was worth."""

    phantom: AnyPhantom
    """Patients on whom the difference can show."""
    num_folds: int
    """Folds of its cross-validation, by patient."""
    variants: Mapping[str, Mapping[str, object]]
    """Name -> what differs from the small system, by dotted paths of the experiment, as
    `{"stage.model.aspp": False}`; the first is the whole system."""
    changes: Mapping[str, object] = dataclasses.field(default_factory=dict)
    """What all variants have otherwise than the small system."""


def names() -> list[str]:
    """All experiments, by the name of their file.

    Raises:
        UserError: they are not there, as in a checkout that is not installed.
    """
    if importlib.util.find_spec(_PACKAGE) is None:
        raise UserError(
            "The published systems are not installed with this msk_jax. In a checkout of it run "
            "`pip install --editable .`."
        )
    folder = importlib.import_module(_PACKAGE).__path__
    return sorted(module.name for module in pkgutil.iter_modules(folder) if not module.ispkg)


def load(name: str) -> Experiment:
    """The experiment of a name, or of a Python file that defines `experiment`.

    Raises:
        UserError: no such name (the nearest is suggested) or the file defines none.
    """
    if name.endswith(".py"):
        module = _from_file(Path(name))
    elif name in names():
        module = importlib.import_module(f"{_PACKAGE}.{name}")
    else:
        near = get_close_matches(name, names(), n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UserError(
            f"There is no experiment called {name!r}.{hint} `msk-jax experiments` lists them all."
        )
    found = getattr(module, "experiment", None)
    if not isinstance(found, Experiment):
        raise UserError(f"{name} does not define `experiment = Experiment(...)`.")
    return found


def load_ablation(name: str) -> Ablation:
    """The ablation of an experiment, from `experiments/ablations/`.

    Raises:
        UserError: the experiment has none.
    """
    if importlib.util.find_spec(f"{_PACKAGE}.ablations.{name}") is None:
        raise UserError(f"The experiment {name!r} has no ablation in experiments/ablations/.")
    return importlib.import_module(f"{_PACKAGE}.ablations.{name}").ablation


def _from_file(path: Path):
    if not path.is_file():
        raise UserError(f"There is no experiment file at {path}.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
