"""Maps of layers, forwards and backwards, with one and two parts on either side, against loops."""

import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import oracle
import pytest
from builders import (
    BY_WINOGRAD,
    DIRECTLY,
    EagerWorkspace,
    assert_close,
    channels_first,
    channels_last,
    random_blob,
)
from convolution_cases import CASES, GEOMETRIES, Case, in_groups, make_input
from oracle import Array, Geometry, Real

from caffe_lrp.compute.linear_map import LinearMap, signed_weight
from caffe_lrp.compute.matrix_map import MatrixMap, PositionMap
from caffe_lrp.compute.product import Product
from caffe_lrp.compute.window_map import ConvolutionMap
from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.kernels._simd import LANES
from caffe_lrp.kernels._tiles import PANEL
from caffe_lrp.kernels.blobs import Blob, pixels
from caffe_lrp.kernels.passes import copied

SINGLE = [case for case in CASES if case.parts == 1]
by_single = pytest.mark.parametrize("case", SINGLE, ids=str)
by_geometry = pytest.mark.parametrize("case", GEOMETRIES, ids=str)
by_parts_in = pytest.mark.parametrize("nonnegative", [True, False], ids=["one part in", "two parts in"])


def lifted(case: Case) -> Blob:
    weight = case.packable
    return weight.reshape(*weight.shape[:3], 1, *weight.shape[3:])


def map_of(case: Case, weight: Blob) -> ConvolutionMap:
    output_shape = (case.outputs, *case.output_shape[1:])
    return ConvolutionMap(weight, case.window, case.image_shape, output_shape)


def groups_of_parts(case: Case) -> int:
    """Groups in which parts lie side by side: one where every channel is on its own."""
    return 1 if case.groups == case.channels == case.outputs else case.groups


def expected_sums(case: Case, x: Real, nonnegative: bool) -> Array:
    """Sums of positive and of negative products, (N, G·2·O, H, W)."""
    return np.asarray(in_groups(groups_of_parts(case), *sums_by_sign(case, x, nonnegative)))


def sums_by_sign(case: Case, x: Real, nonnegative: bool) -> tuple[Array, Array]:
    """Sums of positive and of negative products, (N, C, H, W) each."""
    positive, negative = np.maximum(case.weight, 0), np.minimum(case.weight, 0)
    above, below = np.maximum(x, 0), np.zeros_like(x) if nonnegative else np.minimum(x, 0)
    p = oracle.linear(above, positive, None, case.edges) + oracle.linear(below, negative, None, case.edges)
    n = oracle.linear(above, negative, None, case.edges) + oracle.linear(below, positive, None, case.edges)
    return p, n


def expected_return(case: Case, handed: Real, x: Real) -> Array:
    """Relevance at both sums, (N, G·2·O, H, W), handed back to the parts of ``x`` and multiplied by it."""
    halves = [np.split(group, 2, axis=1) for group in np.split(handed, groups_of_parts(case), axis=1)]
    p, n = (np.concatenate([group[part] for group in halves], axis=1) for part in (0, 1))
    positive, negative = np.maximum(case.weight, 0), np.minimum(case.weight, 0)
    at_positive = oracle.adjoint(p, positive, case.edges) + oracle.adjoint(n, negative, case.edges)
    at_negative = oracle.adjoint(p, negative, case.edges) + oracle.adjoint(n, positive, case.edges)
    return np.asarray(x * np.where(x > 0, at_positive, at_negative))


@pytest.mark.slow
@by_single
def test_a_map_applied_equals_loops(case: Case) -> None:
    out = map_of(case, lifted(case)).apply(case.image, case.bias, DIRECTLY)
    expected = oracle.linear(case.image, case.weight, case.bias, case.edges)
    assert_close(out, expected, 2e-6)
    without = map_of(case, lifted(case)).apply(case.image, None, DIRECTLY)
    assert_close(without, case.products(case.image), 2e-6)


