"""The formats of the mean image, its transposition (Q10), and bad files."""

from pathlib import Path
from typing import Any

import numpy as np
import oracle_imaging as oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from caffe_lrp.errors import ConfigError, ModelError
from caffe_lrp.formats.caffe.caffe_pb2 import BlobProto
from caffe_lrp.imaging.mean import constant_mean, load_mean
from caffe_lrp.quirks import CORRECTED, REFERENCE, Quirks

HEIGHT, WIDTH = 4, 5
VALUES = np.random.default_rng(0).uniform(0, 255, (3, HEIGHT, WIDTH)).astype(np.float32)


def write_blob(folder: Path, values: NDArray[np.float32], *, items: int = 1) -> Path:
    channels, height, width = values.shape
    blob = BlobProto(num=items, channels=channels // items, height=height, width=width)
    blob.data.extend(values.ravel().tolist())
    path = folder / "mean.binaryproto"
    path.write_bytes(blob.SerializeToString())
    return path


def write_text(folder: Path, text: str) -> Path:
    path = folder / "mean.txt"
    path.write_text(text)
    return path


def test_q10_a_blob_mean_is_transposed_as_a_flat_array(tmp_path: Path) -> None:
    mean = load_mean(write_blob(tmp_path, VALUES), 1, REFERENCE)
    flat = VALUES.reshape(3, -1)
    expected = [[[flat[c, h + w * HEIGHT] for w in range(WIDTH)] for h in range(HEIGHT)] for c in range(3)]
    np.testing.assert_array_equal(mean, expected)


def test_q10_corrected_a_blob_mean_is_not_transposed(tmp_path: Path) -> None:
    np.testing.assert_array_equal(load_mean(write_blob(tmp_path, VALUES), 1, CORRECTED), VALUES)


def test_mode_two_reverses_the_channels(tmp_path: Path) -> None:
    np.testing.assert_array_equal(load_mean(write_blob(tmp_path, VALUES), 2, CORRECTED), VALUES[::-1])


@pytest.mark.parametrize("quirks", [REFERENCE, CORRECTED], ids=["reference", "corrected"])
def test_a_text_mean_lists_columns_and_is_never_transposed(tmp_path: Path, quirks: object) -> None:
    numbers = " ".join(f"{number:.9g}" for number in VALUES.transpose(0, 2, 1).ravel())
    path = write_text(tmp_path, f"3\n{HEIGHT} {WIDTH}\n{numbers}\n")
    chosen = REFERENCE if quirks is REFERENCE else CORRECTED
    np.testing.assert_array_equal(load_mean(path, 0, chosen), VALUES)


@pytest.mark.slow
@given(height=st.integers(1, 4), width=st.integers(1, 4), data=st.data())
def test_any_text_mean_is_read_as_number_by_number(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, data: st.DataObject
) -> None:
    number = st.floats(-1e6, 1e6, width=32)
    numbers = data.draw(st.lists(number, min_size=3 * height * width, max_size=3 * height * width))
    text = f"3 {height}\n{width}\n" + "\n".join(map(repr, numbers))
    path = write_text(tmp_path_factory.mktemp("mean"), text)
    np.testing.assert_array_equal(
        load_mean(path, 0, REFERENCE), oracle.mean_from_text(text).astype(np.float32)
    )


@pytest.mark.parametrize("mode", [0, 1, 2])
def test_a_mean_is_contiguous_float32(tmp_path: Path, mode: int) -> None:
    path = write_blob(tmp_path, VALUES) if mode else write_text(tmp_path, "3 1 2 1 2 3 4 5 6")
    mean = load_mean(path, mode, REFERENCE)
    assert mean.dtype == np.float32
    assert mean.flags.c_contiguous


@pytest.mark.parametrize("mode", [-1, 3])
def test_an_unknown_mode_is_a_config_error(tmp_path: Path, mode: int) -> None:
    with pytest.raises(ConfigError, match="use 0"):
        load_mean(write_blob(tmp_path, VALUES), mode, REFERENCE)


@pytest.mark.parametrize(("channels", "items"), [(1, 1), (4, 1), (6, 2)])
def test_a_blob_mean_without_three_channels_is_refused(tmp_path: Path, channels: int, items: int) -> None:
    path = write_blob(tmp_path, np.ones((channels, HEIGHT, WIDTH), np.float32), items=items)
    with pytest.raises(ModelError, match=r"mean\.binaryproto: a mean image has 1 x 3 x H x W numbers"):
        load_mean(path, 1, REFERENCE)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, bad: float) -> None:
    values = VALUES.copy()
    values[1, 2, 3] = bad
    with pytest.raises(ModelError, match="not finite"):
        load_mean(write_blob(tmp_path, values), 1, REFERENCE)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "begins with the channels"),
        ("3 2", "begins with the channels"),
        ("3 2.5 2 1 2 3", "begins with the channels"),
        ("3 0 2", "begins with the channels"),
        ("nan 1 2 1 2 3 4 5 6", "begins with the channels"),
        ("1 1 2 1 2", "1 channels; three are needed"),
        ("3 1 2 1 2 3 4 5", r"says 3 x 1 x 2 = 6 numbers, the file has 5"),
        ("3 1 2 1 2 3 4 5 6 7", "the file has 7"),
        ("3 1 2 1 2 3 four 5 6", "numbers only, but .*four"),
        ("3 1 2 1 2 3 inf 5 6", "not finite"),
        ("3 1 2 1 2 3 1e39 5 6", "not finite"),
    ],
)
def test_a_malformed_text_mean_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ModelError, match=rf"mean\.txt.*{reason}"):
        load_mean(write_text(tmp_path, text), 0, REFERENCE)


