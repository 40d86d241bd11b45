"""From file to input blob: the reference's own crops, the mean's place, and what is refused."""

import contextlib
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import oracle_imaging as oracle
import pytest
from builders import resize_to_base
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from caffe_lrp.errors import ConfigError, ImageError, ModelError
from caffe_lrp.imaging.decode import decode
from caffe_lrp.imaging.preprocess import LARGEST_BASE_SIZE, Preprocessor
from caffe_lrp.imaging.resize import RESIZE_MODES, Size, resize
from caffe_lrp.quirks import CORRECTED, REFERENCE, Quirks

DATA = Path(__file__).parents[1] / "data" / "imaging"
IMAGES = Path(__file__).parents[1] / "data" / "conformance" / "images" / "set"
PICTURES = np.load(DATA / "expected_pictures.npz")


def mean_of(height: int, width: int) -> NDArray[np.float32]:
    """A mean without two equal numbers."""
    return (np.arange(3 * height * width) / 64).astype(np.float32).reshape(3, height, width)


def preprocessor(
    base_size: int, height: int, width: int, *, mean: tuple[int, int] = (99, 98), quirks: Quirks = REFERENCE
) -> Preprocessor:
    return Preprocessor(base_size, height, width, mean_of(*mean), quirks)


@pytest.mark.parametrize("quirks", [REFERENCE, CORRECTED], ids=["reference", "corrected"])
@pytest.mark.parametrize("size", [(97, 64), (64, 97), (97, 30), (30, 97), (97, 97)])
def test_inputs_are_within_the_bounds_of_their_channel(
    size: tuple[int, int], quirks: Quirks, tmp_path: Path
) -> None:
    prepare = preprocessor(97, 60, 60, quirks=quirks)
    lowest, highest = (np.array(bounds)[:, np.newaxis, np.newaxis] for bounds in prepare.bounds)
    for level in (0, 255):
        Image.new("RGB", size, (level,) * 3).save(tmp_path / "one.png")
        blob = prepare(tmp_path / "one.png").blob
        assert (lowest <= blob).all()
        assert (blob <= highest).all()


def test_bounds_are_those_of_black_and_white_less_the_mean_of_the_channel() -> None:
    mean = np.array([[[10, 20], [15, 12]], [[100, 100], [100, 100]], [[0, 7], [3, 255]]], np.float32)
    bounds = Preprocessor(2, 2, 2, mean, REFERENCE).bounds
    assert bounds == ((-20, -100, -255), (245, 155, 255))


def test_every_channel_is_divided_by_its_own_number_and_so_are_its_bounds(tmp_path: Path) -> None:
    plain = replace(preprocessor(97, 60, 70), channel_order="RGB")
    divided = replace(plain, std=(2.0, 58.395, 0.225))
    numbers = np.array([2, 58.395, 0.225], np.float32)
    found, expected = (prepare(IMAGES / "landscape.jpg") for prepare in (divided, plain))
    np.testing.assert_array_equal(found.blob, expected.blob / numbers[:, np.newaxis, np.newaxis])
    for bound, undivided in zip(divided.bounds, plain.bounds, strict=True):
        np.testing.assert_allclose(bound, np.array(undivided) / numbers, rtol=1e-6)
    np.testing.assert_array_equal(divided(found.blob).picture, expected.picture)


@pytest.mark.parametrize("key", PICTURES.files)
def test_the_crop_is_the_references(key: str) -> None:
    name, base_size = key.split("/")
    expected = PICTURES[key]
    prepare = preprocessor(int(base_size), *expected.shape[:2])
    np.testing.assert_array_equal(prepare(IMAGES / name).picture, expected)


@pytest.mark.parametrize("quirks", [REFERENCE, CORRECTED], ids=["reference", "corrected"])
@pytest.mark.parametrize(
    ("name", "base_size", "height", "width"),
    [
        ("landscape.jpg", 72, 40, 41),  # both sides long enough
        ("landscape.jpg", 72, 63, 70),  # replicated above and below, the input not square
        ("wide.png", 73, 63, 59),  # odd numbers of replicated rows
        ("tall.png", 72, 61, 63),  # replicated left and right, long side two short
        ("portrait.png", 72, 46, 45),
        ("square.jpg", 64, 57, 62),
        ("tall.png", 72, 63, 63),
        ("landscape.jpg", 72, 41, 41),
        ("gray_small.png", 97, 83, 80),
    ],
)
def test_the_blob_equals_the_slow_loops(
    name: str, base_size: int, height: int, width: int, quirks: Quirks
) -> None:
    path = IMAGES / name
    prepare = preprocessor(base_size, height, width, quirks=quirks)
    expected = oracle.crop_less_mean(
        resize_to_base(decode(path), base_size),
        prepare.mean,
        base_size,
        (height, width),
        centre_mean=not quirks.Q1_mean_starts_at_zero,
    )
    np.testing.assert_allclose(prepare(path).blob, expected, atol=1e-4)


