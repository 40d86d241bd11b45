"""What to say where the machine, a limit or an environment variable is at fault, and not caffe-lrp."""

import ctypes
import errno
import resource
import traceback
from collections.abc import Mapping
from types import MappingProxyType

from .errors import UsageError

_MEGABYTE = 2**20

#: Address space that Python and the libraries take before any net is loaded (measured: 661 MB). With less,
#: they crash while they are being loaded.
_ADDRESS_SPACE_OF_LIBRARIES = 700 * _MEGABYTE

#: Package -> how the names of the environment variables begin that it reads.
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
_CHOICE_OF_IMPORT = "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"
_NO_VARIABLES: Mapping[str, str] = MappingProxyType({})

#: What the loader of shared libraries says where memory is short.
_OUT_OF_MEMORY_WHILE_LOADING = ("failed to map segment", "cannot allocate memory")


def environment_fault(error: Exception, variables: Mapping[str, str] = _NO_VARIABLES) -> str:
    """What in the environment made ``error`` happen, and what to do; empty if nothing there is known to have.

    Parameters
    ----------
    error
        An exception that was raised.
    variables
        The environment variables.
    """
    if _is_lack_of_memory(error):
        return _lack_of_memory()
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return _no_more_threads()
    variable = _variable_at_fault(error, variables)
    if variable:
        return (
            f"the environment variable {variable} is '{variables[variable]}', with which a library that "
            f"reads it fails ({error}); unset it"
        )
    if isinstance(error, ImportError):
        return _broken_package(error)
    advice = advice_on_limits(error) if isinstance(error, OSError) else ""
    return f"{error}; {advice}" if advice else ""


def _variable_at_fault(error: Exception, variables: Mapping[str, str]) -> str | None:
    """The variable that the failing library reads, and that its message points to.

    A message does so with the name of the variable, or with its value in quotes: a number such as 1 is in
    many messages. Protobuf chooses by its variable what to import, and fails with the name of that module.
    """
    packages = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    readers = {package.partition(".")[0] for package in packages}
    text = str(error)
    for name, value in variables.items():
        is_read = any(name.startswith(_VARIABLES.get(reader, ())) for reader in readers)
        is_choice = isinstance(error, ImportError) and name == _CHOICE_OF_IMPORT
        if is_read and value and (name in text or f"'{value}'" in text or is_choice):
            return name
    return None


def _is_lack_of_memory(error: Exception) -> bool:
    if isinstance(error, ImportError):
        return any(hint in str(error).lower() for hint in _OUT_OF_MEMORY_WHILE_LOADING)
    if isinstance(error, OSError):
        # llvmlite says no more than that, whatever the reason; a limit is the likeliest one.
        is_limited = _limit(resource.RLIMIT_AS) is not None
        return error.errno == errno.ENOMEM or (
            "Could not find/load shared object" in str(error) and is_limited
        )
    return isinstance(error, MemoryError)


def _lack_of_memory() -> str:
    """What to say where memory is short: which limit there is, or what takes less."""
    limit = _limit(resource.RLIMIT_AS)
    if limit is None:
        return "not enough memory; free some, or allow less of it (--memory)"
    return (
        f"not enough memory: this process may have {limit // _MEGABYTE} MB of address space (ulimit -v); "
        "raise that limit"
    )


def _no_more_threads() -> str:
    limits = {
        "processes and threads (ulimit -u)": _limit(resource.RLIMIT_NPROC),
        "bytes of address space (ulimit -v)": _limit(resource.RLIMIT_AS),
    }
    stated = [f"{limit:,} {what}" for what, limit in limits.items() if limit is not None]
    found = f", which are {' and '.join(stated)}" if stated else ""
    return f"no more threads can be started; raise the limits of this process{found}, or use --threads 1"


def _broken_package(error: ImportError) -> str:
    """What to do about a package that cannot be loaded; empty for one of our own."""
    package = (error.name or "").partition(".")[0]
    if package == "caffe_lrp":
        return ""
    what = f"the Python package '{package}'" if package else "a Python package"
    return f"{what} cannot be loaded: {error}; install it again, with all that it needs"


def advice_on_limits(fault: OSError) -> str:
    """What to do about a fault of the operating system that comes from a limit; empty for others."""
    if fault.errno == errno.EMFILE:
        most = _limit(resource.RLIMIT_NOFILE)
        return f"this process may have {most} files open (ulimit -n); raise that limit"
    if fault.errno == errno.ENFILE:
        return "this is the limit of the machine; end other programs"
    if fault.errno == errno.ENAMETOOLONG:
        return "a path has 4,095 bytes at most, and a name in it 255; shorten it"
    return ""


def return_free_memory() -> None:
    """Give what was freed back to the system, where the C library is glibc: it keeps that for each thread."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def require_address_space() -> None:
    """Refuse to load the libraries where the limit on the address space is so low that they would crash.

    Raises
    ------
    UsageError
        It is; the message names the limit.
    """
    limit = _limit(resource.RLIMIT_AS)
    if limit is not None and limit < _ADDRESS_SPACE_OF_LIBRARIES:
        raise UsageError(
            f"this process may have {limit // _MEGABYTE} MB of address space (ulimit -v), but needs at least "
            f"{_ADDRESS_SPACE_OF_LIBRARIES // _MEGABYTE} MB; raise that limit"
        )


def _limit(kind: int) -> int | None:
    """The limit of this process; None where there is none."""
    soft, _ = resource.getrlimit(kind)
    return None if soft == resource.RLIM_INFINITY else soft
