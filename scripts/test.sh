#!/usr/bin/env bash
# Lint, types and tests on a bare machine with python3: makes .venv if there is none, installs the
# package as a user would, checks. Runs from any folder, as often as you like. With --fast it leaves out the
# tests that take long; all other arguments go to pytest.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/venv.sh"
# Workers take tests from one another until the end; tests/conftest.py says who begins with what.
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
