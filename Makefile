# Two commands set up what they need (see scripts/setup): `make demo` and `make test`.
VENV ?= .venv
BIN := $(VENV)/bin
# One more than two cores: tests wait for emulators and serial lines.
PYTEST_WORKERS ?= 3

.PHONY: demo test clean

demo: $(VENV)/.demo
	$(BIN)/tinygen demo -o build/demo

test: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist worksteal

$(VENV)/.demo: pyproject.toml scripts/setup
	scripts/setup $(VENV) demo

$(VENV)/.test: pyproject.toml scripts/setup
	scripts/setup $(VENV) test

clean:
	rm -rf build $(VENV)
