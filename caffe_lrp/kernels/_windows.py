"""Max pooling of one window, in vectors of channels.

A window starts at (top, left) of an image (H, W, C). If it extends beyond the image, it is clipped.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from llvmlite import ir

from ._simd import Code, Load, Store, each_vector, expanded, number

#: Sizes of square windows with unrolled loops: those of nearly all nets.
UNROLLED = (3, 2)

#: Bytes of a cache line.
_CACHE_LINE = 64


@dataclass(frozen=True)
class _Window:
    """Position of a window, and size of the image; ``pixel_step`` is the distance between pixels in bytes."""

    top: Any
    left: Any
    rows: Any
    columns: Any
    height: Any
    width: Any
    pixel_step: Any

    def row_step(self, code: Code) -> ir.Value:
        """Distance between two rows of the image in bytes."""
        return code.builder.mul(self.width, self.pixel_step)

    def places(self, code: Code, size: int) -> list[ir.Value]:
        """Offsets of the elements of a ``size``×``size`` window in the image, in scan order.

        Elements outside the image are replaced by the nearest ones inside. Those are in the window as well,
        so neither its maximum nor the order in which its elements first appear changes.
        """
        multiply, row_step = code.builder.mul, self.row_step(code)
        rows = [multiply(row, row_step) for row in _inside(code, self.top, size, self.height)]
        columns = [multiply(column, self.pixel_step) for column in _inside(code, self.left, size, self.width)]
        return [code.at(row, column) for row in rows for column in columns]

    def clipped(self, code: Code) -> tuple[ir.Value, ir.Value, ir.Value]:
        """The part inside the image: offset of its first element, rows and columns."""
        top, rows = _overlap(code, self.top, self.rows, self.height)
        left, columns = _overlap(code, self.left, self.columns, self.width)
        start = code.at(code.builder.mul(top, self.row_step(code)), code.builder.mul(left, self.pixel_step))
        return start, rows, columns


def _inside(code: Code, first: ir.Value, count: int, limit: ir.Value) -> list[ir.Value]:
    """``count`` positions from ``first`` on, clamped to 0..``limit`` − 1."""
    last = code.at(limit, -1)
    return [code.larger(code.smaller(code.at(first, shift), last), number(0)) for shift in range(count)]


def _overlap(code: Code, first: ir.Value, count: ir.Value, limit: ir.Value) -> tuple[ir.Value, ir.Value]:
    """First, and number, of the ``count`` positions from ``first`` on that are in 0..``limit`` − 1."""
    start = code.larger(first, number(0))
    return start, code.builder.sub(code.smaller(code.at(first, count), limit), start)


def _by_size(
    code: Code, window: _Window, unrolled: Callable[[int], None], other: Callable[[], None],
    sizes: Sequence[int] = UNROLLED,
) -> None:  # fmt: skip
    """``unrolled(size)`` if the window is a square of one of ``sizes``, otherwise ``other()``."""
    if not sizes:
        other()
        return
    builder = code.builder
    fits = [builder.icmp_signed("==", given, number(sizes[0])) for given in (window.rows, window.columns)]
    with builder.if_else(builder.and_(*fits)) as (same, different):
        with same:
            unrolled(sizes[0])
        with different:
            _by_size(code, window, unrolled, other, sizes[1:])


def _largest(code: Code, x: ir.Value, window: _Window, part: Any, offset: ir.Value, load: Load) -> ir.Value:
    """The largest number of each lane in the clipped ``part`` of a window."""
    start, rows, columns = part
    first = code.at(x, start, offset)
    place = code.variable(load(first))
    with code.loop(rows) as row, code.loop(columns) as column:
        found = load(_element(code, first, window, row, column))
        code.builder.store(code.largest(found, code.builder.load(place)), place)
    return code.builder.load(place)


def _element(code: Code, first: ir.Value, window: _Window, row: ir.Value, column: ir.Value) -> ir.Value:
    """The offset of the element ``row`` rows and ``column`` columns from ``first``."""
    down = code.builder.mul(row, window.row_step(code))
    return code.at(first, down, code.builder.mul(column, window.pixel_step))


def _emit_largest(
    code: Code, x: Any, top: Any, left: Any, rows: Any, columns: Any, height: Any, width: Any,
    pixel_step: Any, out: Any, channels: Any,
) -> None:  # fmt: skip
    window = _Window(top, left, rows, columns, height, width, pixel_step)

    def unrolled(size: int) -> None:
        places = window.places(code, size)

        def use(offset: ir.Value, load: Load, store: Store) -> None:
            found = [load(code.at(x, place, offset)) for place in places]
            store(reduce(code.largest, found), code.at(out, offset))

        each_vector(code, channels, use)

    def other() -> None:
        part = window.clipped(code)

        def use(offset: ir.Value, load: Load, store: Store) -> None:
            store(_largest(code, x, window, part, offset, load), code.at(out, offset))

        each_vector(code, channels, use)

    _by_size(code, window, unrolled, other)


def _hand_over(
    code: Code, found: ir.Value, largest: ir.Value, left: ir.Value, home: ir.Value, load: Load, store: Store
) -> ir.Value:
    """Add ``left`` to ``home`` in the lanes where ``found`` is the largest; ``left`` for the other lanes."""
    wins = code.builder.fcmp_ordered("==", found, largest)
    store(code.plus(load(home), code.builder.select(wins, left, code.splat(0))), home)
    return code.builder.select(wins, code.splat(0), left)


def _emit_hand_back(
    code: Code, x: Any, target: Any, top: Any, left: Any, rows: Any, columns: Any, height: Any, width: Any,
    pixel_step: Any, received: Any, channels: Any,
) -> None:  # fmt: skip
    window = _Window(top, left, rows, columns, height, width, pixel_step)

    def unrolled(size: int) -> None:
        places = window.places(code, size)

        def use(offset: ir.Value, load: Load, store: Store) -> None:
            found = [load(code.at(x, place, offset)) for place in places]
            largest, still = reduce(code.largest, found), load(code.at(received, offset))
            for place, candidate in zip(places, found, strict=True):
                home = code.at(target, place, offset)
                still = _hand_over(code, candidate, largest, still, home, load, store)

        each_vector(code, channels, use)

    def other() -> None:
        part = window.clipped(code)

        def use(offset: ir.Value, load: Load, store: Store) -> None:
            largest = _largest(code, x, window, part, offset, load)
            start, part_rows, part_columns = part
            still = code.variable(load(code.at(received, offset)))
            with code.loop(part_rows) as row, code.loop(part_columns) as column:
                place = _element(code, code.at(start, offset), window, row, column)
                candidate, before = load(code.at(x, place)), code.builder.load(still)
                after = _hand_over(code, candidate, largest, before, code.at(target, place), load, store)
                code.builder.store(after, still)

        each_vector(code, channels, use)

    _by_size(code, window, unrolled, other)


def _emit_fetch(code: Code, address: Any, size: Any) -> None:
    lines = code.builder.udiv(code.at(size, _CACHE_LINE - 1), number(_CACHE_LINE))
    with code.loop(lines) as line:
        code.fetch(code.at(address, code.scaled(line, _CACHE_LINE)))


#: ``x, top, left, rows, columns, height, width, pixel_step, out, channels``: the largest number of every
#: channel in a window of ``x``.
largest_of_window = expanded(10, _emit_largest)

#: ``x, target, top, left, rows, columns, height, width, pixel_step, received, channels``: adds ``received``
#: of every channel to ``target`` at the first largest element in that channel's window of ``x``.
hand_back_to_first = expanded(11, _emit_hand_back)

#: ``address, size``: prefetches ``size`` bytes.
fetch_ahead = expanded(2, _emit_fetch)
