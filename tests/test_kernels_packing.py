"""The order of packed weights, by definition."""

from collections.abc import Callable

import numpy as np
import oracle
import pytest
from builders import assert_close, random_blob
from oracle import Geometry

from caffe_lrp.kernels._simd import LANES
from caffe_lrp.kernels._tiles import PANEL
from caffe_lrp.kernels._winograd import FREQUENCIES, WINDOW_SIDES, weight_transform
from caffe_lrp.kernels.gemm import Blob
from caffe_lrp.kernels.packing import (
    adjoint_weight,
    blocked_adjoint_weight,
    pack_frequencies,
    pack_panels,
    pad_bias,
    undilated,
)

OUTPUTS = [1, LANES, LANES + 1, PANEL, PANEL + 3, PANEL + LANES + 1]


def widths(outputs: int) -> list[int]:
    """Columns of the panels that hold so many outputs: whole ones, and a half one where that is enough."""
    found = [PANEL] * (outputs // PANEL)
    rest = outputs % PANEL
    return found + ([] if rest == 0 else [LANES if rest <= LANES else PANEL])


@pytest.mark.parametrize("outputs", OUTPUTS)
def test_panels_hold_a_row_of_outputs_for_every_tap_and_input(outputs: int) -> None:
    weight = random_blob((2, 3, outputs, 5, 2, 4), 1)
    expected = []
    for group, part in np.ndindex(2, 3):
        first = 0
        for width in widths(outputs):
            for y, x, channel in np.ndindex(2, 4, 5):
                row = weight[group, part, first : first + width, channel, y, x].tolist()
                expected.append(row + [0.0] * (width - len(row)))
            first += width
    assert pack_panels(weight).tolist() == [number for row in expected for number in row]


@pytest.mark.parametrize("side", WINDOW_SIDES)
@pytest.mark.parametrize("outputs", OUTPUTS)
def test_frequencies_hold_panels_of_the_transformed_weights(outputs: int, side: int) -> None:
    weight, transform = random_blob((2, 3, outputs, 5, side, side), 1), weight_transform(side)
    transformed = np.einsum("ay,bx,gpoiyx->abgpoi", transform, transform, weight.astype(np.float64)).reshape(
        FREQUENCIES, 2, 3, outputs, 5
    )
    expected: list[float] = []
    for frequency, group, part in np.ndindex(FREQUENCIES, 2, 3):
        first = 0
        for width in widths(outputs):
            for channel in range(5):
                row = transformed[frequency, group, part, first : first + width, channel].tolist()
                expected += row + [0.0] * (width - len(row))
            first += width
    assert_close(pack_frequencies(weight), np.array(expected), 1e-7)


@pytest.mark.parametrize("outputs", OUTPUTS)
def test_the_bias_of_every_group_fills_whole_panels(outputs: int) -> None:
    bias = random_blob((3 * outputs,), 1)
    padded = pad_bias(bias, 3).reshape(3, -1)
    assert padded.shape[1] == sum(widths(outputs))
    assert padded[:, :outputs].tolist() == bias.reshape(3, outputs).tolist()
    assert not padded[:, outputs:].any()


def test_taps_of_an_undilated_window_lie_apart() -> None:
    weight = random_blob((2, 3, 2, 3), 1)
    whole = undilated(weight, 3, 2)
    assert whole.shape == (2, 3, 4, 5)
    assert whole[..., ::3, ::2].tolist() == weight.tolist()
    assert np.count_nonzero(whole) == weight.size
    assert undilated(weight, 1, 1).tolist() == weight.tolist()


def blocks_by_definition(
    weight: Blob, relevance: Blob, adjoint: Blob, block: tuple[int, int], step: tuple[int, int]
) -> None:
    """The convolution by ``adjoint`` gives blocks of pixels of what the convolution of stride ``step`` got.

    ``weight`` (M, C, k_h, k_w) of one group and part, relevance (1, M, H, W). Everything outside of
    ``relevance`` is 0, so it is padded with as many zeros as a window of ``adjoint`` can see.
    """
    height, width = relevance.shape[2:]
    size = tuple((n - 1) * s + k for n, s, k in zip((height, width), step, weight.shape[2:], strict=True))
    edges = oracle.convolution_edges(
        (weight.shape[1], *size), weight.shape, Geometry(weight.shape[2:], step), 1
    )
    expected = oracle.adjoint(relevance, weight, edges)[0]
    taps_h, taps_w = adjoint.shape[4:]
    # A block of pixels spans so many positions of the relevance.
    apart = [b // s for b, s in zip(block, step, strict=True)]
    wide = np.pad(relevance[0].astype(np.float64), ((0, 0), (taps_h, taps_h), (taps_w, taps_w)))
    offset = [
        weight.shape[2 + axis] - 1 if apart[axis] > 1 else adjoint.shape[4 + axis] - 1 for axis in (0, 1)
    ]
    kernels = adjoint.reshape(*block, weight.shape[1], -1, taps_h, taps_w).astype(np.float64)
    for c, y, x in np.ndindex(*expected.shape):
        row, column = y // block[0], x // block[1]
        top = row * apart[0] - offset[0] + taps_h
        left = column * apart[1] - offset[1] + taps_w
        seen = wide[:, top : top + taps_h, left : left + taps_w]
        found = (kernels[y % block[0], x % block[1], c] * seen).sum()
        assert found == pytest.approx(expected[c, y, x], abs=1e-5)


@pytest.mark.parametrize("stride", [(1, 1), (2, 3), (3, 1), (1, 2), (4, 5)])
@pytest.mark.parametrize("kernel", [(3, 2), (1, 1), (2, 5), (4, 3)])
def test_the_adjoint_of_a_stride_gives_blocks_of_pixels(
    kernel: tuple[int, int], stride: tuple[int, int]
) -> None:
    weight, relevance = random_blob((3, 2, *kernel), 1), random_blob((1, 3, 4, 5), 2)
    adjoint = adjoint_weight(weight[np.newaxis, np.newaxis], *stride)
    taps = tuple(-(-k // s) for k, s in zip(kernel, stride, strict=True))
    assert adjoint.shape == (1, 1, stride[0] * stride[1] * 2, 3, *taps)
    blocks_by_definition(weight, relevance, adjoint, stride, stride)


@pytest.mark.parametrize("block", [2, 3])
@pytest.mark.parametrize("kernel", [(3, 2), (1, 1), (2, 5), (4, 3)])
def test_the_adjoint_without_stride_gives_blocks_of_pixels(kernel: tuple[int, int], block: int) -> None:
    weight, relevance = random_blob((3, 2, *kernel), 1), random_blob((1, 3, 4, 5), 2)
    adjoint = blocked_adjoint_weight(weight[np.newaxis, np.newaxis], block)
    assert adjoint.shape == (1, 1, block * block * 2, 3, kernel[0] + block - 1, kernel[1] + block - 1)
    blocks_by_definition(weight, relevance, adjoint, (block, block), (1, 1))


def test_adjoints_of_groups_and_parts_are_those_of_their_weights() -> None:
    weight = random_blob((2, 3, 4, 5, 3, 2), 1)
    pairs: list[tuple[Blob, Callable[[Blob], Blob]]] = [
        (adjoint_weight(weight, 2, 3), lambda one: adjoint_weight(one, 2, 3)),
        (blocked_adjoint_weight(weight, 2), lambda one: blocked_adjoint_weight(one, 2)),
    ]
    for found, alone in pairs:
        for group, part in np.ndindex(2, 3):
            single = alone(weight[group : group + 1, part : part + 1])
            assert found[group, 0, :, 4 * part : 4 * (part + 1)].tolist() == single[0, 0].tolist()
