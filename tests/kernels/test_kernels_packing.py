"""The order of packed weights, by definition."""

import numpy as np
import pytest
from builders import assert_close, random_blob

from caffe_lrp.kernels._simd import LANES
from caffe_lrp.kernels._tiles import PANEL
from caffe_lrp.kernels._winograd import FREQUENCIES, WINDOW_SIDES, weight_transform
from caffe_lrp.kernels.packing import (
    adjoint_weight,
    exchanged,
    pack_channel_shares,
    pack_channels,
    pack_frequencies,
    pack_panels,
    pack_shares,
    pad_bias,
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


def test_shares_of_a_pixel_are_ordered_by_tap() -> None:
    inputs = PANEL // 3
    weight = random_blob((2, 1, inputs, 5, 1, 4), 1)
    packed, first = pack_shares(weight), 0
    for group in range(2):
        columns = [(x, output) for x in range(4) for output in range(inputs)]
        for width in widths(len(columns)):
            mine, columns = columns[:width], columns[width:]
            panel = packed[first : first + 5 * width].reshape(5, width)
            for k in range(5):
                row = [weight[group, 0, output, k, 0, x] for x, output in mine]
                assert panel[k].tolist() == row + [0] * (width - len(mine))
            first += 5 * width
    assert first == packed.size


@pytest.mark.parametrize("channels", [3, LANES, LANES + 2])
def test_weights_of_channels_on_their_own_lie_in_vectors(channels: int) -> None:
    weight = random_blob((channels, 2, 1, 3, 4, 5), 1)
    vectors = -(-channels // LANES)
    by_vector = pack_channels(weight).reshape(2, vectors, 3, 4, 5, LANES)
    shares = pack_channel_shares(weight).reshape(2, 3, 4, 5, vectors * LANES)
    for channel in range(vectors * LANES):
        expected = weight[channel, :, 0] if channel < channels else np.zeros((2, 3, 4, 5))
        assert by_vector[:, channel // LANES, ..., channel % LANES].tolist() == expected.tolist()
        assert shares[..., channel].tolist() == expected.tolist()


def test_inputs_and_outputs_are_exchanged() -> None:
    weight = random_blob((2, 3, 4, 5, 6, 7), 1)
    back, turned = exchanged(weight), adjoint_weight(weight)
    assert back.shape == turned.shape == (2, 1, 5, 3 * 4, 6, 7)
    for group, part, output, channel in np.ndindex(2, 3, 4, 5):
        taps = weight[group, part, output, channel]
        assert back[group, 0, channel, 4 * part + output].tolist() == taps.tolist()
        assert turned[group, 0, channel, 4 * part + output].tolist() == taps[::-1, ::-1].tolist()
