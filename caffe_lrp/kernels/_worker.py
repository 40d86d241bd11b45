"""A process that compiles kernels for another one: it reads names, and answers with those it has stored."""

import gc
import signal
import sys
from importlib import import_module

from ._jit import CACHE_FOLDER, TARGET
from ._kernel import KERNELS, CompiledKernel


def find_kernel(name: str) -> CompiledKernel:
    """The kernel ``module.function``, imported if it has not been."""
    import_module(f"{__package__}.{name.partition('.')[0]}")
    return KERNELS[name]


def serve(target: str, folder: str) -> None:
    """Compile every kernel that a line of standard input names, and print its name when it is stored.

    Parameters
    ----------
    target
        What the asking process compiles for.
    folder
        Where it looks for what is stored. A process that would compile other code, or keep it elsewhere, is
        of no use and ends.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the asking process decides
    if (TARGET, str(CACHE_FOLDER.folder)) != (target, folder):
        return
    gc.disable()  # what compiling leaves behind ends with the process
    for line in sys.stdin:
        found = find_kernel(line.strip())
        found.compile(found.stated)
        if not found.is_stored:
            return
        sys.stdout.write(f"{found.name}\n")
        sys.stdout.flush()
