"""Shares that are handed back, and channels on their own, against loops; whatever goes in and out."""

from dataclasses import replace

import numpy as np
import oracle
import pytest
from builders import assert_close, blank, channels_first, channels_last, random_blob
from convolution_cases import (
    GEOMETRIES,
    SOURCES,
    Case,
    chosen,
    make_input,
)
from oracle import Array, Geometry

from caffe_lrp.kernels._simd import LANES
from caffe_lrp.kernels.adjoint import hand_back
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.kernels.convolution import convolve
from caffe_lrp.kernels.packing import (
    exchanged,
    pack_channel_shares,
    pack_channels,
    pack_shares,
    pad_bias,
)
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
by_rows = pytest.mark.parametrize("rows", [1, 3, ALL_ROWS], ids=["1 row", "3 rows", "all rows"])
by_source = pytest.mark.parametrize("kind", SOURCES)
by_geometry = pytest.mark.parametrize("case", GEOMETRIES, ids=str)


def run(case: Case, source: Source, sink: Sink, rows: int = 2) -> None:
    """All shares of ``case`` in blocks of so many rows."""
    height = case.size[0]
    rows, inputs = min(rows, height), case.channels // case.groups
    shape = case.shape._replace(parts=1, inputs=case.parts * case.outputs // case.groups, outputs=inputs)
    weights = pack_shares(exchanged(case.packable))
    hand_back(0, case.items * -(-height // rows), rows, source, shape, weights, sink)


def handed(case: Case, relevance: Blob, rows: int = 2) -> Blob:
    """`PLAIN` shares (N, C, H, W) of ``relevance`` in the same order."""
    out = channels_last(blank((len(relevance), *case.image_shape)))
    run(case, copied(channels_last(relevance)), Sink(PLAIN, out, NO_BLOB, NO_BLOB, NO_BIAS), rows)
    return channels_first(out)


@pytest.mark.slow
@by_rows
@by_geometry
def test_shares_equal_loops(case: Case, rows: int) -> None:
    expected = oracle.adjoint(case.relevance, case.weight, case.edges)
    assert_close(handed(case, case.relevance, rows), expected, 3e-6)


#: Outputs in every group are even in number, and so are inputs, which may be two parts.
MIXED = [
    Case("stride", 6, 10, 1, Geometry((3, 2), (2, 3), (1, 0)), (11, 8)),
    Case("groups", 12, 8, 2, Geometry((2, 3), (3, 1), (1, 0)), (7, 5)),
    Case("dilated", 4, LANES + 2, 1, Geometry((2, 3), (2, 1), (0, 2), (3, 1)), (9, 6)),
    Case("many rows at once", 2, 4, 1, Geometry((3, 5), (2, 2), (0, 1)), (60, 4), items=3),
]
by_mixed = pytest.mark.parametrize("case", MIXED, ids=str)


def relevance_of(case: Case, expected: Array) -> Array:
    return np.asarray(oracle.adjoint(expected, case.weight, case.edges))


@pytest.mark.slow
@by_rows
@by_source
@by_mixed
def test_shares_of_every_source_times_a_factor(case: Case, kind: str, rows: int) -> None:
    given = make_input(kind, case.items, case.outputs, case.groups, case.output_shape[1:])
    factor = random_blob(case.image.shape, 8)
    out = channels_last(blank(factor.shape))
    run(case, given.source, Sink(TIMES, out, NO_BLOB, channels_last(factor), NO_BIAS), rows)
    assert_close(channels_first(out), relevance_of(case, given.expected) * factor, 3e-6)


@pytest.mark.slow
@pytest.mark.parametrize("has_factor", [True, False], ids=["factor", "no factor"])
@by_source
@by_mixed
def test_the_sign_of_a_factor_chooses_shares_of_every_source(case: Case, kind: str, has_factor: bool) -> None:
    given = make_input(kind, case.items, case.outputs, case.groups, case.output_shape[1:])
    factor = random_blob((case.items, case.channels // 2, *case.size), 8)
    factor.reshape(-1)[::6] = 0
    out = channels_last(blank(factor.shape))
    other = channels_last(factor) if has_factor else NO_BLOB
    run(case, given.source, Sink(SIGNS, out, NO_BLOB, other, NO_BIAS))
    expected = chosen(relevance_of(case, given.expected), case.groups, factor if has_factor else None)
    assert_close(channels_first(out), expected, 3e-6)


@by_geometry
def test_rows_in_a_block_do_not_change_a_bit_of_what_is_handed_back(case: Case) -> None:
    results = [handed(case, case.relevance, rows).tolist() for rows in (1, 2, 5, ALL_ROWS)]
    assert all(result == results[0] for result in results)


def test_ranges_of_blocks_make_up_all_shares_bit_by_bit() -> None:
    case = MIXED[0]
    shape = case.shape._replace(inputs=10, outputs=6)
    source, weights = copied(channels_last(case.relevance)), pack_shares(exchanged(case.packable))
    out = channels_last(blank((case.items, *case.image_shape)))
    for first in reversed(range(8)):
        hand_back(first, first + 1, 3, source, shape, weights, Sink(PLAIN, out, NO_BLOB, NO_BLOB, NO_BIAS))
    assert channels_first(out).tolist() == handed(case, case.relevance, ALL_ROWS).tolist()


@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
def test_equal_outputs_hand_back_equal_shares_wherever_they_lie(stride: tuple[int, int]) -> None:
    case = Case("", 3, 5, 1, Geometry((5, 4), stride), (45, 53))
    line = random_blob((case.items, case.outputs, 1, 1), 5)
    back = handed(case, np.broadcast_to(line, case.relevance.shape), 7)[..., 4:40, 3:48]
    rows, columns = stride
    for y, x in np.ndindex(rows, columns):
        alike = back[..., y::rows, x::columns]
        assert (alike == alike[..., :1, :1]).all()


# --- Channels on their own --------------------------------------------------------------------------------

APART = [case for case in GEOMETRIES if case.groups == case.channels == case.outputs]
by_apart = pytest.mark.parametrize("case", APART, ids=str)
by_parts = pytest.mark.parametrize(("parts_out", "parts_in"), [(1, 1), (2, 1), (1, 2), (2, 2)])


def apart_weight(case: Case, parts_out: int, parts_in: int) -> Blob:
    """(channels, parts out, 1, parts in, k_h, k_w)."""
    return random_blob((case.channels, parts_out, 1, parts_in, *case.geometry.kernel), 9)


def between_parts(case: Case, weight: Blob, part_out: int, part_in: int, x: Array, forward: bool) -> Array:
    """By loops: what one part of the input (or of the output) gives to one of the output (or input)."""
    single = np.ascontiguousarray(weight[:, part_out, :, part_in])
    if forward:
        return np.asarray(oracle.linear(x, single, None, case.edges))
    return np.asarray(oracle.adjoint(x, single, case.edges))


def run_apart(case: Case, weight: Blob, source: Source, sink: Sink, rows: int = 2) -> None:
    channels, parts_out, _, parts_in = weight.shape[:4]
    rows = min(rows, case.shape.out_h)
    shape = case.shape._replace(
        groups=1, parts=parts_out, inputs=parts_in * channels, outputs=channels, apart=channels
    )
    blocks = case.items * -(-case.shape.out_h // rows)
    convolve(0, blocks, rows, source, shape, pack_channels(weight), sink)


def hand_back_apart(case: Case, weight: Blob, source: Source, sink: Sink, rows: int = 2) -> None:
    channels, parts_out, _, parts_in = weight.shape[:4]
    rows = min(rows, case.size[0])
    shape = case.shape._replace(
        groups=1, parts=1, inputs=parts_out * channels, outputs=parts_in * channels, apart=channels
    )
    blocks = case.items * -(-case.size[0] // rows)
    hand_back(0, blocks, rows, source, shape, pack_channel_shares(weight), sink)


@pytest.mark.slow
@pytest.mark.parametrize("has_bias", [True, False], ids=["bias", "no bias"])
@by_rows
@by_apart
def test_channels_on_their_own_equal_loops(case: Case, rows: int, has_bias: bool) -> None:
    weight = apart_weight(case, 1, 1)
    out = channels_last(blank((case.items, *case.output_shape)))
    bias = pad_bias(case.bias, 1) if has_bias else NO_BIAS
    source = copied(channels_last(case.image))
    run_apart(case, weight, source, Sink(PLAIN, out, NO_BLOB, NO_BLOB, bias), rows)
    expected = between_parts(case, weight, 0, 0, case.image.astype(np.float64), True)
    assert_close(channels_first(out), expected + (case.bias.reshape(-1, 1, 1) if has_bias else 0), 2e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "parts_in"), [("copy", 1), ("ε", 1), ("by sign", 2), ("αβ", 2)])
@pytest.mark.parametrize("parts_out", [1, 2])
@by_apart
def test_parts_of_channels_on_their_own(case: Case, parts_out: int, parts_in: int, kind: str) -> None:
    given = make_input(kind, case.items, parts_in * case.channels, 1, case.size)
    weight, parts = apart_weight(case, parts_out, parts_in), np.split(given.expected, parts_in, axis=1)
    out = channels_last(blank((case.items, parts_out * case.channels, *case.output_shape[1:])))
    total = channels_last(blank((case.items, *case.output_shape)))
    mode = SUMS if parts_out == 2 else PLAIN
    run_apart(case, weight, given.source, Sink(mode, out, total, NO_BLOB, NO_BIAS))
    sums = [
        sum(between_parts(case, weight, p, q, parts[q], True) for q in range(parts_in))
        for p in range(parts_out)
    ]
    assert_close(channels_first(out), np.concatenate(sums, axis=1), 3e-6)
    if parts_out == 2:
        assert_close(channels_first(total), np.asarray(sums[0] + sums[1]), 3e-6)


@pytest.mark.slow
@by_rows
@by_parts
@by_apart
def test_channels_on_their_own_hand_back(case: Case, parts_out: int, parts_in: int, rows: int) -> None:
    kind = "ε" if parts_out == 1 else "αβ"
    given = make_input(kind, case.items, parts_out * case.channels, 1, case.output_shape[1:])
    weight, parts = apart_weight(case, parts_out, parts_in), np.split(given.expected, parts_out, axis=1)
    factor = random_blob(case.image.shape, 8)
    factor.reshape(-1)[::6] = 0
    out = channels_last(blank(case.image.shape))
    mode = SIGNS if parts_in == 2 else TIMES
    sink = Sink(mode, out, NO_BLOB, channels_last(factor), NO_BIAS)
    hand_back_apart(case, weight, given.source, sink, rows)
    shares = [
        sum(between_parts(case, weight, p, q, parts[p], False) for p in range(parts_out))
        for q in range(parts_in)
    ]
    together = np.concatenate(shares, axis=1)
    expected = chosen(together, 1, factor) if parts_in == 2 else together * factor
    assert_close(channels_first(out), expected, 3e-6)


@by_apart
def test_rows_in_a_block_do_not_change_a_bit_of_channels_on_their_own(case: Case) -> None:
    weight, results = apart_weight(case, 1, 1), []
    for rows in (1, 2, 5, ALL_ROWS):
        out = channels_last(blank((case.items, *case.output_shape)))
        back = channels_last(blank(case.image.shape))
        run_apart(
            case, weight, copied(channels_last(case.image)), Sink(PLAIN, out, NO_BLOB, NO_BLOB, NO_BIAS), rows
        )
        source = copied(channels_last(case.relevance))
        hand_back_apart(case, weight, source, Sink(PLAIN, back, NO_BLOB, NO_BLOB, NO_BIAS), rows)
        results.append((out.tolist(), back.tolist()))
    assert all(result == results[0] for result in results)


def test_equal_windows_of_channels_on_their_own_give_equal_outputs() -> None:
    count = LANES + 3
    case = Case("", count, count, count, Geometry((3, 2), (2, 1)), (9, 61))
    line = random_blob((case.items, count, case.size[0], 1), 5)
    x = channels_last(np.broadcast_to(line, case.image.shape))
    sized = replace(case, items=2)
    out = channels_last(blank((2, *case.output_shape)))
    run_apart(sized, apart_weight(case, 1, 1), copied(x), Sink(PLAIN, out, NO_BLOB, NO_BLOB, NO_BIAS))
    assert (out == out[:, :, :1]).all()
