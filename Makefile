# The same words here, in the README and in CI. `make run` and `make test` are all that a new machine needs.
SHELL := /bin/sh
VENV ?= .venv
# The first interpreter that is new enough; say `make PYTHON=/path/to/python3.12 ...` to choose another.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PYTEST_ARGS ?=
# Half as many again as processors: live tests wait for other programs about a third of their time.
WORKERS ?= $(shell n=$$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN); echo $$((n + n / 2)))
XDIST := -n $(WORKERS) --dist worksteal
# For `make fuzz`: which decoders (all by default), up to how many executions each; it goes on where it stopped.
DECODER ?=
RUNS ?= 10000000
ARGS ?=

.PHONY: run test lint types imports lowest pytest interop bench fuzz docs release-check format peers clean

run: $(VENV)/.installed-run
	@exec $(BIN)/grid-sandbox $(ARGS)

test: peers lint types imports lowest pytest

peers:
	@tests/install-peers

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-test
	$(BIN)/mypy

imports: $(VENV)/.installed-test
	$(BIN)/lint-imports

pytest: $(VENV)/.installed-test
	$(BIN)/pytest $(XDIST) $(PYTEST_ARGS)

# The pure suites once more, with the lowest versions that pyproject.toml admits. What a crash leaves is no matter of those.
lowest: $(VENV)-lowest/.installed
	$(VENV)-lowest/bin/pytest -q $(XDIST) -p no:cacheprovider tests/unit tests/wire tests/contract \
		--ignore=tests/contract/test_repository_crashes.py

interop: $(VENV)/.installed-test
	$(BIN)/pytest $(XDIST) tests/interop $(PYTEST_ARGS)

bench: $(VENV)/.installed-test
	$(BIN)/python bench/run.py $(ARGS)

fuzz: $(VENV)/.installed-test
	$(BIN)/python -m tests.fuzz.run $(DECODER) --runs $(RUNS)

# Man pages and completions, which are committed, and the site, which is not.
docs: $(VENV)/.installed-test
	$(BIN)/python -m gsi.cli.manual docs
	$(BIN)/sphinx-build -q -n -W -j auto -d build/doctrees docs build/docs
	@echo "the documentation is in build/docs/index.html"

# The files of a release, of the last commit; docs/development/release.md says what comes before and after.
release-check: $(VENV)/.installed-test
	$(BIN)/python deploy/release.py build build/release

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(VENV)-lowest build .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer found; install one or say PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "make: $(PYTHON) is not Python 3.11 or newer; say PYTHON=/path/to/another" >&2; exit 1; }
	@echo "creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { echo "make: cannot create a virtual environment; on Debian: apt-get install python3-venv" >&2; exit 1; }

$(VENV)/.installed-run: pyproject.toml | $(VENV)/bin/python
	@echo "installing gsi-toolkit with the extras of the servers"
	@$(PIP_INSTALL) -e '.[server,portal,saml,tokens]'
	@touch $@

$(VENV)/.installed-test: pyproject.toml | $(VENV)/bin/python peers
	@echo "installing gsi-toolkit with every extra and the test tools"
	@$(PIP_INSTALL) -e '.[all,test]'
	@touch $@ $(VENV)/.installed-run

$(VENV)-lowest/.installed: pyproject.toml tests/lowest.txt | $(VENV)/bin/python
	@echo "installing gsi-toolkit with the lowest versions that it admits"
	@$(PYTHON) -m venv $(VENV)-lowest
	@$(VENV)-lowest/bin/python -m pip install --quiet --disable-pip-version-check -c tests/lowest.txt \
		-e '.[all]' cryptography-vectors pyotp pytest pytest-xdist pytest-timeout hypothesis jsonschema pexpect
	@touch $@
