"""Direct convolution against loops, whatever the shape, what goes in and out, and how work is divided."""

import numpy as np
import pytest
from builders import (
    WORKSPACE,
    EagerWorkspace,
    assert_close,
    blank,
    channels_first,
    channels_last,
    random_blob,
)
from convolution_cases import (
    CASES,
    GEOMETRIES,
    SOURCES,
    TILES,
    Case,
    chosen,
    make_input,
    rounding_error,
    summed_in_a_row,
)
from oracle import Geometry

from caffe_lrp.compute.product import Product
from caffe_lrp.kernels._simd import LANES
from caffe_lrp.kernels._tiles import PANEL, TILE_ROWS
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.kernels.convolution import convolve, padded_outputs
from caffe_lrp.kernels.packing import pack_panels, pad_bias
from caffe_lrp.kernels.passes import (
    NO_BIAS,
    NO_BLOB,
    PLAIN,
    SIGNS,
    SUMS,
    TIMES,
    Sink,
    Source,
    copied,
)

ALL_ROWS = 1000

by_case = pytest.mark.parametrize("case", CASES, ids=str)
by_rows = pytest.mark.parametrize("rows", [1, 2, ALL_ROWS], ids=["1 row", "2 rows", "all rows"])


def blocks_of(case: Case, rows: int) -> int:
    return case.items * -(-case.shape.out_h // rows)


def run(case: Case, source: Source, sink: Sink, rows: int = 2) -> None:
    """All of a convolution in blocks of so many rows."""
    rows = min(rows, case.shape.out_h)
    convolve(0, blocks_of(case, rows), rows, source, case.shape, pack_panels(case.packable), sink)


def convolved(case: Case, x: Blob, rows: int = 2, bias: Blob | None = None) -> Blob:
    """`PLAIN` products (N, C, H, W) of ``x`` in the same order."""
    out = channels_last(blank((len(x), *case.output_shape)))
    padded = NO_BIAS if bias is None else pad_bias(bias, case.groups)
    run(case, copied(channels_last(x)), Sink(PLAIN, out, NO_BLOB, NO_BLOB, padded), rows)
    return channels_first(out)


def column(bias: Blob) -> Blob:
    return bias.reshape(-1, 1, 1)


@pytest.mark.slow
@by_rows
@by_case
def test_products_equal_loops(case: Case, rows: int) -> None:
    assert_close(convolved(case, case.image, rows), case.products(case.image), 2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if case.parts == 1], ids=str)
def test_products_begin_with_the_bias(case: Case) -> None:
    expected = case.products(case.image) + column(case.bias)
    assert_close(convolved(case, case.image, bias=case.bias), expected, 2e-6)


def test_rows_of_large_windows_are_summed_on_their_own() -> None:
    """As in the first layer of a net: the image is bright, and most of what is summed cancels."""
    case = Case("first layer", 3, PANEL + 1, 1, Geometry((7, 7), (2, 2), (3, 3)), (29, 4 * TILE_ROWS + 3), 1)
    image = case.image + np.float32(3)
    one_sum, exact = summed_in_a_row(image, case.weight, case.geometry)
    assert rounding_error(convolved(case, image), exact) < 0.6 * rounding_error(one_sum, exact)


def test_panels_are_whole_or_half() -> None:
    counts = [1, LANES, LANES + 1, PANEL, PANEL + 1, PANEL + LANES, PANEL + LANES + 1]
    padded = [LANES, LANES, PANEL, PANEL, PANEL + LANES, PANEL + LANES, 2 * PANEL]
    assert [padded_outputs(count) for count in counts] == padded


# --- Sources and sinks ----------------------------------------------------------------------------------

#: Cases with even numbers of channels in every group.
MIXED = [
    Case("rectangular", 6, 5, 1, Geometry((3, 2), (2, 3), (1, 0)), (11, 8)),
    Case("groups", 12, 10, 2, Geometry((2, 3), (1, 1), (1, 0)), (4, 7)),
    Case("dilated", 4, PANEL + 1, 1, Geometry((2, 3), (1, 1), (0, 2), (3, 1)), (5, 8)),
    Case("pointwise", 8, LANES + 3, 1, Geometry((1, 1)), (5, 7), items=3),
]
by_mixed = pytest.mark.parametrize("case", MIXED, ids=str)
by_source = pytest.mark.parametrize("kind", SOURCES)


def with_parts(case: Case, parts: int) -> Case:
    return Case(
        case.name, case.channels, case.outputs, case.groups, case.geometry, case.size, case.items, parts
    )


