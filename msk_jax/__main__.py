"""`python -m msk_jax`."""

from msk_jax.cli import main

if __name__ == "__main__":
    main()
