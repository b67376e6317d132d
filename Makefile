# Two commands do everything on a machine that has Python 3.11 or newer and make:
#   make demo   phantom patients -> shards -> training -> report
#   make test   the whole test suite

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# What is imported is kept compiled, whatever the environment says of it: without that every process
# compiles TensorFlow anew, for ten seconds.
export PYTHONDONTWRITEBYTECODE :=
# Modules are compiled as they are imported: most never are.
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile
# The parity tests compare with these. Elsewhere the tests that need them skip and say so.
TORCH ?= torch==2.13.0
TORCHVISION ?= torchvision==0.28.0
REFERENCES ?= $(TORCHVISION) 'timm>=1.0.20,<2' 'monai>=1.6,<1.7'

.PHONY: demo test clean

demo: $(VENV)/installed
	$(BIN)/msk-jax demo sacroiliitis --out demo

test: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/python -m pytest -n 2 --dist worksteal

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; try make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: setup.cfg setup.py pyproject.toml | $(BIN)/python
	$(PIP) --editable .
	touch $@

# All at once is faster; without Apache Beam, or torch, where there is none for this machine.
$(VENV)/installed-test: setup.cfg setup.py pyproject.toml | $(BIN)/python
	$(PIP) --only-binary apache-beam --editable '.[test,beam]' '$(TORCH)' \
		|| $(PIP) --editable '.[test]' '$(TORCH)' || $(PIP) --editable '.[test]'
	-$(PIP) --no-deps $(REFERENCES)
	touch $(VENV)/installed $@

clean:
	rm -rf $(VENV) demo .cache build dist *.egg-info