def test_the_blob_is_contiguous_float32(tmp_path: Path) -> None:
    path = tmp_path / "rgb.png"
    Image.new("RGB", (12, 9), (10, 20, 30)).save(path)
    blob = preprocessor(12, 7, 8)(path).blob
    assert blob.shape == (3, 7, 8)
    assert blob.dtype == np.float32
    assert blob.flags.c_contiguous


def test_channels_become_blue_green_red(tmp_path: Path) -> None:
    path = tmp_path / "rgb.png"
    Image.new("RGB", (12, 9), (10, 20, 30)).save(path)
    prepare = replace(preprocessor(12, 7, 8), mean=np.zeros((3, 7, 8), np.float32))
    np.testing.assert_array_equal(prepare(path).blob[:, 3, 4], [30, 20, 10])


def test_the_picture_keeps_red_green_blue_and_ignores_the_mean(tmp_path: Path) -> None:
    path = tmp_path / "rgb.png"
    Image.new("RGB", (12, 9), (10, 20, 30)).save(path)
    picture = preprocessor(12, 7, 8)(path).picture
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, np.broadcast_to((10, 20, 30), (7, 8, 3)))


def test_sixteen_bit_levels_keep_their_fraction(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    Image.fromarray(np.full((9, 12), 1000, np.uint16)).save(path)
    prepare = replace(preprocessor(12, 7, 8), mean=np.zeros((3, 7, 8), np.float32))
    np.testing.assert_allclose(prepare(path).blob, 1000 * 255 / 65535, rtol=1e-7)


@pytest.mark.parametrize(
    ("quirks", "expected"), [(REFERENCE, [0, 0, 0, 1, 2, 2, 2]), (CORRECTED, [4, 4, 4, 5, 6, 6, 6])]
)
def test_q1_the_mean_of_a_replicated_axis_starts_at_zero_unless_corrected(
    quirks: Quirks, expected: list[int]
) -> None:
    rows, _ = preprocessor(9, 7, 7, mean=(11, 9), quirks=quirks).indices(3, 9)
    np.testing.assert_array_equal(rows.image, [0, 0, 0, 1, 2, 2, 2])
    np.testing.assert_array_equal(rows.mean, expected)


def test_the_odd_row_is_replicated_at_the_far_edge() -> None:
    rows, _ = preprocessor(9, 6, 6).indices(3, 9)
    np.testing.assert_array_equal(rows.image, [0, 0, 1, 2, 2, 2])


def test_an_edge_is_replicated_where_the_long_side_came_out_short() -> None:
    _, columns = preprocessor(9, 8, 9).indices(7, 8)
    np.testing.assert_array_equal(columns.image, [0, 1, 2, 3, 4, 5, 6, 7, 7])


def test_the_long_axis_uses_the_smaller_border_of_the_mean() -> None:
    rows, columns = preprocessor(20, 7, 7, mean=(31, 12)).indices(20, 15)
    assert rows.mean[0] == min((31 - 7) // 2, (12 - 7) // 2)
    assert columns.mean[0] == (12 - 7) // 2


def test_one_pixel_fills_the_input(tmp_path: Path) -> None:
    path = tmp_path / "dot.png"
    Image.new("RGB", (1, 1), (1, 2, 3)).save(path)
    np.testing.assert_array_equal(preprocessor(12, 7, 8)(path).picture, np.broadcast_to((1, 2, 3), (7, 8, 3)))


def test_a_very_thin_image_fills_the_input(tmp_path: Path) -> None:
    path = tmp_path / "thread.png"
    Image.new("RGB", (1, 4000), (1, 2, 3)).save(path)
    assert (preprocessor(12, 7, 8)(path).picture == (1, 2, 3)).all()


def test_a_base_size_below_the_input_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="set baseimgsize to 8 or more"):
        preprocessor(7, 6, 8)


def test_an_absurd_base_size_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="the limit is 8192"):
        preprocessor(LARGEST_BASE_SIZE + 1, 6, 8)


