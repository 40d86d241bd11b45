"""Compiled kernels: what becomes of them where their cache cannot be used."""

import errno
from typing import Any

import pytest
from numba.core.caching import FunctionCache

from caffe_lrp.kernels._jit import kernel


def full_disk(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def damaged(*_: Any) -> None:
    raise EOFError("Ran out of input")


def nowhere(*_: Any) -> None:
    raise RuntimeError("cannot cache function: no locator available")


@pytest.mark.parametrize(
    ("method", "fault"), [("save_overload", full_disk), ("load_overload", damaged), ("__init__", nowhere)]
)
def test_a_cache_that_cannot_be_used_costs_no_result(
    method: str, fault: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FunctionCache, method, fault)

    @kernel
    def twice(value: int) -> int:
        return 2 * value

    assert twice(21) == 42
