"""A process that compiles kernels for another one: it reads names, and prints each once it is stored."""

import gc
import signal
import sys
from importlib import import_module

from ._jit import CACHE_FOLDER, TARGET
from ._kernel import KERNELS, CompiledKernel


def find_kernel(name: str) -> CompiledKernel:
    """The kernel ``module.function``; its module is imported if necessary."""
    import_module(f"{__package__}.{name.partition('.')[0]}")
    return KERNELS[name]


def serve(target: str, folder: str) -> None:
    """Compile the kernels named on standard input, one per line, and print each name when it is stored.

    Parameters
    ----------
    target
        The target of the parent process.
    folder
        The cache of the parent process. A process with another target or cache would be useless and ends.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal: the parent process decides
    if (TARGET, str(CACHE_FOLDER.folder)) != (target, folder):
        return
    gc.disable()  # the process ends soon, so garbage need not be collected
    for line in sys.stdin:
        found = find_kernel(line.strip())
        found.compile(found.stated)
        if not found.is_stored:
            return
        sys.stdout.write(f"{found.name}\n")
        sys.stdout.flush()