def test_a_blob_read_as_text_names_the_key_to_change(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="use_mean_file_asbinaryprotoblob"):
        load_mean(write_blob(tmp_path, VALUES), 0, REFERENCE)


@pytest.mark.parametrize("mode", [0, 1])
def test_a_missing_mean_is_named(tmp_path: Path, mode: int) -> None:
    with pytest.raises(ModelError, match=r"nowhere\.txt"):
        load_mean(tmp_path / "nowhere.txt", mode, REFERENCE)


def test_a_text_read_as_blob_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"mean\.txt"):
        load_mean(write_text(tmp_path, "3 1 2 1 2 3 4 5 6"), 1, REFERENCE)


# --- One number a channel -----------------------------------------------------------------------------------

COLOUR = [104.5, 117.25, 123.0]


def write_array(folder: Path, array: NDArray[Any]) -> Path:
    """A NumPy file under the name of a BlobProto: it is known by its content."""
    path = folder / "mean.binaryproto"
    with path.open("wb") as file:
        np.save(file, array)
    return path


@pytest.mark.parametrize("mode", [1, 2])
@pytest.mark.parametrize(
    "sizes",
    [
        {"num": 1, "channels": 3, "height": 1, "width": 1},
        {"num": 3, "channels": 1, "height": 1, "width": 1},
        {"shape": {"dim": [1, 3, 1, 1]}},
        {"shape": {"dim": [3, 1, 1]}},
        {"shape": {"dim": [3]}},
        {},
    ],
    ids=str,
)
def test_a_blob_of_one_number_a_channel_is_a_mean(tmp_path: Path, sizes: dict[str, Any], mode: int) -> None:
    path = tmp_path / "mean.binaryproto"
    path.write_bytes(BlobProto(data=COLOUR, **sizes).SerializeToString())
    mean = load_mean(path, mode, REFERENCE)
    assert mean.shape == (3, 1, 1)
    assert mean.ravel().tolist() == COLOUR[:: 3 - 2 * mode]


def test_a_text_of_one_number_a_channel_is_a_mean(tmp_path: Path) -> None:
    assert load_mean(write_text(tmp_path, "104.5\n117.25 123\n"), 0, REFERENCE).ravel().tolist() == COLOUR
    assert load_mean(write_text(tmp_path, "33.25"), 0, REFERENCE, 1).ravel().tolist() == [33.25]
    assert load_mean(write_text(tmp_path, "3 1 1 2 4"), 0, REFERENCE, 5).ravel().tolist() == [3, 1, 1, 2, 4]


# --- NumPy files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0, 1, 2])
@pytest.mark.parametrize("quirks", [REFERENCE, CORRECTED], ids=["reference", "corrected"])
@pytest.mark.parametrize(
    "array",
    [
        VALUES.astype(np.float64),
        VALUES[np.newaxis],
        np.asfortranarray(VALUES),
        VALUES.astype(">f4"),
        VALUES.transpose(1, 2, 0),
    ],
    ids=["channels first", "an item", "Fortran order", "big endian", "channels last"],
)
def test_a_numpy_mean_is_never_transposed(tmp_path: Path, array: Any, quirks: Quirks, mode: int) -> None:
    mean = load_mean(write_array(tmp_path, array), mode, quirks)
    assert mean.dtype == np.float32
    assert mean.flags.c_contiguous
    np.testing.assert_array_equal(mean, VALUES[::-1] if mode == 2 else VALUES)


