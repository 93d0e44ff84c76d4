.PHONY: check format-check lint types pyright test format docs notebooks heavy bench faults
RUN = uv run

check: format-check lint types test  ## everything but the heavy tests

format-check:
	$(RUN) ruff format --check .
lint:
	$(RUN) ruff check .
types:
	$(RUN) mypy langchain_ai365vip tests
	$(RUN) mypy --config-file= --cache-dir=.mypy_cache/bare --strict tests/typing_api.py  # no plugin
pyright:  ## the public API's types, as users write them
	$(RUN) --group pyright pyright tests/typing_api.py
test:
	$(RUN) pytest $(ARGS)
format:
	$(RUN) ruff check --fix .
	$(RUN) ruff format .
faults:  ## the fault matrix, played to ChatOpenAI
	$(RUN) --group peers python -m tests.faults --peer openai
docs:  ## the generated parts of the README
	$(RUN) python -m tests.generated
	$(RUN) python -m tests.faults --write
notebooks:  ## run them and write their outputs
	$(RUN) --group demo --group heavy python -m tests.notebooks
heavy:
	$(RUN) --group demo --group heavy pytest -m heavy $(ARGS)
bench:  ## the whole benchmark, half an hour; ARGS=--quick for a few minutes
	$(RUN) --group bench python -m tests.benchmarks $(ARGS)
