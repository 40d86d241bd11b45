"""Composites in YAML on a whole net against float64 loops: rules of RelevancePropagation.jl and the toolbox.

A rule there is a list of parts: modified inputs, weights and biases. z is the sum of all, and relevance is
``Σ x' · W'ᵀ (R / z)``.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import oracle
import pytest
from builders import ENGINE, assert_close, build, parse, random_blob, random_weights
from oracle import Array, Edges, Geometry, convolution_edges, inner_product_edges

from caffe_lrp.config import read_composite
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.net.net import Net
from caffe_lrp.quirks import CORRECTED
from caffe_lrp.relevance.beginning import at_scores
from caffe_lrp.relevance.plan import resolve_plan
from caffe_lrp.relevance.rules.base import RuleParameters

TEXT = """
input: "data" input_shape { dim: 2 dim: 3 dim: 8 dim: 7 }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 5 kernel_h: 3 kernel_w: 2 } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "conv2" type: "Convolution" bottom: "conv1" top: "conv2"
  convolution_param { num_output: 4 kernel_size: 2 stride: 2 } }
layer { name: "relu2" type: "ReLU" bottom: "conv2" top: "conv2" }
layer { name: "fc" type: "InnerProduct" bottom: "conv2" top: "fc" inner_product_param { num_output: 6 } }
"""
NAMES = ("conv1", "conv2", "fc")
PARAMETERS = RuleParameters(7.0, 7.0, 0, CORRECTED, 7.0)
"""Numbers that would show if an entry's own were not used."""

Part: TypeAlias = tuple[Array, Array, Array]
#: From x, w, b and R of a layer to the relevance of x.
Oracle: TypeAlias = Callable[[Array, Array, Array, Array, Edges], Array]


class Chain:
    """The net, and its forward pass in double precision."""

    def __init__(self, folder: Path) -> None:
        weights = random_weights(parse(folder, TEXT), 3)
        self.net: Net = build(folder, TEXT, weights)
        self.weights = {name: [blob.astype(np.float64) for blob in weights[name]] for name in NAMES}
        self.batch = random_blob((2, 3, 8, 7), 8)  # no sum is near 0
        self.edges = {
            "conv1": convolution_edges((3, 8, 7), (5, 3, 3, 2), Geometry((3, 2)), 1),
            "conv2": convolution_edges((5, 6, 6), (4, 5, 2, 2), Geometry((2, 2), (2, 2)), 1),
            "fc": inner_product_edges((4, 3, 3), 6),
        }
        self.inputs, x = {}, self.batch.astype(np.float64)
        for name in NAMES:
            self.inputs[name] = x
            weight, bias = self.weights[name]
            self.scores = oracle.linear(x, weight, bias, self.edges[name])
            x = np.maximum(self.scores, 0)

    def expected(self, rules: Sequence[Oracle]) -> Array:
        """Relevance of classes 4 and 1 by the rules of the three layers."""
        relevance = np.zeros_like(self.scores)
        for item, chosen in enumerate((4, 1)):
            relevance[item, chosen] = self.scores[item, chosen]
        for name, rule in zip(NAMES[::-1], rules[::-1], strict=True):
            weight, bias = self.weights[name]
            relevance = rule(self.inputs[name], weight, bias, relevance, self.edges[name])
        return relevance

    def found(self, text: str, path: Path) -> Blob:
        """The same by a file with these entries."""
        path.write_text("rules:\n" + "".join(f"  - {line}\n" for line in text.split("\n")), encoding="utf-8")
        plan = resolve_plan(self.net, read_composite(path), PARAMETERS, "fc", 0)
        forward = ENGINE.forward(self.net, [plan], self.batch)
        return ENGINE.explain(plan, forward, at_scores(plan, forward, [[4], [1]]))


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    return Chain(tmp_path_factory.mktemp("chain"))


# --- RelevancePropagation.jl --------------------------------------------------------------------------------


def up(numbers: Array) -> Array:
    return np.maximum(numbers, 0)


def down(numbers: Array) -> Array:
    return np.minimum(numbers, 0)


def by_parts(parts: Sequence[Part], relevance: Array, edges: Edges, stabiliser: float = 1e-9) -> Array:
    z = np.zeros(relevance.shape)
    for x, weight, bias in parts:
        z += oracle.linear(x, weight, bias, edges)
    shares = relevance / (z + np.where(z >= 0, stabiliser, -stabiliser))
    out = np.zeros(parts[0][0].shape)
    for x, weight, _ in parts:
        out += x * oracle.adjoint(shares, weight, edges)
    return out


def zero(x: Array, w: Array, b: Array, relevance: Array, edges: Edges) -> Array:
    return by_parts([(x, w, b)], relevance, edges)


def epsilon(x: Array, w: Array, b: Array, relevance: Array, edges: Edges) -> Array:
    return by_parts([(x, w, b)], relevance, edges, 1e-6)


def gamma(x: Array, w: Array, b: Array, relevance: Array, edges: Edges) -> Array:
    return by_parts([(x, w + 0.25 * up(w), b + 0.25 * up(b))], relevance, edges)


def generalised_gamma(x: Array, w: Array, b: Array, relevance: Array, edges: Edges) -> Array:
    z = oracle.linear(x, w, b, edges)
    above = [(up(x), w + up(w) / 4, b + up(b) / 4), (down(x), w + down(w) / 4, 0 * b)]
    below = [(up(x), w + down(w) / 4, b + down(b) / 4), (down(x), w + up(w) / 4, 0 * b)]
    return by_parts(above, relevance * (z > 0), edges) + by_parts(below, relevance * (z < 0), edges)