@pytest.mark.slow
@by_single
def test_the_adjoint_of_a_map_equals_loops(case: Case) -> None:
    out = map_of(case, lifted(case)).adjoint(copied(pixels(case.relevance)), None, DIRECTLY)
    assert_close(out, oracle.adjoint(case.relevance, case.weight, case.edges), 3e-6)


@pytest.mark.slow
@by_single
def test_the_adjoint_is_multiplied_by_a_factor(case: Case) -> None:
    factor = random_blob(case.image.shape, 5)
    out = map_of(case, lifted(case)).adjoint(copied(pixels(case.relevance)), factor, DIRECTLY)
    assert_close(out, factor * oracle.adjoint(case.relevance, case.weight, case.edges), 3e-6)


@pytest.mark.slow
@by_parts_in
@by_geometry
def test_sums_of_a_signed_map_equal_loops(case: Case, nonnegative: bool) -> None:
    x = np.abs(case.image) if nonnegative else case.image
    signed = map_of(case, signed_weight(lifted(case), nonnegative))
    sums, total = signed.apply_sums(x, case.bias, DIRECTLY)
    assert_close(channels_first(sums), expected_sums(case, x, nonnegative), 2e-6)
    assert_close(total, oracle.linear(x, case.weight, case.bias, case.edges), 5e-6)
    _, without = signed.apply_sums(x, None, DIRECTLY)
    assert_close(without, oracle.linear(x, case.weight, None, case.edges), 5e-6)


@pytest.mark.slow
@by_parts_in
@by_geometry
def test_a_map_takes_its_sums_apart_by_item_and_sign(case: Case, nonnegative: bool) -> None:
    x = np.abs(case.image) if nonnegative else case.image
    signed = map_of(case, signed_weight(lifted(case), nonnegative))
    sums, total = signed.apply_sums(x, None, DIRECTLY)
    expected = sums_by_sign(case, x, nonnegative)
    for item in range(case.items):
        parts = signed.sums_of_item(sums, item)
        for part, numbers in zip(parts, expected, strict=True):
            assert_close(part, numbers[item].reshape(case.outputs, -1).T, 2e-6)
        np.testing.assert_array_equal(parts[0] + parts[1], signed.rows(total)[item])


@pytest.mark.slow
@by_parts_in
@pytest.mark.parametrize("kind", ["copy", "αβ"])
@by_geometry
def test_a_signed_map_hands_back_by_the_sign_of_the_input(case: Case, kind: str, nonnegative: bool) -> None:
    x = np.abs(case.image) if nonnegative else case.image
    x.reshape(-1)[::7] = 0
    channels, size = 2 * case.outputs, case.output_shape[1:]
    handed = make_input(kind, case.items, channels, groups_of_parts(case), size)
    signed = map_of(case, signed_weight(lifted(case), nonnegative))
    out = signed.adjoint(handed.source, x, DIRECTLY)
    assert_close(out, expected_return(case, handed.expected, x), 5e-6)


@by_geometry
def test_the_epsilon_quotient_is_handed_back(case: Case) -> None:
    handed = make_input("ε", case.items, case.outputs, case.groups, case.output_shape[1:])
    out = map_of(case, lifted(case)).adjoint(handed.source, case.image, DIRECTLY)
    expected = case.image * oracle.adjoint(handed.expected, case.weight, case.edges)
    assert_close(out, expected, 3e-6)


def test_signed_weights_are_the_parts_of_the_products() -> None:
    weight = random_blob((2, 1, 3, 1, 4, 2, 5), 1)
    positive, negative = np.maximum(weight, 0)[:, 0, :, 0], np.minimum(weight, 0)[:, 0, :, 0]
    both = signed_weight(weight, nonnegative=False)
    assert both.shape == (2, 2, 3, 2, 4, 2, 5)
    for part_out, part_in, expected in [
        (0, 0, positive), (0, 1, negative), (1, 0, negative), (1, 1, positive)
    ]:  # fmt: skip
        assert both[:, part_out, :, part_in].tolist() == expected.tolist()
    assert signed_weight(weight, nonnegative=True).tolist() == both[:, :, :, :1].tolist()


