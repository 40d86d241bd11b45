"""Kinds of convolution: depthwise ones of forks, and what deconvolutions refuse; see `test_deconvolution`."""

from pathlib import Path

import numpy as np
import oracle
import pytest
from builders import (
    WORKSPACE,
    assert_close,
    build,
    deployed,
    layer_net,
    lone_layer,
    parse,
    random_blob,
    random_weights,
)
from oracle import Geometry, Shape

from caffe_lrp.errors import ModelError
from caffe_lrp.layers.convolution import Convolution, DepthwiseConvolution
from caffe_lrp.net.build import build_graph

IMAGE = (6, 7, 5)
#: Both names that forks have for it.
DEPTHWISE = ('type: "DepthwiseConvolution"', 'type: "ConvolutionDepthwise"')
WINDOW = "kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 1 pad_h: 1 pad_w: 0"
GEOMETRY = Geometry((3, 2), (2, 1), (1, 0))


@pytest.mark.parametrize("kind", DEPTHWISE)
@pytest.mark.parametrize(
    ("numbers", "outputs"),
    [
        ("", 6),
        ("num_output: 6", 6),
        ("num_output: 6 group: 6", 6),
        ("num_output: 6 group: 1", 6),
        ("num_output: 18", 18),
        ("group: 6 bias_term: false", 6),
    ],
)
def test_depthwise_convolution_takes_every_channel_on_its_own(
    kind: str, numbers: str, outputs: int, tmp_path: Path
) -> None:
    text = layer_net(f"{kind} convolution_param {{ {numbers} {WINDOW} }}", IMAGE)
    weights = random_weights(parse(tmp_path, text), 3)
    layer, x = build(tmp_path, text, weights).layers[0], random_blob((2, *IMAGE), 1)
    kernel, *bias = weights["layer"]
    assert kernel.shape == (outputs, 1, 3, 2)
    edges = oracle.convolution_edges(IMAGE, kernel.shape, GEOMETRY, 6)
    (out,) = layer.forward([x], WORKSPACE)
    assert layer.output_shapes == (edges.output_shape,)
    assert_close(out, oracle.linear(x, kernel, bias[0] if bias else None, edges), 2e-6)
    gradient = random_blob(out.shape, 2)
    (found,) = layer.gradient([], [], [gradient], WORKSPACE)
    assert_close(found, oracle.adjoint(gradient, kernel, edges), 3e-6)


@pytest.mark.parametrize("kind", DEPTHWISE)
def test_depthwise_convolution_is_a_convolution_of_as_many_groups(kind: str, tmp_path: Path) -> None:
    """So that rules and formulas treat it as one, and give the same bits."""
    depthwise = layer_net(f"{kind} convolution_param {{ {WINDOW} }}", IMAGE)
    grouped = layer_net(f'type: "Convolution" convolution_param {{ num_output: 6 group: 6 {WINDOW} }}', IMAGE)
    weights = random_weights(parse(tmp_path, grouped), 3)
    x, results = random_blob((2, *IMAGE), 1), []
    for text in (depthwise, grouped):
        layer = build(tmp_path, text, weights).layers[0]
        assert isinstance(layer, Convolution)
        assert layer.groups == 6
        results.append(layer.forward([x], WORKSPACE)[0])
    np.testing.assert_array_equal(results[0], results[1])
    assert issubclass(DepthwiseConvolution, Convolution)


@pytest.mark.parametrize("numbers", ["group: 2", "num_output: 9 group: 3", "num_output: 2"])
def test_what_a_fork_of_depthwise_convolution_never_reads_changes_nothing(
    numbers: str, tmp_path: Path
) -> None:
    """``ConvolutionDepthwise`` has as many groups and outputs as channels, whatever stands in the file."""
    text = layer_net(f"{DEPTHWISE[1]} convolution_param {{ {WINDOW} }}", IMAGE)
    weights = random_weights(parse(tmp_path, text), 3)
    x, results = random_blob((2, *IMAGE), 1), []
    for more in ("", numbers):
        layer = build(tmp_path, text.replace(WINDOW, f"{WINDOW} {more}"), weights).layers[0]
        results.append(layer.forward([x], WORKSPACE)[0])
    np.testing.assert_array_equal(results[0], results[1])


BAD: dict[str, tuple[str, Shape, str]] = {
    "outputs that are no multiple": (
        DEPTHWISE[0] + " convolution_param { num_output: 9 kernel_size: 3 }",
        IMAGE,
        "6 input and 9 output channels do not divide into 6 groups",
    ),
    "no outputs at all": (
        DEPTHWISE[1] + " convolution_param { num_output: 0 kernel_size: 3 }",
        IMAGE,
        "least 1",
    ),
    "groups of several channels": (
        DEPTHWISE[0] + " convolution_param { group: 2 kernel_size: 3 }",
        IMAGE,
        "2 groups for 6 channels; leave group out",
    ),
    "a depthwise convolution of a vector": (
        DEPTHWISE[0] + " convolution_param { kernel_size: 3 }",
        (6,),
        "needs an input with 4 axes",
    ),
    "a deconvolution without outputs": (
        'type: "Deconvolution" convolution_param { kernel_size: 3 }',
        IMAGE,
        "num_output and group must be at least 1",
    ),
    "a deconvolution without kernel": (
        'type: "Deconvolution" convolution_param { num_output: 3 }',
        IMAGE,
        "no kernel size",
    ),
    "channels of a deconvolution that do not divide": (
        'type: "Deconvolution" convolution_param { num_output: 8 group: 4 kernel_size: 3 }',
        IMAGE,
        "6 input and 8 output channels do not divide into 4 groups",
    ),
    "padding that leaves nothing": (
        'type: "Deconvolution" convolution_param { num_output: 3 kernel_size: 3 stride: 2 pad: 6 }',
        IMAGE,
        "leaves nothing of an output of 15×11; make pad smaller",
    ),
    "a deconvolution of a vector": (
        'type: "Deconvolution" convolution_param { num_output: 3 kernel_size: 3 }',
        (6,),
        "needs an input with 4 axes",
    ),
    "a deconvolution in three dimensions": (
        'type: "Deconvolution" convolution_param { num_output: 3 kernel_size: 3 pad: 1 pad: 1 pad: 1 }',
        IMAGE,
        "2 spatial axes",
    ),
    "a deconvolution that is absurdly large": (
        'type: "Deconvolution" convolution_param { num_output: 3 kernel_size: 65536 stride: 65536 }',
        IMAGE,
        "impossible size",
    ),
}


@pytest.mark.parametrize(("body", "shape", "message"), BAD.values(), ids=BAD.keys())
def test_bad_parameters_are_errors_that_name_the_layer(
    body: str, shape: Shape, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        lone_layer(tmp_path, body, shape)
    assert "layer 0 'layer'" in str(caught.value)


def test_weights_of_a_deconvolution_are_stored_by_input_channel(tmp_path: Path) -> None:
    text = layer_net(
        'type: "Deconvolution" convolution_param { num_output: 4 group: 2 kernel_size: 3 }', IMAGE
    )
    assert build_graph(deployed(tmp_path, text)).layers[0].weight_shapes == ((6, 2, 3, 3), (4,))
