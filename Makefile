.PHONY: check format-check lint types pyright test newest format docs pictures notebooks heavy bench faults
RUN = uv run

check: format-check lint types test  ## ARGS='-m "not heavy"': every test but the heavy ones

format-check:
	$(RUN) --group lint ruff format --check .
lint:
	$(RUN) --group lint ruff check .
types:
	$(RUN) --group typing mypy langchain_ai365vip tests
	$(RUN) --group typing mypy --config-file= --cache-dir=.mypy_cache/bare --strict tests/typing_api.py  # no plugin
pyright:  ## the public API's types, as users write them
	$(RUN) --group pyright pyright tests/typing_api.py
test:
	$(RUN) pytest $(ARGS)
# Installed as pip does for users, who have neither our other groups nor the oldest Python.
newest:  ## the same with the newest of everything, in a copy and an environment of its own
	@set -e; copy=$$(mktemp -d); trap 'rm -rf "$$copy"' EXIT; unset VIRTUAL_ENV UV_EXCLUDE_NEWER; \
	git ls-files -z | tar -c --null -T - | tar -x -C "$$copy"; cd "$$copy"; \
	sed -i '/^exclude-newer = /d' pyproject.toml; \
	uv venv -q; uv pip install -q --group test -e .; uv pip list; \
	.venv/bin/python -m pytest $(ARGS)
format:
	$(RUN) --group lint ruff check --fix .
	$(RUN) --group lint ruff format .
faults:  ## the fault matrix, played to ChatOpenAI
	$(RUN) --group peers python -m tests.faults --peer openai
docs:  ## the generated parts of the READMEs
	$(RUN) python -m tests.generated
pictures:  ## of the page and of a terminal, for the README
	$(RUN) --group pictures python -m tests.pictures
notebooks:  ## run them and write their outputs
	$(RUN) --group demo --group heavy python -m tests.notebooks
heavy:
	$(RUN) --group demo --group heavy pytest -n 0 -m heavy $(ARGS)
bench:  ## the whole benchmark, about ten minutes; ARGS=--quick for a minute or two
	$(RUN) --group bench python -m tests.benchmarks $(ARGS)
