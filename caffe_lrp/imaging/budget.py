"""How much memory images may take while they are loaded, several at a time."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from caffe_lrp.files.imagefile import ImageSource
from caffe_lrp.machine.environment import return_free_memory

#: Memory of a large image that one thread has freed is of use to others only when returned to the system.
_LARGE = 128 * 2**20

#: Takes bytes for an image; waits until they are available.
Take = Callable[[int], None]
#: Called with an image that takes more than the whole budget, and its number of bytes.
Tell = Callable[[ImageSource, int], None]


@dataclass(eq=False)
class _Share:
    """The memory that one image has taken so far."""

    size: int = 0


class MemoryBudget:
    """Bytes that loaders take for their images and give back; a loader waits if too few are left.

    Loaders are served in the order in which they ask. An image that takes more than the whole budget waits
    until no other is being loaded, and is then loaded alone. So two loaders never wait for each other.

    Parameters
    ----------
    size
        Bytes for all images together; None: any number.
    tell
        Called for the first image that takes more than ``size``, and for each that takes even more.
    """

    def __init__(self, size: int | None = None, tell: Tell = lambda source, needed: None) -> None:
        self._size, self._tell = size, tell
        self._changed = threading.Condition()
        self._queue: deque[_Share] = deque()
        self._taken = self._at_work = self._most_told = 0

    @contextmanager
    def share(self, source: ImageSource) -> Iterator[Take]:
        """Yield a function that takes memory for an image, in steps if needed; all is released at the end."""
        share = _Share()
        try:
            yield lambda size: self._take(share, size, source)
        finally:
            if share.size >= _LARGE:
                return_free_memory()
            with self._changed:
                self._taken -= share.size
                self._at_work -= share.size > 0
                self._changed.notify_all()

    def _take(self, share: _Share, size: int, source: ImageSource) -> None:
        if self._size is None or size == 0:
            return
        with self._changed:
            self._queue.append(share)
            self._at_work -= share.size > 0  # it is waiting, so no other image waits for it
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._may_go_on(share, size))
            self._queue.popleft()
            share.size += size
            self._taken += size
            self._at_work += 1
            is_excess = share.size > max(self._size, self._most_told)
            self._most_told = max(self._most_told, share.size) if is_excess else self._most_told
            self._changed.notify_all()
        if is_excess:
            self._tell(source, share.size)

    def _may_go_on(self, share: _Share, size: int) -> bool:
        assert self._size is not None
        return self._queue[0] is share and (self._taken + size <= self._size or self._at_work == 0)
