"""Several processes on this machine, as hosts of one training."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np

from tests.conftest import REPOSITORY, TINY
from tests.training.one_host import STEPS
from tests.training.test_parallel import run_steps
from tests.verbs.conftest import verb


def address() -> str:
    """Of a free port of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def start_process(arguments, num_devices):
    """A process of this Python with so many pretended devices."""
    flags = [f for f in os.environ["XLA_FLAGS"].split() if "device_count" not in f]
    flags.append(f"--xla_force_host_platform_device_count={num_devices}")
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=REPOSITORY,
        env=os.environ | {"XLA_FLAGS": " ".join(flags)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_four_hosts_agree_with_one_device(tmp_path):
    """Eight devices in four processes: losses, parameters, batch-norm statistics."""
    num_hosts, coordinator = 4, address()
    files = [tmp_path / f"{host}.npz" for host in range(num_hosts)]
    hosts = [
        start_process(
            ["tests.training.one_host", coordinator, str(num_hosts), str(host), str(file)],
            num_devices=2,
        )
        for host, file in enumerate(files)
    ]
    outputs = [process.communicate(timeout=240)[0] for process in hosts]
    assert [process.returncode for process in hosts] == [0] * num_hosts, outputs
    state, losses = run_steps(1, STEPS)
    expected = jax.tree.leaves({"params": state.params, "batch_stats": state.batch_stats})
    found = [np.load(file) for file in files]
    for host, arrays in enumerate(found):
        np.testing.assert_allclose(arrays["losses"], losses, rtol=1e-5)
        for i, value in enumerate(expected):
            np.testing.assert_allclose(arrays[f"arr_{i}"], value, rtol=1e-4, atol=1e-5)
        # Each host gave one row more than the one before; all have them all.
        rows = [h for h in range(num_hosts) for _ in range(h + 1)]
        np.testing.assert_array_equal(arrays["rows"][:, 0], rows, err_msg=str(host))
    # One was told to stop, and all did at the same step.
    assert len({int(arrays["stopped"]) for arrays in found}) == 1
    assert int(found[0]["stopped"]) == 5
    # In a validation too, of which each has another number of batches.
    assert [int(arrays["validated"]) for arrays in found] == [0, 2, 3, 3]


def _newest(checkpoints):
    """The last step that is saved whole; 0 without any."""
    saved = [path.parent.name for path in checkpoints.glob("*/_CHECKPOINT_METADATA")]
    return max((int(name) for name in saved if name.isdigit()), default=0)


def _wait_for_checkpoint(hosts, checkpoints, after):
    """Till one is saved whole that is beyond the step `after`."""
    deadline = time.time() + 240
    while _newest(checkpoints) <= after and time.time() < deadline:
        assert all(process.poll() is None for process in hosts), hosts[0].communicate()[0]
        time.sleep(0.01)


def test_hosts_stop_together_are_killed_and_fewer_devices_go_on(shards, tmp_path):
    """Two hosts with four devices each; then this process with its four is all that is left."""
    workdir = tmp_path / "run"
    last = workdir / "fold_0" / "last"
    command = [
        "train",
        TINY,
        "--data-dir",
        str(shards),
        "--workdir",
        str(workdir),
        "--fold",
        "0",
        "--checkpoint-every",
        "2",
        "--epochs",
        "40",
        "--patience",
        "40",
        "--no-aspp",
        "--no-rfpn",
    ]

    def start():
        given = ["msk_jax", *command, "--coordinator", address(), "--num-hosts", "2", "--host"]
        return [start_process([*given, str(host)], num_devices=4) for host in range(2)]

    # The cloud takes one machine back and tells it so: both save, and leave within its 30 s.
    hosts = start()
    _wait_for_checkpoint(hosts, last, after=0)
    hosts[1].send_signal(signal.SIGTERM)
    outputs = [process.communicate(timeout=30)[0] for process in hosts]
    assert [process.returncode for process in hosts] == [143, 143], outputs
    stopped = _newest(last)
    assert stopped >= 2
    # They go on from there. Then one is gone without a word; a pod slice that misses a host is
    # taken down whole.
    hosts = start()
    _wait_for_checkpoint(hosts, last, after=stopped)
    hosts[1].send_signal(signal.SIGKILL)
    hosts[0].send_signal(signal.SIGKILL)
    for process in hosts:
        process.communicate()
    assert not (workdir / "fold_0" / "finished.json").exists()
    done = _newest(last)
    assert done > stopped
    settings = workdir / "settings.json"
    shorter = json.loads(settings.read_text())
    shorter["stages"]["classify"]["method"]["recipe"]["epochs"] = epochs = done // 3 + 2
    settings.write_text(json.dumps(shorter))
    command[command.index("40")] = str(epochs)
    verb(*command)
    finished = json.loads((workdir / "fold_0" / "finished.json").read_text())
    assert finished["steps"] == 3 * epochs
    rows = (workdir / "fold_0" / "history.csv").read_text().splitlines()[1:]
    assert [int(row.split(",")[1]) for row in rows[::2]] == list(range(1, epochs + 1))
