"""Makes a checkout's own experiments `msk_jax.experiments`, though another one is installed.

An editable install knows the folders of one checkout. Of any other, as a git worktree that shares
the environment, Python finds `msk_jax` by PYTHONPATH, but its experiments, which lie outside that
package, still in the first:

    PYTHONPATH=.:tests/checkout msk-jax experiments

The tests do so by themselves, also for the processes that they start.
"""

import sys
from importlib.util import spec_from_file_location
from pathlib import Path

NAME = "msk_jax.experiments"
FOLDER = Path(__file__).resolve().parents[2] / "experiments"


class Finder:
    """Finds the one package; what it holds is then found in its folder."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        """Its spec, or None for any other name."""
        if name != NAME:
            return None
        folders = [str(FOLDER)]
        return spec_from_file_location(
            name, FOLDER / "__init__.py", submodule_search_locations=folders
        )


sys.meta_path.insert(0, Finder)
