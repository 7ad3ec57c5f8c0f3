# `make demo` and `make test` are all the set-up there is: either one makes .venv, with everything in it, when it is
# missing or older than what it is made from. PYTHON=/path/to/python names the interpreter to start from.

VENV := .venv
BIN := $(VENV)/bin
CLIENTS := $(VENV)-clients/bin
INSTALLED := $(VENV)/.installed
SOURCES := modeling_hyenadna datasets_dart datasets_hyenadna evaluation_dart trainer_scripts hyenadna_dart studies \
    benchmarks hub_kernels leaderboard model_cards docs install spaces tests

# Two test processes with one thread each: on two cores quicker than one process with two threads.
TEST_ENV := OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false

# Of make records
RUNS := results/runs

.PHONY: clients demo pretrain-demo docs docs-links test tutorials test-transformers try-space try-wheel wheels reliability tables data records check lint types contract clean

demo: $(INSTALLED)
	$(BIN)/hyenadna demo

# The demo checkpoint's recipe at small scale, on the bundled sample or on GENOME=genome.fa; STEPS, OUTPUT to change.
pretrain-demo: $(INSTALLED)
	$(BIN)/python -m studies.pretraining_demo --output $(or $(OUTPUT),results/pretrain-demo) \
	    $(if $(GENOME),--genome $(GENOME)) $(if $(STEPS),--steps $(STEPS)) $(DEMO_FLAGS)

test: test-transformers
	$(TEST_ENV) $(BIN)/pytest -n 2

# transformers' shared tests; with CHECKOUT=transformers, a checkout, those of generation (of the same version, of export) too.
test-transformers: $(INSTALLED)
	$(TEST_ENV) $(BIN)/python tests/transformers_suite/run.py $(if $(CHECKOUT),--checkout $(CHECKOUT))

# Tests of the tools of docs/with_other_tools.md, in an environment that has all of them; writes that page's table.
# CARBON, BIOFOUNDATION, TRAITGYM: checkouts, for tests/clients/test_benchmarks.py.
clients: $(INSTALLED)
	test -x $(CLIENTS)/python || $(BIN)/python -m venv $(VENV)-clients
	$(CLIENTS)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,clients]'
	$(TEST_ENV) $(CLIENTS)/python tests/clients/run.py

# The demo Space (spaces/try-hyenadna) in Chromium, in an environment with Gradio; writes benchmarks/results/space.json.
try-space: $(INSTALLED)
	test -x $(VENV)-space/bin/python || $(BIN)/python -m venv $(VENV)-space
	$(VENV)-space/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,space]'
	$(TEST_ENV) $(VENV)-space/bin/python -m tests.spaces.run

# dist/: the sdist, a pure wheel, and wheels with the compiled library for the machines that can be compiled for here.
wheels: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[wheels]'
	$(BIN)/python install/wheels.py

# The wheel of this machine in an empty environment, outside of the checkout; writes benchmarks/results/wheel.json.
try-wheel: wheels
	$(BIN)/python install/try_wheel.py

# Every command, stopped before every one of its file operations and said again; writes docs/reliability.md. Hours; goes
# on where it was stopped (what is done is in results/reliability). MOST=40: of a command and a fault at most so many.
reliability: $(INSTALLED)
	$(TEST_ENV) $(BIN)/python tests/reliability/run.py $(if $(MOST),--most $(MOST))

# The tables of README.md and docs/, and the leaderboard, from the records in docs/records, leaderboard/records and
# benchmarks/results.
tables: $(INSTALLED)
	$(BIN)/python -m studies.tables
	$(BIN)/python -m studies.pretraining_memory
	$(BIN)/python leaderboard/build.py

# The inputs of the studies, fetched and checked.
data: $(INSTALLED)
	$(BIN)/python -m studies.fetch $(or $(DATA),real-data)

# Those records anew, for instance with another demo checkpoint, by runs on DATA, the folder of real data (make data
# DATA=folder fetches it): two to three hours on two cores. Goes on where it was killed.
records: $(INSTALLED)
	@test -d "$(DATA)" || { echo "make records DATA=folder: the folder of real data (studies/README.md)" >&2; exit 2; }
	set -e; for runs in real_data real_supervised real_downstream real_variants; do \
	    $(BIN)/python -m studies.$$runs --data $(DATA) --output $(RUNS)/$$runs; done
	$(BIN)/python -m studies.real_attribution --data $(DATA) --output $(RUNS)/attribution --record docs/records/attribution
	$(BIN)/python -m studies.audit --data $(DATA)
	$(BIN)/python -m studies.seen_before --data $(DATA) --work $(RUNS)/seen_before
	$(BIN)/python -m studies.tables --take $(RUNS)/real_data --take-supervised $(RUNS)/real_supervised \
	    --take-downstream $(RUNS)/real_downstream/runs/small
	rm -rf leaderboard/records
	$(BIN)/dart-eval report $(RUNS)/real_data $(RUNS)/real_supervised --output $(RUNS)/report --leaderboard leaderboard
	$(MAKE) tables

# The tutorials, run from top to bottom and kept with what they print; TUTORIALS names some of them.
tutorials: $(INSTALLED)
	$(BIN)/python docs/run_tutorials.py $(TUTORIALS)

# The pages as a site in docs/_build; docs-links also asks the addresses elsewhere, and so needs the network.
docs: $(INSTALLED)
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

docs-links: $(INSTALLED)
	$(BIN)/python -m sphinx -b linkcheck docs docs/_build/links

check: lint types contract

lint: $(INSTALLED)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

types: $(INSTALLED)
	$(BIN)/mypy

contract: $(INSTALLED)
	$(BIN)/lint-imports

$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	@set -e; \
	suitable='import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))'; \
	for python in $(or $(PYTHON),python3.11 python3.12 python3 python3.13); do \
	    "$$python" -c "$$suitable" 2>/dev/null && break || python=; \
	done; \
	test -n "$$python" || { echo "no Python 3.11 or 3.12 with its venv module (Debian: python3-venv) among" \
	    "$(or $(PYTHON),python3.11 python3.12 python3 python3.13); name one with make PYTHON=/path/to/python" >&2; exit 1; }; \
	echo "installing into $(VENV): once, a few minutes"; \
	test -x $(BIN)/python || "$$python" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info build dist
