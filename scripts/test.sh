#!/usr/bin/env bash
# Lint, types and tests on a bare machine with python3: makes .venv if there is none, installs the
# package as a user would, and runs all checks. Runs from any folder, as often as you like. With --fast it
# leaves out slow tests; all other arguments are passed to pytest.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/venv.sh"
# Workers steal tests from each other until the end; tests/conftest.py sets the initial distribution.
options=(-n auto --dist worksteal)
for argument in "$@"; do
    case $argument in
    --fast) options+=(-m "not slow") ;;
    *) options+=("$argument") ;;
    esac
done
install tests ".[dev]"

echo "== lint"
"$bin/python" -m ruff check .
"$bin/python" -m ruff format --check .
echo "== types"
"$bin/python" -m mypy
echo "== tests"
"$bin/python" -m pytest "${options[@]}"
