"""Prints the Pythons of this machine that are newer than the one that runs this, newest first."""

import glob
import os
import re
import subprocess
import sys

# ensurepip: without it, as in parts of Debian, no environment can be made. A preview is left out.
ASK = """
import ensurepip, sys, venv
if sys.version_info.releaselevel == "final":
    print(*sys.version_info[:3], sys.executable)
"""


def candidates() -> list[str]:
    """Programs that may be a Python: on the PATH, and where pyenv and uv put theirs."""
    home = os.path.expanduser("~")
    pyenv = os.environ.get("PYENV_ROOT", os.path.join(home, ".pyenv"))
    uv = os.environ.get("UV_PYTHON_INSTALL_DIR", os.path.join(home, ".local/share/uv/python"))
    on_path = [
        program
        for folder in os.environ.get("PATH", "").split(os.pathsep)
        for program in glob.glob(os.path.join(glob.escape(folder), "python3.*"))
        if re.fullmatch(r"python3\.\d+", os.path.basename(program))
    ]
    patterns = (
        f"{pyenv}/versions/*/bin/python3",
        f"{uv}/*/bin/python3",
        "/opt/python/*/bin/python3",
    )
    return [*on_path, *(program for pattern in patterns for program in glob.glob(pattern))]


def newer(programs: list[str], than: tuple[int, ...]) -> list[str]:
    """Those that are a newer minor version, one of each, the newest first."""
    versions: dict[tuple[int, ...], tuple] = {}
    for program in programs:
        try:
            answer = subprocess.run(
                [program, "-c", ASK], capture_output=True, text=True, timeout=60
            ).stdout.split(maxsplit=3)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if len(answer) == 4:
            *version, path = answer
            release = tuple(map(int, version))
            if release[:2] > than:
                versions[release[:2]] = max(
                    (release, path.strip()), versions.get(release[:2], ((), ""))
                )
    return [versions[key][1] for key in sorted(versions, reverse=True)]


if __name__ == "__main__":
    print(*newer(candidates(), sys.version_info[:2]), sep="\n")
