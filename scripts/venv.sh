# Sourced by the other scripts: goes to the root of the repository, makes .venv if there is none (or
# only half of one), and sets $bin to its programs. Ends the script with a plain message if it cannot.
cd "$(dirname "${BASH_SOURCE[0]}")/.."
script=scripts/$(basename "$0")
python=${PYTHON:-python3}

stop() {
    echo "$script: $1" >&2
    exit 1
}

if ! .venv/bin/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
    command -v "$python" >/dev/null ||
        stop "there is no '$python'; install Python 3.10 or newer, or set PYTHON to where it is"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        stop "'$python' is $("$python" --version 2>&1); install Python 3.10 or newer, or set PYTHON to one"
    rm -rf .venv
    "$python" -m venv .venv ||
        stop "'$python' cannot make .venv; on Debian or Ubuntu: apt install python3-venv"
fi
bin=$PWD/.venv/bin
if [[ -n ${PYTHON:-} && $("$PYTHON" --version 2>&1) != "$("$bin/python" --version)" ]]; then
    stop "PYTHON is $("$PYTHON" --version 2>&1), but .venv has $("$bin/python" --version); remove .venv first"
fi

install() {
    "$bin/pip" install --quiet --disable-pip-version-check "$1" ||
        stop "pip could not install what is needed (see above); is there a network, or a proxy to set?"
}
