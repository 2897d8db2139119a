# Needs make and Python 3.11 or newer; everything else is set up in .venv by the first run.
#   make demo      the page on the embedded checkpoint, at http://127.0.0.1:7860
#   make test      the tests (ARGS="-k name" chooses some; WORKERS=4 takes four processes)
#   make space SPACE=owner/name   uploads what is committed to a Hugging Face Space (after `hf auth login`)
#   make previews  the moving previews and the videos of the examples, which the page shows
#   make train-smoke   all stages of training, tiny, on two processes
#   make lint      what continuous integration checks;  make format  puts it right

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3.11 python3; do $$p -c '' 2>/dev/null && echo $$p && break; done)
PIP := $(BIN)/python -m pip --disable-pip-version-check
SOURCES := requirements.txt pyproject.toml
WORKERS ?= 2

# Installs Debian packages where this user may without being asked for a password; fails otherwise.
SUDO := $(if $(filter 0,$(shell id -u)),,sudo -n)
apt_install = $(SUDO) apt-get update -qq && \
	$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $(1) >/dev/null

.PHONY: demo test space previews train-smoke lint format clean

demo: $(VENV)/.installed
	$(BIN)/python app.py

# Each worker takes whole files, for fixtures are shared by the tests of a file, and one core. MKL adds in the same order
# wherever arrays lie in memory, so that training that was taken up can be compared with training that was not.
test: $(VENV)/.installed-dev $(VENV)/.browser
	OMP_NUM_THREADS=1 MKL_CBWR=AVX2,STRICT $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

# Only what is committed goes up: no checkpoints, no recordings, no secrets that lie about.
space: $(VENV)/.installed
	@[[ "$(SPACE)" == */* ]] || { echo "Name the Space: make space SPACE=owner/name" >&2; exit 1; }
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	git archive HEAD | tar -x -C "$$folder" && \
	$(BIN)/hf repos create $(SPACE) --type space --sdk gradio --exist-ok && \
	$(BIN)/hf upload $(SPACE) "$$folder" . --type space --delete '*' \
		--commit-message "$$(git log -1 --format='%h %s')"

# The same machine makes the same files: they are made again when the portraits, the voices or the checkpoint change.
previews: $(VENV)/.installed
	$(BIN)/python -m asymtalker.previews examples

train-smoke: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m smoke tests/train/test_smoke.py

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "Python 3.11 or newer is needed (PYTHON=/path/to/python3 chooses one)." >&2; exit 1; }
	@# Debian ships ensurepip, which makes environments, as a package of its own.
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { $(call apt_install,python3-venv); } || \
		{ echo "python3-venv is needed: sudo apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The stamps make a second run start at once.
$(VENV)/.installed: $(SOURCES) | $(BIN)/python
	$(PIP) install -q -r requirements.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) install -q -e '.[dev,train,evaluate]'
	@touch $@

$(VENV)/.browser: | $(VENV)/.installed-dev
	@if { command -v chromium && command -v ffmpeg; } >/dev/null || { $(call apt_install,chromium ffmpeg); }; \
	then touch $@; \
	else echo "The browser tests will be skipped; they need: sudo apt-get install chromium ffmpeg" >&2; fi