def w_square(x: Array, w: Array, b: Array, relevance: Array, edges: Edges) -> Array:
    return by_parts([(np.ones_like(x), w**2, 0 * b)], relevance, edges)


def flat(x: Array, w: Array, b: Array, relevance: Array, edges: Edges) -> Array:
    return by_parts([(np.ones_like(x), np.ones_like(w), 0 * b)], relevance, edges)


def positives(x: Array, w: Array, b: Array, relevance: Array, edges: Edges) -> Array:
    return by_parts([(up(x), up(w), up(b)), (down(x), down(w), 0 * b)], relevance, edges)


def alpha_beta(x: Array, w: Array, b: Array, relevance: Array, edges: Edges) -> Array:
    negatives = by_parts([(up(x), down(w), down(b)), (down(x), up(w), 0 * b)], relevance, edges)
    return 2 * positives(x, w, b, relevance, edges) - negatives


def z_box(x: Array, w: Array, b: Array, relevance: Array, edges: Edges) -> Array:
    low, high = np.full_like(x, -4), np.full_like(x, 5)
    return by_parts([(x, w, b), (low, -up(w), -up(b)), (high, -down(w), -down(b))], relevance, edges)


@pytest.mark.parametrize(
    ("entry", "rule"),
    [
        ("rule: epsilon, epsilon: 0", zero),
        ("rule: epsilon, epsilon: 1e-6", epsilon),
        ("rule: gamma-2019, gamma: 0.25", gamma),
        ("rule: gamma, gamma: 0.25", generalised_gamma),
        ("rule: w-square", w_square),
        ("rule: flat", flat),
        ("rule: z-plus", positives),
        ("rule: alpha-beta, alpha: 2, beta: 1", alpha_beta),
        ("rule: z-box, low: -4, high: 5", z_box),
    ],
)
def test_rules_of_relevance_propagation_jl(entry: str, rule: Oracle, chain: Chain, tmp_path: Path) -> None:
    """Its ZeroRule, EpsilonRule, GammaRule and so on, in this order; PassRule is that of ReLU."""
    text = f"{{kind: linear, {entry}}}\n{{kind: relu, rule: pass}}"
    assert_close(chain.found(text, tmp_path / "one.yaml"), chain.expected([rule] * 3), 2e-5)


ALL = "{kind: linear, rule: z-plus}\n"


@pytest.mark.parametrize(
    ("entries", "rules"),
    [
        ("{layers: 2, rule: flat}", (positives, flat, positives)),  # LayerMap
        ("{layers: 1..3, rule: flat}", (positives, flat, positives)),  # RangeMap
        ("{position: first, rule: flat}", (flat, positives, positives)),  # FirstLayerMap
        ("{position: last, rule: w-square}", (positives, positives, w_square)),  # LastLayerMap
        (  # GlobalTypeMap
            "{type: InnerProduct, rule: w-square}\n{type: Convolution, rule: alpha-beta, alpha: 2}",
            (alpha_beta, alpha_beta, w_square),
        ),
        ("{layers: 1..4, type: Convolution, rule: flat}", (positives, flat, positives)),  # RangeTypeMap
        ("{layers: 0..1, type: Convolution, rule: flat}", (flat, positives, positives)),  # FirstNTypeMap
        (
            "{layers: 0, type: Convolution, rule: flat, optional: true}",
            (flat, positives, positives),
        ),  # FirstLayerTypeMap
        (
            "{layers: 4, type: Convolution, rule: flat, optional: true}",
            (positives, positives, positives),
        ),  # LastLayerTypeMap
        (  # the last one that matches wins
            "{type: Convolution, rule: flat}\n{position: first, rule: z-box, low: -4, high: 5}",
            (z_box, flat, positives),
        ),
    ],
)
def test_primitives_of_relevance_propagation_jl(
    entries: str, rules: Sequence[Oracle], chain: Chain, tmp_path: Path
) -> None:
    assert_close(chain.found(ALL + entries, tmp_path / "one.yaml"), chain.expected(rules), 2e-5)


# --- The toolbox's parameters, layer by layer ---------------------------------------------------------------


def with_alpha(alpha: float) -> Oracle:
    return lambda x, w, b, relevance, edges: oracle.alpha_beta(x, w, b, relevance, edges, alpha - 1, False)


def with_epsilon(number: float) -> Oracle:
    return lambda x, w, b, relevance, edges: oracle.epsilon(x, w, b, relevance, edges, number, False)


def test_every_layer_may_have_an_alpha_of_its_own(chain: Chain, tmp_path: Path) -> None:
    alphas = (2, 0.5, 1)
    text = "\n".join(
        f"{{layers: {name}, rule: alpha-beta, alpha: {alpha}}}"
        for name, alpha in zip(NAMES, alphas, strict=True)
    )
    expected = chain.expected([with_alpha(alpha) for alpha in alphas])
    assert_close(chain.found(text, tmp_path / "alphas.yaml"), expected, 2e-5)


def test_every_layer_may_have_an_epsilon_of_its_own(chain: Chain, tmp_path: Path) -> None:
    numbers = (0.5, 0.01, 2)
    text = "\n".join(
        f"{{layers: {name}, rule: epsilon, epsilon: {number}}}"
        for name, number in zip(NAMES, numbers, strict=True)
    )
    expected = chain.expected([with_epsilon(number) for number in numbers])
    assert_close(chain.found(text, tmp_path / "epsilons.yaml"), expected, 2e-5)
