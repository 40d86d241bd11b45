"""Winograd's convolution against loops and against the definition of its transforms.

Its outputs are sums of transformed products up to a hundred times as large, so that errors are larger
than those of direct summation: 1e-5 of the largest output.
"""

import numpy as np
import oracle
import pytest
from builders import EagerWorkspace, assert_close, blank, channels_first, channels_last, random_blob
from convolution_cases import SOURCES, Case, make_input, rounding_error, summed_in_a_row
from numpy.lib.stride_tricks import sliding_window_view
from oracle import Array, Geometry, Real

from caffe_lrp.compute.product import Product
from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.kernels._kernel import kernel
from caffe_lrp.kernels._simd import LANES
from caffe_lrp.kernels._tiles import PANEL, TILE_ROWS
from caffe_lrp.kernels._winograd import (
    FREQUENCIES,
    TILE_IN,
    WINDOW_SIDES,
    tile_side,
    transform_input,
    transform_output,
    transform_output_times,
    transform_sums,
    weight_transform,
)
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.kernels.packing import pack_frequencies, pad_bias
from caffe_lrp.kernels.passes import NO_BIAS, NO_BLOB, PLAIN, SUMS, TIMES, Sink, Source, copied
from caffe_lrp.kernels.winograd import convolve_tiles

TOLERANCE = 1e-5
by_side = pytest.mark.parametrize("side", WINDOW_SIDES)


def case_of(
    channels: int, outputs: int, groups: int, size: tuple[int, int], pad: tuple[int, int], items: int = 2,
    side: int = 3,
) -> Case:  # fmt: skip
    """A convolution with windows of ``side``×``side``."""
    name = f"{side}×{side}, {channels}-{outputs} channels, {groups} group(s), {size}, padding {pad}"
    return Case(name, channels, outputs, groups, Geometry((side, side), pad=pad), size, items)


CASES = [
    case_of(5, 7, 1, (8, 12), (1, 1)),
    case_of(3, 4, 1, (9, 6), (0, 0)),
    case_of(5, LANES + 1, 1, (5, 11), (0, 1)),
    case_of(LANES, 3, 1, (6, 10), (2, 0)),
    case_of(LANES + 1, PANEL, 1, (7, 4), (2, 2), 3),
    case_of(2 * LANES + 6, 10, 2, (13, 7), (1, 0)),
    case_of(12, 3 * (PANEL + 2), 3, (4, 9), (1, 2), 1),
    case_of(4, 2 * PANEL + LANES + 3, 1, (6, 5), (1, 1), 1),
    case_of(3, 5, 1, (1, 2), (1, 1), 5),
    case_of(3, 2, 1, (3, 3), (0, 0), 4),
    case_of(3, 5, 1, (2, 3), (4, 5), 1),
    case_of(2, 3, 1, (4 * TILE_ROWS + 3, 4), (1, 1), 1),
    case_of(5, LANES + 1, 1, (8, 12), (1, 0), side=5),
    case_of(2 * LANES + 2, 6, 2, (6, 11), (0, 1), 3, side=5),
    case_of(3, PANEL + 2, 1, (9, 10), (0, 3), side=5),
    case_of(LANES + 1, 4, 1, (5, 7), (2, 1), 3, side=5),
    case_of(6, 10, 2, (9, 12), (2, 1), side=5),
    case_of(LANES, PANEL + LANES + 1, 1, (5, 6), (0, 2), 1, side=5),
    case_of(3, 5, 1, (2, 1), (4, 3), 2, side=5),
]
by_case = pytest.mark.parametrize("case", CASES, ids=str)
by_blocks = pytest.mark.parametrize(
    ("rows", "columns"),
    [(1, PANEL), (2, PANEL), (3, 2 * PANEL), (1000, 4 * PANEL)],
    ids=["1 row", "2 rows", "3 rows, 2 panels", "everything"],
)


def with_parts(case: Case, parts: int) -> Case:
    return Case(
        case.name, case.channels, case.outputs, case.groups, case.geometry, case.size, case.items, parts
    )


