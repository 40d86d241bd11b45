"""What goes back along the weights of a map: relevance as it is, or over what a rule divides it by.

Blobs are in the shapes of the layer; sums are those of `LinearMap.apply_sums`, biases (C,). A quotient is
not formed here: the map does that while the numbers are in the cache, and knows the groups of channels.
"""

from caffe_lrp.kernels import passes
from caffe_lrp.kernels.blobs import Blob, pixels
from caffe_lrp.kernels.passes import Source

#: Until a map puts its own in this place.
_ANY_GROUPS = 1


def undivided(relevance: Blob) -> Source:
    """R itself."""
    return passes.copied(pixels(relevance))


def epsilon_quotient(relevance: Blob, z: Blob, epsilon: float, *, undivided_at_zero: bool) -> Source:
    """``R / (z + ε·sign(z))``; where z is 0, R stays as it is (Q4), or sign(0) is +1."""
    return passes.epsilon_quotient(
        pixels(relevance), pixels(z), _ANY_GROUPS, epsilon, undivided_at_zero=undivided_at_zero
    )


def alpha_beta_quotient(
    relevance: Blob, sums: Blob, positive_bias: Blob, negative_bias: Blob, beta: float
) -> Source:
    """``α R/p`` for positive products and ``−β R/n`` for negative ones, with α = 1 + β.

    p and n are the sums with the biases added; what would be divided by 0 is 0. For β = 0 the second half
    is left out.
    """
    return passes.alpha_beta_quotient(
        pixels(relevance), sums, _ANY_GROUPS, positive_bias, negative_bias, beta
    )


def gamma_quotient(
    relevance: Blob, sums: Blob, positive_bias: Blob, negative_bias: Blob, gamma: float
) -> Source:
    """``R / (z + γp)`` where z ≥ 0, ``R / (z + γn)`` elsewhere; 1 + γ times it for products of z's sign.

    p and n are the sums with the biases added, z is both together.
    """
    return passes.gamma_quotient(pixels(relevance), sums, _ANY_GROUPS, positive_bias, negative_bias, gamma)
