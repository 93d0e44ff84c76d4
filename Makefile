.PHONY: check format-check lint types test format heavy bench faults
RUN = uv run

check: format-check lint types test  ## everything but the heavy tests

format-check:
	$(RUN) ruff format --check .
lint:
	$(RUN) ruff check .
types:
	$(RUN) mypy langchain_ai365vip tests
test:
	$(RUN) pytest $(ARGS)
format:
	$(RUN) ruff check --fix .
	$(RUN) ruff format .
faults:  ## the fault matrix, played to ChatOpenAI
	$(RUN) --group peers python -m tests.faults --peer openai
