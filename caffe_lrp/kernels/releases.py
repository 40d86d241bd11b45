"""The releases of Numba and llvmlite that kernels work with.

Storing kernels and writing vector instructions uses parts of Numba that are not public and change
between releases. A newer release is supported once the tests have passed with it.
"""

import re
import shlex
import sys
from collections.abc import Mapping
from types import MappingProxyType

from caffe_lrp.errors import UsageError

#: Package -> the first release that works, and the first that may not. pyproject.toml says the same.
SUPPORTED: Mapping[str, tuple[str, str]] = MappingProxyType(
    {"numba": ("0.60", "0.69"), "llvmlite": ("0.43", "0.51")}
)


def requirement(package: str) -> str:
    """The supported releases of a package, as pip understands them: ``numba>=0.60,<0.69``."""
    first, end = SUPPORTED[package]
    return f"{package}>={first},<{end}"


def require_supported(package: str, version: str) -> None:
    """Reject a release that kernels may not work with; pip does not check packages installed later.

    Raises
    ------
    UsageError
        The release is not supported; the message says which ones are, and how to install one.
    """
    first, end = SUPPORTED[package]
    if not _numbers(first) <= _numbers(version) < _numbers(end):
        command = [sys.executable or "python", "-m", "pip", "install", *map(requirement, SUPPORTED)]
        raise UsageError(
            f"{package} {version} is installed, but caffe-lrp needs {requirement(package)}; "
            f"run: {shlex.join(command)}"
        )


def _numbers(version: str) -> tuple[int, ...]:
    """The numbers at the start of a version: (0, 61, 2) for ``0.61.2rc1``; empty if it is not a version."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()
