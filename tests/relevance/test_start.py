"""Where relevance starts: by index, by name, by code and ``auto``; what a class is there, and its ranking."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from builders import (
    ENGINE,
    INCEPTION,
    INCEPTION_INDICES,
    INCEPTION_SHAPE,
    assert_close,
    build,
    from_scores,
    random_blob,
)

from caffe_lrp.errors import ConfigError
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.net.net import Net
from caffe_lrp.quirks import CORRECTED, REFERENCE, Quirks
from caffe_lrp.relevance.plan import resolve_plan
from caffe_lrp.relevance.ranking import class_scores, rank
from caffe_lrp.relevance.rules.base import RuleParameters
from caffe_lrp.relevance.start import LayerReference, find_start, layer_index

SHAPE = (3, 9, 7)
CLASSES, HEIGHT, WIDTH = 5, 4, 3
POSITIONS = HEIGHT * WIDTH

#: Up to the scores: 5 classes at 4 x 3 positions.
BODY = """
input: "data" input_shape { dim: 2 dim: 3 dim: 9 dim: 7 }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 6 kernel_size: 3 stride: 2 } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "conv10" type: "Convolution" bottom: "conv1" top: "conv10"
  convolution_param { num_output: 5 kernel_size: 1 } }
"""
IN_PLACE = 'layer { name: "relu10" type: "ReLU" bottom: "conv10" top: "conv10" }'
OUT_OF_PLACE = """
layer { name: "relu10" type: "ReLU" bottom: "conv10" top: "positive" }
layer { name: "drop" type: "Dropout" bottom: "positive" top: "positive" }
"""
SOFTMAX = 'layer { name: "prob" type: "Softmax" bottom: "pool10" top: "prob" }'
SIGMOID = 'layer { name: "prob" type: "Sigmoid" bottom: "pool10" top: "prob" }'
FLATTENED = """
layer { name: "flat" type: "Flatten" bottom: "pool10" top: "flat" }
layer { name: "prob" type: "Softmax" bottom: "flat" top: "prob" }
"""


def pooled(bottom: str = "conv10", parameters: str = "pool: AVE global_pooling: true") -> str:
    return (
        f'layer {{ name: "pool10" type: "Pooling" bottom: "{bottom}" top: "pool10" '
        f"pooling_param {{ {parameters} }} }}"
    )


def relevance(
    net: Net,
    code: int,
    start: LayerReference,
    classes: Sequence[Sequence[int]],
    quirks: Quirks = CORRECTED,
) -> Blob:
    batch = random_blob((2, *net.input_shape), 3)
    plan = resolve_plan(net, code, RuleParameters(0.01, 1.0, 1, quirks), start, 0)
    return from_scores(plan, ENGINE.forward(net, [plan], batch), classes)


# --- By index, name and code --------------------------------------------------------------------------------


def test_a_name_stands_for_the_index_of_its_layer(tmp_path: Path) -> None:
    net = build(tmp_path, INCEPTION)
    for name, index in INCEPTION_INDICES.items():
        assert find_start(net, name) == find_start(net, index)
        assert layer_index(net, name, "key", "--option") == index
    assert layer_index(net, 99, "key", "--option") == 99


def test_first_and_start_layer_may_be_names(tmp_path: Path) -> None:
    net = build(tmp_path, INCEPTION)
    parameters = RuleParameters(0.1, 1.0, 8, REFERENCE)
    by_name = resolve_plan(net, 0, parameters, "joined", "norm1_norm1_0_split")
    by_index = resolve_plan(net, 0, parameters, 14, 4)
    assert [step.layer.index for step in by_name.steps] == [step.layer.index for step in by_index.steps]
    assert (by_name.start, by_name.target) == (by_index.start, by_index.target)


@pytest.mark.parametrize("auto", [False, True])
def test_a_class_is_a_flat_element_unless_the_start_is_automatic(tmp_path: Path, auto: bool) -> None:
    net = build(tmp_path, BODY)
    start = find_start(net, "auto" if auto else "conv10")
    assert (start.class_count, start.class_size) == ((5, 12) if auto else (60, 1))
    assert start.output_count == start.class_count
    assert start.class_size == (POSITIONS if auto else 1)


def test_a_start_at_several_tops_has_the_classes_that_all_have(tmp_path: Path) -> None:
    start = find_start(build(tmp_path, INCEPTION), "norm1_norm1_0_split")
    assert (len(start.seeds), start.class_count, start.class_size) == (3, 6 * 6 * 5, 1)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "Con10",
            r"lastlayerindex Con10 \(--start-layer\): .*deploy.prototxt has no layer with this name; "
            r"did you mean 'conv10'\?; names near it: conv10, conv1, .*; caffe-lrp inspect shows all",
        ),
        ("fc8", "no layer with this name; names near it: .*; caffe-lrp inspect shows all"),
        ("x" * 300, "no layer with this name"),
        ("", "no layer with this name"),
        ("1.5", "no layer with this name"),
    ],
)
def test_an_unknown_name_is_refused_with_those_near_it(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find_start(build(tmp_path, BODY), name)


def test_a_name_that_several_layers_have_is_refused_with_their_indices(tmp_path: Path) -> None:
    text = BODY.replace('"relu1"', '"same"') + IN_PLACE.replace('"relu10"', '"same"')
    with pytest.raises(ConfigError, match="several layers with this name; give one by index: 1, 3"):
        find_start(build(tmp_path, text), "same")


@pytest.mark.parametrize("index", [-3, 3])
def test_an_index_beyond_the_net_is_refused(tmp_path: Path, index: int) -> None:
    with pytest.raises(ConfigError, match="has layers 0 to 2; give one of them by index or name, -1"):
        find_start(build(tmp_path, BODY), index)


# --- Automatically ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 2, 11, 100, 166])
def test_automatic_equals_the_codes_where_those_find_the_scores(tmp_path: Path, code: int) -> None:
    net = build(tmp_path, INCEPTION)
    assert net.input_shape == INCEPTION_SHAPE
    expected = relevance(net, code, -2, [[3], [0, 4]], REFERENCE)
    assert np.abs(expected).max() > 0
    for start in (-1, "auto", "fc2"):
        np.testing.assert_array_equal(relevance(net, code, start, [[3], [0, 4]], REFERENCE), expected)


@pytest.mark.parametrize(
    ("text", "name", "top", "size"),
    [
        (IN_PLACE + pooled() + SOFTMAX, "conv10", "relu10", POSITIONS),
        (OUT_OF_PLACE + pooled("positive") + SOFTMAX, "conv10", "relu10", POSITIONS),
        (pooled() + SOFTMAX, "conv10", "conv10", POSITIONS),
        (pooled() + SIGMOID, "conv10", "conv10", POSITIONS),
        (pooled() + FLATTENED, "conv10", "conv10", POSITIONS),
        (pooled(), "conv10", "conv10", POSITIONS),
        ("", "conv10", "conv10", POSITIONS),
        (IN_PLACE, "conv10", "relu10", POSITIONS),
        # A window as large as the image, and one larger with a border.
        (pooled("conv10", "pool: AVE kernel_h: 4 kernel_w: 3") + SOFTMAX, "conv10", "conv10", POSITIONS),
        (pooled("conv10", "pool: AVE kernel_size: 5 pad: 1 stride: 9"), "conv10", "conv10", POSITIONS),
        # What the window leaves out has no part in the score; of a maximum, only one position has.
        (
            pooled("conv10", "pool: AVE kernel_size: 3 stride: 9 round_mode: FLOOR") + SOFTMAX,
            "pool10",
            "pool10",
            1,
        ),
        (pooled("conv10", "pool: MAX global_pooling: true") + SOFTMAX, "pool10", "pool10", 1),
    ],
)
def test_automatic_finds_the_scores_of_every_position(
    tmp_path: Path, text: str, name: str, top: str, size: int
) -> None:
    net = build(tmp_path, BODY + text)
    start = find_start(net, "auto")
    assert (start.layer.name, net.layers[start.top].name) == (name, top)
    assert (start.class_count, start.class_size, start.output_count) == (CLASSES, size, CLASSES)
    assert list(start.seeds.items()) == [(net.layers[start.top].outputs[0],) * 2]


@pytest.mark.parametrize("squash", ["Softmax", "Sigmoid", None])
@pytest.mark.parametrize("outputs", [1, 6])
def test_automatic_finds_labels_and_regressions(tmp_path: Path, squash: str | None, outputs: int) -> None:
    text = BODY + (
        'layer { name: "fc" type: "InnerProduct" bottom: "conv10" top: "fc" '
        f"inner_product_param {{ num_output: {outputs} }} }}"
    )
    if squash:
        text += f'layer {{ name: "out" type: "{squash}" bottom: "fc" top: "fc" }}'
    start = find_start(build(tmp_path, text), "auto")
    assert (start.layer.name, start.class_count, start.class_size) == ("fc", outputs, 1)


def test_automatic_starts_at_a_convolution_above_the_average(tmp_path: Path) -> None:
    text = (
        BODY
        + pooled()
        + """
    layer { name: "fc7" type: "Convolution" bottom: "pool10" top: "fc7"
      convolution_param { num_output: 4 kernel_size: 1 } }
    layer { name: "prob" type: "Softmax" bottom: "fc7" top: "prob" }"""
    )
    start = find_start(build(tmp_path, text), "auto")
    assert (start.layer.name, start.class_count, start.class_size) == ("fc7", 4, 1)


def test_automatic_does_not_look_below_what_is_averaged(tmp_path: Path) -> None:
    text = (
        BODY
        + """
    layer { name: "sigmoid" type: "Sigmoid" bottom: "conv10" top: "conv10" }
    """
        + pooled()
    )
    net = build(tmp_path, text)
    start = find_start(net, "auto")
    assert (net.layers[start.top].name, start.layer.name) == ("sigmoid", "conv10")


def test_automatic_tells_classes_along_the_axis_of_the_softmax(tmp_path: Path) -> None:
    planes = 'layer { name: "prob" type: "Softmax" bottom: "conv10" top: "prob" }'
    start = find_start(build(tmp_path, BODY + planes), "auto")
    assert (start.layer.name, start.class_count, start.class_size) == ("conv10", CLASSES, POSITIONS)
    rows = 'layer { name: "prob" type: "Softmax" bottom: "conv10" top: "prob" softmax_param { axis: -1 } }'
    start = find_start(build(tmp_path, BODY + rows), "auto")
    assert (start.class_count, start.class_size) == (CLASSES * POSITIONS, 1)


def test_a_net_that_computes_no_scores_is_refused(tmp_path: Path) -> None:
    text = 'input: "data" input_shape { dim: 1 dim: 3 dim: 9 dim: 7 }'
    text += 'layer { name: "prob" type: "Softmax" bottom: "data" top: "prob" }'
    with pytest.raises(ConfigError, match=r"lastlayerindex auto .*no layer of .* computes scores"):
        find_start(build(tmp_path, text), "auto")


# --- What relevance of planes is ----------------------------------------------------------------------------

SQUEEZED = {"in place": IN_PLACE + pooled() + SOFTMAX, "apart": OUT_OF_PLACE + pooled("positive") + SOFTMAX}


@pytest.mark.parametrize("quirks", [REFERENCE, CORRECTED], ids=["reference", "corrected"])
@pytest.mark.parametrize("code", [0, 2, 11, 100, 102, 166])
@pytest.mark.parametrize("kind", SQUEEZED)
def test_the_relevance_of_a_plane_starts_as_all_its_scores(
    tmp_path: Path, kind: str, code: int, quirks: Quirks
) -> None:
    net = build(tmp_path, BODY + SQUEEZED[kind])
    elements = [[*range(2 * POSITIONS, 3 * POSITIONS)], [*range(POSITIONS), *range(48, 60)]]
    expected = relevance(net, code, "relu10", elements, quirks)
    assert np.abs(expected).max() > 0
    np.testing.assert_array_equal(relevance(net, code, "auto", [[2], [0, 4]], quirks), expected)


@pytest.mark.parametrize("code", [0, 2, 11, 100])
@pytest.mark.parametrize("kind", SQUEEZED)
def test_the_map_of_a_plane_is_that_of_its_average_times_its_positions(
    tmp_path: Path, kind: str, code: int
) -> None:
    net = build(tmp_path, BODY + SQUEEZED[kind])
    planes = relevance(net, code, "auto", [[2], [0, 4]])
    averages = relevance(net, code, "pool10", [[2], [0, 4]])
    assert np.abs(planes).max() > 0
    assert_close(planes, (averages * POSITIONS).astype(np.float64))


# --- Ranking ------------------------------------------------------------------------------------------------


def test_the_score_of_a_class_is_the_sum_of_its_positions() -> None:
    outputs = np.moveaxis(random_blob((2, HEIGHT, WIDTH, CLASSES), 5), 3, 1)
    expected = np.zeros((2, CLASSES))
    for item in range(2):
        for each in range(CLASSES):
            for row in range(HEIGHT):
                for column in range(WIDTH):
                    expected[item, each] += outputs[item, each, row, column]
    assert_close(class_scores(outputs, CLASSES), expected)


@pytest.mark.parametrize("shape", [(2, 60), (2, 60, 1, 1), (2, 5, 4, 3)])
def test_flat_outputs_are_scores_as_they_are(shape: tuple[int, ...]) -> None:
    outputs = random_blob(shape, 6)
    np.testing.assert_array_equal(class_scores(outputs, 60), outputs.reshape(2, 60))


def test_the_best_of_the_first_classes_comes_first_and_ties_by_index() -> None:
    ranking = rank(np.array([1, 3, 2, 3, 9], np.float32), 4)
    assert ranking.classes.tolist() == [1, 3, 2, 0]
    assert ranking.scores.tolist() == [3, 3, 2, 1]
