"""Pictures of maps: what people see of relevance, in every mode."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from caffe_lrp.errors import UsageError
from caffe_lrp.imaging.place import Place
from caffe_lrp.rendering.edges import edges_of
from caffe_lrp.rendering.picture import render
from caffe_lrp.rendering.placing import LEAST_SIDE, PlacedMap
from caffe_lrp.rendering.png import encode_picture, style_in
from caffe_lrp.rendering.shades import bent, colours
from caffe_lrp.rendering.strength import pooled, reach_of, strengths
from caffe_lrp.rendering.style import PictureStyle, picture_style

NET = {"size": "net", "range": "max", "photo": "colour", "opacity": 1}
#: The example of the toolbox's apply_heatmap.py.
MAP = np.array([[4.0, -1.0], [0.0, 2.0]])


def shown(relevance: np.ndarray, seen: np.ndarray | None = None, **options: Any) -> np.ndarray:
    """One pixel of the picture for each of the map, (H, W, 3)."""
    picture = render(relevance, picture_style(NET | options), seen)
    times = -(-LEAST_SIDE // relevance.shape[-1])
    return np.asarray(picture.convert("RGB"))[::times, ::times]


def gray(height: int, width: int, level: int = 128) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


@pytest.mark.parametrize(
    ("pool", "expected"),
    [("sum", -1), ("mean", -1 / 3), ("l2", 29**0.5), ("linf", 4), ("abs-sum", 9), ("positive", 4)],
)
def test_channels_are_pooled(pool: str, expected: float) -> None:
    relevance = np.array([2.0, -4.0, 1.0]) if pool in ("sum", "mean") else np.array([2.0, -4.0, 3.0])
    relevance = np.array([4.0, -5.0, 0.0]) if pool in ("abs-sum", "positive") else relevance
    assert pooled(np.broadcast_to(relevance[:, None, None], (3, 2, 5)), pool)[1, 4] == pytest.approx(expected)


def test_nan_counts_as_0_and_infinity_as_the_largest_number() -> None:
    found = pooled(np.array([[np.nan, np.inf, 1.0]]), "sum")
    assert found.tolist() == [[0, float(np.finfo(np.float32).max), 1]]


@pytest.mark.parametrize("shape", [(7,), (5, 1, 1), (2, 3, 4, 5), (3, 0, 4)])
def test_relevance_that_is_no_map_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="is not a map that can be drawn"):
        pooled(np.zeros(shape), "sum")


@pytest.mark.parametrize(
    ("range_", "expected"),
    [("max", 3.0), ("percentile:50", 1.5), ("robust", 20.80083823), (7.5, 7.5), ("percentile:100", 3.0)],
)
def test_the_range_is_what_is_shown_at_full_strength(range_: str | float, expected: float) -> None:
    relevance = np.array([[1.0, -2.0], [0.0, 3.0]])
    assert reach_of(relevance, PictureStyle(range=range_)) == pytest.approx(expected)


def test_relevance_in_very_few_pixels_is_shown() -> None:
    relevance = np.zeros((20, 20))
    relevance[4, 5] = -2
    assert reach_of(relevance, PictureStyle(range="percentile:99")) == 2


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("range_", ["max", "robust", "percentile:50"])
def test_numbers_beyond_float32_are_drawn(range_: str) -> None:
    relevance = np.array([[[np.finfo(np.longdouble).max, -1e300]]] * 3)
    for pool in ("sum", "mean", "l2", "linf", "abs-sum", "positive"):
        assert np.isfinite(strengths(relevance, PictureStyle(range=range_, pool=pool))).all()


def test_of_positive_relevance_alone_the_range_is_that_of_the_positive() -> None:
    relevance = np.array([[1.0, -8.0], [0.5, 0.0]])
    style = PictureStyle(range="max", sign="positive")
    assert reach_of(relevance, style) == 1
    assert strengths(relevance, style).tolist() == [[1, 0], [0.5, 0]]


@pytest.mark.parametrize("relevance", [np.zeros((3, 2, 5)), -np.ones((3, 2, 5)), np.full((3, 2, 5), np.nan)])
@pytest.mark.parametrize("mode", ["plain", "overlay", "alpha", "outline", "side"])
def test_maps_with_nothing_positive_have_a_picture(relevance: np.ndarray, mode: str) -> None:
    found = shown(relevance, gray(2, 5), mode=mode, cmap="black-firered", bar=True)
    assert found.shape[2] == 3
    if mode == "overlay" and not np.isnan(relevance).any() and relevance.any():
        assert found[0, 0].tolist() == [255, 255, 255]  # wholly negative


def test_an_overlay_is_that_of_the_toolbox() -> None:
    found = shown(MAP, gray(2, 2), mode="overlay", cmap="black-firered").astype(float)
    background = 128 / 255
    share = np.sqrt(0.5)
    expected = np.array(
        [
            [[1, 1, 1], [0.5 * background, 0.5 * background, 0.5 + 0.5 * background]],
            [[background] * 3, [*[share + (1 - share) * background] * 2, (1 - share) * background]],
        ]
    )
    np.testing.assert_allclose(found, 255 * expected, atol=0.51)


def test_alpha_lights_pixels_with_evidence_for_the_class() -> None:
    found = shown(MAP, gray(2, 2), mode="alpha")
    assert found[..., 0].tolist() == [[128, 0], [0, 91]]


def test_symmetric_and_positive_maps_begin_where_nothing_is_said() -> None:
    ramp = np.array([[-1.0, 0.0, 1.0]])
    assert shown(ramp, mode="plain", cmap="seismic")[0].tolist() == [[0, 0, 76], [255, 253, 253], [127, 0, 0]]
    assert shown(ramp, mode="plain", cmap="seismic", sign="positive")[0, :2].tolist() == [[255, 253, 253]] * 2
    assert shown(ramp, mode="plain", cmap="gray")[0].tolist() == [[0] * 3, [0] * 3, [255] * 3]
    assert shown(ramp, mode="plain", cmap="gray", sign="symmetric")[0, 1].tolist() == [128] * 3


def test_level_and_exponent_make_more_visible() -> None:
    weak = np.array([[0.25, 1.0]])
    style: dict[str, Any] = {"mode": "plain", "cmap": "gray"}
    assert shown(weak, **style)[0, 0, 0] == 64
    assert shown(weak, **style, level=2)[0, 0, 0] == 128
    assert shown(weak, **style, exponent=0.5)[0, 0, 0] == 128
    assert bent(np.array([-0.25], np.float32), 0.5).tolist() == [-0.5]


def test_opacity_lets_the_photo_through() -> None:
    full = shown(MAP, gray(2, 2, 0), mode="overlay", cmap="gray", opacity=1)
    half = shown(MAP, gray(2, 2, 0), mode="overlay", cmap="gray", opacity=0.5)
    assert (full[0, 0, 0], half[0, 0, 0]) == (255, 128)


def test_overlays_show_the_photo_in_gray_by_default() -> None:
    photo = np.broadcast_to(np.array([200, 30, 90], np.uint8), (2, 2, 3))
    nothing = np.zeros((2, 2))
    assert shown(nothing, photo)[0, 0].tolist() == [200, 30, 90]
    red, green, blue = shown(nothing, photo, photo="gray")[0, 0]
    assert red == green == blue


def test_a_plain_picture_is_a_palette_whose_colours_can_be_exchanged(tmp_path: Path) -> None:
    relevance = np.random.default_rng(3).standard_normal((3, 30, 240))
    one, other = (
        picture_style(NET | {"mode": "plain", "cmap": name}) for name in ("zennit-coldnhot", "black-firered")
    )
    drawn, wanted = render(relevance, one), render(relevance, other)
    assert drawn.mode == "P"
    path = tmp_path / "map.png"
    path.write_bytes(encode_picture(drawn, one))
    with Image.open(path) as stored:
        stored.load()
        recoloured = stored.copy()
    recoloured.putpalette(wanted.getpalette() or [])
    assert recoloured.convert("RGB").tobytes() == wanted.convert("RGB").tobytes()
    assert style_in(path) == one.as_json()


def test_a_palette_has_the_colours_of_the_map_to_half_an_index() -> None:
    strength = np.linspace(-1, 1, 1001, dtype=np.float32)[np.newaxis]
    style = picture_style(NET | {"mode": "plain", "cmap": "blue-black-yellow"})
    drawn = np.asarray(render(strength, style).convert("RGB")).astype(float)
    np.testing.assert_allclose(drawn, 255 * colours(strength, style), atol=2.1)


def test_files_that_were_not_rendered_say_nothing_of_a_style(tmp_path: Path) -> None:
    other = tmp_path / "other.png"
    Image.new("L", (3, 2)).save(other)
    text = tmp_path / "text.png"
    text.write_text("nothing")
    assert [style_in(path) for path in (other, text, tmp_path / "missing.png")] == [None, None, None]


@pytest.mark.parametrize(
    "place",
    [
        Place(300, 400, 50.0, 100.0, 250.0, 300.0),  # inside
        Place(256, 240, -8.0, -16.0, 264.0, 256.0),  # edges replicated
        Place(30, 50, 3.0, 10.0, 27.0, 34.0),  # fewer pixels than the map
    ],
)
def test_a_map_in_the_original_is_at_the_position_of_the_crop(place: Place) -> None:
    """The bright quarter of a map is the quarter of the crop, wherever that lies."""
    values = np.zeros((60, 60), np.float32)
    values[:30, 30:] = 1
    placed = PlacedMap(values, place)
    rows, columns = slice(0, place.height), np.arange(place.width) + 0.5
    found = placed.band(rows)
    lines = np.arange(place.height) + 0.5
    top, middle = place.top, (place.left + place.right) / 2
    is_bright = (
        (lines >= top) & (lines < (top + place.bottom) / 2)
    )[:, None] & ((columns > middle) & (columns <= place.right))  # fmt: skip
    far = ~_near(lines, top, (top + place.bottom) / 2, place.bottom)[:, None] & ~_near(
        columns, place.left, middle, place.right
    )
    np.testing.assert_array_equal(found[far], is_bright[far].astype(np.float32))
    seen = placed.is_seen(rows)
    assert (found[~seen] == 0).all()
    assert seen.sum() == pytest.approx(
        (min(place.bottom, place.height) - max(place.top, 0))
        * (min(place.right, place.width) - max(place.left, 0))
    )


def _near(at: np.ndarray, *edges: float) -> np.ndarray:
    nearest: np.ndarray = np.min([np.abs(at - edge) for edge in edges], axis=0)
    return nearest < 4


def test_bands_are_parts_of_one_map() -> None:
    values = np.random.default_rng(1).random((17, 23)).astype(np.float32)
    placed = PlacedMap(values, Place(90, 70, 11.5, -3.25, 71.0, 66.0))
    whole = placed.band(slice(0, 90))
    np.testing.assert_array_equal(
        np.concatenate([placed.band(slice(0, 31)), placed.band(slice(31, 90))]), whole
    )


def test_a_map_of_the_same_size_is_not_interpolated() -> None:
    values = np.random.default_rng(1).random((17, 23)).astype(np.float32)
    np.testing.assert_array_equal(PlacedMap(values, Place(17, 23, 0, 0, 17, 23)).band(slice(0, 17)), values)


def test_pixels_outside_the_crop_are_dark() -> None:
    picture = render(np.zeros((40, 40)), PictureStyle(), gray(300, 240), Place(300, 240, 100, 0, 200, 240))
    found = np.asarray(picture)[..., 0]
    assert (found[[50, 150, 250], 120] == [64, 128, 64]).all()


def test_pixels_outside_the_crop_are_black_in_mode_alpha() -> None:
    place = Place(300, 240, 100, 0, 200, 240)
    picture = render(np.ones((40, 40)), PictureStyle(mode="alpha", opacity=1), gray(300, 240), place)
    found = np.asarray(picture)[..., 0]
    assert (found[[50, 150, 250], 120] == [0, 128, 0]).all()


@pytest.mark.parametrize(("times", "edge_pixels"), [(1, 12), (3, 44)])
def test_outlines_are_those_of_the_toolbox(times: int, edge_pixels: int) -> None:
    square = np.zeros((12, 12, 3), np.uint8)
    square[4:8, 4:8] = 255
    found = edges_of(square.repeat(times, axis=0).repeat(times, axis=1), sigma=1.0 if times == 1 else 2.0)
    assert found.sum() == edge_pixels


def test_an_outline_and_a_photo_at_the_side_are_drawn_on_enlarged_pictures() -> None:
    photo = gray(28, 28, 0)
    photo[7:21, 7:21] = 255
    outlined = np.asarray(render(np.zeros((28, 28)), picture_style(NET | {"mode": "outline"}), photo))
    assert outlined.shape == (224, 224, 3)
    assert (outlined[50:62, 112] == 0).any()
    assert (outlined[100:124, 112] != 0).all()
    side = np.asarray(render(np.zeros((28, 28)), picture_style(NET | {"mode": "side"}), photo))
    assert side.shape == (224, 452, 3)
    assert (side[112, 112] == 255).all()


def test_the_bar_of_a_narrow_picture_is_narrow() -> None:
    style = picture_style(NET | {"mode": "plain", "bar": True})
    assert render(np.ones((20_000, 1)), style).width < 100


def test_a_bar_tells_the_range() -> None:
    style = picture_style(NET | {"mode": "plain", "cmap": "gray", "bar": True})
    picture = render(np.array([[1.0, 2.0]] * 2), style)
    assert picture.mode == "RGB"
    assert picture.width > LEAST_SIDE + 12
    column = np.asarray(picture)[:, LEAST_SIDE + 8, 0]
    assert column[0] == 255
    assert column[-1] == 0


@pytest.mark.parametrize(
    ("options", "photo", "why"),
    [
        ({"size": "net"}, None, "needs the photo"),
        ({"size": "original"}, gray(4, 4), "the map's position"),
    ],
)
def test_the_error_names_what_is_missing_for_a_picture(
    options: dict[str, str], photo: np.ndarray | None, why: str
) -> None:
    with pytest.raises(UsageError, match=why):
        render(np.ones((4, 4)), picture_style(options), photo)


def test_another_photo_than_the_one_explained_is_refused() -> None:
    with pytest.raises(UsageError, match="3 x 4 pixels, but the one that was explained is 9 x 8"):
        render(np.ones((4, 4)), PictureStyle(), gray(3, 4), Place(9, 8, 0, 0, 8, 8))


@pytest.mark.parametrize("pool", ["sum", "mean", "l2", "linf", "abs-sum", "positive"])
def test_pooling_twice_changes_nothing(pool: str) -> None:
    once = pooled(np.random.default_rng(2).standard_normal((3, 4, 5)), pool)
    np.testing.assert_array_equal(pooled(once, pool), once)


def test_of_a_picture_that_says_nonsense_nothing_is_known(tmp_path: Path) -> None:
    said = PngInfo()
    said.add_text("caffe-lrp picture", "[" * 100_000)
    Image.new("RGB", (2, 2)).save(tmp_path / "x.png", pnginfo=said)
    assert style_in(tmp_path / "x.png") is None
