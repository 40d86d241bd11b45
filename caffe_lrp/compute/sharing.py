"""Things that are computed once, on first use, and shared by all threads."""

import threading
from functools import cached_property
from typing import Any, TypeVar

_Value = TypeVar("_Value")

#: One lock for all: what is computed once may ask for something else that is.
_LOCK = threading.RLock()


class shared_property(cached_property[_Value]):  # noqa: N801 - used like `cached_property`
    """A cached property that is computed once even if several threads ask for it at the same time."""

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        """The value; threads that come too early wait for it."""
        with _LOCK:
            if instance is not None and self.attrname in instance.__dict__:
                return instance.__dict__[self.attrname]
            return super().__get__(instance, owner)