@by_parts_in
@pytest.mark.parametrize("case", [GEOMETRIES[2], GEOMETRIES[17], GEOMETRIES[21]], ids=str)
def test_threads_do_not_change_a_bit_of_a_map(case: Case, nonnegative: bool) -> None:
    signed = map_of(case, signed_weight(lifted(case), nonnegative))
    x, results = np.abs(case.image), []
    handed = make_input("αβ", case.items, 2 * case.outputs, groups_of_parts(case), case.output_shape[1:])
    for threads in (1, 2, 3):
        with EagerWorkspace(threads, convolution="direct") as workspace:
            found = [*signed.apply_sums(x, case.bias, workspace), signed.adjoint(handed.source, x, workspace)]
            results.append([blob.tolist() for blob in found])
    assert results[0] == results[1] == results[2]


# --- Which kernel ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channels", "geometry", "groups", "hands_back", "apart"),
    [
        (3, Geometry((7, 7), (2, 2), (3, 3)), 1, True, 0),
        (LANES + 2, Geometry((3, 3), (1, 2)), 1, True, 0),
        (LANES + 2, Geometry((1, 1), (2, 1)), 2, True, 0),
        (1, Geometry((3, 5)), 1, True, 0),
        (LANES, Geometry((3, 5)), 1, False, 0),
        (3, Geometry((1, 1)), 1, False, 0),
        (6, Geometry((3, 5)), 6, False, 6),
        (6, Geometry((3, 5), (2, 2)), 6, True, 6),
        (6, Geometry((3, 5), (1, 1), (2, 1), (2, 2)), 6, False, 6),
    ],
)
def test_the_window_and_the_channels_choose_the_kernel(
    channels: int, geometry: Geometry, groups: int, hands_back: bool, apart: int
) -> None:
    case = Case("", channels, channels, groups, geometry, (11, 14))
    found = map_of(case, lifted(case))
    assert not found.forward_product("direct").hands_back
    assert found.adjoint_product("direct").hands_back == hands_back
    assert found.forward_product("direct").shape.apart == found.adjoint_product("direct").shape.apart == apart
    assert found.groups == (1 if apart else groups)


def test_channels_with_several_outputs_each_are_computed_together() -> None:
    case = Case("", 6, 12, 6, Geometry((3, 5), (1, 2)), (11, 14))
    found = map_of(case, lifted(case))
    assert found.forward_product("direct").shape.apart == found.adjoint_product("direct").shape.apart == 0
    assert found.forward_product("direct").shape.merged > 1
    assert found.adjoint_product("direct").shape.merged > 1


# --- Halves of products -----------------------------------------------------------------------------------

#: The method that is chosen unless another one is asked for.
BY_CHOICE = Workspace()
#: Of inputs of either sign, one group, and sums of 27 products or more.
HALVED = [
    Case("as a first layer", 3, 2 * LANES + 6, 1, Geometry((7, 5), (2, 2), (3, 1)), (14, 13)),
    Case("no stride", 3, LANES + 3, 1, Geometry((3, 3), pad=(1, 1)), (9, 8)),
    Case("dilated", 5, 7, 1, Geometry((3, 2), (2, 1), (3, 1), (2, 3))),
    Case("padded unequally", 4, 9, 1, Geometry((3, 4), (1, 3), (2, 1), ends=(1, 0)), (7, 9), 3),
    Case("pointwise", PANEL, 9, 1, Geometry((1, 1)), (6, 5)),
]
by_halved = pytest.mark.parametrize("case", HALVED, ids=str)


