"""The input of the adjoint of a map: relevance, perhaps divided as a rule requires.

Blobs have the shapes of the layer; sums are those of `LinearMap.apply_sums`, biases (C,). Quotients are
not computed here: the map does that while the numbers are in the cache, and knows the groups of channels.
A division by 0 gives 0.
"""

from typing import TypeAlias

from caffe_lrp.kernels import passes
from caffe_lrp.kernels.blobs import Blob, pixels
from caffe_lrp.kernels.passes import Source

#: The input of `LinearMap.adjoint`.
AdjointInput: TypeAlias = Source

#: A placeholder: a map replaces it by its own number of groups.
_ANY_GROUPS = 1


def undivided(relevance: Blob) -> AdjointInput:
    """R, undivided."""
    return passes.copied(pixels(relevance))


def stabilised(relevance: Blob, z: Blob, stabiliser: float, at_zero: float) -> AdjointInput:
    """``R / (z + s·sign(z))``, and R over ``at_zero`` where z is 0."""
    return passes.stabilised_ratio(pixels(relevance), pixels(z), _ANY_GROUPS, stabiliser, at_zero)


def over_sums(
    relevance: Blob, sums: Blob, positive_bias: Blob, negative_bias: Blob, factors: tuple[float, float]
) -> AdjointInput:
    """``f₁ R/p`` for positive products and ``f₂ R/n`` for negative ones.

    p and n are the sums with the biases added.
    """
    return passes.ratios_by_sign(pixels(relevance), sums, _ANY_GROUPS, positive_bias, negative_bias, factors)


def over_positive_sum(relevance: Blob, sums: Blob, positive_bias: Blob) -> AdjointInput:
    """``R/p``, for a map with positive products only."""
    return passes.ratio_to_positive(pixels(relevance), sums, _ANY_GROUPS, positive_bias)


def over_favoured_sum(
    relevance: Blob, sums: Blob, positive_bias: Blob, negative_bias: Blob, favour: float
) -> AdjointInput:
    """``R / (z + fp)`` where z ≥ 0, ``R / (z + fn)`` elsewhere; times 1 + f for products of z's sign.

    p and n are the sums with the biases added, and z is their total.
    """
    return passes.favouring_ratios(pixels(relevance), sums, _ANY_GROUPS, positive_bias, negative_bias, favour)
