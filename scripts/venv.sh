# Sourced by the other scripts: goes to the root of the repository, makes .venv if there is none (or an
# incomplete one), and sets $bin to its programs. If that fails, it ends the script with a plain message.
unset CDPATH # or cd might lead to another folder of the same name
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
script=scripts/$(basename -- "$0")
python=${PYTHON:-python3}
bin=$PWD/.venv/bin

stop() {
    echo "$script: $1" >&2
    exit 1
}

require_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        stop "$2 is $("$1" --version 2>&1), Python 3.10 or newer is needed; $3"
}

if [[ -L $bin/python && ! -x $bin/python ]]; then
    stop "the Python of .venv is gone; remove .venv"
elif [[ ! -x $bin/python ]]; then
    command -v "$python" >/dev/null ||
        stop "there is no '$python'; install Python 3.10 or newer, or set PYTHON to where it is"
    require_new_enough "$python" "'$python'" "install one, or set PYTHON to where it is"
elif [[ -n ${PYTHON:-} && $("$PYTHON" --version 2>&1) != "$("$bin/python" --version 2>&1)" ]]; then
    stop "PYTHON is $("$PYTHON" --version 2>&1), but .venv has $("$bin/python" --version 2>&1); remove .venv"
else
    require_new_enough "$bin/python" "the Python of .venv" "remove .venv"
    python=$bin/python
fi
if ! "$bin/python" -c 'import pip' 2>/dev/null; then
    "$python" -m venv .venv ||
        stop "'$python' cannot make .venv; on Debian or Ubuntu: apt install python3-venv"
fi

# install NAME REQUIREMENT: install for the purpose NAME, unless that was done and no file has changed.
install() {
    local files now other stamp=.venv/installed-$1
    files=$(find -H caffe_lrp pyproject.toml README.md LICENSE -type f ! -path '*/__pycache__/*' | sort)
    now="$PWD $(tr '\n' '\0' <<<"$files" | xargs -0 cksum | cksum)"
    [[ -x $bin/caffe-lrp && -e $stamp && $(<"$stamp") == "$now" ]] && return
    "$bin/python" -m pip install --quiet --disable-pip-version-check "$2" ||
        stop "pip could not install what is needed (see above); is there a network, or a proxy to set?"
    # What another purpose installed from other files is replaced now.
    for other in .venv/installed-*; do
        [[ -e $other && $(<"$other") == "$now" ]] || rm -f "$other"
    done
    echo "$now" >"$stamp"
}