@by_halved
def test_maps_by_halves_equal_loops(case: Case) -> None:
    x = case.image
    x.reshape(-1)[::7] = 0
    signed = map_of(case, signed_weight(lifted(case), nonnegative=False))
    sums, total = signed.apply_sums(x, case.bias, BY_CHOICE)
    assert_close(channels_first(sums), expected_sums(case, x, False), 2e-6)
    assert_close(total, oracle.linear(x, case.weight, case.bias, case.edges), 5e-6)
    handed = make_input("αβ", case.items, 2 * case.outputs, 1, case.output_shape[1:])
    out = signed.adjoint(handed.source, x, BY_CHOICE)
    assert_close(out, expected_return(case, handed.expected, x), 5e-6)
    first_part = signed.adjoint(handed.source, None, BY_CHOICE)
    assert_close(first_part, expected_return(case, handed.expected, np.ones_like(x)), 5e-6)


@pytest.mark.parametrize("case", HALVED[:2], ids=str)
def test_threads_do_not_change_a_bit_of_halves(case: Case) -> None:
    signed = map_of(case, signed_weight(lifted(case), nonnegative=False))
    handed = make_input("αβ", case.items, 2 * case.outputs, 1, case.output_shape[1:])
    results = []
    for threads in (1, 3):
        with EagerWorkspace(threads) as workspace:
            found = [
                *signed.apply_sums(case.image, case.bias, workspace),
                signed.adjoint(handed.source, case.image, workspace),
            ]
            results.append([blob.tolist() for blob in found])
    assert results[0] == results[1]


@pytest.mark.parametrize("method", ["direct", "auto", "winograd"])
def test_half_of_the_products_do_unless_they_are_to_be_direct(method: str) -> None:
    case = HALVED[0]
    signed = map_of(case, signed_weight(lifted(case), nonnegative=False))
    halved = int(method != "direct")
    assert signed.adjoint_product(method).shape.mirrored == halved
    assert signed.forward_product(method).shape.mirrored == halved
    plain = map_of(case, lifted(case))
    assert plain.adjoint_product(method).shape.mirrored == plain.forward_product(method).shape.mirrored == 0


def test_parts_that_may_not_swap_places_are_not_halved() -> None:
    case = HALVED[0]
    weight = signed_weight(lifted(case), nonnegative=False)
    weight[0, 1, 0, 1] *= 2
    assert map_of(case, weight).adjoint_product("auto").shape.mirrored == 0
    assert map_of(case, weight).forward_product("auto").shape.mirrored == 0


@pytest.mark.parametrize(
    ("channels", "groups", "kernel"), [(6, 3, (5, 5)), (3, 3, (5, 5)), (1, 1, (23, 1))], ids=str
)
def test_groups_and_short_sums_are_not_halved(channels: int, groups: int, kernel: tuple[int, int]) -> None:
    case = Case("", channels, 6, groups, Geometry(kernel, (2, 2)), (30, 11))
    signed = map_of(case, signed_weight(lifted(case), nonnegative=False))
    assert signed.adjoint_product("auto").shape.mirrored == 0
    assert signed.forward_product("auto").shape.mirrored == 0


@pytest.mark.parametrize("sign", [1, -1])
def test_a_half_without_products_is_zero(sign: int) -> None:
    case = HALVED[0]
    weight = signed_weight(np.abs(lifted(case)), nonnegative=False)
    sums, _ = map_of(case, weight).apply_sums(np.float32(sign) * np.abs(case.image), None, BY_CHOICE)
    parts = np.split(channels_first(sums), 2, axis=1)
    absent, present = parts[::sign][1], parts[::sign][0]
    assert not absent.any()
    assert (sign * present > 0).any()


def test_a_half_within_the_rounding_error_of_the_other_is_zero() -> None:
    case = replace(HALVED[1], geometry=Geometry((3, 3)))
    weight, x = np.abs(lifted(case)) + np.float32(1), np.abs(case.image) + np.float32(1)
    weight[..., 0, 1, 1] = np.float32(-1e-9)
    signed = map_of(case, signed_weight(weight, nonnegative=False))
    sums, _ = signed.apply_sums(x, None, BY_CHOICE)
    assert not sums[..., case.outputs :].any()
    exact, _ = signed.apply_sums(x, None, DIRECTLY)
    assert (exact[..., case.outputs :] < 0).all()


