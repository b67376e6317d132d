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
    KneePhantom,
    SacroiliacPhantom,
    ThoracolumbarPhantom,
    checks,
    radiograph_checks,
    thoracolumbar_checks,
)

PHANTOMS = {
    "chest": (ChestPhantom, radiograph_checks),
    "knee": (KneePhantom, radiograph_checks),
    "sacroiliac": (SacroiliacPhantom, checks),
    "spine": (ThoracolumbarPhantom, thoracolumbar_checks),
    "ao": (AOSpinePhantom, thoracolumbar_checks),
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
