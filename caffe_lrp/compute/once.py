"""Values that are computed once, on first use, and shared by all threads.

Values computed while kernels do nothing (see `ahead`) are not kept.
"""

import os
import threading
from collections.abc import Callable, Hashable
from functools import cached_property, wraps
from typing import Any, TypeVar, overload

from caffe_lrp.kernels.ahead import skipped_calls

_Argument = TypeVar("_Argument", bound=Hashable)
_Value = TypeVar("_Value")

#: One reentrant lock for all values, because one may need another.
_LOCK = threading.RLock()

# A fork has no other threads: if one of them held the lock, it would never be released in the child.
os.register_at_fork(before=_LOCK.acquire, after_in_parent=_LOCK.release, after_in_child=_LOCK.release)


class shared_property(cached_property[_Value]):  # noqa: N801 - used like `cached_property`
    """A cached property that is computed once even if several threads ask for it at the same time."""

    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None) -> "shared_property[_Value]": ...

    @overload
    def __get__(self, instance: object, owner: type[Any] | None = None) -> _Value: ...

    def __get__(self, instance: object, owner: type[Any] | None = None) -> Any:
        """The value; other threads wait while it is computed."""
        with _LOCK:
            if instance is not None and self.attrname in instance.__dict__:
                return instance.__dict__[self.attrname]
            skipped = skipped_calls()
            value = super().__get__(instance, owner)
            if skipped_calls() != skipped:
                del instance.__dict__[str(self.attrname)]
            return value


def shared_method(compute: Callable[[Any, _Argument], _Value]) -> Callable[[Any, _Argument], _Value]:
    """A method whose result is computed once for every argument; otherwise as `shared_property`."""
    place = f"_results_of_{compute.__name__}"

    @wraps(compute)
    def find(instance: Any, argument: _Argument) -> _Value:
        with _LOCK:
            known: dict[_Argument, _Value] = instance.__dict__.setdefault(place, {})
            if argument in known:
                return known[argument]
            skipped = skipped_calls()
            value = compute(instance, argument)
            if skipped_calls() == skipped:
                known[argument] = value
            return value

    return find
