# Each target is a line or two a person could type. `make demo` and `make test` need only Python 3.11+.
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv pip
IN_TWO := -n 2 --dist loadfile --no-loadscope-reorder
BENCHMARKS := treeshap serving served policy collections record features real history horizons models binning loading
RELIABILITY := tamper powercut hostile drain bundles kill loading

.PHONY: demo test explore coverage lint docs notebooks run-notebooks bench reliability lock env env-dev clean

demo: env                  ## the main job, end to end, in demo/
	$(BIN)/obligor demo

test: env-dev              ## the whole gate
	$(MAKE) -j 2 --output-sync=target lint docs
	$(BIN)/python -m pytest $(IN_TWO)

explore: env-dev           ## the property tests on examples that are new each time
	HYPOTHESIS_PROFILE=explore $(BIN)/python -m pytest -q $(IN_TWO) tests/property

coverage: env-dev          ## branch coverage; the tracer takes 1.8 times as long
	$(BIN)/python -m pytest $(IN_TWO) --cov --cov-report=term

lint: env-dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

docs: env-dev              ## the documentation, in docs/_build/html
	$(BIN)/sphinx-build -q -W -j 2 -b html docs docs/_build/html

notebooks: env-dev         ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks

run-notebooks: env-dev     ## run the notebooks and store their outputs
	$(BIN)/python docs/_ext/run_notebooks.py notebooks/*.ipynb

bench: env-dev             ## every benchmark, with its bars
	for name in $(BENCHMARKS); do $(BIN)/python benchmarks/$$name.py --json || exit 1; done

reliability: env-dev       ## kills under load; minutes
	for name in $(RELIABILITY); do $(BIN)/python reliability/$$name.py --json || exit 1; done
	$(BIN)/python reliability/kill.py --postgres --json

lock:                      ## exact versions for Python 3.11 to 3.13; add --upgrade to move them
	$(UV) compile pyproject.toml --universal --python-version 3.11 --no-annotate --no-emit-index-url \
	  --custom-compile-command "make lock" -o requirements.lock
	$(UV) compile --group dev --universal --python-version 3.11 --no-annotate --no-emit-index-url \
	  --custom-compile-command "make lock" -c requirements.lock -o requirements-dev.lock

env: $(VENV)/.runtime
env-dev: $(VENV)/.dev

$(VENV)/bin/uv:
	$${PYTHON:-python3} -m venv $(VENV) && $(BIN)/python -m pip install -q uv==0.13.9

$(VENV)/.runtime: requirements.lock pyproject.toml | $(VENV)/bin/uv
	$(UV) install --compile-bytecode -r requirements.lock && $(UV) install --no-deps -e . && touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	$(UV) install --compile-bytecode -r requirements-dev.lock && touch $@

clean:
	rm -rf $(VENV) demo store report docs/_build
