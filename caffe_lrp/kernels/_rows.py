"""Element-wise operations on contiguous numbers, in vectors: copies, signs, sums and products."""

from typing import Any

from llvmlite import ir

from ._jit import cgutils
from ._simd import Code, Load, Store, each_vector, expanded, number


def _bytes_at(code: Code, address: ir.Value) -> ir.Value:
    return code.builder.inttoptr(address, ir.IntType(8).as_pointer())


def _emit_copy(code: Code, source: Any, target: Any, count: Any) -> None:
    places = _bytes_at(code, target), _bytes_at(code, source)
    cgutils.raw_memcpy(code.builder, *places, count, number(4))


def _emit_clear(code: Code, target: Any, count: Any) -> None:
    cgutils.memset(code.builder, _bytes_at(code, target), code.scaled(count, 4), 0)


def _emit_split(code: Code, source: Any, target: Any, count: Any) -> None:
    def use(offset: ir.Value, load: Load, store: Store) -> None:
        value, zero = load(code.at(source, offset)), code.splat(0)
        home = code.at(target, offset)
        # NaN is neither above nor below 0 and is kept, so that it shows up in the result.
        store(code.builder.select(code.builder.fcmp_ordered("<", value, zero), zero, value), home)
        negative = code.builder.select(code.builder.fcmp_ordered(">", value, zero), zero, value)
        store(negative, code.at(home, code.scaled(count, 4)))

    each_vector(code, count, use)


def with_bias(code: Code, total: ir.Value, bias: ir.Value, offset: ir.Value, load: Load) -> ir.Value:
    """``total`` plus the vector ``offset`` bytes after the address ``bias``; ``total`` if ``bias`` is 0."""
    place = code.variable(total)
    with code.builder.if_then(code.builder.icmp_signed("!=", bias, number(0))):
        code.builder.store(code.plus(total, load(code.at(bias, offset))), place)
    return code.builder.load(place)


def _emit_add_parts(code: Code, parts: Any, bias: Any, out: Any, count: Any) -> None:
    def use(offset: ir.Value, load: Load, store: Store) -> None:
        here = code.at(parts, offset)
        total = code.plus(load(here), load(code.at(here, code.scaled(count, 4))))
        store(with_bias(code, total, bias, offset, load), code.at(out, offset))

    each_vector(code, count, use)


def _emit_multiply(code: Code, factor: Any, out: Any, count: Any) -> None:
    def use(offset: ir.Value, load: Load, store: Store) -> None:
        home = code.at(out, offset)
        store(code.times(load(home), load(code.at(factor, offset))), home)

    each_vector(code, count, use)


def _emit_choose(code: Code, parts: Any, factor: Any, out: Any, count: Any) -> None:
    def use(offset: ir.Value, load: Load, store: Store) -> None:
        here, scale = code.at(parts, offset), load(code.at(factor, offset))
        chosen = code.where_positive(scale, load(here), load(code.at(here, code.scaled(count, 4))))
        store(code.times(scale, chosen), code.at(out, offset))

    each_vector(code, count, use)


#: ``source, target, count``: copies numbers.
copy = expanded(3, _emit_copy)

#: ``target, count``: sets numbers to 0.
clear = expanded(2, _emit_clear)

#: ``source, target, count``: the positive parts of ``count`` numbers, followed by the negative parts.
split_by_sign = expanded(3, _emit_split)

#: ``parts, bias, out, count``: the sum of two consecutive parts of ``count`` numbers each, plus the bias at
#: the address ``bias`` unless that is 0.
add_parts = expanded(4, _emit_add_parts)

#: ``factor, out, count``: multiplies numbers at ``out`` by factors.
multiply_by = expanded(3, _emit_multiply)

#: ``parts, factor, out, count``: factors times the first of two parts where the factor is positive, times the
#: second elsewhere.
choose_by_sign = expanded(4, _emit_choose)
