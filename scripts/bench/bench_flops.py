"""Counts the floating point operations that a direct evaluation of an explanation needs.

The unit is the product of a linear layer: its weights applied to its input, or the adjoint, with one
multiplication and one addition for every weight and output position. The rule of a layer determines the
number of products, including the forward pass; layers that are not linear count as free.
"""

import math

from caffe_lrp.layers.linear import Linear
from caffe_lrp.net.net import Net
from caffe_lrp.relevance.plan import Plan
from caffe_lrp.relevance.rules.alpha_beta import AlphaBeta
from caffe_lrp.relevance.rules.base import AnyRule
from caffe_lrp.relevance.rules.epsilon import Epsilon
from caffe_lrp.relevance.rules.flat import Flat
from caffe_lrp.relevance.rules.gamma import Gamma
from caffe_lrp.relevance.rules.gradients import Gradient
from caffe_lrp.relevance.rules.w_square import WSquare
from caffe_lrp.relevance.rules.z_box import ZBox

FORWARD_PRODUCTS = 1
"""Products of a layer that is not in the backward pass."""


def direct_flops(plan: Plan) -> int:
    """Return the operations that the forward pass and the relevance of one image need under `plan`."""
    known = plan.net.nonnegative_values
    return sum(
        2 * multiplications(layer) * products(plan.rule_of(layer), signed=layer.inputs[0] not in known)
        for layer in plan.net.layers
        if isinstance(layer, Linear)
    )


def forward_flops(net: Net) -> int:
    """Return the operations that the forward pass of one image needs."""
    return sum(
        2 * multiplications(layer) * FORWARD_PRODUCTS for layer in net.layers if isinstance(layer, Linear)
    )


def multiplications(layer: Linear) -> int:
    """Return the multiplications of one product of a layer for one image; those with padding count."""
    return layer.fan_in * math.prod(layer.output_shapes[0])


def products(rule: AnyRule | None, *, signed: bool) -> int:
    """Return how many products a linear layer needs under `rule`, including its forward pass.

    If the count is debatable, it is the smaller one.

    Parameters
    ----------
    rule
        The rule, None for a layer that is not in the backward pass.
    signed
        Whether the input may be negative: then positive and negative inputs need separate products.
    """
    if rule is None or isinstance(rule, Flat | WSquare):
        return FORWARD_PRODUCTS
    if isinstance(rule, Epsilon | Gradient):
        return 2
    if isinstance(rule, ZBox):
        return 1 + 2 * 2
    if isinstance(rule, Gamma):
        return 8 if signed else 4
    if not isinstance(rule, AlphaBeta):
        raise TypeError(f"the products of the rule '{rule.title}' on linear layers are not known")
    unsigned = 4 if rule.beta else 3
    return 2 * unsigned - (rule.beta == 0) if signed else unsigned
