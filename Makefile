# Everything a newcomer needs. Each target sets up what it needs first.
#   make site    evaluate and build the site (SENDAP_DATA=folder for real data, else synthetic; PILOTS=--all for all)
#   make test    run the tests
#   make lab     open the notebooks in JupyterLab
PYTHON ?= python3
BIN := .venv/bin
RUNS := runs
SITE := _site
JOBS ?= 2
PILOTS ?= CP SV

.PHONY: site test lab check lint bench calibration known-effects lock spark clean help
.DEFAULT_GOAL := help

help:
	@sed -n 's/^#   //p' Makefile

.venv/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed. Name one: make PYTHON=/path/to/python3 ..." >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

site: .venv/ready
	$(BIN)/sendap run $(PILOTS) --runs-dir $(RUNS) --jobs $(JOBS)
	$(BIN)/sendap publish --runs-dir $(RUNS) --out $(SITE)

test: .venv/ready
	$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile
	@echo "All tests passed. What was skipped, and why, is listed above."

lab: .venv/ready
	@echo "JupyterLab opens in the browser. The notebooks run by hand with their defaults (pilot CP)."
	$(BIN)/jupyter lab notebooks

check: .venv/ready lint
	$(BIN)/sendap check

lint: .venv/ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check

# The floor, ours and other packages at 1, 10 and 50 million records. Takes long; 3 GB of disk, 12 GB of memory.
# Stopped and run again, it goes on where it was. What it finds is what the page on speed shows.
BENCH := benchmarks/results
bench: .venv/ready $(BENCH)/peers/ready
	$(BIN)/python benchmarks/run.py --peers $(BENCH)/peers/bin/python --publish benchmarks/results.json

# Programmes that never happened, on real figures (SENDAP_DATA=folder): hours. Stopped and run again, it goes on.
TRIALS ?= 400
calibration: .venv/ready
	$(BIN)/python -m benchmarks.calibration.run --data-dir $(or $(SENDAP_DATA),data) --trials $(TRIALS) --jobs $(JOBS)

# Synthetic records with a planted effect, by the designs of four pilots: an hour. Stopped and run again, it goes on.
SEEDS ?= 200
known-effects: .venv/ready
	$(BIN)/python -m benchmarks.known_effects.run --seeds $(SEEDS) --jobs $(JOBS)

# Peers that can't share an environment with sendap.
$(BENCH)/peers/ready: benchmarks/requirements.txt
	$(PYTHON) -m venv $(BENCH)/peers
	$(BENCH)/peers/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

# Spark in local mode, for --engine spark and its tests. Needs Java 17.
spark: .venv/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-spark.lock

# The locks hold hashes and no address, so that they work behind any mirror.
lock:
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --extra test --extra build pyproject.toml --output-file requirements.lock
	echo 'pyspark>=4.0' | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --constraint requirements.lock - --output-file requirements-spark.lock

clean:
	rm -rf $(SITE) pages $(RUNS)
