"""Layers that give elements other places, or images other sizes; all of them route relevance."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import oracle_routers as oracle
import pytest
from builders import (
    ENGINE,
    WORKSPACE,
    EagerWorkspace,
    Weights,
    assert_close,
    build,
    channels_last,
    from_scores,
    lone_layer,
    messages,
    parse,
    random_blob,
    random_weights,
)
from oracle import Shape
from oracle_routers import RouterWalker, gradients
from oracle_walker import Options

from caffe_lrp.errors import ModelError
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers.base import Layer, Router
from caffe_lrp.layers.shape import Permute
from caffe_lrp.quirks import CORRECTED
from caffe_lrp.relevance.plan import resolve_plan
from caffe_lrp.relevance.rules.base import RuleParameters

IMAGE = (6, 4, 5)


@dataclass(frozen=True)
class Case:
    """A layer whose first input is moved about; others only say how."""

    name: str
    body: str
    shapes: tuple[Shape, ...]
    output_shape: Shape
    slow: oracle.Layer

    def __str__(self) -> str:
        return self.name

    def build(self, folder: Path) -> Layer:
        return lone_layer(folder, self.body, *self.shapes)

    @property
    def inputs(self) -> list[Blob]:
        found = [random_blob((2, *shape), seed) for seed, shape in enumerate(self.shapes)]
        if self.name.startswith("unpooling"):
            found[1] = mask(found[1].shape, self.output_shape[1:])
        return found

    @property
    def gradient(self) -> Blob:
        return random_blob((2, *self.output_shape), 9)


def mask(shape: tuple[int, ...], size: Sequence[int]) -> Blob:
    """Places in planes of ``size``, no two alike in a plane."""
    rng = np.random.default_rng(5)
    planes = [rng.permutation(size[0] * size[1])[: shape[2] * shape[3]] for _ in range(shape[0] * shape[1])]
    return np.array(planes, np.float32).reshape(shape)


def reshaped(parameters: str) -> str:
    return f'type: "Reshape" reshape_param {{ {parameters} }}'


def interpolated(
    name: str, parameters: str, size: tuple[int, int], cropped: tuple[int, int] = (0, 0)
) -> Case:
    body = f'type: "Interp" interp_param {{ {parameters} }}'
    return Case(f"interpolation {name}", body, (IMAGE,), (6, *size), oracle.interpolate(size, cropped))


CASES = [
    Case(
        "reshape",
        reshaped("shape { dim: 0 dim: 3 dim: 8 dim: 5 }"),
        (IMAGE,),
        (3, 8, 5),
        oracle.reshape((3, 8, 5)),
    ),
    Case(
        "reshape with a size to infer",
        reshaped("shape { dim: 0 dim: -1 dim: 8 }"),
        (IMAGE,),
        (15, 8),
        oracle.reshape((15, 8)),
    ),
    Case(
        "reshape that copies axes",
        reshaped("shape { dim: 0 dim: 0 dim: -1 }"),
        (IMAGE,),
        (6, 20),
        oracle.reshape((6, 20)),
    ),
    Case(
        "reshape with the batch to infer",
        reshaped("shape { dim: -1 dim: 12 dim: 10 }"),
        (IMAGE,),
        (12, 10),
        oracle.reshape((12, 10)),
    ),
    Case(
        "reshape with the batch as a number",
        reshaped("shape { dim: 2 dim: -1 }"),
        (IMAGE,),
        (120,),
        oracle.reshape((120,)),
    ),
    Case(
        "reshape with any batch",
        reshaped("shape { dim: 7 dim: 24 dim: 5 }"),
        (IMAGE,),
        (24, 5),
        oracle.reshape((24, 5)),
    ),
    Case(
        "reshape of the first axes",
        reshaped("axis: 1 num_axes: 2 shape { dim: -1 }"),
        (IMAGE,),
        (24, 5),
        oracle.reshape((24, 5)),
    ),
    Case(
        "reshape that adds an axis",
        reshaped("axis: -1 num_axes: 0 shape { dim: 1 }"),
        (IMAGE,),
        (6, 4, 5, 1),
        oracle.reshape((6, 4, 5, 1)),
    ),
    Case(
        "reshape from the second axis on",
        reshaped("axis: 2 shape { dim: 10 dim: 0 dim: 2 }"),
        ((6, 4, 3, 5),),
        (6, 10, 3, 2),
        oracle.reshape((6, 10, 3, 2)),
    ),
    Case(
        "reshape of a vector",
        reshaped("shape { dim: 0 dim: 3 dim: 4 dim: 2 }"),
        ((24,),),
        (3, 4, 2),
        oracle.reshape((3, 4, 2)),
    ),
    Case(
        "permute",
        'type: "Permute" permute_param { order: 0 order: 2 order: 3 order: 1 }',
        (IMAGE,),
        (4, 5, 6),
        oracle.permute((0, 2, 3, 1)),
    ),
    Case(
        "permute of the named axes",
        'type: "Permute" permute_param { order: 0 order: 3 }',
        (IMAGE,),
        (5, 6, 4),
        oracle.permute((0, 3, 1, 2)),
    ),
    Case(
        "permute of a matrix",
        'type: "Permute" permute_param { order: 0 order: 2 order: 1 }',
        ((3, 7),),
        (7, 3),
        oracle.permute((0, 2, 1)),
    ),
    Case("tile", 'type: "Tile" tile_param { tiles: 3 }', (IMAGE,), (18, 4, 5), oracle.tile(0, 3)),
    Case(
        "tile of columns",
        'type: "Tile" tile_param { axis: -1 tiles: 2 }',
        (IMAGE,),
        (6, 4, 10),
        oracle.tile(2, 2),
    ),
    Case("tile of one", 'type: "Tile" tile_param { axis: 2 tiles: 1 }', (IMAGE,), IMAGE, oracle.tile(1, 1)),
    Case(
        "shuffle",
        'type: "ShuffleChannel" shuffle_channel_param { group: 3 }',
        (IMAGE,),
        IMAGE,
        oracle.shuffle(3),
    ),
    Case(
        "shuffle of two groups",
        'type: "ShuffleChannel" shuffle_channel_param { group: 2 }',
        ((10, 3),),
        (10, 3),
        oracle.shuffle(2),
    ),
    Case("shuffle of one group", 'type: "ShuffleChannel"', (IMAGE,), IMAGE, oracle.shuffle(1)),
    Case(
        "crop",
        'type: "Crop" crop_param { offset: 1 }',
        (IMAGE, (7, 3, 2)),
        (6, 3, 2),
        oracle.crop((0, 1, 1), (6, 3, 2)),
    ),
    Case(
        "crop without offset",
        'type: "Crop"',
        (IMAGE, (7, 3, 5)),
        (6, 3, 5),
        oracle.crop((0, 0, 0), (6, 3, 5)),
    ),
    Case(
        "crop of channels",
        'type: "Crop" crop_param { axis: 1 offset: 2 offset: 0 offset: 3 }',
        (IMAGE, (4, 3, 2)),
        (4, 3, 2),
        oracle.crop((2, 0, 3), (4, 3, 2)),
    ),
    Case(
        "crop of columns",
        'type: "Crop" crop_param { axis: -1 offset: 3 }',
        (IMAGE, (9, 8, 2)),
        (6, 4, 2),
        oracle.crop((0, 0, 3), (6, 4, 2)),
    ),
    Case("mirror image", 'type: "Flip"', (IMAGE,), IMAGE, oracle.flip((2,))),
    Case(
        "upside down",
        'type: "Flip" flip_param { flip_width: false flip_height: true }',
        (IMAGE,),
        IMAGE,
        oracle.flip((1,)),
    ),
    Case("turned", 'type: "Flip" flip_param { flip_height: true }', (IMAGE,), IMAGE, oracle.flip((1, 2))),
    Case("channels reversed", 'type: "Flip" flip_param { axis: 1 }', (IMAGE,), IMAGE, oracle.flip((0,))),
    Case("vectors reversed", 'type: "Flip" flip_param { axis: -1 }', ((7,),), (7,), oracle.flip((0,))),
    interpolated("to a size", "height: 9 width: 7", (9, 7)),
    interpolated("to a smaller size", "height: 3 width: 2", (3, 2)),
    interpolated("to a pixel", "height: 1 width: 1", (1, 1)),
    interpolated("by a factor", "zoom_factor: 3", (10, 13)),
    interpolated("by a fraction", "shrink_factor: 2", (2, 3)),
    interpolated("by both", "zoom_factor: 3 shrink_factor: 2", (4, 7)),
    interpolated(
        "to a size, with both factors", "zoom_factor: 3 shrink_factor: 2 height: 5 width: 6", (5, 6)
    ),
    interpolated("by a factor before a size", "zoom_factor: 2 height: 5 width: 6", (7, 9)),
    interpolated("of the middle", "height: 8 width: 3 pad_beg: -1 pad_end: -2", (8, 3), (1, 2)),
    interpolated("of a pixel", "zoom_factor: 4 pad_beg: -3", (1, 5), (3, 0)),
    Case(
        "interpolation to the size of another",
        'type: "Interp"',
        (IMAGE, (3, 7, 8)),
        (6, 7, 8),
        oracle.interpolate((7, 8)),
    ),
    Case("repetition", 'type: "Upsample"', (IMAGE,), (6, 8, 10), oracle.repeat((2, 2))),
    Case(
        "repetition by two scales",
        'type: "Upsample" upsample_param { scale_h: 3 scale_w: 1 }',
        (IMAGE,),
        (6, 12, 5),
        oracle.repeat((3, 1)),
    ),
    Case(
        "repetition to a size",
        'type: "Upsample" upsample_param { upsample_h: 8 upsample_w: 15 }',
        (IMAGE,),
        (6, 8, 15),
        oracle.repeat((2, 3)),
    ),
    Case(
        "unpooling",
        'type: "Upsample" upsample_param { scale: 3 }',
        (IMAGE, IMAGE),
        (6, 12, 15),
        oracle.unpool((12, 15)),
    ),
    Case(
        "unpooling to a size",
        'type: "Upsample" upsample_param { scale: 2 upsample_h: 7 upsample_w: 9 }',
        (IMAGE, IMAGE),
        (6, 7, 9),
        oracle.unpool((7, 9)),
    ),
    Case(
        "unpooling with the last row left out",
        'type: "Upsample" upsample_param { scale: 2 pad_out_h: true }',
        (IMAGE, IMAGE),
        (6, 7, 10),
        oracle.unpool((7, 10)),
    ),
]
by_case = pytest.mark.parametrize("case", CASES, ids=str)


def laid_out(blob: Blob) -> Blob:
    return channels_last(blob).transpose(0, 3, 1, 2) if blob.ndim == 4 else blob.copy()


@by_case
def test_forward_equals_loops(case: Case, tmp_path: Path) -> None:
    layer, inputs = case.build(tmp_path), case.inputs
    assert isinstance(layer, Router)
    assert layer.output_shapes == (case.output_shape,)
    before = [x.copy() for x in inputs]
    (out,) = layer.forward(inputs, WORKSPACE)
    exact = not case.name.startswith("interpolation")
    assert_close(out, case.slow(*inputs), 0 if exact else 2e-6)
    for x, unchanged in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(x, unchanged)


@pytest.mark.slow
@by_case
def test_gradient_equals_central_differences(case: Case, tmp_path: Path) -> None:
    layer, inputs = case.build(tmp_path), case.inputs
    handed = layer.gradient(inputs if layer.gradient_uses_inputs else [], [], [case.gradient], WORKSPACE)
    assert len(handed) == len(inputs)
    for found, wanted in zip(handed, gradients(case.slow, inputs, case.gradient), strict=True):
        assert_close(found, wanted, 5e-6, max(1.0, float(np.abs(wanted).max())))


@by_case
def test_the_gradient_of_the_first_input_conserves(case: Case, tmp_path: Path) -> None:
    """Every output is made of shares of 1, so that relevance is neither lost nor made."""
    layer, inputs = case.build(tmp_path), case.inputs
    reached = np.ones(case.gradient.shape)
    if case.name.startswith("unpooling"):
        reached = case.slow(np.ones(inputs[0].shape), inputs[1])
    handed, *others = layer.gradient(inputs, [], [case.gradient], WORKSPACE)
    wanted = (case.gradient * reached).reshape(2, -1).sum(axis=1)
    np.testing.assert_allclose(handed.reshape(2, -1).sum(axis=1, dtype=np.float64), wanted, rtol=0, atol=1e-4)
    assert not any(blob.any() for blob in others)


@by_case
def test_the_order_of_blobs_in_memory_does_not_matter(case: Case, tmp_path: Path) -> None:
    layer, results = case.build(tmp_path), []
    for order in (np.ascontiguousarray, laid_out):
        inputs, gradient = [order(x) for x in case.inputs], order(case.gradient)
        found = [*layer.forward(inputs, WORKSPACE), *layer.gradient(inputs, [], [gradient], WORKSPACE)]
        results.append([blob.tolist() for blob in found])
    assert results[0] == results[1]


@by_case
def test_threads_and_batches_do_not_matter(case: Case, tmp_path: Path) -> None:
    layer, inputs = case.build(tmp_path), case.inputs
    with EagerWorkspace(3) as workspace:
        (together,) = layer.forward(inputs, workspace)
        for item in range(2):
            (alone,) = layer.forward([x[item : item + 1] for x in inputs], workspace)
            np.testing.assert_array_equal(together[item : item + 1], alone)


@by_case
def test_signs_and_gates_are_those_of_the_first_input(case: Case, tmp_path: Path) -> None:
    layer, others = case.build(tmp_path), (True,) * (len(case.shapes) - 1)
    for asked in (layer.is_nonnegative, layer.is_gate):
        assert asked((True, *others))
        assert not asked((False, *others))
        assert asked((True, *(not other for other in others)))
    # Signs matter for all elements of the first input, and for none of the others.
    inputs = case.inputs
    (out,) = layer.forward([np.abs(inputs[0]), *inputs[1:]], WORKSPACE)
    assert (out >= 0).all()


def test_a_place_that_several_elements_have_goes_to_the_last(tmp_path: Path) -> None:
    layer = lone_layer(tmp_path, 'type: "Upsample"', (1, 1, 3), (1, 1, 3))
    x, places = (np.array(row, np.float32).reshape(1, 1, 1, 3) for row in ([5, 7, 9], [4, 1, 4]))
    (out,) = layer.forward([x, places], WORKSPACE)
    assert out.reshape(-1).tolist() == [0, 7, 0, 0, 9, 0] + [0] * 6
    gradient = np.arange(10, 22, dtype=np.float32).reshape(1, 1, 2, 6)
    found, nothing = layer.gradient([x, places], [], [gradient], WORKSPACE)
    assert found.reshape(-1).tolist() == [0, 11, 14]
    assert not nothing.any()


def test_a_mask_of_another_size_is_an_error(tmp_path: Path) -> None:
    layer = lone_layer(tmp_path, 'type: "Upsample"', (1, 1, 2), (1, 1, 2))
    x = np.ones((1, 1, 1, 2), np.float32)
    with pytest.raises(ModelError, match=r"'layer' \(Upsample\): its mask points at pixel 8 of 8; check"):
        layer.forward([x, 8 * x], WORKSPACE)


def test_permute_takes_no_memory(tmp_path: Path) -> None:
    layer = lone_layer(tmp_path, 'type: "Permute" permute_param { order: 0 order: 2 }', IMAGE)
    assert isinstance(layer, Permute)
    assert layer.is_alias
    x = random_blob((2, *IMAGE), 1)
    assert np.shares_memory(layer.forward([x], WORKSPACE)[0], x)


# --- In nets --------------------------------------------------------------------------------------

#: Every router on the way, in places where blobs lie in memory in all ways.
WINDING = """
name: "winding" input: "data" input_shape { dim: 2 dim: 3 dim: 6 dim: 5 }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 bias_term: false } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "shuffled" type: "ShuffleChannel" bottom: "conv" top: "shuffled"
  shuffle_channel_param { group: 2 } }
