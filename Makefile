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

# A file or two of every part, which meet every package once.
SHORT := tests/test_*.py tests/data/sources/test_scan.py tests/data/build/test_builder.py tests/data/feed/test_batches.py \
	tests/training/test_checkpoints.py tests/models/weights/test_weight_files.py tests/evaluation/classes/test_roc.py \
	tests/evaluation/plots/test_plots.py tests/reports tests/verbs/test_whole_way.py

.PHONY: demo test test-all test-short test-docs clean

demo: $(VENV)/installed
	$(BIN)/msk-jax demo sacroiliitis --out demo

test: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/python -m pytest -n 2 --dist worksteal

# All tests, the slow ones too: tens of minutes.
test-all: $(VENV)/installed-test
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "slow or not slow"

# The short set alone, as for another Python: make test-short PYTHON=python3.13 VENV=.venv-3.13
test-short: $(VENV)/installed-short
	$(BIN)/python -m pytest -n 2 --dist worksteal $(SHORT)

# What README and guides tell people to type, all of it, in their order: some minutes.
test-docs: $(VENV)/installed-test
	$(BIN)/python -m pytest -m slow tests/test_documentation.py

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

# Without torch and Apache Beam: the tests that want them skip.
$(VENV)/installed-short: setup.cfg pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[test]'
	touch $(VENV)/installed $@

clean:
	rm -rf $(VENV) .venv-3.* demo .cache build dist *.egg-info
