"""Messages for faults of the machine, a limit or an environment variable, rather than of caffe-lrp."""

import ctypes
import errno
import os
import resource
import subprocess
import sys
import traceback
from collections.abc import Mapping
from types import MappingProxyType

from caffe_lrp.errors import CaffeLrpError, LimitError, UsageError

_MEGABYTE = 2**20

#: Address space that Python and the libraries need before any net is loaded (measured: 661 MB). With less,
#: they crash while they are being loaded.
_ADDRESS_SPACE_OF_LIBRARIES = 700 * _MEGABYTE
#: Bytes that the C library uses for the stack of a thread if there is no limit.
_UNLIMITED_STACK = 2 * _MEGABYTE
#: Further bytes for the compiler, and a thread that shows progress, when everything is compiled.
ADDRESS_SPACE_TO_COMPILE = 150 * _MEGABYTE

#: Package -> prefixes of the environment variables that it reads.
_VARIABLES = {
    "cv2": ("OPENCV_",),
    "dask": ("DASK_",),
    "distributed": ("DASK_",),
    "google": ("PROTOCOL_BUFFERS_",),
    "h5py": ("HDF5_",),
    "llvmlite": ("LLVMLITE_", "NUMBA_"),
    "numba": ("NUMBA_",),
    "numpy": ("NPY_", "OPENBLAS_", "OMP_"),
    "tqdm": ("TQDM_",),
}
#: The variables from which OpenBLAS takes its number of threads.
_COUNTS_OF_THREADS = ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS")
#: Reads every variable that affects the functions we use.
_TRIAL_OF_OPENCV = """
import cv2, numpy
cv2.setNumThreads(1)
done, content = cv2.imencode(".png", numpy.zeros((1, 1, 3), numpy.uint8))
assert cv2.imdecode(content, cv2.IMREAD_UNCHANGED) is not None
"""
#: The library with variables that are arguments of its functions.
_TAKES_ARGUMENTS = "tqdm"
_CHOICE_OF_IMPORT = "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"
_NO_VARIABLES: Mapping[str, str] = MappingProxyType({})

#: Messages of libraries if memory is short: the dynamic loader, OpenCV, the C++ library, Pillow, HDF5.
_OUT_OF_MEMORY = (
    "failed to map segment",
    "cannot allocate memory",
    "insufficient memory",
    "bad_alloc",
    "out of memory",
    "can't allocate",
    "memory allocation failed",
)
_UNLOADABLE = "could not find/load shared object"


def environment_fault(error: Exception, variables: Mapping[str, str] = _NO_VARIABLES) -> str:
    """What in the environment caused ``error``, and what to do; empty if no cause is known.

    Parameters
    ----------
    error
        An exception that was raised.
    variables
        The environment variables.
    """
    limit = limit_behind(error, memory_is_limited=True)
    if limit:
        return limit
    variable = _variable_at_fault(error, variables)
    if variable:
        return (
            f"the environment variable {variable} is '{variables[variable]}', and a library that reads it "
            f"fails ({error}); unset it"
        )
    return _broken_package(error) if isinstance(error, ImportError) else ""


def limit_behind(error: BaseException, *, memory_is_limited: bool) -> str:
    """Which limit of the process caused ``error``, and what to do; empty if none is known.

    Parameters
    ----------
    error
        An exception that was raised, perhaps from another one with more information.
    memory_is_limited
        Whether memory is restricted by a limit, rather than by the size of the machine.
    """
    cause: BaseException | None = error
    while cause is not None:
        is_memory = _is_lack_of_memory(cause)
        limit = _limit_at_fault(cause)
        if limit and (memory_is_limited or not is_memory):
            return limit
        cause = cause.__cause__ or cause.__context__
    return ""


def _limit_at_fault(error: BaseException) -> str:
    """The limit that ``error`` indicates, and what to do; empty if none."""
    if _is_lack_of_memory(error):
        return lack_of_memory()
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return no_more_threads()
    advice = advice_on_limits(error) if isinstance(error, OSError) else ""
    return f"{error}; {advice}" if advice else ""


def _variable_at_fault(error: Exception, variables: Mapping[str, str]) -> str | None:
    """The variable that the failing library reads, and that its message refers to.

    A message refers to it by the name of the variable, or by its value in quotes, because a number such as 1
    is in many messages. Protobuf imports a module according to its variable, and fails with the module's
    name. Variables of tqdm are arguments of its functions, so they cause all of its exceptions.
    """
    modules = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    readers = [module.partition(".")[0] for module in modules]
    text = str(error)
    for name, value in variables.items():
        is_read = any(name.startswith(_VARIABLES.get(reader, ())) for reader in readers)
        is_choice = isinstance(error, ImportError) and name == _CHOICE_OF_IMPORT
        is_argument = readers[-1:] == [_TAKES_ARGUMENTS] and name.startswith(_VARIABLES[_TAKES_ARGUMENTS])
        if is_read and value and (name in text or f"'{value}'" in text or is_choice or is_argument):
            return name
    return None


def _is_lack_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno == errno.ENOMEM
    if isinstance(error, CaffeLrpError | ValueError | LookupError):  # their messages quote files
        return False
    text = str(error).lower()
    # llvmlite reports only the latter, for any reason; a limit is the most likely one.
    return any(hint in text for hint in _OUT_OF_MEMORY) or (
        _UNLOADABLE in text and isinstance(error, OSError) and _limit(resource.RLIMIT_AS) is not None
    )


