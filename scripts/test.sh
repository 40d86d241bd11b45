#!/usr/bin/env bash
# Lint, types and tests on a bare machine with python3: makes .venv if there is none, installs the
# package as a user would, checks. Runs from any folder, as often as you like. Arguments go to pytest.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/venv.sh"
install tests ".[dev]"

echo "== lint"
"$bin/python" -m ruff check .
"$bin/python" -m ruff format --check .
echo "== types"
"$bin/python" -m mypy
echo "== tests"
"$bin/python" -m pytest -n auto "$@"
