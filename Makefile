# make demo    supernet, search and retraining through nnictl (KEEP=1 leaves the web page up)
# make compare SPOS, MAGIC-T, MAGIC-A and MAGIC-AT side by side through nnictl (KEEP=1 likewise)
# make test    run the tests
# make test-newest  run the tests with the newest libraries that setup.cfg accepts
# make faults kill, fill, damage and confuse what there is, and print what became of it
# make lint    ruff and mypy
# make docs    build the site of the documentation into site/
# make install build .venv with every extra, at the tested versions
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo compare test test-newest slow faults lint docs

install: $(BIN)/.installed

$(BIN)/.installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt \
	    --editable ".[docs,huggingface,nlp,onnx,pareto,plots,test]"
	touch $@

demo: install
	PATH="$(CURDIR)/$(BIN):$$PATH" nni-magic demo --experiment experiments/bert_search.yml \
	    $(if $(KEEP),--keep)

compare: install
	PATH="$(CURDIR)/$(BIN):$$PATH" nni-magic demo --experiment experiments/bert_strategies.yml \
	    $(if $(KEEP),--keep)

test: install
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

test-newest:
	$(PYTHON) -m venv .venv-newest
	.venv-newest/bin/pip install --quiet --upgrade --upgrade-strategy eager \
	    --editable ".[docs,huggingface,nlp,onnx,pareto,plots,test]"
	.venv-newest/bin/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

slow: install
	$(BIN)/python -m pytest -m slow

faults: install
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m experiments.faults

lint: install
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