def lack_of_memory() -> str:
    """The message if memory is short: the limit, or how to use less."""
    limit = _limit(resource.RLIMIT_AS)
    if limit is None:
        return "not enough memory; free some, or use less of it (--memory)"
    return (
        f"not enough memory: this process is limited to {limit // _MEGABYTE} MB of address space (ulimit "
        "-v); raise that limit"
    )


def how_to_free_memory() -> str:
    """How to give the process more memory: free some, or raise a limit."""
    limit = address_space_limit()
    if limit is None:
        return "free memory"
    return f"raise the limit of {limit // _MEGABYTE} MB on the address space of this process (ulimit -v)"


def no_more_threads() -> str:
    """The message if a thread cannot be started: the limits, and how to use fewer threads."""
    limits = {
        "processes and threads (ulimit -u)": _limit(resource.RLIMIT_NPROC),
        "bytes of address space (ulimit -v)": _limit(resource.RLIMIT_AS),
    }
    stated = [f"{limit:,} {what}" for what, limit in limits.items() if limit is not None]
    found = f", which are {' and '.join(stated)}" if stated else ""
    return f"no more threads can be started; raise the limits of this process{found}, or use --threads 1"


def _broken_package(error: ImportError) -> str:
    """What to do about a package that cannot be loaded; empty for our own package."""
    package = (error.name or "").partition(".")[0]
    if package == "caffe_lrp":
        return ""
    what = f"the Python package '{package}'" if package else "a Python package"
    return f"{what} cannot be loaded: {error}; reinstall it with its dependencies"


def advice_on_limits(fault: OSError) -> str:
    """What to do about an error of the operating system that is due to a limit; empty for others."""
    if fault.errno == errno.EMFILE:
        most = _limit(resource.RLIMIT_NOFILE)
        return f"this process is limited to {most} open files (ulimit -n); raise that limit"
    if fault.errno == errno.ENFILE:
        return "this is the limit of the machine; close other programs"
    largest = largest_file()
    if fault.errno == errno.EFBIG and largest is not None:
        return f"this process can only write files of up to {largest:,} bytes (ulimit -f); raise that limit"
    return ""


def largest_file() -> int | None:
    """The largest size in bytes of a file that this process writes; None if there is no limit."""
    return _limit(resource.RLIMIT_FSIZE)


def return_free_memory() -> None:
    """Return freed memory to the system if the C library is glibc, which keeps it for each thread."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def require_address_space(threads: int, besides: int = 0) -> None:
    """Raise if the limit on the address space is so low that libraries would crash when they are loaded.

    Parameters
    ----------
    threads
        Threads that the libraries start.
    besides
        Bytes that are also needed right after they are loaded.

    Raises
    ------
    LimitError
        The limit is too low; the message names it.
    """
    limit, needed = address_space_limit(), _ADDRESS_SPACE_OF_LIBRARIES + besides
    needed += max(0, threads - 2) * stack_of_thread()
    if limit is not None and limit < needed:
        raise LimitError(
            f"this process is limited to {limit // _MEGABYTE} MB of address space (ulimit -v), but needs "
            f"at least {needed // _MEGABYTE} MB; raise that limit"
        )


def threads_of_libraries(variables: Mapping[str, str]) -> int:
    """Threads that the libraries start when they are loaded, at least 1.

    NumPy's OpenBLAS starts one per processor unless a variable gives their number, and sends the process an
    interrupt if it cannot.
    """
    is_told = any(variables.get(name) for name in _COUNTS_OF_THREADS)
    return 1 if is_told else len(os.sched_getaffinity(0))


def stack_of_thread() -> int:
    """Bytes of address space for the stack of a thread, by its limit (``ulimit -s``)."""
    limit = _limit(resource.RLIMIT_STACK)
    return _UNLIMITED_STACK if limit is None else limit


def address_space_limit() -> int | None:
    """The limit on the address space of this process in bytes (``ulimit -v``); None if there is none."""
    return _limit(resource.RLIMIT_AS)


def refuse_bad_variables(variables: Mapping[str, str]) -> None:
    """Reject variables with which OpenCV ends the process while it is loaded, without an exception.

    If there are variables for OpenCV, it is tested in another process.

    Raises
    ------
    UsageError
        There is such a variable; the message names it.
    """
    of_opencv = {name: value for name, value in variables.items() if name.startswith(_VARIABLES["cv2"])}
    others = {name: value for name, value in variables.items() if name not in of_opencv}
    if not of_opencv or _opencv_works(variables):
        return
    for name, value in of_opencv.items():
        if not _opencv_works(others | {name: value}):
            raise UsageError(
                f"the environment variable {name} is '{value}', and OpenCV cannot be loaded with it; unset it"
            )


def _opencv_works(variables: Mapping[str, str]) -> bool:
    """Whether a process with these variables can load and use OpenCV."""
    tried = subprocess.run(
        [sys.executable, "-c", _TRIAL_OF_OPENCV], env=variables, capture_output=True, check=False
    )
    return tried.returncode == 0


def _limit(kind: int) -> int | None:
    """The limit of this process; None if there is none."""
    soft, _ = resource.getrlimit(kind)
    return None if soft == resource.RLIM_INFINITY else soft