def test_equal_windows_have_equal_halves() -> None:
    case = replace(HALVED[1], geometry=Geometry((3, 3)), size=(9, 35))
    image = np.tile(random_blob((case.items, case.channels, 9, 7), 7), (1, 1, 1, 5))
    signed = map_of(case, signed_weight(lifted(case), nonnegative=False))
    for found in signed.apply_sums(image, case.bias, BY_CHOICE):
        across = found if found.shape[2] == 33 else found.transpose(0, 2, 3, 1)
        assert across[:, :, 7:].tolist() == across[:, :, :-7].tolist()


# --- Winograd ---------------------------------------------------------------------------------------------

SQUARE = Geometry((3, 3), (1, 1), (1, 1))
TILED = [
    Case("one group", 11, 7, 1, SQUARE, (9, 6)),
    Case("groups", 2 * LANES + 4, 2 * LANES + 6, 2, SQUARE._replace(pad=(0, 1)), (7, 10)),
    Case("wide", PANEL + 3, PANEL + 5, 1, SQUARE._replace(pad=(2, 0)), (6, 5)),
    Case("wide padding", 10, 4, 1, SQUARE._replace(pad=(4, 3)), (5, 6)),
    Case("3×3, padded at the end only", 7, LANES + 6, 1, Geometry((3, 3), ends=(1, 2)), (9, 8)),
    Case("5×5, padded unequally", 7, LANES + 6, 1, Geometry((5, 5), pad=(3, 0), ends=(1, 4)), (9, 8)),
    Case("5×5, wide padding", 7, LANES + 6, 1, Geometry((5, 5), pad=(5, 4)), (9, 8)),
    Case("5×5", 2 * LANES + 2, 6, 2, Geometry((5, 5), pad=(2, 1)), (9, 8), 3),
]
by_tiled = pytest.mark.parametrize("case", TILED, ids=str)

#: Transforms add and subtract numbers up to 100 times as large as the result.
WINOGRAD_TOLERANCE = 1e-5


@pytest.mark.slow
@by_tiled
def test_winograd_maps_equal_loops(case: Case) -> None:
    found = map_of(case, lifted(case))
    assert found.forward_product("winograd").uses_winograd
    assert found.adjoint_product("winograd").uses_winograd
    out = found.apply(case.image, case.bias, BY_WINOGRAD)
    expected = oracle.linear(case.image, case.weight, case.bias, case.edges)
    assert_close(out, expected, WINOGRAD_TOLERANCE)
    factor = random_blob(case.image.shape, 5)
    handed = oracle.adjoint(case.relevance, case.weight, case.edges)
    for given, expected in ((None, handed), (factor, factor * handed)):
        back = found.adjoint(copied(pixels(case.relevance)), given, BY_WINOGRAD)
        assert_close(back, expected, WINOGRAD_TOLERANCE)


