"""Every layer type: shapes, forward pass and gradient against the slow versions, and bad parameters."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import oracle
import pytest
from builders import (
    WORKSPACE,
    EagerWorkspace,
    Weights,
    assert_close,
    build,
    channels_last,
    deployed,
    layer_net,
    parse,
    random_blob,
    random_weights,
    single_layer,
)
from oracle import Array, Geometry, Lrn, Real, Shape

from caffe_lrp.errors import ModelError
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers import REGISTRY, unsupported_type
from caffe_lrp.layers.base import Layer
from caffe_lrp.net.build import build_net
from caffe_lrp.net.deploy.deployed import deploy

IMAGE = (4, 7, 6)


@dataclass(frozen=True)
class Case:
    """A layer over one input, the shape of its output, and its slow version."""

    name: str
    body: str
    shape: Shape
    output_shape: Shape
    slow: Callable[[Real, list[Blob]], Array]

    def text(self) -> str:
        return layer_net(self.body, self.shape)

    def build(self, folder: Path) -> tuple[Layer, list[Blob]]:
        weights: Weights = random_weights(parse(folder, self.text()), 3)
        layer = build(folder, self.text(), weights).layers[0]
        return layer, weights.get("layer", [])

    @property
    def x(self) -> Blob:
        return random_blob((2, *self.shape), 1)

    @property
    def gradient(self) -> Blob:
        return random_blob((2, *self.output_shape), 2)


def convolution(geometry: Geometry, groups: int = 1) -> Callable[[Real, list[Blob]], Array]:
    def slow(x: Real, weights: list[Blob]) -> Array:
        edges = oracle.convolution_edges(x.shape[1:], weights[0].shape, geometry, groups)
        return oracle.linear(x, weights[0], weights[1] if len(weights) > 1 else None, edges)

    return slow


def inner_product(x: Real, weights: list[Blob]) -> Array:
    edges = oracle.inner_product_edges(x.shape[1:], len(weights[0]))
    return oracle.linear(x, weights[0], weights[1] if len(weights) > 1 else None, edges)


CASES = [
    Case(
        "convolution",
        'type: "Convolution" convolution_param { num_output: 5 kernel_h: 3 kernel_w: 2 '
        "stride_h: 2 stride_w: 1 pad_h: 1 pad_w: 2 }",
        IMAGE,
        (5, 4, 9),
        convolution(Geometry((3, 2), (2, 1), (1, 2))),
    ),
    Case(
        "square convolution without bias",
        'type: "Convolution" convolution_param { num_output: 3 kernel_size: 3 stride: 2 '
        "pad: 1 bias_term: false }",
        (2, 8, 5),
        (3, 4, 3),
        convolution(Geometry((3, 3), (2, 2), (1, 1))),
    ),
    Case(
        "convolution with repeated sizes",
        'type: "Convolution" convolution_param { num_output: 3 kernel_size: 2 kernel_size: 3 '
        "stride: 3 stride: 1 pad: 0 pad: 1 dilation: 2 dilation: 1 }",
        IMAGE,
        (3, 2, 6),
        convolution(Geometry((2, 3), (3, 1), (0, 1), (2, 1))),
    ),
    Case(
        "convolution padded on every side",
        'type: "Convolution" convolution_param { num_output: 5 kernel_h: 3 kernel_w: 2 '
        "stride_h: 2 stride_w: 1 pad_l: 1 pad_r: 2 pad_t: 0 pad_b: 3 }",
        IMAGE,
        (5, 4, 8),
        convolution(Geometry((3, 2), (2, 1), (0, 1), ends=(3, 2))),
    ),
    Case(
        "dilated grouped convolution",
        'type: "Convolution" convolution_param { num_output: 6 kernel_h: 3 kernel_w: 2 pad_h: 2 pad_w: 1 '
        "dilation: 2 group: 2 }",
        IMAGE,
        (6, 7, 6),
        convolution(Geometry((3, 2), (1, 1), (2, 1), (2, 2)), 2),
    ),
    Case(
        "pointwise convolution",
        'type: "Convolution" convolution_param { num_output: 3 kernel_size: 1 }',
        IMAGE,
        (3, 7, 6),
        convolution(Geometry((1, 1))),
    ),
    Case(
        "inner product",
        'type: "InnerProduct" inner_product_param { num_output: 5 }',
        (3, 4, 2),
        (5,),
        inner_product,
    ),
    Case(
        "inner product without bias",
        'type: "InnerProduct" inner_product_param { num_output: 5 bias_term: false }',
        (9,),
        (5,),
        inner_product,
    ),
    Case(
        "max pooling",
        'type: "Pooling" pooling_param { pool: MAX kernel_h: 3 kernel_w: 4 stride_h: 2 stride_w: 3 }',
        (3, 8, 6),
        (3, 4, 2),
        lambda x, _: oracle.max_pool(x, Geometry((3, 4), (2, 3))),
    ),
    Case(
        "padded max pooling",
        'type: "Pooling" pooling_param { pool: MAX kernel_h: 2 kernel_w: 3 stride_h: 3 stride_w: 2 '
        "pad_h: 1 pad_w: 2 }",
        (3, 5, 8),
        (3, 2, 5),
        lambda x, _: oracle.max_pool(x, Geometry((2, 3), (3, 2), (1, 2))),
    ),
    Case(
        "average pooling",
        'type: "Pooling" pooling_param { pool: AVE kernel_h: 3 kernel_w: 4 stride_h: 2 stride_w: 3 '
        "pad_h: 1 pad_w: 2 }",
        (3, 8, 6),
        (3, 5, 3),
        lambda x, _: oracle.average_pool(x, Geometry((3, 4), (2, 3), (1, 2))),
    ),
    Case(
        "max pooling that rounds down",
        'type: "Pooling" pooling_param { pool: MAX kernel_size: 2 stride_h: 3 stride_w: 4 '
        "round_mode: FLOOR }",
        (3, 7, 8),
        (3, 2, 2),
        lambda x, _: oracle.max_pool(x, Geometry((2, 2), (3, 4)), round_up=False),
    ),
    Case(
        "global average pooling",
        'type: "Pooling" pooling_param { pool: AVE global_pooling: true }',
        IMAGE,
        (4, 1, 1),
        lambda x, _: oracle.average_pool(x, Geometry((7, 6))),
    ),
    Case(
        "global max pooling",
        'type: "Pooling" pooling_param { pool: MAX global_pooling: true }',
        IMAGE,
        (4, 1, 1),
        lambda x, _: oracle.max_pool(x, Geometry((7, 6))),
    ),
    Case(
        "normalisation across channels",
        'type: "LRN" lrn_param { local_size: 3 alpha: 0.5 beta: 0.75 k: 2 }',
        (7, 4, 3),
        (7, 4, 3),
        lambda x, _: oracle.lrn_across(x, Lrn(3, 0.5, 0.75, 2)),
    ),
    Case(
        "normalisation within channels",
        'type: "LRN" lrn_param { local_size: 5 alpha: 0.5 beta: 0.75 k: 2 norm_region: WITHIN_CHANNEL }',
        (3, 7, 4),
        (3, 7, 4),
        lambda x, _: oracle.lrn_within(x, Lrn(5, 0.5, 0.75)),
    ),
    Case(
        "randomized leaky relu",
        'type: "RReLU" rrelu_param { negative_slope_lower: 3 negative_slope_upper: 8 }',
        IMAGE,
        IMAGE,
        lambda x, _: oracle.relu(x, 2 / 11),
    ),
    Case("relu", 'type: "ReLU"', IMAGE, IMAGE, lambda x, _: oracle.relu(x, 0)),
    Case(
        "leaky relu",
        'type: "ReLU" relu_param { negative_slope: 0.25 }',
        IMAGE,
        IMAGE,
        lambda x, _: oracle.relu(x, 0.25),
    ),
    Case("sigmoid", 'type: "Sigmoid"', IMAGE, IMAGE, lambda x, _: oracle.sigmoid(x)),
    Case("tanh", 'type: "TanH"', IMAGE, IMAGE, lambda x, _: np.asarray(np.tanh(x.astype(np.float64)))),
    Case(
        "absolute value",
        'type: "AbsVal"',
        IMAGE,
        IMAGE,
        lambda x, _: np.asarray(np.abs(x.astype(np.float64))),
    ),
    Case("dropout", 'type: "Dropout"', IMAGE, IMAGE, lambda x, _: x.astype(np.float64)),
    Case("softmax over channels", 'type: "Softmax"', IMAGE, IMAGE, lambda x, _: oracle.softmax(x)),
    Case("softmax of scores", 'type: "Softmax"', (9,), (9,), lambda x, _: oracle.softmax(x)),
    Case(
        "softmax over another axis",
        'type: "Softmax" softmax_param { axis: -2 }',
        IMAGE,
        IMAGE,
        lambda x, _: oracle.softmax(x, 2),
    ),
    Case("flatten", 'type: "Flatten"', IMAGE, (168,), lambda x, _: x.astype(np.float64).reshape(-1, 168)),
    Case(
        "flatten of the image axes",
        'type: "Flatten" flatten_param { axis: 2 }',
        IMAGE,
        (4, 42),
        lambda x, _: x.astype(np.float64).reshape(-1, 4, 42),
    ),
    Case(
        "flatten of channels and rows",
        'type: "Flatten" flatten_param { axis: 1 end_axis: -2 }',
        IMAGE,
        (28, 6),
        lambda x, _: x.astype(np.float64).reshape(-1, 28, 6),
    ),
]

by_name = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def test_every_layer_type_is_tested_here() -> None:
    """Here, or in one of the modules beside this one."""
    texts = [path.read_text() for path in Path(__file__).parent.glob("test_layers*.py")]
    untested = [name for name in REGISTRY if not any(f'type: "{name}"' in text for text in texts)]
    assert not untested, "add a case for each to CASES, or to those of a module beside this one"


@by_name
def test_output_shape(case: Case, tmp_path: Path) -> None:
    assert case.build(tmp_path)[0].output_shapes == (case.output_shape,)


@by_name
def test_forward_equals_loops(case: Case, tmp_path: Path) -> None:
    layer, weights = case.build(tmp_path)
    (out,) = layer.forward([case.x], WORKSPACE)
    assert_close(out, case.slow(case.x, weights), 2e-6)


@by_name
def test_forward_does_not_change_its_input(case: Case, tmp_path: Path) -> None:
    layer, _ = case.build(tmp_path)
    x = case.x
    before = x.copy()
    layer.forward([x], WORKSPACE)
    np.testing.assert_array_equal(x, before)


def laid_out(blob: Blob) -> Blob:
    """``blob`` with its channels last in memory, if it has any; otherwise a copy."""
    return channels_last(blob).transpose(0, 3, 1, 2) if blob.ndim == 4 else blob.copy()


@by_name
def test_the_order_of_a_blob_in_memory_does_not_matter(case: Case, tmp_path: Path) -> None:
    layer, _ = case.build(tmp_path)
    x, gradient = case.x, case.gradient
    results = []
    for order in (np.ascontiguousarray, laid_out):
        inputs, gradients = [order(x)], [order(gradient)]
        outputs = layer.forward(inputs, WORKSPACE)
        handed = layer.gradient(inputs, [order(outputs[0])], gradients, WORKSPACE)
        results.append([blob.tolist() for blob in (*outputs, *handed)])
    assert results[0] == results[1]


@by_name
def test_threads_that_share_a_layer_give_the_same_bits(case: Case, tmp_path: Path) -> None:
    layer, _ = case.build(tmp_path)
    results = []
    for threads in (1, 3):
        with EagerWorkspace(threads) as workspace:
            outputs = layer.forward([case.x], workspace)
            handed = layer.gradient([case.x], outputs, [case.gradient], workspace)
            results.append([blob.tolist() for blob in (*outputs, *handed)])
    assert results[0] == results[1]


@pytest.mark.slow
@by_name
def test_gradient_equals_central_differences(case: Case, tmp_path: Path) -> None:
    layer, weights = case.build(tmp_path)
    x, gradient = case.x, case.gradient
    outputs = layer.forward([x], WORKSPACE)
    (found,) = layer.gradient(
        [x] if layer.gradient_uses_inputs else [],
        outputs if layer.gradient_uses_outputs else [],
        [gradient],
        WORKSPACE,
    )
    expected = oracle.central_difference(lambda varied: case.slow(varied, weights), x, gradient)
    assert_close(found, expected, 5e-6)


@by_name
def test_a_batch_equals_its_items_one_by_one(case: Case, tmp_path: Path) -> None:
    layer, _ = case.build(tmp_path)
    x = random_blob((5, *case.shape), 4)
    (together,) = layer.forward([x], WORKSPACE)
    for item in range(5):
        (alone,) = layer.forward([x[item : item + 1]], WORKSPACE)
        assert_close(together[item : item + 1], alone, 1e-6)


#: What is true of every layer; the modules beside this one put their cases to it.
by_check = pytest.mark.parametrize(
    "check",
    [
        test_output_shape,
        test_forward_equals_loops,
        test_forward_does_not_change_its_input,
        test_the_order_of_a_blob_in_memory_does_not_matter,
        test_threads_that_share_a_layer_give_the_same_bits,
        test_gradient_equals_central_differences,
        test_a_batch_equals_its_items_one_by_one,
    ],
    ids=lambda check: check.__name__[5:],
)


def test_average_pooling_keeps_caffes_divisor_at_the_border(tmp_path: Path) -> None:
    layer = single_layer(
        tmp_path, 'type: "Pooling" pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }', (1, 2, 4)
    )
    (out,) = layer.forward([np.full((1, 1, 2, 4), 18, np.float32)], WORKSPACE)
    # Rows −1..1, 1..2; columns −1..1, 1..3, 3..4 of an image padded to −1..2 and −1..4.
    expected = [[18 * 4 / 9, 18 * 6 / 9, 18 * 2 / 6], [18 * 2 / 6, 18 * 3 / 6, 18 * 1 / 4]]
    assert out[0, 0].tolist() == pytest.approx(np.array(expected), rel=1e-6)


def test_equal_patches_give_bitwise_equal_activations(tmp_path: Path) -> None:
    layer = single_layer(
        tmp_path,
        'type: "Convolution" convolution_param { num_output: 7 kernel_h: 5 kernel_w: 3 }',
        (3, 9, 61),
    )
    column = random_blob((1, 3, 9, 1), 5)
    (out,) = layer.forward([np.ascontiguousarray(np.broadcast_to(column, (1, 3, 9, 61)))], WORKSPACE)
    assert (out == out[..., :1]).all()


def test_dropout_is_the_identity(tmp_path: Path) -> None:
    layer = single_layer(tmp_path, 'type: "Dropout" dropout_param { dropout_ratio: 0.9 }', IMAGE)
    x = random_blob((2, *IMAGE), 1)
    assert layer.forward([x], WORKSPACE)[0].tolist() == x.tolist()
    assert layer.is_alias


@pytest.mark.parametrize(("ratio", "kept"), [("", 0.5), ("dropout_ratio: 0.8", 0.2), ("dropout_ratio: 0", 1)])
@pytest.mark.parametrize("shape", [IMAGE, (9,)])
def test_dropout_that_did_not_scale_in_training_multiplies_by_what_was_kept(
    ratio: str, kept: float, shape: Shape, tmp_path: Path
) -> None:
    layer = single_layer(tmp_path, f'type: "Dropout" dropout_param {{ {ratio} scale_train: false }}', shape)
    x = random_blob((2, *shape), 1)
    assert_close(layer.forward([x], WORKSPACE)[0], kept * x.astype(np.float64), 1e-6)
    assert_close(layer.gradient([], [], [x], WORKSPACE)[0], kept * x.astype(np.float64), 1e-6)
    assert layer.is_nonnegative([True])
    assert not layer.is_nonnegative([False])


@pytest.mark.parametrize("ratio", [1, 1.5, -0.5])
def test_dropout_that_keeps_nothing_is_refused(ratio: float, tmp_path: Path) -> None:
    body = f'type: "Dropout" dropout_param {{ dropout_ratio: {ratio} scale_train: false }}'
    with pytest.raises(
        ModelError, match=r"'layer' \(Dropout\): dropout_ratio must be at least 0 and below 1"
    ):
        single_layer(tmp_path, body, IMAGE)


# --- Several inputs or outputs ----------------------------------------------------------------------


def concat(folder: Path, body: str = 'type: "Concat"', *more: Shape) -> Layer:
    shapes = more or ((4, 7, 6), (5, 7, 6), (2, 7, 6))
    return build(folder, layer_net(body, *shapes)).layers[-1]


def test_concat_joins_channels(tmp_path: Path) -> None:
    parts = [random_blob((3, channels, 7, 6), channels) for channels in (4, 5, 2)]
    layer = concat(tmp_path)
    (out,) = layer.forward(parts, WORKSPACE)
    assert layer.output_shapes == ((11, 7, 6),)
    for number, (first, last) in enumerate([(0, 4), (4, 9), (9, 11)]):
        assert out[:, first:last].tolist() == parts[number].tolist()


def test_concat_hands_every_input_its_slice(tmp_path: Path) -> None:
    gradient = random_blob((3, 11, 7, 6), 1)
    handed = concat(tmp_path).gradient([], [], [gradient], WORKSPACE)
    assert [blob.shape for blob in handed] == [(3, 4, 7, 6), (3, 5, 7, 6), (3, 2, 7, 6)]
    assert handed[1].tolist() == gradient[:, 4:9].tolist()
    assert all(blob.transpose(0, 2, 3, 1).flags.c_contiguous for blob in handed)


def test_concat_joins_along_another_axis(tmp_path: Path) -> None:
    layer = concat(tmp_path, 'type: "Concat" concat_param { axis: -1 }', (4, 7, 6), (4, 7, 6))
    (out,) = layer.forward([random_blob((3, 4, 7, 6), 1), random_blob((3, 4, 7, 6), 2)], WORKSPACE)
    assert layer.output_shapes == ((4, 7, 12),)
    assert out.shape == (3, 4, 7, 12)


def test_concat_understands_the_old_field(tmp_path: Path) -> None:
    layer = concat(tmp_path, 'type: "Concat" concat_param { concat_dim: 2 }', (4, 7, 6), (4, 7, 6))
    assert layer.output_shapes == ((4, 14, 6),)


def test_split_copies_and_sums(tmp_path: Path) -> None:
    layer = build(tmp_path, layer_net('type: "Split"', (4, 3), tops=3)).layers[0]
    x, handed = random_blob((2, 4, 3), 1), [random_blob((2, 4, 3), seed) for seed in (2, 3, 4)]
    outputs = layer.forward([x], WORKSPACE)
    assert [out.tolist() for out in outputs] == [x.tolist()] * 3
    (total,) = layer.gradient([], [], handed, WORKSPACE)
    assert_close(total, sum(blob.astype(np.float64) for blob in handed) + np.zeros(x.shape), 1e-6)


def test_split_leaves_what_it_is_handed_unchanged(tmp_path: Path) -> None:
    layer = build(tmp_path, layer_net('type: "Split"', (4, 3), tops=3)).layers[0]
    handed = [random_blob((2, 4, 3), seed) for seed in (2, 3, 4)]
    before = [blob.copy() for blob in handed]
    layer.gradient([], [], handed, WORKSPACE)
    np.testing.assert_array_equal(handed, before)


# --- Bad parameters -----------------------------------------------------------------------------------

BAD = {
    "channels that do not divide": (
        'type: "Convolution" convolution_param { num_output: 6 kernel_size: 1 group: 3 }',
        r"layer 0 'layer' \(Convolution\).*4 input and 6 output channels do not divide into 3 groups",
    ),
    "outputs that do not divide": (
        'type: "Convolution" convolution_param { num_output: 5 kernel_size: 1 group: 2 }',
        "4 input and 5 output channels do not divide into 2 groups",
    ),
    "no outputs": ('type: "Convolution" convolution_param { kernel_size: 1 }', "num_output"),
    "no inner product outputs": ('type: "InnerProduct" inner_product_param { }', "num_output"),
    "pad beside the pads of sides": (
        'type: "Convolution" convolution_param { num_output: 5 kernel_size: 3 pad: 1 pad_l: 1 }',
        "gives padding in two ways, pad and pad_l/pad_r/pad_t/pad_b; keep one",
    ),
    "pad_h beside the pads of sides in pooling": (
        'type: "Pooling" pooling_param { kernel_size: 3 pad_h: 0 pad_w: 1 pad_b: 1 }',
        "gives padding in two ways, pad and pad_l/",
    ),
    "an absurd pad of a side": (
        'type: "Convolution" convolution_param { num_output: 5 kernel_size: 3 pad_r: 70000 }',
        "at most 65536, not 70000",
    ),
    "a pad of a side as large as the pooling kernel": (
        'type: "Pooling" pooling_param { kernel_size: 3 pad_l: 2 pad_r: 3 }',
        r"padding \(0, 3\) must be smaller than the kernel \(3, 3\)",
    ),
    "bounds of a slope in the wrong order": (
        'type: "RReLU" rrelu_param { negative_slope_lower: 8 negative_slope_upper: 3 }',
        "between 8 and 3, which must be above 0 and in this order; set negative_slope_lower",
    ),
    "no bounds of a slope": ('type: "RReLU"', "between 0 and 0, which must be above 0"),
    "no kernel": ('type: "Convolution" convolution_param { num_output: 5 }', "no kernel size"),
    "no pooling kernel": ('type: "Pooling" pooling_param { pool: MAX }', "no kernel size"),
    "a kernel larger than the input": (
        'type: "Convolution" convolution_param { num_output: 5 kernel_size: 8 }',
        "does not fit into the input of 7×6",
    ),
    "a dilated kernel larger than the input": (
        'type: "Convolution" convolution_param { num_output: 5 kernel_size: 3 dilation: 3 }',
        "does not fit into the input of 7×6",
    ),
    "a pooling kernel larger than the input": (
        'type: "Pooling" pooling_param { pool: MAX kernel_size: 8 }',
        "does not fit into the input of 7×6",
    ),
    "two kinds of convolution kernel": (
        'type: "Convolution" convolution_param { num_output: 5 kernel_size: 3 kernel_h: 3 kernel_w: 2 }',
        "kernel_h",
    ),
    "two kinds of pooling kernel": (
        'type: "Pooling" pooling_param { pool: MAX kernel_size: 3 kernel_h: 3 kernel_w: 2 }',
        "kernel_h",
    ),
    "two kinds of pooling stride": (
        'type: "Pooling" pooling_param { pool: MAX kernel_size: 3 stride: 2 stride_h: 3 stride_w: 2 }',
        "stride_h",
    ),
    "half a kernel": (
        'type: "Convolution" convolution_param { num_output: 5 kernel_h: 3 }',
        "gives kernel_h alone; give both",
    ),
    "a stride of zero": (
        'type: "Convolution" convolution_param { num_output: 5 kernel_size: 3 stride: 0 }',
        "at least 1",
    ),
    "a pooling stride of zero": (
        'type: "Pooling" pooling_param { pool: MAX kernel_size: 3 stride: 0 }',
        "at least 1",
    ),
    "three spatial axes": (
        'type: "Convolution" convolution_param { num_output: 5 kernel_size: 3 '
        "kernel_size: 3 kernel_size: 3 }",
        "2 spatial axes",
    ),
    "an axis that is not channels": (
        'type: "Convolution" convolution_param { num_output: 5 kernel_size: 3 axis: 2 }',
        "axis 2",
    ),
    "an even local size": ('type: "LRN" lrn_param { local_size: 4 }', "odd, not 4"),
    "padding as large as the kernel": (
        'type: "Pooling" pooling_param { pool: MAX kernel_h: 3 kernel_w: 2 pad_h: 1 pad_w: 2 }',
        "smaller than the kernel",
    ),
    "a softmax over the batch": ('type: "Softmax" softmax_param { axis: 0 }', "axis 0"),
    "a softmax axis too high": ('type: "Softmax" softmax_param { axis: 4 }', "axis 4"),
    "a flatten that ends before it starts": (
        'type: "Flatten" flatten_param { axis: 3 end_axis: 2 }',
        "before axis 3",
    ),
    "an unknown type": ('type: "Convolusion"', "'Convolusion' is not supported; did you mean 'Convolution'"),
    "a type unlike any other": ('type: "Qqqq"', "'Qqqq' is not supported.*supported: .*Convolution"),
    "no type": ("", r"layer 0 'layer' \(\): has no type; add one, such as type: \"ReLU\""),
    "too many tops": ('type: "ReLU" top: "another"', r"has 2 top\(s\), needs 1"),
}


@pytest.mark.parametrize(("body", "message"), BAD.values(), ids=BAD.keys())
def test_bad_parameters_are_errors_that_name_the_layer(body: str, message: str, tmp_path: Path) -> None:
    spec = parse(tmp_path, layer_net(body, IMAGE))
    with pytest.raises(ModelError, match=message) as caught:
        build_net(deploy(spec), {})
    assert "layer 0 'layer'" in str(caught.value)
    assert str(tmp_path / "deploy.prototxt") in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        'type: "Convolution" convolution_param { num_output: 5 kernel_size: 3 }',
        'type: "Pooling" pooling_param { pool: MAX kernel_size: 2 }',
        'type: "LRN"',
    ],
)
def test_layers_over_images_refuse_flat_inputs(body: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="needs an input with 4 axes"):
        build_net(deployed(tmp_path, layer_net(body, (9,))), {})


def test_a_layer_with_too_many_bottoms_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"'layer' \(ReLU\): has 2 bottom\(s\), needs 1"):
        build_net(deployed(tmp_path, layer_net('type: "ReLU"', IMAGE, IMAGE)), {})


def test_a_layer_without_bottoms_is_an_error(tmp_path: Path) -> None:
    text = 'input: "data" input_shape { dim: 2 dim: 3 } layer { name: "joined" type: "Concat" top: "joined" }'
    with pytest.raises(ModelError, match=r"'joined' \(Concat\): has 0 bottom\(s\), needs at least 1"):
        build_net(deployed(tmp_path, text), {})


def test_concat_of_unequal_sizes_is_an_error(tmp_path: Path) -> None:
    text = layer_net('type: "Concat" concat_param { axis: 2 }', (4, 7, 6), (5, 7, 6))
    with pytest.raises(ModelError, match="cannot be joined along axis 2"):
        build_net(deployed(tmp_path, text), {})


def test_a_pooling_kernel_larger_than_the_image_is_clipped_to_it(tmp_path: Path) -> None:
    for method, expected in (("MAX", 8.0), ("AVE", 4.0)):
        text = f'type: "Pooling" pooling_param {{ pool: {method} kernel_size: 4 stride: 2 }}'
        layer = build(tmp_path, layer_net(text, (1, 3, 3))).layers[0]
        assert layer.output_shapes == ((1, 1, 1),)
        (out,) = layer.forward([np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3)], WORKSPACE)
        assert out.tolist() == [[[[expected]]]]


#: Types of Caffe and its forks; some are supported by now.
OTHER_TYPES = (
    "BN", "Upsample", "Interp", "Permute", "Unpooling", "CReLU", "RReLU",
    "DepthwiseConvolution", "Mish", "Eltwize", "Slice", "Deconvolution",
    "BatchNorm", "SoftmaxLoss", "Axpy", "Normalize",
)  # fmt: skip


@pytest.mark.parametrize("name", sorted(set(OTHER_TYPES) - set(REGISTRY)))
def test_types_of_other_caffes_are_no_misspellings(name: str) -> None:
    message = unsupported_type(name)
    assert message.startswith(f"layer type '{name}' is not supported; nets with it cannot be explained (")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Convolutoin", "Convolution"),
        ("convolution", "Convolution"),
        ("Relu", "ReLU"),
        ("Tanh", "TanH"),
        ("Poling", "Pooling"),
        ("SoftMax", "Softmax"),
        ("InnerProdcut", "InnerProduct"),
        ("DropOut", "Dropout"),
    ],
)
def test_misspelt_types_are_recognised(name: str, meant: str) -> None:
    assert f"; did you mean '{meant}'? (supported: " in unsupported_type(name)
