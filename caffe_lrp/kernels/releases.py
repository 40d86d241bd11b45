"""The releases of Numba and llvmlite that kernels work with.

Kernels are kept in files, and vector instructions written, with parts of Numba that are not public and change
from release to release. A newer release is supported once the tests have passed with it.
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
    """Refuse a release that kernels may not work with: pip does not look at what is installed later.

    Raises
    ------
    UsageError
        It is one; the message says which are supported, and how to install one of them.
    """
    first, end = SUPPORTED[package]
    if not _numbers(first) <= _numbers(version) < _numbers(end):
        command = [sys.executable or "python", "-m", "pip", "install", *map(requirement, SUPPORTED)]
        raise UsageError(
            f"{package} {version} is installed, but caffe-lrp needs {requirement(package)}; "
            f"run: {shlex.join(command)}"
        )


def _numbers(version: str) -> tuple[int, ...]:
    """The numbers that a version begins with: (0, 61, 2) of ``0.61.2rc1``; none of what is no version."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()