@pytest.mark.parametrize("shape", [(3,), (3, 1, 1), (1, 3), (1, 1, 3), (1, 3, 1, 1)])
def test_a_numpy_mean_may_have_one_number_a_channel(tmp_path: Path, shape: tuple[int, ...]) -> None:
    mean = load_mean(write_array(tmp_path, np.array([104, 117, 123], np.uint8).reshape(shape)), 1, REFERENCE)
    np.testing.assert_array_equal(mean, np.array([104, 117, 123], np.float32).reshape(3, 1, 1))


def test_a_gray_numpy_mean_needs_no_axis_of_channels(tmp_path: Path) -> None:
    mean = load_mean(write_array(tmp_path, VALUES[0]), 1, REFERENCE, 1)
    np.testing.assert_array_equal(mean, VALUES[:1])


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (
            np.ones((4, 5)),
            r"holds 4×5 numbers, but the net's input has 3 channel\(s\); save it with numpy.save",
        ),
        (np.ones((2, 3, 4, 5)), "holds 2×3×4×5 numbers"),
        (np.ones((4, 5, 6)), "holds 4×5×6 numbers"),
        (np.ones((3, 4, 3)), r"come first or last; .* as an array \(1, 3, height, width\)"),
        (np.ones((3, 4, 5), complex), "of the type complex128, not an image"),
        (np.empty((3, 4, 0)), "holds 3×4×0"),
        (np.array({"not": "unpickled"}), "of the type object"),
        (np.full((3, 4, 5), 1e300), "not finite"),
    ],
    ids=str,
)
def test_a_numpy_file_that_is_no_mean_is_refused(tmp_path: Path, array: NDArray[Any], reason: str) -> None:
    with pytest.raises(ModelError, match=rf"mean\.binaryproto: .*{reason}"):
        load_mean(write_array(tmp_path, array), 1, REFERENCE)


def test_a_numpy_mean_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    path = write_array(tmp_path, VALUES)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelError, match="is cut short"):
        load_mean(path, 1, REFERENCE)
    path.write_bytes(path.read_bytes()[:8])
    with pytest.raises(ModelError, match="cannot be read as a NumPy file"):
        load_mean(path, 1, REFERENCE)


# --- Other numbers of channels ------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 5])
def test_a_mean_may_have_as_many_channels_as_the_input(tmp_path: Path, channels: int) -> None:
    values = np.random.default_rng(1).uniform(0, 255, (channels, HEIGHT, WIDTH)).astype(np.float32)
    np.testing.assert_array_equal(load_mean(write_blob(tmp_path, values), 1, CORRECTED, channels), values)
    numbers = " ".join(f"{number:.9g}" for number in values.transpose(0, 2, 1).ravel())
    path = write_text(tmp_path, f"{channels}\n{HEIGHT} {WIDTH}\n{numbers}\n")
    np.testing.assert_array_equal(load_mean(path, 0, REFERENCE, channels), values)


def test_a_mean_of_another_number_of_channels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match="has 1 x 1 x H x W numbers, or just 1, but this blob has 1 x 3 x 4 x 5"
    ):
        load_mean(write_blob(tmp_path, VALUES), 1, REFERENCE, 1)
    with pytest.raises(
        ModelError, match=r"has 3 channels; one is needed; begin it with 1, .* of every channel"
    ):
        load_mean(write_text(tmp_path, "3 1 2 1 2 3 4 5 6"), 0, REFERENCE, 1)
    with pytest.raises(ModelError, match="has 3 channels; 5 are needed; begin it with 5"):
        load_mean(write_text(tmp_path, "3 1 2 1 2 3 4 5 6"), 0, REFERENCE, 5)


def test_only_colours_have_an_order(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"is 2 \(channels RGB\), but the net's input has 5 channels; use 0"
    ):
        load_mean(write_blob(tmp_path, np.ones((5, HEIGHT, WIDTH), np.float32)), 2, REFERENCE, 5)
    gray = VALUES[:1]
    np.testing.assert_array_equal(load_mean(write_blob(tmp_path, gray), 2, CORRECTED, 1), gray)


def test_a_constant_mean_is_one_number_a_channel_or_one_for_all() -> None:
    mean = constant_mean([1.5, 2, 3], 3, HEIGHT, WIDTH)
    assert mean.dtype == np.float32
    assert mean.shape == (3, HEIGHT, WIDTH)
    for channel, value in enumerate((1.5, 2, 3)):
        assert (mean[channel] == value).all()
    assert (constant_mean([7], 5, HEIGHT, WIDTH) == np.full((5, HEIGHT, WIDTH), 7)).all()
