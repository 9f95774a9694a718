# Two commands for a fresh machine: `make demo` runs the main job, `make test` passes the tests.
PYTHON ?= python3
VENV ?= .venv

.PHONY: demo test check simulate clean

demo: $(VENV)/.installed
	$(VENV)/bin/sensor replay pcaps/port-scan-syn.pcap

test: $(VENV)/.installed-test
	$(VENV)/bin/python -m pytest

check: $(VENV)/.installed-check
	PATH="$(abspath $(VENV))/bin:$$PATH" tools/check

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.installed-test: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@ $(VENV)/.installed

$(VENV)/.installed-check: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[check]'
	touch $@ $(VENV)/.installed-test $(VENV)/.installed

simulate: $(VENV)/.installed-test
	$(VENV)/bin/python tools/simulate --seeds 500 & first=$$!; \
	$(VENV)/bin/python tools/simulate --seeds 500 --first-seed 500 && wait $$first

clean:
	rm -rf $(VENV) build *.egg-info
