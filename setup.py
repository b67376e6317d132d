"""The packages; all else is in setup.cfg, which can look for packages in one place only."""

from setuptools import find_packages, setup

_EXPERIMENTS = find_packages(include=["experiments", "experiments.*"])

setup(
    packages=[
        *find_packages(include=["msk_jax", "msk_jax.*"]),
        *(f"msk_jax.{package}" for package in _EXPERIMENTS),
    ]
)
