"""Whole nets, each of them twice: as the package builds it and as the oracle walks it."""

from collections.abc import Sequence
from pathlib import Path

from builders import (
    ENGINE,
    INCEPTION_INDICES,
    Weights,
    build,
    from_scores,
    messages,
    parse,
    random_blob,
    random_weights,
)
from oracle_walker import Options, Walker

from caffe_lrp.engines.base import Engine
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.net.net import Net
from caffe_lrp.quirks import CORRECTED, REFERENCE
from caffe_lrp.relevance.composite import FormulaCode
from caffe_lrp.relevance.plan import Plan, resolve_plan
from caffe_lrp.relevance.rules.base import RuleParameters

CODES = (0, 2, 11, 26, 54, 56, 58, 60, 99, 100, 102, 104, 114, 166)
FC2 = INCEPTION_INDICES["fc2"]

#: One class of the first item, two of the second.
CLASSES = [[3], [0, 4]]

#: 3×3 convolutions below max pooling, below average pooling, in groups, and one with few channels.
WINOGRAD = """
input: "data" input_shape { dim: 2 dim: 3 dim: 13 dim: 11 }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 8 kernel_size: 3 pad: 1 } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "conv2" type: "Convolution" bottom: "conv1" top: "conv2"
  convolution_param { num_output: 6 kernel_size: 3 pad_h: 0 pad_w: 1 group: 2 } }
layer { name: "relu2" type: "ReLU" bottom: "conv2" top: "conv2" }
layer { name: "pool" type: "Pooling" bottom: "conv2" top: "pool"
  pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layer { name: "conv3" type: "Convolution" bottom: "pool" top: "conv3"
  convolution_param { num_output: 10 kernel_size: 3 pad: 2 } }
layer { name: "relu3" type: "ReLU" bottom: "conv3" top: "conv3" }
layer { name: "mean" type: "Pooling" bottom: "conv3" top: "mean"
  pooling_param { pool: AVE kernel_size: 2 stride: 2 } }
layer { name: "fc" type: "InnerProduct" bottom: "mean" top: "fc" inner_product_param { num_output: 5 } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""
WINOGRAD_INDICES = {
    name: index
    for index, name in enumerate(
        ["conv1", "relu1", "conv2", "relu2", "pool", "conv3", "relu3", "mean", "fc", "prob"]
    )
}


class Twins:
    """One net, twice: as the package builds it and as the oracle walks it."""

    def __init__(
        self,
        folder: Path,
        text: str,
        indices: dict[str, int],
        shape: tuple[int, ...],
        engine: Engine = ENGINE,
    ) -> None:
        self.weights: Weights = random_weights(parse(folder, text), 11)
        self.net: Net = build(folder, text, self.weights)
        self.engine = engine
        self.batch: Blob = random_blob((2, *shape), 12)
        self.walker = Walker(messages(text), self.weights, indices)
        self.walker.forward(self.batch)

    def plan(self, code: FormulaCode, options: Options, start: int, first: int = 0) -> Plan:
        parameters = RuleParameters(
            epsilon=options.epsilon,
            beta=options.beta,
            switch_layer=options.switch,
            quirks=CORRECTED if options.corrected else REFERENCE,
            gamma=options.gamma,
            lowest=options.lowest,
            highest=options.highest,
        )
        return resolve_plan(self.net, code, parameters, start, first)

    def explain(
        self,
        code: FormulaCode,
        options: Options,
        start: int,
        first: int = 0,
        classes: Sequence[Sequence[int]] = CLASSES,
    ) -> Blob:
        plan = self.plan(code, options, start, first)
        forward = self.engine.forward(self.net, [plan], self.batch)
        return from_scores(plan, forward, classes, engine=self.engine)
