"""The workspace of a worker: memory that is reused, and threads that share the work of a layer."""

import math
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from copy import copy
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.machine.crew import Crew

Floats = NDArray[np.float32]

#: Smaller arrays are left to the system allocator, which is fast for them.
_SMALLEST_BLOCK = 16 * 1024

#: A block is used for requests of at least this share of its size.
_LEAST_USE = 0.25

#: Alignment in numbers: a vector that crosses a cache line takes twice as long to load, and longer to store.
_ALIGNMENT = 16

#: Numbers that are worth a thread: starting its work takes as long as processing several ten thousand.
_LEAST_SHARE = 32 * 1024

#: Numbers at a time, few enough that NumPy's intermediate results stay in the cache.
_PIECE = 32 * 1024


class Workspace:
    """Memory and threads of one worker; a context manager, because threads have to end.

    Fresh memory is slow: the system provides it page by page, each filled with zeros. So blocks are reused
    when nothing refers to their arrays any more.

    Parameters
    ----------
    threads
        How many threads share the work inside a layer; 1 runs everything in the calling thread.
    checkpoint
        Called before memory is allocated and before work is shared, or None; an exception ends the work.
    convolution
        How convolutions are computed: ``auto``, ``direct`` or ``winograd`` (wherever it applies).
    """

    def __init__(
        self, threads: int = 1, checkpoint: Callable[[], None] | None = None, convolution: str = "auto"
    ) -> None:
        self.threads, self.convolution = threads, convolution
        self._checkpoint = checkpoint
        self._others = Crew(threads - 1) if threads > 1 else None
        self._blocks: list[Floats] = []

    def __enter__(self) -> "Workspace":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release all memory, and end all threads."""
        self.forget()
        if self._others is not None:
            self._others.join()

    def directly(self) -> "Workspace":
        """The same memory and threads, but without the rounding errors of Winograd's algorithm.

        It ends with this workspace, and need not be closed.
        """
        view = copy(self)
        view.convolution = "direct"
        return view

    def empty(self, shape: Sequence[int]) -> Floats:
        """An uninitialized float32 array of ``shape``; N×C×H×W blobs have channels last in memory."""
        if self._checkpoint is not None:
            self._checkpoint()
        if len(shape) != 4:
            return self._block(math.prod(shape)).reshape(shape)
        items, channels, height, width = shape
        return self.pixels((items, height, width, channels)).transpose(0, 3, 1, 2)

    def zeros(self, shape: Sequence[int]) -> Floats:
        """As `empty`, but all 0."""
        out = self.empty(shape)
        out[...] = 0
        return out

    def copy(self, blob: Floats) -> Floats:
        """``blob``, in the memory layout of `empty`."""
        out = self.empty(blob.shape)
        out[...] = blob
        return out

    def pixels(self, shape: Sequence[int]) -> Floats:
        """An uninitialized float32 array (N, H, W, C), contiguous in memory."""
        return self._block(math.prod(shape)).reshape(shape)

    def _block(self, size: int) -> Floats:
        """Memory for ``size`` numbers: the smallest unused block that is not far too large, or a new one."""
        if size < _SMALLEST_BLOCK:
            return np.empty(size, np.float32)
        room = size + _ALIGNMENT - 1
        unused = [
            index
            for index in range(len(self._blocks))
            if _references(self._blocks, index) == _REFERENCES_UNUSED
        ]
        fitting = [i for i in unused if room <= self._blocks[i].size <= room / _LEAST_USE]
        if fitting:
            return _aligned(self._blocks[min(fitting, key=lambda i: self._blocks[i].size)], size)
        too_small = [i for i in unused if self._blocks[i].size < room]
        if too_small:
            # Replace one, so that the memory held stays close to what is needed at a time.
            del self._blocks[max(too_small, key=lambda i: self._blocks[i].size)]
        self._blocks.append(np.empty(room, np.float32))
        return _aligned(self._blocks[-1], size)

    def forget(self) -> None:
        """Return all memory to the system; blocks in use are returned when nothing refers to them."""
        self._blocks.clear()

    def share(self, work: Callable[[int, int], None], count: int, size: int | None = None) -> None:
        """Call ``work(first, last)`` for ranges that together are 0..count, shared by the threads.

        ``size`` is how many numbers all the work involves; small work uses fewer threads.
        """
        if self._checkpoint is not None:
            self._checkpoint()
        pieces = min(self.threads, count, count if size is None else size // _LEAST_SHARE)
        if self._others is None or pieces < 2:
            work(0, count)
            return
        ends = [count * piece // pieces for piece in range(pieces + 1)]
        shares: list[Future[None]] = []
        try:
            for piece in range(1, pieces):
                shares.append(self._others.submit(work, ends[piece], ends[piece + 1]))
            work(ends[0], ends[1])
        finally:
            # After an error, no thread may continue to use memory that will be reused.
            self._others.wait(shares)
        for share in shares:
            share.result()

    def share_in_pieces(self, work: Callable[[int, int], None], count: int, size: int) -> None:
        """As `share`, but every range in pieces, for work that allocates temporary arrays."""
        step = max(1, _PIECE * count // size)

        def in_pieces(first: int, last: int) -> None:
            for start in range(first, last, step):
                work(start, min(last, start + step))

        self.share(in_pieces, count, size)


def _aligned(block: Floats, size: int) -> Floats:
    """``size`` numbers of ``block``, from the first aligned position on."""
    start = -(block.ctypes.data // block.itemsize) % _ALIGNMENT
    return block[start : start + size]


def _references(blocks: Sequence[Floats], index: int) -> int:
    """References to a block: from the list, from this call, and from every array made of it."""
    return sys.getrefcount(blocks[index])


#: The result of `_references` for a block without arrays; depends on the Python version.
_REFERENCES_UNUSED = _references([np.empty(1, np.float32)], 0)
