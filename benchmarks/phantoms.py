"""Are the phantoms fair? What an oracle, a weak baseline and a blind guess achieve.

    python -m benchmarks.phantoms chest --patients 500
    python -m benchmarks.phantoms ao --patients 75

Minutes each on one idle core. Results are in docs/measured/phantoms.md.
"""

import time

import tyro

from msk_jax.phantoms import (
    AOSpinePhantom,
    ChestPhantom,
    FixationPhantom,
    HistologyPhantom,
    KneePhantom,
    SacroiliacPhantom,
    ThoracolumbarPhantom,
    radiograph_checks,
)
from msk_jax.phantoms.fixation import checks as fixation_checks
from msk_jax.phantoms.histology import checks as histology_checks
from msk_jax.phantoms.sacroiliac import checks as sacroiliac_checks
from msk_jax.phantoms.spine import checks as spine_checks

PHANTOMS = {
    "chest": (ChestPhantom, radiograph_checks),
    "knee": (KneePhantom, radiograph_checks),
    "sacroiliac": (SacroiliacPhantom, sacroiliac_checks),
    "spine": (ThoracolumbarPhantom, spine_checks),
    "ao": (AOSpinePhantom, spine_checks),
    "histology": (HistologyPhantom, histology_checks),
    "fixation": (FixationPhantom, fixation_checks),
}
"""What each is called here, and the checks that look at it."""

if __name__ == "__main__":
    phantom = tyro.extras.subcommand_cli_from_dict({k: kind for k, (kind, _) in PHANTOMS.items()})
    check = next(module for kind, module in PHANTOMS.values() if kind is type(phantom))
    start = time.process_time()
    figures = check.measure(phantom, workers=phantom.workers or 1)
    seconds = (time.process_time() - start) / phantom.patients
    print(", ".join(f"{name} {value:.3f}" for name, value in figures.items()))
    if not phantom.workers:
        print(f"{seconds:.2f} s of processor a patient, checks included")
