# Two commands do everything on a machine with Python 3.11+, git and make: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo test check docs browser reliability reliability-release clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt | $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable . --group dev --group docs
	touch $@

# Where venv has no pip of its own (Debian without python3-venv), the system's pip or uv fills the environment.
$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "covary needs Python 3.11 or newer; call make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || $(PYTHON) -m venv --clear --without-pip $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv 2>/dev/null \
	  || $(PYTHON) -m pip --python $(BIN)/python install --quiet --disable-pip-version-check uv \
	  || uv pip install --quiet --python $(BIN)/python uv \
	  || { echo "$(PYTHON) brings no pip; install one of pip, python3-venv (Debian), uv, and run make again" >&2; exit 1; }

demo: setup
	$(BIN)/python examples/demo.py

check: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup

# The site, strictly: any warning fails. It begins at build/docs/index.html.
docs: setup
	$(BIN)/sphinx-build -W --keep-going -n -q -c docs . build/docs
	@echo build/docs/index.html

# Chromium, in which two rows open the report; a row that lacks it says so and fails.
browser:
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null \
	  || apt-get install -y --no-install-recommends chromium chromium-driver >/dev/null 2>&1 \
	  || { apt-get update && apt-get install -y --no-install-recommends chromium chromium-driver; } >/dev/null 2>&1 \
	  || echo "chromium and chromedriver are missing and cannot be installed here: rows D7 and D8 will fail" >&2

# Faults injected and counted, mutants caught: reports/reliability.json and the README's table, or OUT=FOLDER alone.
reliability: setup browser
	$(BIN)/python -m reliability $(if $(OUT),--out $(OUT))

reliability-release: setup browser
	$(BIN)/python -m reliability --tier release

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache
