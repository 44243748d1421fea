# One command for each thing one does with the project; CI runs `make check`.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
PACKAGES := spec reference_decoder reference_encoder conformance tools

.PHONY: help demo proof test conformance conformance-document third-party test-smplx check lint types spec mutation fuzz bench clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 24

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[test]'
	touch $@

$(VENV)/.train: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[test,train]'
	touch $@

demo: $(VENV)/.installed ## encode, decode, draw and verify both shipped avatars into out/demo
	$(BIN)/python -m tools.demo out/demo

test: $(VENV)/.train ## all tests; installs torch, with which generators are trained
	$(BIN)/python -m pytest

conformance: $(VENV)/.installed ## make the conformance corpus again, compare, and judge the reference decoder by it
	$(BIN)/hga conformance generate --check
	$(BIN)/hga conformance run --decoder conformance/reference.toml --strict exact --stages all

conformance-document: $(VENV)/.installed ## judge the text of the standard, executed, by the small streams but those of the levels, whose Gaussians are too many
	$(BIN)/hga conformance run --decoder conformance/executed.toml --strict exact --stages all --largest 3000 --only '[!l]*'

third-party: $(VENV)/.installed ## build the decoder in C99 and judge it by the corpus; needs a C compiler
	$(MAKE) -C conformance/third_party/c99
	$(BIN)/hga conformance run --decoder conformance/third_party/c99/decoder.toml --strict exact

test-smplx: $(VENV)/.installed ## the tests against the smplx package too; installs it (non-commercial terms) and torch
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[test,smplx]'
	$(BIN)/python -m pytest reference_encoder/tests/test_body_models.py

lint: $(VENV)/.installed ## ruff: style and formatting
	$(BIN)/ruff check $(PACKAGES)
	$(BIN)/ruff format --check $(PACKAGES)

types: $(VENV)/.train ## mypy on the packages, with torch, whose types the trainer is checked against
	$(BIN)/mypy $(PACKAGES)

proof: $(VENV)/.installed ## run the standard's own pseudo-code against the decoder on random streams
	$(BIN)/hga generate out/proof --count 10
	for stream in out/proof/*.hga; do $(BIN)/hga verify $$stream --executed || exit 1; done

spec: $(VENV)/.installed ## the standard as one HTML document, out/hga.html; fails on any hole in it
	mkdir -p out
	$(BIN)/hga spec build -o out/hga.html

check: lint types spec test ## what CI runs

mutation: $(VENV)/.installed ## put 3,000 faults into standard and decoder: the corpus notices 97 % or they cannot matter; takes half an hour
	mkdir -p out
	$(BIN)/python -m conformance.mutation --json out/mutation.json

fuzz: $(VENV)/.installed ## decode 50,000 damaged streams
	$(BIN)/python -m conformance.damage --count 50000

bench: $(VENV)/.installed ## speed, stage by stage
	$(BIN)/hga bench speed

clean: ## remove what was built
	rm -rf out build *.egg-info $(VENV)
