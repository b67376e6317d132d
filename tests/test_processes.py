"""Processes that work for another end with it."""

import subprocess
import sys

from tests.conftest import REPOSITORY

PROGRAM = """
import time
from msk_jax.processes import processes
with processes(1) as pool:
    print(pool.submit(abs, -1).result(), flush=True)
    pool.submit(time.sleep, 300)
"""


def test_a_process_ends_when_the_one_it_works_for_is_killed():
    command = [sys.executable, "-c", PROGRAM]
    starter = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    assert starter.stdout.readline() == "1\n"
    starter.kill()
    # The worker holds the other end of the pipe as long as it lives.
    rest, _ = starter.communicate(timeout=60)
    assert rest == ""