layer { name: "repeated" type: "Upsample" bottom: "shuffled" top: "repeated" }
layer { name: "cropped" type: "Crop" bottom: "repeated" bottom: "data" top: "cropped"
  crop_param { offset: 1 } }
layer { name: "pointwise" type: "Convolution" bottom: "cropped" top: "pointwise"
  convolution_param { num_output: 6 kernel_size: 1 bias_term: false } }
layer { name: "relu2" type: "ReLU" bottom: "pointwise" top: "pointwise" }
layer { name: "permuted" type: "Permute" bottom: "pointwise" top: "permuted"
  permute_param { order: 0 order: 2 order: 1 order: 3 } }
layer { name: "convolved" type: "Convolution" bottom: "permuted" top: "convolved"
  convolution_param { num_output: 4 kernel_size: 2 bias_term: false } }
layer { name: "relu3" type: "ReLU" bottom: "convolved" top: "convolved" }
layer { name: "reshaped" type: "Reshape" bottom: "convolved" top: "reshaped"
  reshape_param { shape { dim: 0 dim: 5 dim: -1 dim: 2 } } }
layer { name: "resized" type: "Interp" bottom: "reshaped" top: "resized"
  interp_param { height: 5 width: 3 } }
layer { name: "mixed" type: "Convolution" bottom: "resized" top: "mixed"
  convolution_param { num_output: 3 kernel_size: 2 bias_term: false } }
