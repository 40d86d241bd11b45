"""Measures the machine's peak: the rate of matrix products, and the bandwidth of memory.

NumPy's BLAS chooses its kernels by the CPU and may choose older ones than the CPU supports, so products are
timed in separate processes, one for every choice that may be best. The best rate counts, because a rate that
is too low would flatter our results. If our code is compiled for another CPU, the reference may not use
features that this CPU lacks either.
"""

import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from caffe_lrp.machine.resources import allowed_processors

PRODUCT_SIDES = (1024, 2048, 4096)
"""Sides of the square matrices."""

PRODUCT_SECONDS = 0.8
"""Products of one size are repeated for this long."""

LEAST_PRODUCTS = 3

BUFFER_BYTES = 1 << 29
"""Size of the array for measuring memory bandwidth: larger than any cache."""

COPIES = 6

AVX512_KERNELS = "SkylakeX"
"""OpenBLAS's name of its kernels with AVX-512."""

AVX2_KERNELS = ("Haswell", "Zen")
"""OpenBLAS's names of its kernels with AVX2."""

DENIALS: Mapping[str, Mapping[str, str]] = {
    "avx512f": {
        "OPENBLAS_CORETYPE": AVX2_KERNELS[0],
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
}
"""Feature of a CPU -> environment variables that keep NumPy and PyTorch from using it."""


@dataclass(frozen=True)
class Machine:
    """The measurements of a machine.

    Attributes
    ----------
    cpu
        Model of the CPU.
    cores
        Cores that this process may use.
    product_rates
        Number of threads -> best rate of float32 matrix products, in GF/s.
    product_kernels
        Number of threads -> OpenBLAS kernels that gave it.
    bandwidth
        Bytes read and written by copies with all threads, in GB/s.
    others
        Share of the machine that other programs used during the measurements; NaN if not known.
    """

    cpu: str
    cores: int
    product_rates: dict[int, float]
    product_kernels: dict[int, str]
    bandwidth: float
    others: float = math.nan

    def better(self, other: "Machine") -> "Machine":
        """Return the better of two measurements of the same machine, number by number."""
        rates, kernels = dict(self.product_rates), dict(self.product_kernels)
        for threads, rate in other.product_rates.items():
            if rate > rates.get(threads, 0.0):
                rates[threads], kernels[threads] = rate, other.product_kernels[threads]
        bandwidth = max(self.bandwidth, other.bandwidth)
        return Machine(self.cpu, self.cores, rates, kernels, bandwidth)


def measure_machine(thread_counts: Sequence[int], target: AbstractSet[str]) -> Machine:
    """Measure this machine, with matrix products on each of the given numbers of threads.

    `target` holds the features of the CPU that our code is compiled for.
    """
    cores = allowed_processors()
    rates, kernels = {}, {}
    choices = kernel_choices(cpu_flags(), target)
    for threads in thread_counts:
        measured = {kernel: _product_rate(threads, kernel) for kernel in choices}
        kernels[threads] = max(measured, key=measured.__getitem__)
        rates[threads] = measured[kernels[threads]]
    return Machine(cpu_model(), cores, rates, kernels, copy_bandwidth(cores))


def kernel_choices(flags: AbstractSet[str], target: AbstractSet[str]) -> tuple[str, ...]:
    """Return the OpenBLAS kernels to try on a CPU with these flags; empty is OpenBLAS's own choice.

    None of them uses features that our target lacks.
    """
    if "avx512f" not in flags:
        return ("",)
    return ("", AVX512_KERNELS) if "avx512f" in target else AVX2_KERNELS


def denials(flags: AbstractSet[str], target: AbstractSet[str]) -> dict[str, str]:
    """Return the variables that keep others from using CPU features that our target lacks."""
    denied = [DENIALS[feature] for feature in DENIALS if feature in flags and feature not in target]
    return {name: value for variables in denied for name, value in variables.items()}


@dataclass(frozen=True)
class Clocks:
    """Seconds since some start: total of all cores, busy seconds, and busy seconds of our processes."""

    passed: float
    busy: float
    own: float


def read_clocks() -> Clocks:
    """Return the current clocks; on systems other than Linux they do not advance."""
    path = Path("/proc/stat")
    ticks = list(map(int, path.read_text().splitlines()[0].split()[1:9])) if path.exists() else [0] * 8
    second = os.sysconf("SC_CLK_TCK")
    idle = ticks[3] + ticks[4]
    return Clocks(sum(ticks) / second, (sum(ticks) - idle) / second, sum(os.times()[:4]))


def others_share(before: Clocks, after: Clocks) -> float:
    """Return the share of the machine that other programs used; our own processes must have ended."""
    passed = after.passed - before.passed
    if not passed:
        return math.nan
    return max(0.0, after.busy - before.busy - (after.own - before.own)) / passed


def cpu_model() -> str:
    """Return the model of the CPU."""
    return _cpu_info("model name") or platform.processor() or platform.machine()


def cpu_flags() -> frozenset[str]:
    """Return the CPU's feature flags as Linux names them; empty on other systems."""
    return frozenset(_cpu_info("flags").split())


def _cpu_info(key: str) -> str:
    """Return the first value of a key of Linux's description of the CPUs, empty if there is none."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def _product_rate(threads: int, kernel: str) -> float:
    """Return the best rate of products, measured in a separate process, in GF/s."""
    environment = os.environ | {"OPENBLAS_NUM_THREADS": str(threads)}
    if kernel:
        environment["OPENBLAS_CORETYPE"] = kernel
    answer = subprocess.run([sys.executable, __file__], env=environment, stdout=subprocess.PIPE, check=True)
    return float(json.loads(answer.stdout))


def best_product_rate(sides: Sequence[int], seconds: float) -> float:
    """Return the best rate of products of square float32 matrices, in GF/s, in this process."""
    best = 0.0
    for side in sides:
        left, right = np.ones((2, side, side), np.float32)
        out = np.empty_like(left)
        np.matmul(left, right, out=out)
        times: list[float] = []
        while sum(times) < seconds or len(times) < LEAST_PRODUCTS:
            started = time.perf_counter()
            np.matmul(left, right, out=out)
            times.append(time.perf_counter() - started)
        best = max(best, 2e-9 * side**3 / min(times))
    return best


def copy_bandwidth(threads: int, size: int = BUFFER_BYTES) -> float:
    """Return the bytes that copies with several threads read and write, in GB/s; the best of several."""
    source, target = np.ones((2, size // 4), np.float32)
    parts = list(zip(np.array_split(source, threads), np.array_split(target, threads), strict=True))
    best = 0.0
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(COPIES):
            started = time.perf_counter()
            for copy in [pool.submit(np.copyto, target, source) for source, target in parts]:
                copy.result()
            best = max(best, 2e-9 * source.nbytes / (time.perf_counter() - started))
    return best


if __name__ == "__main__":
    print(json.dumps(best_product_rate(PRODUCT_SIDES, PRODUCT_SECONDS)))
