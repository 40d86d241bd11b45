"""Max pooling of one window, on vectors of channels."""

from typing import Any

from llvmlite import ir

from ._simd import Code, Load, Store, each_vector, expanded


def _largest(
    code: Code, x: ir.Value, offset: ir.Value, steps: tuple[Any, Any], size: tuple[Any, Any], load: Load
) -> ir.Value:
    """The largest vector of a window."""
    place = code.variable(load(code.at(x, offset)))
    with code.loop(size[0]) as row, code.loop(size[1]) as column:
        found = load(code.at(x, offset, code.builder.mul(row, steps[0]), code.builder.mul(column, steps[1])))
        code.builder.store(code.largest(found, code.builder.load(place)), place)
    return code.builder.load(place)


def _emit_largest(
    code: Code, x: Any, row_step: Any, pixel_step: Any, rows: Any, columns: Any, out: Any, channels: Any
) -> None:
    def use(offset: ir.Value, load: Load, store: Store) -> None:
        largest = _largest(code, x, offset, (row_step, pixel_step), (rows, columns), load)
        store(largest, code.at(out, offset))

    each_vector(code, channels, use)


def _emit_hand_back(
    code: Code, x: Any, target: Any, row_step: Any, pixel_step: Any, rows: Any, columns: Any, received: Any,
    channels: Any,
) -> None:  # fmt: skip
    builder = code.builder

    def use(offset: ir.Value, load: Load, store: Store) -> None:
        largest = _largest(code, x, offset, (row_step, pixel_step), (rows, columns), load)
        left = code.variable(load(code.at(received, offset)))
        with code.loop(rows) as row, code.loop(columns) as column:
            place = code.at(offset, builder.mul(row, row_step), builder.mul(column, pixel_step))
            found, home = load(code.at(x, place)), code.at(target, place)
            wins = builder.fcmp_ordered("==", found, largest)
            still = builder.load(left)
            store(code.plus(load(home), builder.select(wins, still, code.splat(0))), home)
            builder.store(builder.select(wins, code.splat(0), still), left)

    each_vector(code, channels, use)


#: ``x, row_step, pixel_step, rows, columns, out, channels``: the largest number of every channel in a window.
largest_of_window = expanded(7, _emit_largest)

#: ``x, target, row_step, pixel_step, rows, columns, received, channels``: adds what every channel received to
#: the place in ``target`` of the first element in its window of ``x`` that has the largest number.
hand_back_to_first = expanded(8, _emit_hand_back)