@pytest.mark.parametrize("size", [(6, 99), (99, 7)])
def test_a_mean_smaller_than_the_input_is_refused_at_once(size: tuple[int, int]) -> None:
    with pytest.raises(ModelError, match="smaller than the net's input of 7 x 8"):
        preprocessor(12, 7, 8, mean=size)


def test_a_mean_without_three_channels_is_refused_at_once() -> None:
    with pytest.raises(ModelError, match="three channels"):
        Preprocessor(12, 7, 8, np.zeros((1, 20, 20), np.float32), REFERENCE)


def test_a_missing_image_is_an_image_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such image"):
        preprocessor(12, 7, 8)(tmp_path / "nowhere.png")


# --- Other nets than the reference's ------------------------------------------------------------------------


def plain(channels: int, height: int, width: int, **settings: Any) -> Preprocessor:
    """Without a mean, and resizing nothing."""
    return Preprocessor(
        base_size=1,
        input_height=height,
        input_width=width,
        mean=np.zeros((channels, height, width), np.float32),
        quirks=REFERENCE,
        channels=channels,
        **{"resize_mode": "none", **settings},
    )


def test_inputs_that_are_not_square_are_centred_on_every_axis() -> None:
    rows, columns = preprocessor(30, 8, 21, mean=(19, 40)).indices(30, 25)
    assert (rows.image[0], columns.image[0]) == ((30 - 8) // 2, (25 - 21) // 2)
    assert (rows.mean[0], columns.mean[0]) == ((19 - 8) // 2, (40 - 21) // 2)


def test_a_net_may_want_red_first(tmp_path: Path) -> None:
    path = tmp_path / "rgb.png"
    Image.new("RGB", (12, 9), (10, 20, 30)).save(path)
    prepare = replace(
        plain(3, 7, 8, channel_order="RGB"), mean=np.full((3, 7, 8), [[[1]], [[2]], [[3]]], np.float32)
    )
    prepared = prepare(path)
    np.testing.assert_array_equal(prepared.blob[:, 3, 4], [9, 18, 27])
    np.testing.assert_array_equal(prepared.picture[3, 4], [10, 20, 30])


def test_the_scale_comes_after_the_mean(tmp_path: Path) -> None:
    path = tmp_path / "rgb.png"
    Image.new("RGB", (12, 9), (10, 20, 30)).save(path)
    prepare = replace(plain(3, 7, 8, scale=0.25), mean=np.full((3, 7, 8), 6, np.float32))
    np.testing.assert_array_equal(prepare(path).blob[:, 3, 4], [6, 3.5, 1])


def test_one_channel_is_the_luma_of_the_colours(tmp_path: Path) -> None:
    path, colours = tmp_path / "colours.png", np.random.default_rng(3).integers(0, 256, (7, 8, 3), np.uint8)
    Image.fromarray(colours).save(path)
    prepared = plain(1, 7, 8)(path)
    red, green, blue = np.moveaxis(colours.astype(np.float64), 2, 0)
    assert prepared.blob.shape == (1, 7, 8)
    np.testing.assert_allclose(prepared.blob[0], 0.299 * red + 0.587 * green + 0.114 * blue, atol=0.02)
    by_opencv = cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY)
    np.testing.assert_array_less(np.abs(prepared.blob[0] - by_opencv), 0.52)  # which rounds to whole levels
    np.testing.assert_array_equal(prepared.picture[..., 0], np.floor(prepared.blob[0] + 0.5))
    np.testing.assert_array_equal(prepared.picture, prepared.picture[..., :1].repeat(3, axis=2))


def test_the_luma_of_a_gray_image_is_the_image(tmp_path: Path) -> None:
    path, levels = tmp_path / "gray.png", np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(levels).save(path)
    np.testing.assert_array_equal(plain(1, 16, 16)(path).blob[0], levels)


def test_no_image_has_another_number_of_channels() -> None:
    with pytest.raises(
        ImageError, match=r"has 5 channels, which no image has; give NumPy files \(.npy\) with 5 x"
    ):
        plain(5, 7, 8)(IMAGES / "square.jpg")


@pytest.mark.parametrize(
    ("mode", "sides", "base", "inputs", "size"),
    [
        ("reference", (480, 640), 256, (224, 224), (192, 256)),
        ("reference", (426, 640), 256, (224, 224), (170, 255)),
        ("stretch", (480, 640), 256, (224, 224), (256, 256)),
        ("stretch", (480, 640), 320, (96, 160), (192, 320)),
        ("short-side", (480, 640), 256, (224, 224), (256, 341)),
        ("short-side", (640, 480), 256, (224, 224), (341, 256)),
        ("short-side", (480, 640), 320, (96, 160), (240, 320)),
        ("short-side", (480, 2000), 320, (96, 160), (192, 800)),
        ("none", (480, 640), 256, (224, 224), (480, 640)),
    ],
)
def test_images_are_resized_as_the_mode_says(
    mode: str, sides: Size, base: int, inputs: Size, size: Size
) -> None:
    assert RESIZE_MODES[mode](sides, base, inputs) == size


@given(
    mode=st.sampled_from(["stretch", "short-side"]),
    sides=st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    inputs=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    extra=st.integers(0, 100),
)
def test_a_resized_image_fills_the_input(mode: str, sides: Size, inputs: Size, extra: int) -> None:
    height, width = RESIZE_MODES[mode](sides, max(inputs) + extra, inputs)
    assert height >= inputs[0]
    assert width >= inputs[1]


@pytest.mark.parametrize("mode", ["stretch", "short-side", "none"])
@pytest.mark.parametrize("name", ["landscape.jpg", "tall.png", "gray_small.png"])
def test_other_modes_show_the_centre_of_the_resized_image(mode: str, name: str) -> None:
    inputs = (31, 37)
    prepare = replace(preprocessor(64, *inputs), resize_mode=mode)
    decoded = decode(IMAGES / name)
    sides = (decoded.samples.shape[0], decoded.samples.shape[1])
    resized = resize(decoded, RESIZE_MODES[mode](sides, 64, inputs))
    height, width = resized.shape[:2]
    rows = np.arange((height - 31) // 2, (height - 31) // 2 + 31).clip(0, height - 1)
    columns = np.arange((width - 37) // 2, (width - 37) // 2 + 37).clip(0, width - 1)
    crop = resized[rows][:, columns]
    np.testing.assert_array_equal(prepare(IMAGES / name).picture, np.floor(crop / 257 + 0.5))


def test_thin_images_do_not_become_huge(tmp_path: Path) -> None:
    path = tmp_path / "thread.png"
    Image.new("RGB", (1, 4000)).save(path)
    with pytest.raises(ImageError, match="too large: 4000 x 1 pixels become 1024000 x 256; make it smaller"):
        replace(preprocessor(256, 7, 8), resize_mode="short-side", input_height=8)(path)


def test_the_base_size_does_not_matter_where_nothing_is_resized() -> None:
    assert plain(3, 7, 8).base_size == 1


# --- NumPy files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.uint8, ">f4", np.int16])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_numpy_file_holds_grey_levels(tmp_path: Path, dtype: Any, order: Any) -> None:
    levels = np.random.default_rng(1).integers(0, 200, (5, 7, 8)).astype(dtype)
    path = tmp_path / "levels.npy"
    np.save(path, np.asarray(levels, order=order))
    mean = mean_of(7, 8)[[0, 1, 2, 0, 1]]
    prepared = replace(plain(5, 7, 8, scale=0.5), mean=mean)(path)
    assert prepared.blob.dtype == np.float32
    np.testing.assert_array_equal(prepared.blob, (levels.astype(np.float32) - mean) * np.float32(0.5))
    assert prepared.picture.shape == (7, 8, 3)


def test_a_numpy_file_is_cropped_or_its_edges_are_repeated(tmp_path: Path) -> None:
    levels = np.arange(2 * 5 * 9, dtype=np.float32).reshape(2, 5, 9)
    np.save(tmp_path / "levels.npy", levels)
    blob = replace(preprocessor(99, 7, 6), channels=2, mean=np.zeros((2, 8, 8), np.float32))(
        tmp_path / "levels.npy"
    ).blob
    np.testing.assert_array_equal(blob, levels[:, [0, 0, 1, 2, 3, 4, 4]][:, :, 1:7])


@pytest.mark.parametrize(("order", "expected"), [("BGR", [30, 20, 10]), ("RGB", [10, 20, 30])])
def test_the_channels_of_a_numpy_file_are_those_of_the_net(
    tmp_path: Path, order: str, expected: list[int]
) -> None:
    np.save(tmp_path / "levels.npy", np.full((3, 7, 8), [[[10]], [[20]], [[30]]], np.float32))
    prepared = plain(3, 7, 8, channel_order=order)(tmp_path / "levels.npy")
    np.testing.assert_array_equal(prepared.blob[:, 3, 4], [10, 20, 30])
    np.testing.assert_array_equal(prepared.picture[3, 4], expected)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((7, 8)), "holds 7×8 of the type float64, not an image; save it with numpy.save"),
        (np.zeros(()), "holds one number of the type"),
        (np.zeros((1, 2, 0)), "holds 1×2×0 of the type"),
        (np.zeros((2, 7, 8)), r"holds 2×7×8 numbers, but the net's input has 5 channel\(s\)"),
        (np.zeros((5, 7, 8), complex), "of the type complex128, not an image"),
        (np.zeros((5, 7, 8), bool), "of the type bool, not an image"),
        (np.array([{"a": 1}]), "of the type object, not an image"),
        (np.full((5, 7, 8), np.nan), "holds numbers that are not finite"),
        (np.full((5, 7, 8), 1e39), "holds numbers that are not finite in float32"),
        (
            np.zeros((5, 70, 80)),
            "exceed the limit of 5000 pixels; allow more with --max-pixels",
        ),
    ],
)
def test_a_numpy_file_that_is_no_image_is_refused(tmp_path: Path, array: Any, message: str) -> None:
    path = tmp_path / "LEVELS.NPY"
    with path.open("wb") as file:
        np.save(file, array)
    with pytest.raises(ImageError, match=message):
        plain(5, 7, 8, max_pixels=5000)(path)


