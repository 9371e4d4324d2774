# make demo   fresh clone -> installed -> simulated recordings -> trained -> fused -> report page
# make test   the fast tests; `make test ALL=1` adds the slow, statistical and real-data ones
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The CPU build of this version is what the project is tested with; installed first, so that nothing pulls another.
TORCH := torch==2.13.0
WORKERS ?= 2

export OMP_NUM_THREADS ?= 1

ifdef ALL
MARKS :=
else
MARKS := -m "not slow and not statistical and not real"
endif

.PHONY: install demo test lint clean help

help:
	@sed -n 's/^# //p' Makefile | head -2

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(TORCH) -c constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[test]"
	touch $@

demo: install
	$(BIN)/bayesaffect demo reports/demo

test: install
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile $(MARKS) $(ARGS)

lint: install
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

clean:
	rm -rf $(VENV) reports/demo build dist *.egg-info