layer { name: "relu4" type: "ReLU" bottom: "mixed" top: "mixed" }
layer { name: "tiled" type: "Tile" bottom: "mixed" top: "tiled" tile_param { axis: 2 tiles: 2 } }
layer { name: "fc" type: "InnerProduct" bottom: "tiled" top: "fc"
  inner_product_param { num_output: 5 bias_term: false } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""
WINDING_SHAPE, CLASSES = (3, 6, 5), [[2], [1]]


def walk_winding(weights: Weights, x: Blob) -> RouterWalker:
    routers: dict[str, oracle.Layer] = {
        "shuffled": oracle.shuffle(2),
        "repeated": oracle.repeat((2, 2)),
        "cropped": oracle.crop((0, 1, 1), (4, 6, 5)),
        "permuted": oracle.permute((0, 2, 1, 3)),
        "reshaped": oracle.reshape((5, 8, 2)),
        "resized": oracle.interpolate((5, 3)),
        "tiled": oracle.tile(1, 2),
    }
    walker = RouterWalker(messages(WINDING), weights, routers, {})
    walker.forward(x)
    return walker


def explained(weights: Weights, folder: Path, formula: int | str, x: Blob, **options: Any) -> Blob:
    net = build(folder, WINDING, weights)
    start = next(layer.index for layer in net.layers if layer.name == "fc")
    parameters = RuleParameters(switch_layer=-1, quirks=CORRECTED, **options)
    plan = resolve_plan(net, formula, parameters, start, 0)
    return from_scores(plan, ENGINE.forward(net, [plan], x), CLASSES)


@pytest.mark.slow
@pytest.mark.parametrize("formula", [0, 2, 11, 100])
def test_relevance_finds_its_way(formula: int | str, tmp_path: Path) -> None:
    weights, x = random_weights(parse(tmp_path, WINDING), 1), random_blob((2, *WINDING_SHAPE), 2)
    walker = walk_winding(weights, x)
    options = Options(epsilon=0.01, beta=0.5, corrected=True)
    expected = walker.relevance(formula, options, "fc", CLASSES, first="conv")
    # The image is read twice: what it gives its size to hands nothing back.
    found = explained(weights, tmp_path, formula, x, epsilon=0.01, beta=0.5)
    assert_close(found, expected, 2e-4)


@pytest.mark.parametrize("formula", [0, 2, 100])
def test_routers_conserve(formula: int | str, tmp_path: Path) -> None:
    weights = {
        name: [np.abs(blobs[0])] for name, blobs in random_weights(parse(tmp_path, WINDING), 1).items()
    }
    x = np.abs(random_blob((2, *WINDING_SHAPE), 2))
    walker = walk_winding(weights, x)
    scores = walker.values[walker.writes["fc"][0]]
    found = explained(weights, tmp_path, formula, x, epsilon=1e-6, beta=0.0).reshape(2, -1).sum(axis=1)
    wanted = [scores[item, chosen] for item, (chosen,) in enumerate(CLASSES)]
    assert found.tolist() == pytest.approx(wanted, rel=1e-3)


# --- Bad parameters -------------------------------------------------------------------------------

BAD: dict[str, tuple[str, tuple[Shape, ...], str]] = {
    "other numbers": (reshaped("shape { dim: 0 dim: 7 }"), (IMAGE,), "cannot reshape items of.*must be 0"),
    "items that mix": (reshaped("shape { dim: 1 dim: -1 }"), (IMAGE,), "cannot reshape items"),
    "items that are cut": (reshaped("shape { dim: 4 dim: -1 }"), (IMAGE,), "cannot reshape items"),
    "no shape": ('type: "Reshape"', (IMAGE,), "cannot reshape items"),
    "a batch without items": (reshaped("shape { dim: -1 }"), (IMAGE,), "cannot reshape items"),
    "a batch axis that is removed": (reshaped("axis: 0 num_axes: 1"), (IMAGE,), "cannot reshape items"),
    "what cannot be inferred": (reshaped("shape { dim: 0 dim: 7 dim: -1 }"), (IMAGE,), "cannot reshape"),
    "nothing to infer": (reshaped("shape { dim: 0 dim: 121 dim: -1 }"), (IMAGE,), "cannot reshape items"),
    "two sizes to infer": (reshaped("shape { dim: 0 dim: -1 dim: -1 }"), (IMAGE,), "one -1 in reshape_param"),
    "a negative size": (reshaped("shape { dim: 0 dim: -5 }"), (IMAGE,), "are not sizes"),
    "an axis too far": (reshaped("axis: 5 shape { dim: 1 }"), (IMAGE,), "axis 5 and num_axes -1 do not fit"),
    "an axis before the first": (reshaped("axis: -6 shape { dim: 1 }"), (IMAGE,), "axis -6 and num_axes"),
    "more axes than there are": (reshaped("axis: 2 num_axes: 3"), (IMAGE,), "num_axes 3 do not fit"),
    "a copy of no axis": (
        reshaped("shape { dim: 0 dim: 0 dim: 0 dim: 0 dim: 0 }"), (IMAGE,), "dim of 0 copies",
    ),
    "a permuted batch": (
        'type: "Permute" permute_param { order: 1 order: 0 }', (IMAGE,), "first order must be 0",
    ),
    "an order of axes twice": (
        'type: "Permute" permute_param { order: 0 order: 2 order: 2 }', (IMAGE,), "once",
    ),
    "an order beyond the axes": (
        'type: "Permute" permute_param { order: 0 order: 4 }', (IMAGE,), "4 axes once",
    ),
    "no tiles": ('type: "Tile"', (IMAGE,), "tiles must be at least 1"),
    "a tiled batch": ('type: "Tile" tile_param { axis: 0 tiles: 2 }', (IMAGE,), "axis 0 is not supported"),
    "far too many tiles": ('type: "Tile" tile_param { tiles: 2147483647 }', (IMAGE,), "impossible size"),
    "channels that do not divide": (
        'type: "ShuffleChannel" shuffle_channel_param { group: 4 }', (IMAGE,),
        "6 channels do not divide into 4",
    ),
    "no groups": ('type: "ShuffleChannel" shuffle_channel_param { group: 0 }', (IMAGE,), "into 0 groups"),
    "a crop without reference": ('type: "Crop"', (IMAGE,), r"has 1 bottom\(s\), needs 2"),
    "a crop beyond the edge": (
        'type: "Crop" crop_param { offset: 2 }', (IMAGE, (6, 3, 2)), "does not fit in.*check offset",
    ),
    "a crop to something larger": ('type: "Crop"', (IMAGE, (6, 5, 5)), "does not fit in"),
    "two offsets for three axes": (
        'type: "Crop" crop_param { axis: 1 offset: 1 offset: 2 }', (IMAGE, (1, 1, 1)), "2 offset for 3 axes",
    ),
    "a cropped batch": ('type: "Crop" crop_param { axis: 0 }', (IMAGE, IMAGE), "axis 0 is not supported"),
    "a crop like a vector": ('type: "Crop"', (IMAGE, (6,)), "different numbers of axes"),
    "interpolation without size": ('type: "Interp"', (IMAGE,), "has no size; add height and width"),
    "half a size": ('type: "Interp" interp_param { height: 3 }', (IMAGE,), "has no size; add"),
    "a size of zero": ('type: "Interp" interp_param { height: 0 width: 3 }', (IMAGE,), "at least 1"),
    "a factor of zero": ('type: "Interp" interp_param { zoom_factor: 0 }', (IMAGE,), "must be at least 1"),
    "positive padding": ('type: "Interp" interp_param { zoom_factor: 2 pad_beg: 1 }', (IMAGE,), "at most 0"),
    "padding that leaves nothing": (
        'type: "Interp" interp_param { zoom_factor: 2 pad_beg: -2 pad_end: -2 }', (IMAGE,),
        "leave nothing of 4×5",
    ),
    "two sizes": ('type: "Interp" interp_param { zoom_factor: 2 }', (IMAGE, IMAGE), "keep one"),
    "interpolation of vectors": ('type: "Interp" interp_param { zoom_factor: 2 }', ((6,),), "4 axes"),
    "a scale of zero": ('type: "Upsample" upsample_param { scale: 0 }', (IMAGE,), "0×0 pixels; check scale"),
    "half a scale": ('type: "Upsample" upsample_param { scale_h: 2 }', (IMAGE,), "8×0 pixels"),
    "no multiple": (
        'type: "Upsample" upsample_param { upsample_h: 8 upsample_w: 9 }', (IMAGE,),
        "repeat.*4×5 to 8×9.*mask",
    ),
    "a mask of another shape": (
        'type: "Upsample"', (IMAGE, (6, 4, 4)), "must be the mask of the max pooling",
    ),
    "three bottoms": ('type: "Upsample"', (IMAGE, IMAGE, IMAGE), r"has 3 bottom\(s\), needs 1 or 2"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "shapes", "message"), BAD.values(), ids=BAD.keys())
def test_bad_parameters_are_errors_that_name_the_layer(
    body: str, shapes: tuple[Shape, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        lone_layer(tmp_path, body, *shapes)
    assert "layer 0 'layer'" in str(caught.value)
