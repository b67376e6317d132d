"""Are the radiograph phantoms fair? What an oracle, a weak baseline and a blind guess achieve.

    python -m experiments.benchmarks.phantoms chest --patients 500
    python -m experiments.benchmarks.phantoms knee --patients 333

About four minutes each on one idle core. Results are in BUILD_NOTES.md.
"""

import time

import tyro

from msk_jax.phantoms.chest import ChestPhantom
from msk_jax.phantoms.knee import KneePhantom
from msk_jax.phantoms.radiograph_checks import measure

if __name__ == "__main__":
    phantom = tyro.extras.subcommand_cli_from_dict({"chest": ChestPhantom, "knee": KneePhantom})
    start = time.process_time()
    figures = measure(phantom, workers=phantom.workers or 1)
    seconds = (time.process_time() - start) / phantom.patients
    print(", ".join(f"{name} {value:.3f}" for name, value in figures.items()))
    if not phantom.workers:
        print(f"{seconds:.2f} s of processor a patient, checks included")
