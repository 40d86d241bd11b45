"""Products by sign, each with a share of the bias, on vectors of channels."""

from typing import Any

from llvmlite import ir

from ._simd import Code, Load, Store, each_vector, expanded


def _emit_sums(
    code: Code, line: Any, inputs: Any, weight: Any, row_step: Any, bias: Any, share: Any, positive: Any,
    negative: Any, count: Any,
) -> None:  # fmt: skip
    builder, portion, zero = code.builder, code.broadcast(share), code.splat(0)

    def use(offset: ir.Value, load: Load, store: Store) -> None:
        shift = code.times(load(code.at(bias, offset)), portion)
        sums = code.variable(zero), code.variable(zero)
        with code.loop(inputs) as channel:
            value = code.broadcast(code.at(line, code.scaled(channel, 4)))
            row = code.at(weight, builder.mul(channel, row_step), offset)
            product = code.times_plus(value, load(row), shift)
            # What is not a number is not below 0 either, so that it is found in the result.
            is_negative = builder.fcmp_ordered("<", product, zero)
            parts = builder.select(is_negative, zero, product), builder.select(is_negative, product, zero)
            for total, part in zip(sums, parts, strict=True):
                builder.store(code.plus(builder.load(total), part), total)
        for total, home in zip(sums, (positive, negative), strict=True):
            place = code.at(home, offset)
            store(code.plus(load(place), builder.load(total)), place)

    each_vector(code, count, use)


def _emit_hand_back(
    code: Code, line: Any, weight: Any, row_step: Any, bias: Any, share: Any, of_positive: Any,
    of_negative: Any, outputs: Any, out: Any, count: Any,
) -> None:  # fmt: skip
    builder, portion, zero = code.builder, code.broadcast(share), code.splat(0)

    def use(offset: ir.Value, load: Load, store: Store) -> None:
        value, home = load(code.at(line, offset)), code.at(out, offset)
        total = code.variable(load(home))
        with code.loop(outputs) as output:
            at = code.scaled(output, 4)
            shift = code.times(code.broadcast(code.at(bias, at)), portion)
            row = code.at(weight, builder.mul(output, row_step), offset)
            product = code.times_plus(value, load(row), shift)
            up, down = (code.broadcast(code.at(each, at)) for each in (of_positive, of_negative))
            quotient = builder.select(builder.fcmp_ordered("<", product, zero), down, up)
            builder.store(code.times_plus(product, quotient, builder.load(total)), total)
        store(builder.load(total), home)

    each_vector(code, count, use)


#: ``line, inputs, weight, row_step, bias, share, positive, negative, count``: adds products ``x w + b s`` of
#: ``inputs`` numbers with rows of ``count`` weights, ``row_step`` bytes apart, to the sums of their signs; s
#: is the number at ``share``.
add_signed_products = expanded(9, _emit_sums)

#: ``line, weight, row_step, bias, share, of_positive, of_negative, outputs, out, count``: adds the same
#: products of ``count`` numbers with ``outputs`` rows of weights, times quotients of their signs, to ``out``.
hand_back_signed_products = expanded(10, _emit_hand_back)
