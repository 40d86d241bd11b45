"""Faults that do not know their place are given one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from caffe_lrp.errors import CaffeLrpError


@contextmanager
def naming(place: Path | str, kind: type[CaffeLrpError]) -> Iterator[None]:
    """Name the place of a fault, a file or a line of one, in errors of class ``kind`` that do not know it."""
    try:
        yield
    except kind as error:
        raise kind(f"{place}: {error}") from error
