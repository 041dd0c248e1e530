# `make` alone prints what you can do. CI and the hooks call the same targets.
PYTHON ?= python

.DEFAULT_GOAL := help
.PHONY: help test test-long cosim-long onnx-conformance fuzz-long package-models quantised-models torch-exports zoo lint types imports generated files
.PHONY: check bench format typing-tree

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | awk -F'|' '{printf "  make %-16s %s\n", $$1, $$2}'

test:  ## every test but the long ones (the README's test command)
	$(PYTHON) -m pytest -m "not slow" -n auto --dist worksteal

test-long:  ## the long differential runs too
	VDLA_LONG=1 $(PYTHON) -m pytest

cosim-long:  ## every RTL run there is, ResNet-18 included (hours); record the result in docs/cosim.md
	$(PYTHON) tests/cosim/record.py docs/cosim.md

onnx-conformance:  ## every test of the ONNX project on the CPU target; records the result in docs/conformance.md
	$(PYTHON) tests/conformance/record.py docs/conformance.md

fuzz-long:  ## a million mutated models (half an hour); record the result in docs/measurements.md
	$(PYTHON) tests/fuzz/fuzz.py --count 1000000

zoo:  ## every network of the zoo on pynq_z1 and on the CPU, recorded in docs/models.md
	$(PYTHON) tests/models/record_zoo.py --docs docs/models.md

package-models:  ## trained networks out of PyPI's packages against onnxruntime, recorded in docs/models.md
	$(PYTHON) tests/models/package_models.py --docs docs/models.md

quantised-models:  ## networks quantised by onnxruntime in every way on the accelerator (an hour), recorded in docs/models.md
	$(PYTHON) tests/models/record_quantised.py --docs docs/models.md

torch-exports:  ## every family of PyTorch networks at full size through both exporters, recorded in docs/models.md
	$(PYTHON) tests/models/record_torch.py --docs docs/models.md

lint:  ## ruff: rules and formatting
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

format:  ## rewrite the sources as `make lint` wants them
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

typing-tree:
	@rm -rf build/typing && mkdir -p build/typing/vdla
	@for entry in vdla/*; do ln -sfn ../../../$$entry build/typing/vdla/; done
	@for folder in isa sim hw designs compiler; do ln -sfn ../../../$$folder build/typing/vdla/$$folder; done

types: typing-tree  ## mypy over the whole package (through links, since package-dir hides the layout)
	cd build/typing && $(PYTHON) -m mypy --config-file ../../pyproject.toml -p vdla

imports: typing-tree  ## import-linter: arrows point one way
	cd build/typing && PYTHONPATH=. lint-imports --config ../../pyproject.toml --no-cache

generated:  ## the ISA manual and Verilog headers are what isa/ says
	$(PYTHON) -m vdla.generate --check

files:  ## a sentence for every file, from the files themselves
	@$(PYTHON) tests/test_architecture.py

check: lint types imports generated test  ## everything CI runs

bench:  ## measurements, printed as JSON
	$(PYTHON) tests/bench/bench_resnet18.py
