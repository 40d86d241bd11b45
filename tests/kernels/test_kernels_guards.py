"""No kernel writes beyond its arrays, and nothing it reads beyond them reaches a result.

Tiles read a little more than they use. Here every array lies between guards: not-a-numbers around inputs,
which would spread to all they are added to, and a mark around outputs, which must still be there. What
kernels get from the system for their own use is filled with huge numbers in a process of its own.
"""

import hashlib
import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from builders import channels_last, random_blob
from convolution_cases import CASES, SOURCES, Case, make_input
from oracle import Geometry, pooled_size

from caffe_lrp.kernels._simd import LANES
from caffe_lrp.kernels._tiles import PANEL, TILE_ROWS
from caffe_lrp.kernels.adjoint import hand_back
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.kernels.convolution import convolve
from caffe_lrp.kernels.gemm import multiply, multiply_adjoint
from caffe_lrp.kernels.normalization import lrn_forward, lrn_gradient, lrn_taylor
from caffe_lrp.kernels.packing import (
    exchanged,
    pack_channel_shares,
    pack_channels,
    pack_frequencies,
    pack_panels,
    pack_shares,
    pad_bias,
)
from caffe_lrp.kernels.passes import NO_BIAS, NO_BLOB, PLAIN, SIGNS, SUMS, TIMES, Sink, Source
from caffe_lrp.kernels.pooling import max_pool, max_pool_route
from caffe_lrp.kernels.window import Window
from caffe_lrp.kernels.winograd import convolve_tiles

GUARD = 4096
MARK = np.float32(-123456.0)


class Guarded:
    """Arrays between guards."""

    def __init__(self) -> None:
        self._marked: list[Blob] = []

    def given(self, values: Blob) -> Blob:
        """An input, not-a-numbers on both sides."""
        if not values.size:
            return values
        memory = np.full(values.size + 2 * GUARD, np.nan, np.float32)
        inside = memory[GUARD:-GUARD].reshape(values.shape)
        inside[...] = values
        return inside

    def wanted(self, shape: tuple[int, ...]) -> Blob:
        """An output, marks on both sides."""
        memory = np.full(int(np.prod(shape)) + 2 * GUARD, MARK, np.float32)
        memory[GUARD:-GUARD] = np.nan
        self._marked.append(memory)
        return memory[GUARD:-GUARD].reshape(shape)

    def check(self) -> None:
        """Fail if a mark has gone, or an output is incomplete."""
        for memory in self._marked:
            assert (memory[:GUARD] == MARK).all()
            assert (memory[-GUARD:] == MARK).all()
            assert not np.isnan(memory).any()


class Plain(Guarded):
    """The same arrays without guards."""

    def given(self, values: Blob) -> Blob:
        return values

    def wanted(self, shape: tuple[int, ...]) -> Blob:
        return np.full(shape, np.nan, np.float32)


def guarded_source(source: Source, arrays: Guarded) -> Source:
    blobs = (source.blob, source.other, source.positive, source.negative, source.coefficients)
    return Source(source.mode, source.groups, *map(arrays.given, blobs))


def sink_of(kind: int, case: Case, arrays: Guarded) -> tuple[Sink, list[Blob]]:
    """A sink of any kind for the outputs of ``case``, and the arrays it fills."""
    items, (channels, height, width) = case.items, case.output_shape
    out = arrays.wanted((items, height, width, channels))
    if kind == SUMS:
        total = arrays.wanted((items, height, width, case.outputs))
        return Sink(SUMS, out, total, NO_BLOB, arrays.given(case.bias)), [out, total]
    if kind == TIMES:
        factor = arrays.given(random_blob(out.shape, 8))
        return Sink(TIMES, out, NO_BLOB, factor, NO_BIAS), [out]
    return Sink(PLAIN, out, NO_BLOB, NO_BLOB, arrays.given(pad_bias(case.bias, case.groups))), [out]


