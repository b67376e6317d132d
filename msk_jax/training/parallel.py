"""All parallelism: the training and prediction step over every device of every host.

The state is replicated, the batch is split along its first axis `[devices, batch / devices, ...]`.
"""

import functools
import glob
import importlib.util
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from msk_jax.data.feed.augment import Preprocess
from msk_jax.errors import UserError
from msk_jax.training.checkpoints import meet_all_hosts
from msk_jax.training.recipe import Recipe
from msk_jax.training.step import AXIS, Batch, StepSettings, train_step
from msk_jax.training.task import TrainedTask

_ASK_SECONDS = 3.0
"""Time between two moments when hosts ask each other: some 30 s are left to one that must go."""
_ASK_STEPS = 50
"""Steps between them at most."""
_LEAVE_SECONDS = 30
"""How long a host that ends waits for the others; one that failed takes them with it then."""
_MOST_AXES = 8
"""Of answers that hosts exchange."""
_PROGRAMS = 8
"""Compiled steps that are kept for the next training of the same network, as of another seed."""


@functools.lru_cache(maxsize=_PROGRAMS)
def parallel_train_step(settings: StepSettings, devices: tuple | None = None) -> Callable:
    """`train_step` over all devices: replicated state, donated; compiled once."""

    def step(state, batch):
        return train_step(settings, state, batch)

    return jax.pmap(
        step,
        axis_name=settings.axis_name,
        in_axes=(None, 0),
        out_axes=(None, None),
        donate_argnums=(0,),
        devices=devices,
    )


@functools.lru_cache(maxsize=_PROGRAMS)
def parallel_predict(model: Any, preprocess: Preprocess, task: TrainedTask) -> Callable:
    """`(variables, volume [devices, b, h, w, slices]) -> answers [devices, b, ...]` by their name.

    Over the devices of this host alone, so that hosts may have different numbers of batches.
    """

    def predict(variables, volume):
        image = preprocess.normalise(preprocess.window(volume))
        return task.answer(*model.apply(variables, image))

    return jax.pmap(
        predict, axis_name=AXIS, in_axes=(None, 0), out_axes=0, devices=jax.local_devices()
    )


def replicate(tree: Any, devices: list[jax.Device] | None = None) -> Any:
    """A copy of every array on every device, placed as the steps return them.

    A state placed otherwise would be compiled for once more at the second step.
    """
    return jax.device_put(tree, on_every(devices or jax.devices()))


def on_every(devices: Sequence[jax.Device]) -> NamedSharding:
    """The placement of a whole array on each of these devices."""
    return NamedSharding(Mesh(np.array(devices), (AXIS,)), PartitionSpec())


def on_this_host(tree: Any) -> Any:
    """A tree replicated over the devices of all hosts, for programs of this host alone."""
    if jax.process_count() == 1:
        return tree
    return replicate(jax.device_get(tree), jax.local_devices())


def gather_rows(rows: np.ndarray) -> np.ndarray:
    """The rows `[n, ...]` of all hosts, one host's behind the other's; each may have another n.

    A host without rows gives `[0, 0]`, whatever those of others are.
    """
    if jax.process_count() == 1:
        return rows
    shape = np.ones(_MOST_AXES, np.int64)
    shape[: rows.ndim] = rows.shape
    shapes = multihost_utils.process_allgather(np.array([rows.ndim, *shape]))
    rank, *whole = shapes.max(0)
    padded = np.zeros(whole[:rank], np.float32)
    if rows.size:
        padded[tuple(map(slice, rows.shape))] = rows
    everyone = multihost_utils.process_allgather(padded)
    return np.concatenate([some[:n] for some, (_, n, *_) in zip(everyone, shapes, strict=True)])


def gather_answers(
    answers: Mapping[str, np.ndarray], names: Iterable[str]
) -> dict[str, np.ndarray]:
    """The answers `[n, ...]` of all hosts, one host's behind the other's.

    Args:
        answers: of this host, which may have had no batch and so no answer.
        names: of those that are wanted.
    """
    none = np.zeros((0, 0), np.float32)
    meet_all_hosts()
    return {name: gather_rows(answers.get(name, none)) for name in names}


def any_host(here: bool) -> bool:
    """Whether it is so on any host; all must ask."""
    return bool(gather_rows(np.array([[here]], np.float32)).any())


class AnyHost:
    """Whether it is so on any host, where all come by often and asking takes time.

    One host answers itself. Several ask each other at the same steps, every few seconds by the pace
    of the slowest.
    """

    def __init__(self):
        self._next, self._last = 0, None

    def __call__(self, here: Callable[[], bool], step: int) -> bool:
        """`step`: which time it is that all come by."""
        if jax.process_count() == 1:
            return here()
        if step < self._next:
            return False
        now, pace = time.perf_counter(), _ASK_SECONDS
        if self._last is not None:
            last_step, then = self._last
            pace = (now - then) / (step - last_step)
        asked, pace = gather_rows(np.array([[here(), pace]], np.float32)).max(0)
        self._last = step, now
        self._next = step + min(max(int(_ASK_SECONDS / max(pace, 1e-6)), 1), _ASK_STEPS)
        return bool(asked)


