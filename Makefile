# Two commands: `make demo` shows what the tool does, `make test` proves it. Both set up what they need in .venv.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
TASK := azure-pipelines-task

# If the environment forbids compiled files, each of a hundred processes would compile the SDKs again.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo test test-all lint types contracts unit coverage worlds contract bench bench-memory profile image-test task lint-workflows fuzz soak soak-status mutation conformance browser picture audit lock clean

help:  ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/runtime.done  ## Run the whole job on an embedded registry and two embedded clusters.
	@$(RUN) -m acr_cleanup demo

test: $(VENV)/dev.done  ## Check style, types and layering, and run the tests that show each promise broken (2 minutes).
	@$(MAKE) --no-print-directory --jobs 4 --output-sync=target lint types contracts unit

# Without Docker or Node, the parts that need them are skipped with a message.
test-all: $(VENV)/dev.done  ## Run everything else too: all tests with coverage floors, more worlds and faults, memory, image, task (40 minutes).
	@$(MAKE) --no-print-directory lint types contracts
	@if $(NODE_20) && command -v npm >/dev/null; then $(MAKE) --no-print-directory task; \
	  else echo "make task: skipped: it needs Node 20 or newer and npm; node is `node --version 2>/dev/null || echo missing`."; fi
	@$(MAKE) --no-print-directory conformance image-test bench-memory worlds coverage

NODE_20 = node -e 'process.exit(process.versions.node.split(".")[0] < 20 ? 1 : 0)' 2>/dev/null

lint: $(VENV)/dev.done
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/ruff format --quiet --check .

types: $(VENV)/dev.done
	@$(VENV)/bin/mypy --no-error-summary

contracts: $(VENV)/dev.done
	@$(VENV)/bin/lint-imports --no-logo >$(VENV)/contracts.log || { cat $(VENV)/contracts.log; exit 1; }

# One worker more than cores, because some tests wait. A worker without tests takes tests from the others.
TESTS = $(RUN) -m pytest -q -n $$((`getconf _NPROCESSORS_ONLN` + 1)) --dist worksteal

# Derandomised: the same examples in every run.
unit: $(VENV)/dev.done
	@$(TESTS) -m "not image and not extended"

# Random examples: a failure prints how to reproduce it.
coverage: $(VENV)/dev.done
	@$(TESTS) --hypothesis-profile=random --cov --cov-report=term:skip-covered --cov-fail-under=95
	@$(RUN) -m coverage report --include='acr_cleanup/core/*' --fail-under=100 >$(VENV)/core.log \
	  || { cat $(VENV)/core.log; echo "Every line and branch of the core must be covered."; exit 1; }

# The same worlds in every run: a failure is then caused by a change. SEED=2 makes the next 500. `make soak` looks for new ones.
worlds: SEED := $(or $(SEED),1)
worlds: $(VENV)/dev.done
	@echo "500 generated worlds (SEED=$(SEED)), 50 races, every 21st fault:"
	@ACR_CLEANUP_SEED=$$((10 * $(SEED) - 9)) ACR_CLEANUP_WORLDS=500 ACR_CLEANUP_RACES=50 ACR_CLEANUP_EVERY_FAULT=21 \
	  $(TESTS) -p no:cacheprovider tests/scenarios/test_many_worlds.py tests/scenarios/test_interleaved.py tests/scenarios/test_standing_looks.py tests/scenarios/test_faults.py

# Goes on where the last part ended (build/soak). SEED, WORLDS, RACES, MINUTES: see tests/soak.py.
soak: $(VENV)/dev.done  ## Test the rule on 20,000 generated worlds, with races and a fault at every call, in parts of an hour.
	@$(RUN) -m tests.soak

soak-status: $(VENV)/dev.done
	@$(RUN) -m tests.soak --status

contract: $(VENV)/dev.done  ## Compare action.yml, task.json, schemas and documentation with the code; UPDATE_CONTRACT=1 writes them.
	@$(RUN) -m pytest -q --no-header -p no:cacheprovider tests/settings/test_contract.py tests/entries/test_task.py tests/records/test_schemas.py

# Without atheris, only the first half runs, and a message says so.
FUZZ_EXAMPLES ?= 3000
FUZZ_SECONDS ?= 60
fuzz: $(VENV)/further.done  ## Try thousands of malformed documents, then inputs that coverage chooses (FUZZ_EXAMPLES, FUZZ_SECONDS for each property).
	@FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) $(TESTS) --timeout 3600 --hypothesis-show-statistics tests/fuzz >$(VENV)/fuzz.log 2>&1 \
	  || { cat $(VENV)/fuzz.log; exit 1; }
	@tail -n 1 $(VENV)/fuzz.log
	@$(RUN) -m tests.fuzz $(FUZZ_SECONDS)

# Works on copies in mutants/ and continues from the results of the last run; `make clean` removes both. ONLY=acr_cleanup.core.space*
# selects a part, SAMPLE=20 so many changes of each module; AGAIN=1 tries those again that no test noticed; JOBS and SECONDS limit the cost.
mutation: $(VENV)/further.done  ## Change the code that decides and deletes in thousands of small ways; list the changes that no test notices (ONLY, SAMPLE, AGAIN, JOBS, SECONDS).
	@mkdir -p mutants
	@PYTHONHASHSEED=0 $(RUN) -m tests.mutation $(ONLY)

