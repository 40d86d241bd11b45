"""The CPUs that kernels can be compiled for in advance, by LLVM's names, and their features.

Only features that a compiler uses on its own are listed: vector and bit instructions. Features for
operating systems or cryptography (``pku``, ``aes``) do not matter here. Sources: LLVM's ``X86.td`` and the
psABI's levels of x86-64.
"""

from collections.abc import Set as AbstractSet

from ..errors import UsageError
from ..messages import did_you_mean

#: The CPU of this machine, whatever it is: the default.
HOST = "host"

_BASE = frozenset({"64bit", "cmov", "cx8", "fxsr", "mmx", "sse", "sse2"})
_V2 = _BASE | {"crc32", "cx16", "popcnt", "sahf", "sse3", "ssse3", "sse4.1", "sse4.2"}
_V3 = _V2 | {"avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe"}
_V4 = _V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
_ICELAKE = _V4 | {
    "avx512bitalg", "avx512ifma", "avx512vbmi", "avx512vbmi2", "avx512vnni", "avx512vpopcntdq", "gfni",
}  # fmt: skip

#: LLVM's name of a CPU -> its features, for the CPUs that can be chosen for other machines.
BASELINES = {
    "x86-64": _BASE,
    "x86-64-v2": _V2,
    "x86-64-v3": _V3,
    "x86-64-v4": _V4,
    "nehalem": _V2,
    "haswell": _V3,
    "broadwell": _V3,
    "skylake": _V3,
    "skylake-avx512": _V4,
    "cascadelake": _V4 | {"avx512vnni"},
    "icelake-server": _ICELAKE,
    "sapphirerapids": _ICELAKE | {"avx512bf16", "avx512fp16", "avxvnni"},
    "znver1": _V3 | {"sse4a"},
    "znver2": _V3 | {"sse4a"},
    "znver3": _V3 | {"sse4a"},
    "znver4": _ICELAKE | {"sse4a", "avx512bf16"},
    "znver5": _ICELAKE | {"sse4a", "avx512bf16", "avx512vp2intersect", "avxvnni"},
}

#: The first LLVM that knows a CPU, if not all supported ones do: an older LLVM would abort the process.
KNOWN_SINCE = {"znver4": 16, "znver5": 19}


def require_baseline(name: str, host_features: AbstractSet[str], llvm: int) -> None:
    """Raise unless ``name`` is a known CPU and ``host_features``, of this machine, include all its features.

    Parameters
    ----------
    name
        Name of the CPU.
    host_features
        Features of this machine.
    llvm
        Major version of the compiler.

    Raises
    ------
    UsageError
        With a suggestion for a misspelt name, the features that this machine lacks, or the version of the
        compiler if that does not know the CPU.
    """
    if name not in BASELINES:
        hint = did_you_mean(name, [HOST, *BASELINES]) or f"; known are {', '.join([HOST, *BASELINES])}"
        raise UsageError(f"there is no CPU '{name}' to compile for{hint}")
    missing = BASELINES[name] - host_features
    if missing:
        raise UsageError(
            f"this machine cannot run code for the CPU '{name}': it lacks {', '.join(sorted(missing))}"
        )
    if llvm < KNOWN_SINCE.get(name, 0):
        raise UsageError(
            f"LLVM {llvm}, which this release of Numba compiles with, does not know the CPU '{name}'; "
            "choose another CPU, or install a newer Numba"
        )


def features_of(name: str, changes: str) -> frozenset[str]:
    """Features of code for the CPU ``name``, with changes in LLVM's notation (``"+avx2,-avx512f"``)."""
    features = set(BASELINES.get(name, frozenset()))
    for change in filter(None, changes.split(",")):
        (features.add if change[0] == "+" else features.discard)(change[1:])
    return frozenset(features)
