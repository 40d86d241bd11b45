"""``python -m caffe_lrp.pycaffe``: run a script that imports ``caffe``."""

import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

_USAGE = """\
usage: python -m caffe_lrp.pycaffe SCRIPT.py [ARGUMENT…]
       python -m caffe_lrp.pycaffe -m MODULE [ARGUMENT…]
       python -m caffe_lrp.pycaffe -c TEXT [ARGUMENT…]

Runs a Python script so that `import caffe` finds caffe_lrp.pycaffe.
caffe-lrp help pycaffe says what it offers."""


def run(arguments: Sequence[str]) -> None:
    """Run what the arguments of the command line name.

    Raises
    ------
    SystemExit
        They name nothing that can be run; or the script ends so.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.stdout.write(f"{_USAGE}\n")
        raise SystemExit(0 if arguments else 2)
    from .names import install  # noqa: PLC0415 - which loads NumPy

    install()
    first, *rest = arguments
    if first in ("-m", "-c"):
        if not rest:
            raise SystemExit(f"python -m caffe_lrp.pycaffe {first}: what is to be run? See --help")
        sys.argv = [first, *rest[1:]]
        sys.path[0] = ""
        if first == "-m":
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        else:
            exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
        return
    script = Path(first)
    if not script.is_file():
        raise SystemExit(f"python -m caffe_lrp.pycaffe: there is no script {first}")
    sys.argv = [first, *rest]
    sys.path[0] = str(script.resolve().parent)
    runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    run(sys.argv[1:])