# docs/emulator.md says what each of them compares. Recordings are required if they are there.
CONFORMANCE = $(wildcard tests/emulator/test_*conformance.py tests/emulator/*/test_conformance.py tests/emulator/*/test_recordings.py)
conformance: $(VENV)/sdks.done  ## Compare the emulated Azure with descriptions, recordings, captured answers and the models of the SDKs.
	@ACR_CLEANUP_REQUIRE_SDKS=1 $(RUN) -m pytest -q --no-header -p no:cacheprovider $(CONFORMANCE)

audit: $(VENV)/further.done  ## Look for known vulnerabilities in installed packages (needs the network).
	@.github/audit.sh $(CURDIR)/$(VENV)/bin

browser: $(VENV)/further.done  ## Test report.html in the Chromium of the system.
	@$(RUN) -m pytest -q --no-header -p no:cacheprovider -m extended tests/reports/test_html_browser.py

picture: $(VENV)/dev.done  ## Make the pictures of README.md from the demo (needs Chromium).
	@$(RUN) -m tests.picture

bench: $(VENV)/dev.done  ## Measure the claims about speed and size, compared with the plain ways of doing it.
	@$(RUN) -m tests.bench

bench-memory: $(VENV)/dev.done
	@$(RUN) -m tests.bench Size

profile: $(VENV)/dev.done  ## Show what costs the most CPU in a plan and in an apply.
	@$(RUN) -m tests.bench.profiling

image-test: $(VENV)/ci.done  ## Build the image, run it, and run a whole workflow with it (needs Docker, or ../shared/tools).
	@tests/image/run.sh $(CURDIR)/$(RUN)

task: $(VENV)/dev.done $(TASK)/node_modules/.package-lock.json  ## Test and pack the Azure Pipelines task (needs Node 20 or newer).
	@cd $(TASK) && npm test --silent && npm run --silent package
	@ACR_CLEANUP_REQUIRE_TASK=1 $(RUN) -m pytest -q --no-header -p no:cacheprovider tests/entries/test_task.py tests/entries/test_vsix.py tests/entries/test_task_run.py

lint-workflows: $(VENV)/ci.done  ## Check action.yml, workflows and Dockerfiles with the published schemas and linters.
	@.github/lint.sh $(CURDIR)/$(VENV)/bin

lock:  ## Write the lock files anew from pyproject.toml (needs uv).
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q -o requirements/runtime.lock
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q -c requirements/runtime.lock -o requirements/dev.lock
	uv pip compile pyproject.toml --group dev --group conformance --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q -c requirements/dev.lock -o requirements/conformance.lock
	uv pip compile pyproject.toml --group dev --group ci --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q -c requirements/dev.lock -o requirements/ci.lock
	uv pip compile pyproject.toml --group dev --group further --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q -c requirements/ci.lock -o requirements/further.lock

clean:  ## Remove the environment and everything that was generated.
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage acr-cleanup bench-results mutants build
	rm -rf $(TASK)/node_modules $(TASK)/build $(TASK)/dist

# Debian has a separate package for venv. As root it is installed here; otherwise a message says how.
$(RUN):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "acr-cleanup needs Python 3.11 or newer; $(PYTHON) is `$(PYTHON) --version`. Set PYTHON=..." >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { [ "`id -u`" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null; } \
	  || { echo "Python cannot make environments here. Run: sudo apt-get install python3-venv" >&2; exit 2; }
	@echo "Setting up $(VENV) ..."
	@rm -rf $(VENV) && $(PYTHON) -m venv $(VENV)

$(VENV)/runtime.done: requirements/runtime.lock | $(RUN)
	@$(RUN) -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes --no-deps -r requirements/runtime.lock
	@touch $@

$(VENV)/dev.done: requirements/dev.lock | $(RUN)
	@$(RUN) -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes --no-deps -r requirements/dev.lock
	@touch $@ $(VENV)/runtime.done

$(VENV)/ci.done: requirements/ci.lock | $(RUN)
	@$(RUN) -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes --no-deps -r requirements/ci.lock
	@touch $@ $(VENV)/dev.done $(VENV)/runtime.done

# 22 MB, which only `make test-all` needs.
$(VENV)/sdks.done: requirements/conformance.lock $(VENV)/dev.done | $(RUN)
	@$(RUN) -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes --no-deps -r requirements/conformance.lock
	@touch $@

$(VENV)/further.done: requirements/further.lock $(VENV)/ci.done | $(RUN)
	@$(RUN) -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes --no-deps -r requirements/further.lock
	@touch $@

# No install scripts: of these packages, only the commands that the task's own scripts call may run.
$(TASK)/node_modules/.package-lock.json: $(TASK)/package-lock.json
	@$(NODE_20) \
	  || { echo "The task needs Node 20 or newer, and npm; node is `node --version 2>/dev/null || echo not there`." >&2; exit 2; }
	@cd $(TASK) && npm ci --loglevel error --no-audit --no-fund --ignore-scripts
	@touch $@
