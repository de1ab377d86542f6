# Two commands do everything on a fresh machine: `make demo` and `make test`.

# Many processes import the same libraries: Python keeps what it compiles, whatever the shell says.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
INSTALLED = $(VENV)/.installed

.PHONY: demo test test-all check format build serve bench clean

demo: $(INSTALLED)  ## Re-evaluate the embedded submissions and build the website into public/
	$(BIN)/certboard demo

PYTEST = $(BIN)/pytest -n auto --dist worksteal

test: $(INSTALLED)  ## Run the tests of every promise
	$(PYTEST) -m "not slow"

test-all: $(INSTALLED)  ## Run all tests: exact enumerations, browsers, workflows and scale too
	$(PYTEST)

check: $(INSTALLED)  ## Format, lint, types, submissions: what CI asks besides the tests
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/certboard check

format: $(INSTALLED)  ## Format, and mend what the linter can
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

build: $(INSTALLED)  ## Build the website from the stored results
	$(BIN)/certboard build

serve: $(INSTALLED)  ## Show the website on this machine
	$(BIN)/certboard serve

bench: $(INSTALLED)  ## Run the benchmarks
	$(BIN)/pytest tests/benchmarks --override-ini addopts= --benchmark-only

clean:  ## Remove what was generated
	rm -rf build public

# Exact versions, then the project itself without looking at its dependencies again. Python compiles
# what it imports; compiling all that is installed takes longer.
$(INSTALLED): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --requirement requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@
