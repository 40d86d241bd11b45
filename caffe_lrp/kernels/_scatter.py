"""Adding the shares of every output pixel to the pixels of its window, in vectors of channels."""

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from ._simd import VECTOR_BYTES, Code, expanded, number
from ._tiles import integer


def _valid(code: Code, address: ir.Value, mask: ir.Value) -> ir.Value:
    """The vector at ``address``, with 0 in the lanes where ``mask`` is 0."""
    return code.where_zero(mask, code.splat(0), code.load(address))


def _emit_add_runs(
    code: Code, pixels: Any, products: Any, products_step: Any, target_step: Any, runs: Any, starts: Any,
    targets: Any, vectors: Any, mask: Any,
) -> None:  # fmt: skip
    builder = code.builder
    whole = builder.sub(vectors, number(1))
    last_mask = code.load(code.at(mask, code.scaled(whole, VECTOR_BYTES)))

    def add(found: ir.Value, home: ir.Value) -> None:
        code.store(code.plus(code.load(home), found), home)

    def each_run(use: Callable[[ir.Value, ir.Value], None]) -> None:
        with code.loop(pixels) as pixel:
            here, shift = (
                code.at(products, builder.mul(pixel, products_step)),
                builder.mul(pixel, target_step),
            )
            with code.loop(runs) as run:
                line, target = (integer(code, table, run) for table in (starts, targets))
                use(code.at(here, line), code.at(target, shift))

    def add_two(line: ir.Value, target: ir.Value) -> None:
        add(code.load(line), target)
        add(_valid(code, code.at(line, VECTOR_BYTES), last_mask), code.at(target, VECTOR_BYTES))

    def add_any(line: ir.Value, target: ir.Value) -> None:
        with code.loop(whole) as vector:
            offset = code.scaled(vector, VECTOR_BYTES)
            add(code.load(code.at(line, offset)), code.at(target, offset))
        last = code.scaled(whole, VECTOR_BYTES)
        add(_valid(code, code.at(line, last), last_mask), code.at(target, last))

    # Rows of 7 taps and 3 channels, common in the first layer of a net, fill two vectors.
    with builder.if_else(builder.icmp_signed("==", whole, number(1))) as (two, others):
        with two:
            each_run(add_two)
        with others:
            each_run(add_any)


def _emit_add_channels(
    code: Code, pixels: Any, x: Any, x_step: Any, target_step: Any, runs: Any, starts: Any, targets: Any,
    vectors: Any, mask: Any, weights: Any,
) -> None:  # fmt: skip
    builder = code.builder
    with code.loop(pixels) as pixel:
        here, shift = code.at(x, builder.mul(pixel, x_step)), builder.mul(pixel, target_step)
        with code.loop(vectors) as vector:
            offset = code.scaled(vector, VECTOR_BYTES)
            value = _valid(code, code.at(here, offset), code.load(code.at(mask, offset)))
            with code.loop(runs) as run:
                weight = code.load(code.at(weights, integer(code, starts, run), offset))
                home = code.at(integer(code, targets, run), shift, offset)
                code.store(code.fma(value, weight, code.load(home)), home)


#: ``pixels, products, products_step, target_step, runs, starts, targets, vectors, mask``: adds runs of
#: ``vectors`` vectors of every pixel's products to memory. ``starts`` holds where each run begins in the
#: products, ``targets`` where it is added for the first pixel. Lanes where ``mask`` is 0 add 0.
add_runs = expanded(9, _emit_add_runs)

#: The same for runs that are all channels of the pixel ``x`` times the weights from ``weights + start`` on:
#: ``pixels, x, x_step, target_step, runs, starts, targets, vectors, mask, weights``.
add_channels = expanded(10, _emit_add_channels)
