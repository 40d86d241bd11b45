#!/usr/bin/env bash
# Lint, types and tests on a bare machine with python3: makes .venv if there is none, installs the
# package as a user would, checks. Runs from any folder, as often as you like. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
    echo "scripts/test.sh: needs Python 3.10 or newer as '$python'; set PYTHON to another one" >&2
    exit 1
fi
if ! .venv/bin/python -c 'import pip' 2>/dev/null; then
    rm -rf .venv
    "$python" -m venv .venv || {
        echo "scripts/test.sh: cannot make .venv; on Debian, install python3-venv" >&2
        exit 1
    }
fi
bin=$PWD/.venv/bin
"$bin/pip" install --quiet --disable-pip-version-check ".[dev]"

echo "== lint"
"$bin/ruff" check .
"$bin/ruff" format --check .
echo "== types"
"$bin/mypy"
echo "== tests"
"$bin/pytest" -n auto "$@"
