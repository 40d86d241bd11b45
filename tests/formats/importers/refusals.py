"""How files that are broken or hostile must be refused."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from caffe_lrp.errors import ModelError


def assert_refused(read: Callable[[Path], object], path: Path, message: str, megabytes: int) -> None:
    """Reading the file raises a ModelError that matches and starts with its path, and takes little memory."""
    tracemalloc.start()
    try:
        with pytest.raises(ModelError, match=message) as refusal:
            read(path)
        assert tracemalloc.get_traced_memory()[1] < megabytes * 2**20
    finally:
        tracemalloc.stop()
    assert str(refusal.value).startswith(f"{path}: ")
