"""Relevance divided by what it is shared among, on vectors of channels."""

from typing import Any

from llvmlite import ir

from ._simd import Code, Load, Store, each_vector, expanded


def _emit_alpha_beta(
    code: Code, relevance: Any, sums: Any, negative_offset: Any, positive_bias: Any, negative_bias: Any,
    coefficients: Any, out: Any, count: Any,
) -> None:  # fmt: skip
    alpha, minus_beta = code.broadcast(coefficients), code.broadcast(code.at(coefficients, 4))

    def use(offset: ir.Value, load: Load, store: Store) -> None:
        received = load(code.at(relevance, offset))
        p = code.plus(load(code.at(sums, offset)), load(code.at(positive_bias, offset)))
        n = code.plus(load(code.at(sums, negative_offset, offset)), load(code.at(negative_bias, offset)))
        store(code.ratio(code.times(alpha, received), p), code.at(out, offset))
        store(code.ratio(code.times(minus_beta, received), n), code.at(out, negative_offset, offset))

    each_vector(code, count, use)


def _emit_alpha(
    code: Code, relevance: Any, sums: Any, positive_bias: Any, out: Any, count: Any
) -> None:  # fmt: skip
    def use(offset: ir.Value, load: Load, store: Store) -> None:
        p = code.plus(load(code.at(sums, offset)), load(code.at(positive_bias, offset)))
        store(code.ratio(load(code.at(relevance, offset)), p), code.at(out, offset))

    each_vector(code, count, use)


def _emit_gamma(
    code: Code, relevance: Any, sums: Any, negative_offset: Any, positive_bias: Any, negative_bias: Any,
    coefficients: Any, out: Any, count: Any,
) -> None:  # fmt: skip
    gamma = code.broadcast(coefficients)
    favour = code.plus(code.splat(1), gamma)

    def use(offset: ir.Value, load: Load, store: Store) -> None:
        p = code.plus(load(code.at(sums, offset)), load(code.at(positive_bias, offset)))
        n = code.plus(load(code.at(sums, negative_offset, offset)), load(code.at(negative_bias, offset)))
        z = code.plus(p, n)
        below_zero = code.minus(code.splat(0), z)
        divisor = code.times_plus(gamma, code.where_positive(below_zero, n, p), z)
        plain = code.ratio(load(code.at(relevance, offset)), divisor)
        favoured = code.times(favour, plain)
        store(code.where_positive(below_zero, plain, favoured), code.at(out, offset))
        store(code.where_positive(below_zero, favoured, plain), code.at(out, negative_offset, offset))

    each_vector(code, count, use)


def _emit_epsilon(code: Code, relevance: Any, z: Any, coefficients: Any, out: Any, count: Any) -> None:
    stabiliser, at_zero = code.broadcast(coefficients), code.broadcast(code.at(coefficients, 4))

    def use(offset: ir.Value, load: Load, store: Store) -> None:
        value = load(code.at(z, offset))
        divisor = code.where_positive(value, code.plus(value, stabiliser), code.minus(value, stabiliser))
        divisor = code.where_zero(value, at_zero, divisor)
        store(code.ratio(load(code.at(relevance, offset)), divisor), code.at(out, offset))

    each_vector(code, count, use)


#: ``relevance, sums, negative_offset, positive_bias, negative_bias, coefficients, out, count``: ``α R/p`` at
#: ``out`` and ``−β R/n`` ``negative_offset`` bytes behind it, as the sums lie; the coefficients are α and
#: −β. A term whose sum is 0 is 0. Source: Bach et al. 2015, eq. 60.
alpha_beta_quotients = expanded(8, _emit_alpha_beta)

#: ``relevance, sums, positive_bias, out, count``: the same for α = 1 and β = 0, ``R/p`` alone.
alpha_quotients = expanded(5, _emit_alpha)

#: Arguments as of `alpha_beta_quotients`; the coefficient is γ. ``R / (z + γp)`` where ``z = p + n ≥ 0``,
#: else ``R / (z + γn)``; products of the sign of z get it times 1 + γ, the others as it is. What would be
#: divided by 0 is 0. Source: Andéol et al. 2021.
gamma_quotients = expanded(8, _emit_gamma)

#: ``relevance, z, coefficients, out, count``: ``R / (z + ε·sign(z))``; the coefficients are ε and what
#: divides where z is 0; what would be divided by 0 is 0. Source: Bach et al. 2015, eq. 58.
epsilon_quotients = expanded(5, _emit_epsilon)
