"""`python -m msk_jax`."""

from msk_jax.cli import main

main()
