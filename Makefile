# make search   search the built-in digits: nothing to download, minutes on two cores
# make demo     search, report and final evaluation, one after the other
# make test     all tests            make check       lint, format, types, import arrows
# make test-extras     kills of searches, and the tests that need Lightning, the Hugging Face Trainer, LightGBM,
#                       XGBoost, CatBoost, ONNX or MCP
# make upgrade-check   the tests against the newest releases of all packages, in an environment of their own
# make docs     docs/reference/ from the code; docs/report.md, the README's results and its picture, and with
#               DATA=FOLDER the case study, from results/
# make bench    the quick benchmarks, with nothing else running; the slow ones are in docs/performance.md
# make notebook Jupyter              make dashboard   optuna-dashboard on the newest run, or RUN=runs/NAME

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
EXTRAS ?= .venv-extras

# a container image may keep Python from writing compiled modules, which makes every process start three times as slowly
export PYTHONDONTWRITEBYTECODE :=

.PHONY: search demo test check test-extras upgrade-check format lock docs bench notebook dashboard clean

search: $(INSTALLED)
	$(BIN)/python -m search.run

demo: NAME := demo-$(shell date +%Y%m%d-%H%M%S)
demo: $(INSTALLED)
	$(BIN)/python -m search.run --space clutter_arch --name $(NAME)
	$(BIN)/python -m analysis.final runs/$(NAME) --top 2 --seeds 3
	$(BIN)/python -m analysis.report runs/$(NAME)

docs: $(INSTALLED)
	$(BIN)/python -m rungwise.reference
	$(BIN)/python -m analysis.docs
	$(BIN)/python -m benchmarks.live_picture
	$(BIN)/python -m benchmarks.question_picture
	$(if $(DATA),$(BIN)/python -m analysis.case_study results/housing --data-dir $(DATA))

bench: $(INSTALLED)
	$(BIN)/python -m benchmarks.turnaround --rounds 1 --trials 12
	$(BIN)/python -m benchmarks.training_speed --rounds 3 --threads 1 --num-images 1280
	$(BIN)/python -m benchmarks.input_pipeline --rounds 3
	$(BIN)/python -m benchmarks.driver --trials 600 --ray-trials 0
	$(BIN)/python -m benchmarks.resume --rounds 1
	$(BIN)/python -m benchmarks.ramp --slots 1 8 --rounds 3
	$(BIN)/python -m benchmarks.mistakes
	$(BIN)/python -m benchmarks.tables

notebook: $(INSTALLED)
	$(BIN)/python -m ipykernel install --sys-prefix --name rungwise --display-name Rungwise
	JUPYTER_PATH=$(CURDIR)/.venv/share/jupyter $(BIN)/uv tool run --from jupyterlab jupyter-lab analysis/notebooks

# run inside the folder, because special characters of a path in a database URL would be decoded
dashboard: export RUN ?= $(shell ls -td runs/*/ 2>/dev/null | head -1)
dashboard: $(INSTALLED)
	@test -f "$$RUN/study.db" || { echo "no study in '$$RUN'; make dashboard RUN=runs/NAME"; exit 2; }
	cd -- "$$RUN" && "$(CURDIR)"/$(BIN)/optuna-dashboard sqlite:///study.db

test: $(INSTALLED)
	$(BIN)/python -m tests

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

test-extras: $(INSTALLED)
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(EXTRAS)
	$(BIN)/uv pip install --quiet --python $(EXTRAS)/bin/python --constraint requirements.lock \
		--editable '.[dev,lightning,huggingface,lightgbm,boosting,onnx,mcp]'
	$(EXTRAS)/bin/python -m pytest tests/test_examples.py tests/test_export.py tests/test_predict_table.py \
		tests/test_docs_end_to_end.py tests/test_own_kills.py tests/test_examples_end_to_end.py \
		tests/test_questions_end_to_end.py tests/test_boosting.py tests/test_mps_end_to_end.py tests/test_mcp.py \
		tests/test_kuberay_end_to_end.py

upgrade-check: $(INSTALLED)
	$(BIN)/python -m tests.newest

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(INSTALLED)
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --generate-hashes \
		--no-header --quiet -o requirements.lock

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rungwise needs Python 3.11 or newer, this is %d.%d; make PYTHON=python3.12" % sys.version_info[:2])'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	$(BIN)/python -c 'import analysis.evaluation.job, search.session.session, search.execution.worker'
	touch $@

clean:
	rm -rf .venv .venv-extras .venv-newest *.egg-info .pytest_cache .ruff_cache
