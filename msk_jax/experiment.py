"""What a published system is, in values and names; and finding one by name."""

import dataclasses
import importlib
import importlib.util
import pkgutil
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from msk_jax.data.cohort.cohort import Cohort
from msk_jax.dotted import changed
from msk_jax.errors import UserError
from msk_jax.evaluation.mrmc.settings import ReaderModel
from msk_jax.evaluation.settings import EvaluationSettings
from msk_jax.methods.estimator import Estimator
from msk_jax.methods.network import Network
from msk_jax.methods.procedures import Counts
from msk_jax.phantoms import AnyPhantom
from msk_jax.tasks.settings import AnyTask

if TYPE_CHECKING:
    from msk_jax.tasks.classification import TrainedClassification
    from msk_jax.tasks.detection import TrainedDetection

AnyMethod = Network | Estimator | Counts

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
    """Of several stages, which: its name."""
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
class Paper:
    """What is published of a system, and how a list of systems speaks of it."""

    title: str = ""
    source: str = ""
    """Citation of the paper."""
    published: tuple[Published, ...] = ()
    task: str = ""
    """What is asked, in a few words."""
    modality: str = ""
    input: str = ""
    """What the network sees, in a few words."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """One step of a system: it reads some fields of a record and adds others, `<name>.<output>`."""

    name: str
    reads: tuple[str, ...]
    """Fields of the cohort, and what stages above it add."""
    task: AnyTask
    """What is to be known."""
    method: AnyMethod
    """Who does it."""

    by_name: ClassVar[tuple[str, ...]] = ("method", "task")
    """What `dotted` looks into for a name that is none of these."""

    @property
    def trained_task(self) -> "TrainedClassification | TrainedDetection":
        """What the training of its network asks of the task."""
        return self.task.trained(self.method)


@dataclasses.dataclass(frozen=True)
class Split:
    """How patients are parted for training and tests."""

    folds: int = 5
    """Folds of the cross-validation, by patient."""
    held_out: float = 0.0
    """Share of the patients who are in no fold and are tested by the models of all folds."""
    training_site: str = ""
    """Where the patients of the folds are from: those of any other site are in no fold, and each
    site is a test set of its own. '': sites play no part."""
    trained: int | None = None
    """How many of the folds are trained and tested, the first ones: 1 is one split; None: all."""
    pool_sites: bool = False
    """Whether the patients of all external sites are a test set together too, `external`."""


@dataclasses.dataclass(frozen=True)
class Judging:
    """How a finished run is judged."""

    evaluation: EvaluationSettings = dataclasses.field(default_factory=EvaluationSettings)
    signs: Signs | None = None
    """What a heat map should show, where the cohort has masks."""
    readers: ReaderModel | None = None
    """Simulated readers of all patients of test sets, alone and with the network's help."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One published system: its cohort, its stages, how they are judged."""

    name: str
    """What the command line calls it."""
    cohort: Cohort
    """What is taken from real patients."""
    stages: tuple[Stage, ...]
    """The system as published, open choices filled in, one stage after the other."""
    paper: Paper = Paper()
    """What is published of it."""
    split: Split = Split()
    judging: Judging = Judging()
    phantom: AnyPhantom | None = None
    """Synthetic patients to try it on, as many as were published; none for a study of one's own."""
    small: Mapping[str, object] = dataclasses.field(default_factory=dict)
    """What is otherwise at a size that a laptop trains in minutes, by dotted paths, as
    `{"classify.recipe.epochs": 22}`; by default nothing."""
    choices: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Settings that the paper leaves open -> why ours is what it is."""
    address: str = ""
    """How the user named it on the command line: its name or the path of its file."""

    by_name: ClassVar[tuple[str, ...]] = ("stages",)
    """What `dotted` looks into for a name that is none of these."""

    def __post_init__(self):
        check_stages(self)
        suited = tuple(
            dataclasses.replace(stage, method=stage.task.suited(stage.method, self.cohort))
            if isinstance(stage.method, Network)
            else stage
            for stage in self.stages
        )
        object.__setattr__(self, "stages", suited)  # frozen from here on
        if self.small:  # a path that is none is said when the file is loaded
            self.at_small_size()

    def at_small_size(self) -> "Experiment":
        """The experiment at the size that a laptop trains in minutes, which has no smaller one."""
        return changed(dataclasses.replace(self, small={}), self.small)

    @property
    def network_stage(self) -> Stage | None:
        """The stage whose method is a network; None where all learn from tables."""
        return next((one for one in self.stages if isinstance(one.method, Network)), None)

    def stage(self, name: str) -> Stage:
        """The stage of a name. Raises UserError where there is none."""
        by_name = {stage.name: stage for stage in self.stages}
        if name not in by_name:
            raise UserError(f"{self.name} has no stage {name!r}; it has {', '.join(by_name)}.")
        return by_name[name]

    def with_stage(self, stage: Stage) -> "Experiment":
        """The experiment with this stage in the place of the one of its name."""
        stages = tuple(stage if one.name == stage.name else one for one in self.stages)
        return dataclasses.replace(self, stages=stages, small={})

    def synthetic(self) -> AnyPhantom:
        """Its phantom. Raises UserError where it has none."""
        if self.phantom is None:
            raise UserError(
                f"{self.name} has no phantom patients. Build it from your own images: `msk-jax "
                f"build {self.address or self.name} --help`."
            )
        return self.phantom


def check_stages(experiment: Experiment) -> None:
    """Refuse stages that cannot follow one another.

    Raises:
        UserError: no stage, a name twice or taken, a target that is no field, or something read
            that nothing above gives; the nearest name is suggested.
    """
    if not experiment.stages:
        raise UserError(f"{experiment.name} has no stages. Give at least one.")
    cohort = experiment.cohort
    taken = {field.name for field in dataclasses.fields(Experiment)}
    given = {field.name for field in cohort.fields} | set(cohort.keep)
    later = {
        f"{stage.name}.{output}": stage.name
        for stage in experiment.stages
        for output in stage.task.outputs()
    }
    names: set[str] = set()
    for stage in experiment.stages:
        if stage.name in names | taken:
            raise UserError(
                f"Two parts of {experiment.name} are called {stage.name!r}. Give each stage a name "
                "of its own, and none that a part of an experiment has."
            )
        names.add(stage.name)
        stage.task.check(cohort)
        _check_reads_of_network(stage, cohort)
        for name in stage.reads:
            if name in given:
                continue
            if name in later:
                raise UserError(
                    f"The stage {stage.name} reads {name}, which the stage {later[name]} adds only "
                    "after it: a stage reads what stands above it. Put them in the other order."
                )
            near = get_close_matches(name, given, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise UserError(
                f"The stage {stage.name} reads {name!r}, which is no field of the cohort and which "
                f"no stage above it adds.{hint}"
            )
        given |= {f"{stage.name}.{output}" for output in stage.task.outputs()}


def _check_reads_of_network(stage: Stage, cohort: Cohort) -> None:
    """Refuse a network that reads what none can: it is given the cohort's image alone."""
    if not isinstance(stage.method, Network):
        return
    image = cohort.image
    if image is None or stage.reads != (image.name,):
        has = f"the image {image.name}" if image else "no image"
        reads = ", ".join(stage.reads) or "nothing"
        raise UserError(
            f"The stage {stage.name} is a network that reads {reads}. A network reads "
            f"the image of the cohort, and {cohort.name} has {has}."
        )


@dataclasses.dataclass(frozen=True)
class Ablation:
    """What is taken away from a network to see what it was worth."""

    phantom: AnyPhantom
    """Patients on whom the difference can show."""
    num_folds: int
    """Folds of its cross-validation, by patient."""
    variants: Mapping[str, Mapping[str, object]]
    """Name -> what differs from the small system, by dotted paths of the experiment, as
    `{"classify.model.aspp": False}`; the first is the whole system."""
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
