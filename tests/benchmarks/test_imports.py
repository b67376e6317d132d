"""Every benchmark can be started: what it imports is there."""

import importlib
import pkgutil

import pytest

import benchmarks

NAMES = [module.name for module in pkgutil.iter_modules(benchmarks.__path__)]


@pytest.mark.parametrize("name", NAMES)
def test_what_it_imports_is_there(name, need):
    if name in ("models", "training"):
        need("torch", "monai")
    assert importlib.import_module(f"benchmarks.{name}").__doc__
