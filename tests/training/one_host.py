"""One of several processes that share the steps of `test_parallel`; see `test_hosts`."""

import os
import signal
import sys
from pathlib import Path

import jax
import numpy as np

from msk_jax.errors import UserError
from msk_jax.training import parallel
from msk_jax.training.checkpoints import Checkpoints
from msk_jax.training.validation import Interrupted, until_asked
from msk_jax.training.watch import noting_sigterm
from tests.training.test_parallel import batches, settings, start

STEPS = 3


def main(coordinator: str, num_hosts: int, host: int, out: Path) -> None:
    parallel.join_hosts(coordinator, num_hosts, host)
    assert (jax.process_count(), jax.process_index()) == (num_hosts, host)
    step = parallel.parallel_train_step(settings())
    state, losses = parallel.replicate(start(settings())), []
    for batch in batches(STEPS):
        size = len(batch["label"]) // num_hosts
        mine = {name: rows[host * size : (host + 1) * size] for name, rows in batch.items()}
        state, metrics = step(state, parallel.split_over_devices(mine, jax.local_device_count()))
        losses.append(float(metrics["loss"]))
    rows = parallel.gather_rows(np.full((host + 1, 2), host, np.float32))
    kept = parallel.on_this_host(state.params)["head"]["kernel"]
    assert kept.sharding.device_set == set(jax.local_devices())
    stopped = _stop_one_and_count(host, num_hosts)
    validated = _stop_one_in_a_validation(host, num_hosts)
    assert _fails_everywhere(host)
    _keep_two_folders(out.parent)
    state = jax.device_get(state)
    leaves = jax.tree.leaves({"params": state.params, "batch_stats": state.batch_stats})
    found = {"losses": losses, "rows": rows, "kept": kept}
    np.savez(out, *leaves, **found, stopped=stopped, validated=validated)


def _keep_two_folders(folder: Path) -> None:
    """The last and the best checkpoint are written at once, each by a thread of its own.

    The first host writes; the others wait for both, so it should take a while.
    """
    large = {str(k): np.random.default_rng(k).random(2**20) for k in range(8)}
    with Checkpoints(folder / "last") as last, Checkpoints(folder / "best") as best:
        for step in (1, 2, 3):
            last.save(step, large, {})
            best.save(step, large, {})
    with Checkpoints(folder / "last") as last, Checkpoints(folder / "best") as best:
        assert last.latest() == best.latest() == 3


def _stop_one_and_count(host: int, num_hosts: int) -> int:
    """At which step all hosts stop when the last of them, and no other, is told to."""
    with noting_sigterm() as asked:
        for step in range(1, 10):
            if step == 5 and host == num_hosts - 1:
                os.kill(os.getpid(), signal.SIGTERM)
            if parallel.any_host(asked()):
                return step
    raise AssertionError("nobody stopped")


def _stop_one_in_a_validation(host: int, num_hosts: int) -> int:
    """How many of its batches each host gets when the last one is told to stop in round 2; the
    first has no batches left by then."""
    seen = []
    with noting_sigterm() as asked:
        try:
            for batch in until_asked(range(2 * host), 9, lambda _: parallel.any_host(asked())):
                seen.append(batch)
                if batch == 2 and host == num_hosts - 1:
                    os.kill(os.getpid(), signal.SIGTERM)
        except Interrupted:
            return len(seen)
    raise AssertionError("nobody stopped")


def _fails_everywhere(host: int) -> bool:
    """What the first host cannot do, and numbers that hosts do not share, are faults for all."""

    def refuse():
        assert host == 0
        raise UserError("no room")

    for fault in (
        lambda: parallel.on_first_host(refuse),
        lambda: parallel.check_same_on_all([1, host == 0], "things"),
    ):
        try:
            fault()
        except UserError:
            continue
        return False
    parallel.on_first_host(lambda: None)
    parallel.check_same_on_all([1, 2], "things")
    return True


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