@pytest.mark.slow
@by_rows
@by_source
@by_mixed
def test_plain_products_of_every_source(case: Case, kind: str, rows: int) -> None:
    given = make_input(kind, case.items, case.channels, case.groups, case.size)
    out = channels_last(blank((case.items, *case.output_shape)))
    run(case, given.source, Sink(PLAIN, out, NO_BLOB, NO_BLOB, pad_bias(case.bias, case.groups)), rows)
    assert_close(channels_first(out), case.products(given.expected) + column(case.bias), 2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("has_bias", [True, False], ids=["bias", "no bias"])
@by_rows
@by_source
@by_mixed
def test_sums_and_their_total_of_every_source(case: Case, kind: str, rows: int, has_bias: bool) -> None:
    case = with_parts(case, 2)
    given = make_input(kind, case.items, case.channels, case.groups, case.size)
    out = channels_last(blank((case.items, *case.output_shape)))
    total = channels_last(blank((case.items, case.outputs, *case.output_shape[1:])))
    run(case, given.source, Sink(SUMS, out, total, NO_BLOB, case.bias if has_bias else NO_BIAS), rows)
    expected = case.products(given.expected)
    assert_close(channels_first(out), expected, 2e-6)
    parts = expected.reshape(case.items, case.groups, 2, -1, *expected.shape[2:])
    together = parts.sum(axis=2).reshape(case.items, case.outputs, *expected.shape[2:])
    expected_total = together + (column(case.bias) if has_bias else 0)
    assert_close(channels_first(total), expected_total, 3e-6)


@pytest.mark.slow
@by_rows
@by_source
@by_mixed
def test_products_times_a_factor_of_every_source(case: Case, kind: str, rows: int) -> None:
    given = make_input(kind, case.items, case.channels, case.groups, case.size)
    factor = random_blob((case.items, *case.output_shape), 8)
    out = channels_last(blank(factor.shape))
    run(case, given.source, Sink(TIMES, out, NO_BLOB, channels_last(factor), NO_BIAS), rows)
    assert_close(channels_first(out), case.products(given.expected) * factor, 2e-6)


@pytest.mark.parametrize("has_factor", [True, False], ids=["factor", "no factor"])
@by_rows
@by_source
def test_the_sign_of_a_factor_chooses_products_of_every_source(
    kind: str, rows: int, has_factor: bool
) -> None:
    case = Case("", 12, 2 * 2 * 5, 2, Geometry((2, 3), (1, 1), (1, 0)), (4, 7), items=3)
    given = make_input(kind, case.items, case.channels, case.groups, case.size)
    factor = random_blob((case.items, 2 * 5, *case.output_shape[1:]), 8)
    factor.reshape(-1)[::6] = 0
    out = channels_last(blank(factor.shape))
    other = channels_last(factor) if has_factor else NO_BLOB
    run(case, given.source, Sink(SIGNS, out, NO_BLOB, other, NO_BIAS), rows)
    expected = chosen(case.products(given.expected), 2, factor if has_factor else None)
    assert_close(channels_first(out), expected, 2e-6)


# --- How work is divided --------------------------------------------------------------------------------

DIVIDED = [GEOMETRIES[0], GEOMETRIES[2], GEOMETRIES[4], GEOMETRIES[13], GEOMETRIES[17], *TILES[::5]]


@pytest.mark.parametrize("rows", [1, 2, 3])
@pytest.mark.parametrize("case", DIVIDED, ids=str)
def test_ranges_of_blocks_make_up_the_whole_bit_by_bit(case: Case, rows: int) -> None:
    source, panels = copied(channels_last(case.image)), pack_panels(case.packable)
    rows = min(rows, case.shape.out_h)
    blocks = blocks_of(case, rows)
    whole = channels_last(blank((case.items, *case.output_shape)))
    convolve(0, blocks, rows, source, case.shape, panels, Sink(PLAIN, whole, NO_BLOB, NO_BLOB, NO_BIAS))
    pieces = channels_last(blank((case.items, *case.output_shape)))
    sink = Sink(PLAIN, pieces, NO_BLOB, NO_BLOB, NO_BIAS)
    for first in reversed(range(0, blocks, 2)):
        last = min(first + 2, blocks)
        before = pieces.copy()
        convolve(first, last, rows, source, case.shape, panels, sink)
        written = ~np.isnan(pieces) & np.isnan(before)
        assert written.any(axis=(2, 3)).sum() == sum(
            min(rows, case.shape.out_h - block % (blocks // case.items) * rows)
            for block in range(first, last)
        )
    assert pieces.tolist() == whole.tolist()


@pytest.mark.parametrize("case", DIVIDED, ids=str)
def test_rows_in_a_block_do_not_change_a_bit(case: Case) -> None:
    results = [convolved(case, case.image, rows).tolist() for rows in (1, 2, 3, ALL_ROWS)]
    assert all(result == results[0] for result in results)


@pytest.mark.parametrize("case", DIVIDED, ids=str)
def test_threads_do_not_change_a_bit(case: Case) -> None:
    product = Product(case.shape, pack_panels(case.packable), False)
    results = []
    for threads in (1, 2, 3, 5):
        out = channels_last(blank((case.items, *case.output_shape)))
        with EagerWorkspace(threads) as workspace:
            sink = Sink(PLAIN, out, NO_BLOB, NO_BLOB, NO_BIAS)
            product.run(copied(channels_last(case.image)), sink, workspace)
        results.append(out.tolist())
    assert all(result == results[0] for result in results)
    assert_close(channels_first(out), case.products(case.image), 2e-6)


@pytest.mark.slow
def test_large_images_are_convolved_in_several_blocks() -> None:
    case = Case("", 64, 3, 1, Geometry((2, 3), (1, 1), (1, 0)), (41, 67), items=1)
    out = channels_last(blank((1, *case.output_shape)))
    product = Product(case.shape, pack_panels(case.packable), False)
    sink = Sink(PLAIN, out, NO_BLOB, NO_BLOB, NO_BIAS)
    product.run(copied(channels_last(case.image)), sink, WORKSPACE)
    assert channels_first(out).tolist() == convolved(case, case.image, ALL_ROWS).tolist()
    assert_close(channels_first(out), case.products(case.image), 2e-6)


# --- Equal windows give equal outputs, bit by bit -----------------------------------------------------------

#: On maps that are large enough for whole tiles, half tiles and tiles that start earlier.
REPEATED = [
    Case("one group", 3, 5, 1, Geometry((5, 3)), (9, 4 * TILE_ROWS + 3)),
    Case("strides", 4, PANEL + 3, 1, Geometry((3, 4), (2, 3)), (11, 5 * TILE_ROWS)),
    Case("groups", 6, 2 * LANES + 6, 2, Geometry((2, 3)), (7, 2 * TILE_ROWS + 7)),
    Case("dilated", 5, 4, 1, Geometry((2, 3), (1, 1), (0, 0), (2, 3)), (6, 3 * TILE_ROWS)),
    Case("pointwise", 19, LANES + 1, 1, Geometry((1, 1)), (5, TILE_ROWS + 2)),
    Case("deep", 131, 3, 1, Geometry((3, 3)), (5, TILE_ROWS + 5)),
]
by_repeated = pytest.mark.parametrize("case", REPEATED, ids=str)


@by_rows
@by_repeated
def test_repeated_columns_stay_equal(case: Case, rows: int) -> None:
    line = random_blob((case.items, case.channels, case.size[0], 1), 5)
    x = np.broadcast_to(line, (case.items, *case.image_shape))
    out = convolved(case, x, rows, case.bias)
    assert (out == out[..., :1]).all()


@by_rows
@by_repeated
def test_repeated_rows_stay_equal(case: Case, rows: int) -> None:
    line = random_blob((case.items, case.channels, 1, case.size[1]), 5)
    x = np.broadcast_to(line, (case.items, *case.image_shape))
    out = convolved(case, x, rows, case.bias)
    assert (out == out[:, :, :1]).all()


@by_repeated
def test_items_do_not_depend_on_their_place_in_the_batch(case: Case) -> None:
    x = random_blob((1, *case.image_shape), 5)
    batch = np.concatenate([random_blob((2, *case.image_shape), 6), x, x])
    sized = Case(case.name, case.channels, case.outputs, case.groups, case.geometry, case.size, items=4)
    alone = Case(case.name, case.channels, case.outputs, case.groups, case.geometry, case.size, items=1)
    out = convolved(sized, batch)
    assert out[2].tolist() == out[3].tolist() == convolved(alone, x)[0].tolist()


@by_repeated
def test_a_patch_gives_the_same_bits_wherever_it_lies(case: Case) -> None:
    """Windows as large as the patch, on every place of a random image in turn."""
    geometry = case.geometry
    extent = [(k - 1) * d + 1 for k, d in zip(geometry.kernel, geometry.dilation, strict=True)]
    patch, found = random_blob((case.channels, *extent), 5), set()
    height, width = case.output_shape[1:]
    for row, left in [(0, 0), (height - 1, width - 1), *((row % height, row) for row in range(width))]:
        y, x = row * geometry.stride[0], left * geometry.stride[1]
        image = random_blob((case.items, *case.image_shape), 6)
        image[1, :, y : y + extent[0], x : x + extent[1]] = patch
        found.add(convolved(case, image)[1, :, row, left].tobytes())
    assert len(found) == 1


@pytest.mark.parametrize("case", GEOMETRIES, ids=str)
def test_padding_gives_the_same_bits_as_zeros_in_the_image(case: Case) -> None:
    padded = np.pad(case.image, ((0, 0), (0, 0), *case.geometry.pads))
    geometry = case.geometry._replace(pad=(0, 0), ends=None)
    without = Case(case.name, case.channels, case.outputs, case.groups, geometry, padded.shape[2:])
    assert convolved(without, padded[:2]).tolist() == convolved(case, case.image)[:2].tolist()