def tile_rows(case: Case) -> int:
    return int(case.items * -(-case.shape.out_h // tile_side(case.shape.kernel_h)))


def run(case: Case, source: Source, sink: Sink, rows: int = 2, columns: int = PANEL) -> None:
    """All of a convolution in blocks of so many rows of tiles."""
    rows = min(rows, tile_rows(case))
    blocks = -(-tile_rows(case) // rows)
    convolve_tiles(0, blocks, rows, columns, source, case.shape, pack_frequencies(case.packable), sink)


def column(bias: Blob) -> Blob:
    return bias.reshape(-1, 1, 1)


@pytest.mark.slow
@by_blocks
@by_case
def test_products_with_bias_equal_loops(case: Case, rows: int, columns: int) -> None:
    out = channels_last(blank((case.items, *case.output_shape)))
    sink = Sink(PLAIN, out, NO_BLOB, NO_BLOB, pad_bias(case.bias, case.groups))
    run(case, copied(channels_last(case.image)), sink, rows, columns)
    assert_close(channels_first(out), case.products(case.image) + column(case.bias), TOLERANCE)


@pytest.mark.slow
@by_blocks
@by_case
def test_products_without_bias_equal_loops(case: Case, rows: int, columns: int) -> None:
    out = channels_last(blank((case.items, *case.output_shape)))
    run(case, copied(channels_last(case.image)), Sink(PLAIN, out, NO_BLOB, NO_BLOB, NO_BIAS), rows, columns)
    assert_close(channels_first(out), case.products(case.image), TOLERANCE)


@pytest.mark.slow
@by_blocks
@by_case
def test_products_times_a_factor_equal_loops(case: Case, rows: int, columns: int) -> None:
    factor = random_blob((case.items, *case.output_shape), 5)
    out = channels_last(blank(factor.shape))
    sink = Sink(TIMES, out, NO_BLOB, channels_last(factor), NO_BIAS)
    run(case, copied(channels_last(case.image)), sink, rows, columns)
    assert_close(channels_first(out), factor * case.products(case.image), TOLERANCE)


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize(
    "case",
    [
        case_of(6, 5, 1, (9, 7), (1, 0)),
        case_of(4 * LANES + 4, 6, 2, (5, 10), (0, 2), 3),
        case_of(8, 6, 2, (5, 10), (0, 2), 3, side=5),
    ],
    ids=str,
)
def test_products_of_every_source_equal_loops(case: Case, kind: str) -> None:
    given = make_input(kind, case.items, case.channels, case.groups, case.size)
    out = channels_last(blank((case.items, *case.output_shape)))
    run(case, given.source, Sink(PLAIN, out, NO_BLOB, NO_BLOB, NO_BIAS))
    assert_close(channels_first(out), case.products(given.expected), TOLERANCE)


@by_case
def test_ranges_of_blocks_make_up_the_whole_bit_by_bit(case: Case) -> None:
    source, panels = copied(channels_last(case.image)), pack_frequencies(case.packable)
    whole, pieces = (channels_last(blank((case.items, *case.output_shape))) for _ in range(2))
    convolve_tiles(
        0,
        tile_rows(case),
        1,
        PANEL,
        source,
        case.shape,
        panels,
        Sink(PLAIN, whole, NO_BLOB, NO_BLOB, NO_BIAS),
    )
    sink = Sink(PLAIN, pieces, NO_BLOB, NO_BLOB, NO_BIAS)
    for block in reversed(range(tile_rows(case))):
        convolve_tiles(block, block + 1, 1, PANEL, source, case.shape, panels, sink)
    assert pieces.tolist() == whole.tolist()


@by_case
def test_threads_do_not_change_a_bit(case: Case) -> None:
    product = Product(case.shape, pack_frequencies(case.packable), True)
    results = []
    for threads in (1, 2, 3, 5):
        out = channels_last(blank((case.items, *case.output_shape)))
        sink = Sink(PLAIN, out, NO_BLOB, NO_BLOB, NO_BIAS)
        with EagerWorkspace(threads) as workspace:
            product.run(copied(channels_last(case.image)), sink, workspace)
        results.append(out.tolist())
    assert all(result == results[0] for result in results)


def test_many_outputs_are_formed_in_several_blocks_of_columns() -> None:
    """As many as a layer of VGG has, and more tiles than a block."""
    case = case_of(3, 300, 1, (45, 49), (1, 1), 1)
    out = channels_last(blank((1, *case.output_shape)))
    product = Product(case.shape, pack_frequencies(case.packable), True)
    with Workspace() as workspace:
        sink = Sink(PLAIN, out, NO_BLOB, NO_BLOB, NO_BIAS)
        product.run(copied(channels_last(case.image)), sink, workspace)
    assert_close(channels_first(out), correlated(case.image, case.weight, 1), TOLERANCE)


@pytest.mark.parametrize("channels", [64, 256])
def test_points_keep_rounding_errors_within_three_times_those_of_one_sum(channels: int) -> None:
    """On noise, where neighbours differ most; the points of the paper make it more than four times."""
    case = case_of(channels, PANEL, 1, (16, 19), (1, 1), 1)
    image = np.maximum(case.image, 0)
    out = channels_last(blank((1, *case.output_shape)))
    run(case, copied(channels_last(image)), Sink(PLAIN, out, NO_BLOB, NO_BLOB, NO_BIAS))
    one_sum, exact = summed_in_a_row(image, case.weight, case.geometry)
    assert rounding_error(channels_first(out), exact) < 3 * rounding_error(one_sum, exact)


# --- Sums of αβ ---------------------------------------------------------------------------------------------


def correlated(x: Real, weight: Real, pad: int) -> Array:
    """Products of one group in float64, quickly."""
    wide = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = sliding_window_view(wide, weight.shape[2:], axis=(2, 3))
    return np.asarray(np.einsum("nchwyx,mcyx->nmhw", windows, weight.astype(np.float64), optimize=True))


@pytest.mark.slow
@by_blocks
@pytest.mark.parametrize("has_bias", [True, False], ids=["bias", "no bias"])
@by_case
def test_sums_and_their_total_equal_loops(case: Case, has_bias: bool, rows: int, columns: int) -> None:
    """Each part has weights of its sign, as a signed map has, and the input none below 0."""
    x = np.maximum(case.image, 0)
    weight = np.abs(with_parts(case, 2).packable)
    weight[:, 1] *= -1
    found, total = summed(with_parts(case, 2), x, weight, case.bias if has_bias else NO_BIAS, rows, columns)
    parts = np.stack([signed_products(case, x, weight[:, part]) for part in (0, 1)], axis=2)
    assert_close(found, parts.reshape(found.shape), TOLERANCE)
    expected = parts.sum(axis=2).reshape(total.shape)
    assert_close(total, expected + (column(case.bias) if has_bias else 0), TOLERANCE)


def summed(
    case: Case, x: Blob, weight: Blob, bias: Blob, rows: int = 1, columns: int = PANEL
) -> tuple[Blob, Blob]:
    """Sums (N, G·2·O, H, W) by weights (G, 2, O, I, 3, 3), and their total (N, G·O, H, W)."""
    sums = channels_last(blank((len(x), *case.output_shape)))
    total = channels_last(blank((len(x), case.outputs, *case.output_shape[1:])))
    rows = min(rows, tile_rows(case))
    sink = Sink(SUMS, sums, total, NO_BLOB, bias)
    convolve_tiles(
        0, -(-tile_rows(case) // rows), rows, columns, copied(channels_last(x)), case.shape,
        pack_frequencies(weight), sink,
    )  # fmt: skip
    return channels_first(sums), channels_first(total)


def signed_products(case: Case, x: Real, weight: Blob) -> Array:
    """(N, G, O, H, W) for the weights (G, O, I, 3, 3) of one part, by loops."""
    edges = with_parts(case, 1).edges
    from_loops = oracle.linear(x, weight.reshape(-1, *weight.shape[2:]), None, edges)
    return from_loops.reshape(len(x), case.groups, -1, *from_loops.shape[2:])


@pytest.mark.slow
@by_side
@pytest.mark.parametrize("channels", [2, LANES + 3, 131, 512])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 3e4])
def test_sums_of_nothing_are_exactly_zero_and_signs_are_right(channels: int, scale: float, side: int) -> None:
    """Rounding errors of a sum that is 0 would be divided by, and its sign could be wrong.

    Dark regions lie beside bright ones in the same tiles, and some outputs have weights of one sign.
    """
    case = with_parts(case_of(channels, 6, 1, (14, 13), (1, 1), 3, side), 2)
    x = np.abs(random_blob(case.image.shape, 1)) * np.float32(scale)
    x[:, :, 3:9, 2:8] = 0
    x[1, :, :, 5:] = 0
    x[2, :, np.arange(14) % 7 < 6] = 0
    weight = random_blob((1, 1, 6, channels, side, side), 2)
    weight[:, :, 2], weight[:, :, 3] = np.abs(weight[:, :, 2]), -np.abs(weight[:, :, 3])
    signed = np.concatenate([np.maximum(weight, 0), np.minimum(weight, 0)], axis=1)
    found, _ = summed(case, x, signed, NO_BIAS)
    expected = correlated(x, signed.reshape(12, channels, side, side), 1)
    assert (expected == 0).mean() > 0.1
    assert not found[expected == 0].any()
    assert (found[:, :6] >= 0).all()
    assert (found[:, 6:] <= 0).all()
    assert_close(found, expected, TOLERANCE)


@by_side
@pytest.mark.parametrize("share", [1e-3, 1e-2])
def test_small_sums_beside_large_ones_are_kept(share: float, side: int) -> None:
    case = with_parts(case_of(3, 2, 1, (8, 8), (1, 1), 1, side), 2)
    x = np.full(case.image.shape, share, np.float32)
    x[:, :, :, 0] = 1
    weight = np.ones((1, 2, 2, 3, side, side), np.float32)
    weight[:, 1] = -1
    out, _ = summed(case, x, weight, NO_BIAS)
    assert (np.abs(out) > 0).all()


# --- Transforms ---------------------------------------------------------------------------------------------

#: What the points of the paper are multiplied by.
UNIT = 0.75

#: Bᵀ of Lavin and Gray 2016, section 4.3.
PAPERS_INPUT_TRANSFORM = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)


#: The same polynomials, whose zeros are `UNIT` times those of the paper: of degree 4, and of 5 for ∞.
INPUT_TRANSFORM = PAPERS_INPUT_TRANSFORM * UNIT ** np.subtract.outer([4, 4, 4, 4, 4, 5], np.arange(6))


def output_transform(side: int) -> Array:
    """(outputs along a side, 6) for windows of ``side``×``side``: powers of the points, and ∞."""
    count = tile_side(side)
    powers = np.vander([0, 1, -1, 2, -2], count, increasing=True).T
    of_paper = np.concatenate([powers, np.eye(count)[:, -1:]], axis=1)
    return np.asarray(of_paper * UNIT ** np.arange(count)[:, np.newaxis])


def test_transforms_for_windows_of_three_are_those_of_the_paper_but_for_their_unit() -> None:
    units = UNIT ** np.arange(4)[:, np.newaxis]
    assert (output_transform(3) / units).tolist() == [
        [1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]
    ]  # fmt: skip
    of_weights = weight_transform(3) * UNIT ** np.subtract.outer([4, 4, 4, 4, 4, 5], np.arange(3))
    assert (24 * of_weights).round(9).tolist() == [
        [6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]
    ]  # fmt: skip


@by_side
def test_the_transforms_make_up_a_convolution(side: int) -> None:
    x, weight = random_blob((6, 6), 1).astype(np.float64), random_blob((side, side), 2).astype(np.float64)
    of_weight, of_output, count = weight_transform(side), output_transform(side), tile_side(side)
    products = (INPUT_TRANSFORM @ x @ INPUT_TRANSFORM.T) * (of_weight @ weight @ of_weight.T)
    expected = np.zeros((count, count))
    for row, place, y, i in np.ndindex(count, count, side, side):
        expected[row, place] += x[row + y, place + i] * weight[y, i]
    np.testing.assert_allclose(of_output @ products @ of_output.T, expected, atol=1e-11)


@kernel
def call_input(x: Blob, vectors: int, out: Blob) -> None:
    """``x`` (6, 6, C), ``out`` (36, C)."""
    transform_input(
        x.ctypes.data, 4 * x.shape[1] * x.shape[2], 4 * x.shape[2], out.ctypes.data, 4 * out.shape[1], vectors
    )


@kernel
def call_output(products: Blob, start: Blob, rows: int, columns: int, out: Blob) -> None:
    """``products`` (36, ·), ``out`` (side of the tile, side, C)."""
    transform_output(
        out.shape[0], products.ctypes.data, 4 * products.shape[1], out.ctypes.data,
        4 * out.shape[1] * out.shape[2], 4 * out.shape[2], rows, columns, out.shape[2], start.ctypes.data,
    )  # fmt: skip


@kernel
def call_times(products: Blob, factor: Blob, rows: int, columns: int, out: Blob) -> None:
    transform_output_times(
        out.shape[0], products.ctypes.data, 4 * products.shape[1], out.ctypes.data,
        4 * out.shape[1] * out.shape[2], 4 * out.shape[2], rows, columns, out.shape[2], factor.ctypes.data,
    )  # fmt: skip


@kernel
def call_sums(products: Blob, start: Blob, noise: Blob, sums: Blob, total: Blob) -> None:
    """``products`` (2, 36, ·), ``noise`` (1,), ``sums`` (side, side, 2·C), ``total`` (side, side, C)."""
    side = total.shape[0]
    transform_sums(
        side, products.ctypes.data, products[1].ctypes.data, 4 * products.shape[2], sums.ctypes.data,
        4 * total.shape[2], 4 * sums.shape[1] * sums.shape[2], 4 * sums.shape[2], total.ctypes.data,
        4 * total.shape[1] * total.shape[2], 4 * total.shape[2], side, side, total.shape[2],
        start.ctypes.data, noise.ctypes.data,
    )  # fmt: skip


def back(products: Real, side: int) -> Array:
    """(36, C) as outputs (tile_side, tile_side, C) of windows of ``side``×``side``."""
    table, transform = products.reshape(TILE_IN, TILE_IN, -1).astype(np.float64), output_transform(side)
    return np.asarray(np.einsum("ya,xb,abc->yxc", transform, transform, table))


CHANNELS = [1, LANES - 1, LANES, LANES + 1, 2 * LANES, 2 * LANES + 5]


@pytest.mark.parametrize("vectors", [1, 3])
def test_inputs_are_transformed_by_definition(vectors: int) -> None:
    x, out = random_blob((6, 6, vectors * LANES), 1), blank((FREQUENCIES, vectors * LANES))
    call_input(x, vectors, out)
    expected = np.einsum("ay,bx,yxc->abc", INPUT_TRANSFORM, INPUT_TRANSFORM, x.astype(np.float64))
    assert_close(out, expected.reshape(FREQUENCIES, -1), 5e-7)


@pytest.mark.slow
@by_side
@pytest.mark.parametrize(("rows", "columns"), [(9, 9), (1, 3), (3, 1), (2, 4)])
@pytest.mark.parametrize("channels", CHANNELS)
def test_outputs_are_transformed_by_definition(channels: int, rows: int, columns: int, side: int) -> None:
    count = tile_side(side)
    rows, columns = min(rows, count), min(columns, count)
    products, start = random_blob((FREQUENCIES, channels + 3), 1), random_blob((channels,), 2)
    factor = random_blob((count, count, channels), 3)
    expected = back(products[:, :channels], side)
    for with_bias in (True, False):
        out = blank((count, count, channels))
        if with_bias:
            call_output(products, start, rows, columns, out)
            wanted = expected + start
        else:
            call_times(products, factor, rows, columns, out)
            wanted = expected * factor
        assert_close(out[:rows, :columns], wanted[:rows, :columns], 5e-7, float(np.abs(wanted).max()))
        out[:rows, :columns] = np.nan
        assert np.isnan(out).all()


@pytest.mark.slow
@by_side
@pytest.mark.parametrize("noise", [0.0, 0.5])
@pytest.mark.parametrize("channels", CHANNELS)
def test_sums_of_the_wrong_sign_and_noise_become_zero(channels: int, noise: float, side: int) -> None:
    count = tile_side(side)
    products, start = random_blob((2, FREQUENCIES, channels + 3), 1), random_blob((channels,), 2)
    sums, total = blank((count, count, 2 * channels)), blank((count, count, channels))
    call_sums(products, start, np.full(1, noise, np.float32), sums, total)
    positive, negative = (back(part[:, :channels], side) for part in products)
    limits = noise * np.abs(products[:, :, :channels]).max(axis=1)
    p, n = np.where(positive > limits[0], positive, 0), np.where(-negative > limits[1], negative, 0)
    assert_close(sums, np.concatenate([p, n], axis=2), 5e-7)
    assert_close(total, p + n + start, 5e-7)
    assert (sums == 0).any()