def run_direct(case: Case, kind: str, mode: int, rows: int, arrays: Guarded) -> list[Blob]:
    sink, filled = sink_of(mode, case, arrays)
    rows = min(rows, case.shape.out_h)
    source = make_input(kind, case.items, case.channels, case.groups, case.size).source
    convolve(
        0, case.items * -(-case.shape.out_h // rows), rows, guarded_source(source, arrays), case.shape,
        arrays.given(pack_panels(case.packable)), sink,
    )  # fmt: skip
    return filled


def run_winograd(case: Case, kind: str, mode: int, rows: int, arrays: Guarded) -> list[Blob]:
    sink, filled = sink_of(mode, case, arrays)
    tile_rows = case.items * -(-case.shape.out_h // 4)
    source = make_input(kind, case.items, case.channels, case.groups, case.size).source
    convolve_tiles(
        0, -(-tile_rows // rows), rows, PANEL, guarded_source(source, arrays), case.shape,
        arrays.given(pack_frequencies(case.packable)), sink,
    )  # fmt: skip
    return filled


def run_shares(case: Case, kind: str, mode: int, rows: int, arrays: Guarded) -> list[Blob]:
    """Shares of the outputs of ``case``, which are inputs here."""
    height, inputs = case.size[0], case.channels // case.groups
    rows, halves = min(rows, height), 2 if mode == SIGNS else 1
    out = arrays.wanted((case.items, *case.size, case.channels // halves))
    factor = NO_BLOB if mode == PLAIN else arrays.given(random_blob(out.shape, 8))
    source = make_input(kind, case.items, case.outputs, case.groups, case.output_shape[1:]).source
    hand_back(
        0, case.items * -(-height // rows), rows, guarded_source(source, arrays),
        case.shape._replace(inputs=case.outputs // case.groups, outputs=inputs),
        arrays.given(pack_shares(exchanged(case.packable))), Sink(mode, out, NO_BLOB, factor, NO_BIAS),
    )  # fmt: skip
    return [out]


def run_signs(kind: str, rows: int, arrays: Guarded) -> list[Blob]:
    case = Case("", 12, 2 * 2 * 5, 2, Geometry((2, 3), pad=(1, 0)), (4, 7), items=3)
    shape = (case.items, *case.output_shape[1:], 2 * 5)
    out, factor = arrays.wanted(shape), arrays.given(random_blob(shape, 8))
    source = make_input(kind, case.items, case.channels, case.groups, case.size).source
    convolve(
        0, case.items * -(-case.shape.out_h // rows), rows, guarded_source(source, arrays), case.shape,
        arrays.given(pack_panels(case.packable)), Sink(SIGNS, out, NO_BLOB, factor, NO_BIAS),
    )  # fmt: skip
    return [out]


def run_apart(channels: int, geometry: Geometry, arrays: Guarded) -> list[Blob]:
    """Channels on their own, two parts on both sides, forwards and backwards."""
    case = Case("", channels, channels, channels, geometry, (5, 9), items=3)
    weight = random_blob((channels, 2, 1, 2, *geometry.kernel), 2)
    sums = arrays.wanted((case.items, *case.output_shape[1:], 2 * channels))
    total = arrays.wanted((case.items, *case.output_shape[1:], channels))
    back = arrays.wanted((case.items, *case.size, channels))
    factor = arrays.given(random_blob(back.shape, 8))
    given, handed = (
        guarded_source(make_input(kind, case.items, 2 * channels, 1, size).source, arrays)
        for kind, size in (("by sign", case.size), ("αβ", case.output_shape[1:]))
    )
    shape = case.shape._replace(groups=1, inputs=2 * channels, apart=channels)
    convolve(
        0, case.items * shape.out_h, 1, given, shape._replace(parts=2, outputs=channels),
        arrays.given(pack_channels(weight)), Sink(SUMS, sums, total, NO_BLOB, arrays.given(case.bias)),
    )  # fmt: skip
    hand_back(
        0, case.items, case.size[0], handed, shape._replace(outputs=2 * channels),
        arrays.given(pack_channel_shares(weight)), Sink(SIGNS, back, NO_BLOB, factor, NO_BIAS),
    )  # fmt: skip
    return [sums, total, back]


def run_matrix(items: int, inputs: int, outputs: int, arrays: Guarded) -> list[Blob]:
    x, relevance = (
        arrays.given(random_blob((items, inputs), 1)),
        arrays.given(random_blob((items, outputs), 2)),
    )
    weights, bias = arrays.given(random_blob((outputs, inputs), 3)), arrays.given(random_blob((outputs,), 4))
    out, back = arrays.wanted((items, outputs)), arrays.wanted((items, inputs))
    multiply(0, outputs, x, weights, bias, out)
    multiply_adjoint(0, inputs, relevance, weights, back)
    return [out, back]


def run_pooling(size: int, arrays: Guarded) -> list[Blob]:
    """Windows that hang over on all sides."""
    window, channels = Window(size, size, 2, 1, 1, 1), LANES + 3
    rows, columns = pooled_size((6, 7), Geometry((size, size), (2, 1), (1, 1)))
    x = arrays.given(random_blob((2, 6, 7, channels), 1))
    received = arrays.given(random_blob((2, rows, columns, channels), 2))
    out, back = arrays.wanted(received.shape), arrays.wanted(x.shape)
    max_pool(0, 2 * rows, x, window, out)
    max_pool_route(0, channels, x, received, window, back)
    return [out, back]


def run_normalization(local_size: int, arrays: Guarded) -> list[Blob]:
    shape, coefficients = (5, LANES + 3), (local_size, 0.7, 0.75, 1.0)
    x, received = arrays.given(random_blob(shape, 1)), arrays.given(random_blob(shape, 2))
    out, gradient, relevance = (arrays.wanted(shape) for _ in range(3))
    lrn_forward(x, *coefficients, out)
    lrn_gradient(x, received, *coefficients, gradient)
    lrn_taylor(x, received, *coefficients, relevance)
    return [out, gradient, relevance]


def with_parts(case: Case, parts: int) -> Case:
    return Case(
        case.name, case.channels, case.outputs, case.groups, case.geometry, case.size, case.items, parts
    )


SQUARE = Geometry((3, 3), pad=(1, 0))
MIXED = [
    Case("rectangular", 6, 5, 1, Geometry((3, 2), (2, 3), (1, 0)), (11, 8)),
    Case("groups", 12, 10, 2, Geometry((2, 3), pad=(1, 0)), (4, 7)),
    Case("pointwise", 8, LANES + 3, 1, Geometry((1, 1)), (5, 7), items=3),
    Case("few pixels, pointwise", 8, 3, 1, Geometry((1, 1)), (1, 2), items=1),
    Case("a row of tiles, pointwise", 2, PANEL - 1, 1, Geometry((1, 1)), (1, TILE_ROWS), items=2),
]
TILED = [
    Case("one group", 6, 5, 1, SQUARE, (9, 7)),
    Case("groups", 4 * LANES + 4, 2 * LANES + 6, 2, SQUARE, (5, 10), items=3),
    Case("tiny", 2, PANEL + 1, 1, SQUARE, (2, 3), items=1),
]
SHARED = [
    Case("stride", 6, 10, 1, Geometry((3, 2), (2, 3), (1, 0)), (11, 8)),
    Case("groups", 12, 8, 2, Geometry((2, 3), (3, 1), (1, 0)), (7, 5)),
    Case("dilated", 4, LANES + 2, 1, Geometry((2, 3), (2, 1), (0, 2), (3, 1)), (9, 6), items=3),
]

Work = Callable[[Guarded], list[Blob]]


def works() -> dict[str, Work]:
    """Everything that is tested here."""
    found: dict[str, Work] = {
        str(case): partial(run_direct, with_parts(case, 1), "copy", PLAIN, 2) for case in CASES
    }
    for title, run, cases in (("direct", run_direct, MIXED), ("winograd", run_winograd, TILED)):
        for case, kind in itertools.product(cases, SOURCES):
            for mode, name in ((PLAIN, "plain"), (SUMS, "sums"), (TIMES, "times")):
                given = with_parts(case, 2 if mode == SUMS else 1)
                found[f"{title} {case} {kind} {name}"] = partial(run, given, kind, mode, 2)
    for kind in SOURCES:
        found[f"signs {kind}"] = partial(run_signs, kind, 2)
    for case, kind, mode in itertools.product(SHARED, SOURCES, (PLAIN, TIMES, SIGNS)):
        found[f"shares {case} {kind} {mode}"] = partial(run_shares, case, kind, mode, 2)
    for channels, geometry in itertools.product((1, LANES, LANES + 3), (SQUARE, SHARED[0].geometry)):
        found[f"{channels} channels apart, {geometry}"] = partial(run_apart, channels, geometry)
    for sizes in ((1, 1, 2), (3, LANES + 3, 5), (6, 2 * LANES - 1, PANEL + 2), (5, 4099, 7)):
        found[f"matrix {sizes}"] = partial(run_matrix, *sizes)
    for size in (2, 3, 5):
        found[f"max pooling {size}"] = partial(run_pooling, size)
    for local_size in (1, 5):
        found[f"normalization {local_size}"] = partial(run_normalization, local_size)
    return found


WORKS = works()


@pytest.mark.slow
@pytest.mark.parametrize("name", WORKS)
def test_kernels_stay_within_their_arrays(name: str) -> None:
    guards = Guarded()
    found = WORKS[name](guards)
    guards.check()
    expected = WORKS[name](Plain())
    assert [blob.tolist() for blob in found] == [blob.tolist() for blob in expected]


def digest() -> str:
    """One for the bits of all results."""
    found = hashlib.sha256()
    for work in WORKS.values():
        for blob in work(Plain()):
            assert not np.isnan(blob).any()
            found.update(blob.tobytes())
    return found.hexdigest()


@pytest.mark.slow
@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="glibc fills memory on request, others do not"
)
@pytest.mark.parametrize("fill", [128, 1])
def test_what_lies_in_fresh_memory_does_not_matter(fill: int) -> None:
    """Fresh memory holds 3.4e38 everywhere, or −1.7e38."""
    result = subprocess.run(
        [sys.executable, "-c", "import test_kernels_guards; print(test_kernels_guards.digest())"],
        env=os.environ | {"MALLOC_PERTURB_": str(fill), "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=Path(__file__).parent, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.strip() == digest()


def test_the_image_of_a_source_lies_as_kernels_take_it() -> None:
    """A slip here would make all tests above void."""
    arrays = Guarded()
    blob = arrays.given(channels_last(random_blob((2, 3, 4, 5), 1)))
    assert blob.flags.c_contiguous
    assert blob.base is not None
    assert np.isnan(blob.base[:GUARD]).all()
    assert np.isnan(blob.base[-GUARD:]).all()
