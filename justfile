# Every command a contributor needs. `just check` is what CI runs.

default:
    @just --list

# Format, lint, types, import contracts, generated docs, tests: all of it.
check: lint test

# Style, types, layers and docs, without running anything.
lint:
    uv run ruff format --check .
    uv run ruff check .
    uv run mypy
    uv run lint-imports
    uv run cog -I docs --check -r docs/*.md README.md

# In the order of their folders: the slow ones come first, so that neither worker is left with one at the end.
# Tests; arguments go to pytest, e.g. `just test -k journal` or `just test -m "not model"`.
test *args:
    uv run pytest -n 2 --dist loadfile --no-loadscope-reorder {{ args }}

# Repair what can be repaired by itself.
fix:
    uv run ruff format .
    uv run ruff check --fix .
    uv run cog -I docs -r docs/*.md README.md

# The benchmarks; `just bench overhead` runs one.
bench *args:
    uv run aios bench {{ args }}

# The pictures of README and docs, from a real session.
pictures:
    uv run python docs/pictures.py