def npy_header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no array", "cannot be read as a NumPy file"),
        (b"\x93NUMPY", "cannot be read as a NumPy file"),
        (b"\x93NUMPY\x09\x00", "cannot be read as a NumPy file"),
        (npy_header("{'descr': '<f4', 'fortran_order': False, 'shape': (5, 700, 800)}"), "is cut short"),
        (
            npy_header("{'descr': '<f4', 'fortran_order': False, 'shape': (5, 10**9, 10**9)}"),
            "cannot be read as a NumPy file",
        ),
        (
            npy_header("{'descr': '<f4', 'fortran_order': False, 'shape': (5, 99999999, 99999999)}"),
            "exceed the limit of 180000000 pixels",
        ),
        (npy_header("(" * 9000), "cannot be read as a NumPy file"),
        (npy_header("{'descr': '|O', 'fortran_order': False, 'shape': (5, 7, 8)}"), "not an image"),
        (npy_header("{'descr': '<f4', 'fortran_order': False, 'shape': (5, -7, 8)}"), "not an image"),
        *(
            (npy_header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}"), "no array can have")
            for shape in ("(True, 3)", "(5, True, 8)", f"({'1, ' * 70})", f"(0x{'f' * 900}, 7, 8)")
        ),
        *(
            (npy_header(f"{{'descr': {kind}, 'fortran_order': False, 'shape': (5, 7, 8)}}"), "not an image")
            for kind in ("'V2147483647'", "[('a', '<f4')]", "('<f4', (9, 9))")
        ),
        (
            npy_header("{'descr': '<f4', 'fortran_order': 1, 'shape': (5,)}"),
            "cannot be read as a NumPy file",
        ),
        (npy_header("{'shape': " + "-" * 5000 + "1}"), "its header is too long"),
        (npy_header("3 .real"), "cannot be read as a NumPy file"),
        (b"PK\x03\x04 an npz", "is a ZIP archive, not a NumPy file; unpack it first"),
    ],
)
def test_damaged_numpy_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "levels.npy"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=message):
        plain(5, 7, 8)(path)


def test_a_missing_numpy_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"nowhere\.npy: no such image"):
        plain(5, 7, 8)(tmp_path / "nowhere.npy")


@given(place=st.integers(0, 200), piece=st.binary(max_size=4), cut=st.integers(0, 200))
def test_damage_to_a_numpy_file_is_an_image_error_or_none_at_all(
    tmp_path_factory: pytest.TempPathFactory, place: int, piece: bytes, cut: int
) -> None:
    content = io.BytesIO()
    np.save(content, np.ones((2, 3, 4), np.float32))
    whole = content.getvalue()
    path = tmp_path_factory.mktemp("numpy") / "levels.npy"
    path.write_bytes((whole[:place] + piece + whole[place + len(piece) :])[: len(whole) - max(0, cut - 150)])
    with contextlib.suppress(ImageError):
        assert plain(2, 3, 4)(path).blob.shape == (2, 3, 4)