def on_first_host(action: Callable[[], object]) -> None:
    """Do something on the first host alone, while the others wait.

    Raises:
        UserError: on every host, when the action raises it, or cannot write, on the first.
    """
    failure = None
    if jax.process_index() == 0:
        try:
            action()
        except (UserError, OSError) as error:
            failure = error
    meet_all_hosts()
    failed = any_host(failure is not None)
    if failure is not None:
        raise failure
    if failed:
        raise UserError("The first host could not go on; it says why.")


def check_same_on_all(values: Sequence[float], what: str) -> None:
    """Raises UserError where hosts found different numbers."""
    found = gather_rows(np.array([values], np.float32))
    if (found != found[0]).any():
        raise UserError(
            f"The hosts do not find the same {what}. Give all of them the same flags and a "
            "--workdir on a disk that they share."
        )


def split_over_devices(batch: Batch, num_devices: int) -> dict[str, np.ndarray]:
    """`[n, ...]` -> `[devices, n / devices, ...]` for every array of the batch."""
    return {k: v.reshape(num_devices, -1, *v.shape[1:]) for k, v in batch.items()}


def check_batch_size(recipe: Recipe) -> None:
    """Raises UserError where a batch cannot be split evenly."""
    pieces = {f"{jax.device_count()} devices": jax.device_count()}
    if recipe.accumulate > 1:
        pieces[f"{recipe.accumulate} parts"] = recipe.accumulate
    if recipe.mixup:
        pieces["pairs to mix"] = 2
    multiple = math.prod(pieces.values())
    if recipe.batch_size % multiple:
        raise UserError(
            f"A batch of {recipe.batch_size} cannot be split evenly over {' and '.join(pieces)}. "
            f"Give a --batch-size that is a multiple of {multiple}."
        )


def predict_all(
    predict: Callable, variables: Any, batches: Iterable[np.ndarray], batch_size: int
) -> dict[str, np.ndarray]:
    """The answers `[n, ...]` for all volumes in `batches`, by their name; a short batch is padded.

    Without a batch there is no answer, and no name.

    Args:
        predict: see `parallel_predict`.
        variables: of the network.
        batches: of stored volumes.
        batch_size: of a whole batch; filled up to a multiple of this host's devices.
    """
    num_devices = jax.local_device_count()
    batch_size = -(-batch_size // num_devices) * num_devices
    results = []
    for volumes in batches:
        padded = np.zeros((batch_size, *volumes.shape[1:]), volumes.dtype)
        padded[: len(volumes)] = volumes
        batch = split_over_devices({"volume": padded}, num_devices)["volume"]
        answers = {name: np.asarray(value) for name, value in predict(variables, batch).items()}
        results.append(
            {k: v.reshape(batch_size, *v.shape[2:])[: len(volumes)] for k, v in answers.items()}
        )
    names = results[0] if results else ()
    return {name: np.concatenate([answers[name] for answers in results]) for name in names}


def join_hosts(
    coordinator: str | None = None, num_hosts: int | None = None, host: int | None = None
) -> None:
    """Become one of several processes that train together, before anything touches a device.

    On a TPU VM, and where Slurm has started several tasks, all is found in the environment;
    elsewhere the three are given. A process alone needs nothing.

    Args:
        coordinator: `host:port` of the first process, which the others can reach.
        num_hosts: how many processes there are.
        host: which of them this is, from 0.

    Raises:
        UserError: only some of the three are given, or the others were not found.
    """
    given = (coordinator, num_hosts, host)
    if any(value is not None for value in given) and None in given:
        raise UserError("Give --coordinator, --num-hosts and --host together, or none of them.")
    if coordinator is None and _slurm_tasks() < 2 and not _on_tpu_vm():
        return
    # Between processes on CPU: what jax calls gloo. Accelerators have their own.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    # SIGTERM is noted by the loop, which knows when all hosts can stop.
    jax.config.update("jax_enable_preemption_service", False)
    # Given addresses are not mixed with what Slurm says: it would hand out devices by task.
    method = None if coordinator is None else "deactivate"
    try:
        jax.distributed.initialize(
            coordinator,
            num_hosts,
            host,
            cluster_detection_method=method,
            shutdown_timeout_seconds=_LEAVE_SECONDS,
        )
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"The other hosts were not found ({str(error).splitlines()[0][:200]}). Start the same "
            "command on every host; --coordinator is the address of the first, as 10.0.0.2:8476."
        ) from error


def check_alone(verb: str) -> None:
    """Raises UserError where Slurm started the same command several times at once."""
    if _slurm_tasks() > 1:
        raise UserError(
            f"`msk-jax {verb}` is for one process, with the devices of its host. Start one task."
        )


def _slurm_tasks() -> int:
    tasks = os.environ.get("SLURM_STEP_NUM_TASKS", "").strip()
    if tasks and not tasks.isdecimal():
        raise UserError(
            f"The environment variable SLURM_STEP_NUM_TASKS is {tasks!r} and no number. Slurm sets "
            "it; unset it outside of Slurm."
        )
    return int(tasks or 1)


def _on_tpu_vm() -> bool:
    """Chips show as one or the other kind of device, by generation."""
    chips = glob.glob("/dev/accel*") or glob.glob("/dev/vfio/[0-9]*")
    return bool(chips) and importlib.util.find_spec("libtpu") is not None