@by_tiled
def test_winograd_sums_equal_loops(case: Case) -> None:
    x = np.maximum(case.image, 0)
    found = map_of(case, signed_weight(lifted(case), nonnegative=True))
    assert found.forward_product("winograd").uses_winograd
    sums, total = found.apply_sums(x, case.bias, BY_WINOGRAD)
    assert_close(channels_first(sums), expected_sums(case, x, True), WINOGRAD_TOLERANCE)
    expected = oracle.linear(x, case.weight, case.bias, case.edges)
    assert_close(total, expected, 2 * WINOGRAD_TOLERANCE)
    handed = make_input("αβ", case.items, 2 * case.outputs, groups_of_parts(case), case.output_shape[1:])
    back = found.adjoint(handed.source, x, BY_WINOGRAD)
    assert_close(back, expected_return(case, handed.expected, x), WINOGRAD_TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize(
    "geometry",
    [
        Geometry((3, 3), dilation=(2, 2)),
        Geometry((3, 2)),
        Geometry((5, 3)),
        Geometry((6, 6)),
        Geometry((4, 4)),
        Geometry((1, 1)),
    ],
    ids=str,
)
def test_other_windows_are_summed_directly(geometry: Geometry) -> None:
    case = Case("", 18, 20, 1, geometry, (9, 8))
    found = map_of(case, lifted(case))
    assert not found.forward_product("winograd").uses_winograd
    assert not found.adjoint_product("winograd").uses_winograd
    assert_close(found.apply(case.image, None, BY_WINOGRAD), case.products(case.image), 2e-6)


@by_tiled
def test_winograd_maps_of_both_parts_of_an_input_equal_loops(case: Case) -> None:
    found = map_of(case, signed_weight(lifted(case), nonnegative=False))
    sums, _ = found.apply_sums(case.image, case.bias, BY_WINOGRAD)
    assert_close(channels_first(sums), expected_sums(case, case.image, False), WINOGRAD_TOLERANCE)
    handed = make_input("αβ", case.items, 2 * case.outputs, case.groups, case.output_shape[1:])
    back = found.adjoint(handed.source, case.image, BY_WINOGRAD)
    assert_close(back, expected_return(case, handed.expected, case.image), WINOGRAD_TOLERANCE)


@pytest.mark.parametrize(
    ("channels", "outputs", "chosen"),
    [(32, 32, True), (15, 128, False), (31, 32, False)],
)
def test_winograd_is_chosen_where_it_pays(channels: int, outputs: int, chosen: bool) -> None:
    case = Case("", channels, outputs, 1, Geometry((5, 5)), (9, 8))
    assert map_of(case, lifted(case)).forward_product("auto").uses_winograd == chosen


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("case", TILED, ids=str)
def test_equal_windows_give_equal_outputs_once_ties_are_restored(case: Case, threads: int) -> None:
    """Columns that repeat themselves, but not with the tiles: so do outputs, away from the edges."""
    image = np.tile(random_blob((case.items, case.channels, case.size[0], 7), 7), (1, 1, 1, 5))
    case = replace(case, size=(case.size[0], 35))
    found = map_of(case, lifted(case))
    with EagerWorkspace(threads, convolution="winograd") as workspace:
        out = found.apply(image, case.bias, workspace)
        before = out.copy()
        found.restore_ties(image, out, workspace)
    reach = case.geometry.kernel[1]
    inside, inside_before = out[..., reach:-reach], before[..., reach:-reach]
    assert (inside[..., 7:] == inside[..., :-7]).all()
    assert not (inside_before[..., 7:] == inside_before[..., :-7]).all()
    assert_close(out, before.astype(np.float64), WINOGRAD_TOLERANCE)


@by_tiled
def test_one_map_is_computed_by_the_method_of_each_workspace(case: Case) -> None:
    """In any order, and with the bits of a map that never knew another method."""
    both = map_of(case, signed_weight(lifted(case), nonnegative=False))
    handed = make_input("αβ", case.items, 2 * case.outputs, case.groups, case.output_shape[1:])

    def computed(found: ConvolutionMap, workspace: Workspace) -> list[bytes]:
        sums, total = found.apply_sums(case.image, case.bias, workspace)
        back = found.adjoint(handed.source, case.image, workspace)
        return [blob.tobytes() for blob in (sums, total, back)]

    alone = [computed(map_of(case, both.weight), workspace) for workspace in (DIRECTLY, BY_WINOGRAD)]
    assert [computed(both, workspace) for workspace in (DIRECTLY, BY_WINOGRAD)] == alone
    assert [computed(both, workspace) for workspace in (BY_WINOGRAD, DIRECTLY)] == alone[::-1]
    assert alone[0] != alone[1]


def test_a_map_that_is_always_direct_minds_no_workspace() -> None:
    case = TILED[0]
    direct = replace(map_of(case, lifted(case)), is_direct=True)
    for product in (direct.forward_product, direct.adjoint_product):
        assert not product("winograd").uses_winograd
        assert product("winograd") is product("auto") is product("direct")
    assert direct.packed_growth("winograd") == 1 < map_of(case, lifted(case)).packed_growth("winograd")


def test_weights_are_packed_once_for_all_threads() -> None:
    case = TILED[0]
    found, ready = map_of(case, lifted(case)), threading.Barrier(4)

    def ask(_: int) -> Product:
        ready.wait()
        return found.forward_product("winograd")

    with ThreadPoolExecutor(4) as threads:
        products = list(threads.map(ask, range(4)))
    assert all(product is products[0] for product in products)


# --- Matrices -----------------------------------------------------------------------------------------------

MATRICES = [((7,), 5), ((3, 5, 2), PANEL + 5), ((LANES + 1, 4, 3), LANES), ((4, 3), 1)]
by_matrix = pytest.mark.parametrize(("shape", "outputs"), MATRICES)


def matrix(shape: tuple[int, ...], outputs: int) -> tuple[Blob, oracle.Edges]:
    edges = oracle.inner_product_edges(shape, outputs)
    return random_blob((outputs, int(np.prod(shape))), 2), edges


def lifted_matrix(weight: Blob) -> Blob:
    return weight.reshape(1, 1, len(weight), 1, -1, 1, 1)


def matrix_map(weight: Blob, shape: tuple[int, ...], outputs: int) -> LinearMap:
    return MatrixMap(weight, shape, (outputs,))


@pytest.mark.parametrize("items", [1, 6])
@by_matrix
def test_a_matrix_equals_loops(shape: tuple[int, ...], outputs: int, items: int) -> None:
    weight, edges = matrix(shape, outputs)
    x, relevance = random_blob((items, *shape), 1), random_blob((items, outputs), 3)
    bias, factor = random_blob((outputs,), 4), random_blob((items, *shape), 5)
    found = matrix_map(lifted_matrix(weight), shape, outputs)
    assert_close(found.apply(x, bias, DIRECTLY), oracle.linear(x, weight, bias, edges), 2e-6)
    assert_close(found.apply(x, None, DIRECTLY), oracle.linear(x, weight, None, edges), 2e-6)
    handed = oracle.adjoint(relevance, weight, edges)
    assert_close(found.adjoint(copied(pixels(relevance)), None, DIRECTLY), handed, 2e-6)
    assert_close(found.adjoint(copied(pixels(relevance)), factor, DIRECTLY), factor * handed, 2e-6)


@by_parts_in
@by_matrix
def test_sums_of_a_signed_matrix_equal_loops(shape: tuple[int, ...], outputs: int, nonnegative: bool) -> None:
    weight, edges = matrix(shape, outputs)
    x = random_blob((3, *shape), 1)
    x = np.abs(x) if nonnegative else x
    x.reshape(-1)[::5] = 0
    bias = random_blob((outputs,), 4)
    signed = matrix_map(signed_weight(lifted_matrix(weight), nonnegative), shape, outputs)
    sums, total = signed.apply_sums(x, bias, DIRECTLY)
    parts = [oracle.alpha_beta_sums(item, weight, None, edges, False, 1) for item in x]
    expected = np.stack([np.concatenate(both) for both in parts])
    assert_close(sums.reshape(3, -1), expected, 2e-6)
    for item in range(3):
        apart = signed.sums_of_item(sums, item)
        assert_close(np.concatenate(apart, axis=1), expected[item : item + 1], 2e-6)
    assert_close(total, oracle.linear(x, weight, bias, edges), 5e-6)
    _, without = signed.apply_sums(x, None, DIRECTLY)
    assert_close(without, oracle.linear(x, weight, None, edges), 5e-6)
    handed = make_input("αβ", 3, 2 * outputs, 1, (1, 1))
    positive, negative = np.maximum(weight, 0), np.minimum(weight, 0)
    p, n = handed.expected[:, :outputs], handed.expected[:, outputs:]
    at_positive = oracle.adjoint(p, positive, edges) + oracle.adjoint(n, negative, edges)
    at_negative = oracle.adjoint(p, negative, edges) + oracle.adjoint(n, positive, edges)
    out = signed.adjoint(handed.source, x, DIRECTLY)
    assert_close(out, x * np.where(x > 0, at_positive, at_negative), 5e-6)


def test_inputs_of_a_matrix_are_counted_as_caffe_does_whatever_their_order_in_memory() -> None:
    shape, outputs = (5, 3, 4), 7
    weight, edges = matrix(shape, outputs)
    x = random_blob((2, *shape), 1)
    turned = channels_last(x).transpose(0, 3, 1, 2)
    found = matrix_map(lifted_matrix(weight), shape, outputs)
    assert_close(found.apply(turned, None, DIRECTLY), oracle.linear(x, weight, None, edges), 2e-6)
    relevance = random_blob((2, outputs), 3)
    factor = channels_last(random_blob(x.shape, 5)).transpose(0, 3, 1, 2)
    handed = oracle.adjoint(relevance, weight, edges)
    assert_close(found.adjoint(copied(pixels(relevance)), factor, DIRECTLY), factor * handed, 2e-6)


def test_an_adjoint_of_two_parts_needs_no_factor() -> None:
    """Without one there is no sign: what the positive parts get counts."""
    weight, edges = matrix((6,), 4)
    signed = matrix_map(signed_weight(lifted_matrix(weight), False), (6,), 4)
    handed = random_blob((2, 8), 3)
    positive, negative = np.maximum(weight, 0), np.minimum(weight, 0)
    expected = oracle.adjoint(handed[:, :4], positive, edges) + oracle.adjoint(handed[:, 4:], negative, edges)
    assert_close(signed.adjoint(copied(pixels(handed)), None, DIRECTLY), expected, 2e-6)


@by_parts_in
def test_a_matrix_at_every_position_takes_its_sums_apart(nonnegative: bool) -> None:
    weight = signed_weight(lifted_matrix(random_blob((7, 5), 2)), nonnegative)
    x = np.abs(random_blob((2, 3, 4, 5), 1))
    at_each = PositionMap(weight, (3, 4, 5), (3, 4, 7))
    sums, total = at_each.apply_sums(x, None, DIRECTLY)
    assert at_each.rows(total).tolist() == total.reshape(2, 12, 7).tolist()
    for item in range(2):
        positive, negative = at_each.sums_of_item(sums, item)
        alone, _ = MatrixMap(weight, (5,), (7,)).apply_sums(x[item].reshape(12, 5), None, DIRECTLY)
        assert positive.tolist() == alone[:, 0, 0, :7].tolist()
        assert negative.tolist() == alone[:, 0, 0, 7:].tolist()


def test_threads_do_not_change_a_bit_of_a_matrix() -> None:
    weight, _ = matrix((5, 3, 7), PANEL + 9)
    x, relevance = random_blob((5, 5, 3, 7), 1), random_blob((5, PANEL + 9), 3)
    found, results = matrix_map(lifted_matrix(weight), (5, 3, 7), PANEL + 9), []
    for threads in (1, 2, 3, 4):
        with EagerWorkspace(threads) as workspace:
            out = found.apply(x, None, workspace)
            back = found.adjoint(copied(pixels(relevance)), None, workspace)
            results.append([out.tolist(), back.tolist()])
    assert all(result == results[0] for result in results)


def test_signed_weights_are_made_without_copies_of_the_weights() -> None:
    weight = np.ones((1, 1, 300, 1, 500), np.float32)
    for nonnegative, parts in ((True, 2), (False, 4)):
        tracemalloc.start()
        signed_weight(weight, nonnegative)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < 1.1 * parts * weight.nbytes
