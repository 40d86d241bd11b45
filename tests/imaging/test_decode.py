"""Decoding: what every kind of file becomes, and what bad files are answered with."""

import io
import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from caffe_lrp.errors import ImageError
from caffe_lrp.files import imagefile
from caffe_lrp.files.reading import open_input
from caffe_lrp.imaging import decode as decode_module
from caffe_lrp.imaging.decode import decode
from caffe_lrp.imaging.libraries import unwarned
from caffe_lrp.imaging.pixels import ColourModel

HEIGHT, WIDTH = 6, 9


def colours(planes: int = 3, dtype: type[np.uint8 | np.uint16] = np.uint8) -> NDArray[Any]:
    rng = np.random.default_rng(planes)
    return rng.integers(0, np.iinfo(dtype).max, (HEIGHT, WIDTH, planes), dtype, endpoint=True)


def save(folder: Path, name: str, picture: Image.Image, **options: Any) -> Path:
    path = folder / name
    picture.save(path, **options)
    return path


def save_deep(folder: Path, name: str, samples: NDArray[np.uint16]) -> Path:
    order = [2, 1, 0, 3][: samples.shape[2]] if samples.shape[2] >= 3 else [0]
    path = folder / name
    assert cv2.imwrite(str(path), samples[..., order])
    return path


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_claiming(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(b"\0" * 100))


def deep_tiff(samples: NDArray[np.uint16], orientation: int) -> bytes:
    """An uncompressed 16-bit RGB TIFF in one strip."""
    short, long, pixels_at = 3, 4, 8 + 2 + 11 * 12 + 4 + 6
    entries = [
        (256, long, 1, samples.shape[1]),
        (257, long, 1, samples.shape[0]),
        (258, short, 3, pixels_at - 6),
        (259, short, 1, 1),
        (262, short, 1, 2),
        (273, long, 1, pixels_at),
        (274, short, 1, orientation),
        (277, short, 1, 3),
        (278, long, 1, samples.shape[0]),
        (279, long, 1, samples.nbytes),
        (284, short, 1, 1),
    ]
    directory = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + struct.pack("<I", 0)
    return head + struct.pack("<HHH", 16, 16, 16) + samples.astype("<u2").tobytes()


def insert_chunk(png: bytes, chunk: bytes) -> bytes:
    """``chunk`` right after the header of ``png``."""
    return png[:33] + chunk + png[33:]


@pytest.mark.parametrize("name", ["rgb.png", "rgb.bmp", "rgb.tiff", "rgb.ppm"])
def test_eight_bit_colours_are_multiplied_by_257(tmp_path: Path, name: str) -> None:
    decoded = decode(save(tmp_path, name, Image.fromarray(colours())))
    assert (decoded.colours, decoded.uses_mitchell) == (ColourModel.RGB, False)
    assert decoded.samples.dtype == np.uint16
    np.testing.assert_array_equal(decoded.samples, colours().astype(np.int64) * 257)


def test_jpeg_has_the_pixels_of_the_default_decoder(tmp_path: Path) -> None:
    path = save(tmp_path, "rgb.jpg", Image.fromarray(np.repeat(colours(), 5, axis=0)), quality=85)
    expected = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    assert expected is not None
    np.testing.assert_array_equal(decode(path).samples, expected[..., ::-1].astype(np.int64) * 257)


@pytest.mark.parametrize(
    ("name", "uses_mitchell"),
    [("gray.png", True), ("gray.bmp", True), ("gray.gif", True), ("gray.tiff", False), ("gray.pgm", False)],
)
def test_gray_is_one_plane_and_a_palette_in_some_formats(
    tmp_path: Path, name: str, uses_mitchell: bool
) -> None:
    decoded = decode(save(tmp_path, name, Image.fromarray(colours(1)[..., 0])))
    if name != "gray.gif":
        assert decoded.colours is ColourModel.GRAY
    assert decoded.uses_mitchell is uses_mitchell
    np.testing.assert_array_equal(decoded.samples[..., :1], colours(1).astype(np.int64) * 257)


def test_gray_jpeg_is_a_palette(tmp_path: Path) -> None:
    decoded = decode(save(tmp_path, "gray.jpg", Image.fromarray(colours(1)[..., 0])))
    assert (decoded.colours, decoded.uses_mitchell) == (ColourModel.GRAY, True)


@pytest.mark.parametrize(
    ("name", "uses_mitchell"), [("bilevel.png", True), ("bilevel.bmp", True), ("bilevel.tiff", False)]
)
def test_bilevel_images_are_black_and_white(tmp_path: Path, name: str, uses_mitchell: bool) -> None:
    bits = colours(1)[..., 0] > 127
    decoded = decode(save(tmp_path, name, Image.fromarray(bits)))
    assert decoded.uses_mitchell is uses_mitchell
    np.testing.assert_array_equal(decoded.samples[..., 0], np.where(bits, 65535, 0))


@pytest.mark.parametrize("name", ["palette.png", "palette.gif", "palette.bmp", "palette.tiff"])
def test_palettes_become_rgb_and_take_mitchell(tmp_path: Path, name: str) -> None:
    picture = Image.fromarray(colours()).quantize(7)
    decoded = decode(save(tmp_path, name, picture))
    assert (decoded.colours, decoded.uses_mitchell) == (ColourModel.RGB, True)
    np.testing.assert_array_equal(decoded.samples // 257, np.asarray(picture.convert("RGB")))


@pytest.mark.parametrize("palette", [None, b""])
@pytest.mark.parametrize("options", [{}, {"transparency": 2}])
def test_a_palette_image_without_a_palette_is_damaged(
    tmp_path: Path, options: dict[str, int], palette: bytes | None
) -> None:
    path = save(tmp_path, "palette.png", Image.fromarray(colours()).quantize(7), **options)
    png = path.read_bytes()
    start = png.index(b"PLTE") - 4
    end = start + 12 + int.from_bytes(png[start : start + 4], "big")
    path.write_bytes(png[:start] + (b"" if palette is None else png_chunk(b"PLTE", palette)) + png[end:])
    with pytest.raises(ImageError, match=r"damaged or cut short \(.*; get a complete copy"):
        decode(path)


def test_whatever_a_decoder_raises_the_image_is_at_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise AssertionError

    path = save(tmp_path, "rgb.png", Image.fromarray(colours()))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", fail)
    with pytest.raises(ImageError, match=r"rgb.png: image is damaged or cut short \(AssertionError\)"):
        decode(path)


@pytest.mark.parametrize("name", ["transparent.png", "transparent.gif"])
def test_a_transparent_palette_entry_becomes_alpha(tmp_path: Path, name: str) -> None:
    picture = Image.fromarray(colours()).quantize(7)
    decoded = decode(save(tmp_path, name, picture, transparency=2))
    assert (decoded.colours, decoded.uses_mitchell) == (ColourModel.RGBA, True)
    np.testing.assert_array_equal(decoded.samples[..., 3], np.where(np.asarray(picture) == 2, 0, 65535))


def test_a_transparent_colour_becomes_alpha(tmp_path: Path) -> None:
    level = int(colours(1)[2, 3, 0])
    path = save(tmp_path, "key.png", Image.fromarray(colours(1)[..., 0]), transparency=level)
    expected = np.where(colours(1)[..., 0] == level, 0, 65535)
    np.testing.assert_array_equal(decode(path).samples[..., 3], expected)


def test_a_transparent_level_of_deep_gray_becomes_alpha(tmp_path: Path) -> None:
    gray = colours(1).astype(np.uint16) * 201
    path = save_deep(tmp_path, "key16.png", gray)
    png, level = path.read_bytes(), int(gray[2, 3, 0])
    path.write_bytes(png[:33] + png_chunk(b"tRNS", struct.pack(">H", level)) + png[33:])
    decoded = decode(path)
    assert (decoded.colours, decoded.uses_mitchell) == (ColourModel.RGBA, True)
    np.testing.assert_array_equal(decoded.samples[..., :1], gray)
    np.testing.assert_array_equal(decoded.samples[..., 3:], np.where(gray == level, 0, 65535))


@pytest.mark.parametrize("name", ["rgba.png", "rgba.tiff"])
def test_alpha_is_the_fourth_plane(tmp_path: Path, name: str) -> None:
    decoded = decode(save(tmp_path, name, Image.fromarray(colours(4))))
    assert (decoded.colours, decoded.uses_mitchell) == (ColourModel.RGBA, True)
    np.testing.assert_array_equal(decoded.samples // 257, colours(4))


def test_gray_with_alpha_becomes_rgba(tmp_path: Path) -> None:
    decoded = decode(save(tmp_path, "la.png", Image.fromarray(colours(2))))
    assert (decoded.colours, decoded.uses_mitchell) == (ColourModel.RGBA, True)
    np.testing.assert_array_equal(decoded.samples // 257, colours(2)[..., [0, 0, 0, 1]])


def test_cmyk_keeps_its_four_inks(tmp_path: Path) -> None:
    decoded = decode(save(tmp_path, "cmyk.tiff", Image.fromarray(colours(4), "CMYK")))
    assert (decoded.colours, decoded.uses_mitchell) == (ColourModel.CMYK, False)
    np.testing.assert_array_equal(decoded.samples // 257, colours(4))


def test_inverted_inks_of_a_jpeg_are_turned_back(tmp_path: Path) -> None:
    inks = np.full((16, 16, 4), (255, 0, 0, 0), np.uint8)
    decoded = decode(save(tmp_path, "cmyk.jpg", Image.fromarray(inks, "CMYK"), quality=100))
    np.testing.assert_allclose(decoded.samples / 257, inks, atol=3)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
@pytest.mark.parametrize(
    ("planes", "model", "uses_mitchell"),
    [(1, ColourModel.GRAY, False), (3, ColourModel.RGB, False), (4, ColourModel.RGBA, True)],
)
def test_sixteen_bits_are_kept(
    tmp_path: Path, suffix: str, planes: int, model: ColourModel, uses_mitchell: bool
) -> None:
    samples = colours(planes, np.uint16)
    decoded = decode(save_deep(tmp_path, f"deep.{suffix}", samples))
    assert (decoded.colours, decoded.uses_mitchell) == (model, uses_mitchell)
    np.testing.assert_array_equal(decoded.samples, samples)


def test_sixteen_bit_gray_with_alpha_is_kept(tmp_path: Path) -> None:
    samples = colours(2, np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, 4, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    path = tmp_path / "la16.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks))
    np.testing.assert_array_equal(decode(path).samples, samples[..., [0, 0, 0, 1]])


def test_a_sixteen_bit_pgm_is_kept(tmp_path: Path) -> None:
    samples = colours(1, np.uint16)
    np.testing.assert_array_equal(decode(save_deep(tmp_path, "deep.pgm", samples)).samples, samples)


def test_deep_gray_whose_zero_is_white_is_inverted(tmp_path: Path) -> None:
    samples = colours(1, np.uint16)
    path = save(tmp_path, "white.tiff", Image.fromarray(samples[..., 0]))
    black_is_zero, white_is_zero = (struct.pack("<HHIHH", 262, 3, 1, code, 0) for code in (1, 0))
    content = path.read_bytes()
    assert content.count(black_is_zero) == 1
    path.write_bytes(content.replace(black_is_zero, white_is_zero))
    np.testing.assert_array_equal(decode(path).samples, 65535 - samples)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["turned.png", "turned.tiff"])
def test_orientation_tags_are_ignored(tmp_path: Path, name: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    path = save(tmp_path, name, Image.fromarray(colours()), exif=exif)
    decoded = decode(path)
    np.testing.assert_array_equal(decoded.samples // 257, colours())
    assert decoded.is_turned == (orientation != 1)


def test_the_orientation_of_a_jpeg_is_ignored(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    plain = save(tmp_path, "plain.jpg", Image.fromarray(colours()))
    turned = save(tmp_path, "turned.jpg", Image.fromarray(colours()), exif=exif)
    np.testing.assert_array_equal(decode(turned).samples, decode(plain).samples)
    assert (decode(turned).is_turned, decode(plain).is_turned) == (True, False)
    damaged = tmp_path / "damaged.jpg"
    damaged.write_bytes(turned.read_bytes().replace(b"Exif\0\0MM\0*", b"Exif\0\0MM\xff\xff"))
    assert damaged.read_bytes() != turned.read_bytes()
    assert not decode(damaged).is_turned


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_a_deep_tiff_is_ignored(tmp_path: Path, orientation: int) -> None:
    samples = colours(3, np.uint16)
    path = tmp_path / "deep.tiff"
    path.write_bytes(deep_tiff(samples, orientation))
    np.testing.assert_array_equal(decode(path).samples, samples)
    assert decode(path).is_turned == (orientation != 1)


@pytest.mark.parametrize("name", ["moving.gif", "moving.png", "moving.tiff", "moving.webp"])
def test_of_an_animation_the_first_frame_is_taken(tmp_path: Path, name: str) -> None:
    frames = [Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if name.endswith("webp") else {}
    path = save(tmp_path, name, frames[0], save_all=True, append_images=frames[1:], **options)
    assert (decode(path).samples == (65535, 0, 0)).all()


def test_one_pixel_is_an_image(tmp_path: Path) -> None:
    path = save(tmp_path, "dot.png", Image.new("RGB", (1, 1), (1, 2, 3)))
    np.testing.assert_array_equal(decode(path).samples, [[[257, 514, 771]]])


def test_the_extension_does_not_matter(tmp_path: Path) -> None:
    path = save(tmp_path, "rgb.png", Image.fromarray(colours()))
    np.testing.assert_array_equal(decode(path.rename(tmp_path / "photo.jpg")).samples // 257, colours())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"nowhere\.jpg: no such image"):
        decode(tmp_path / "nowhere.jpg")


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="is a folder"):
        decode(tmp_path)


def test_a_path_through_a_file_is_answered_with_the_reason(tmp_path: Path) -> None:
    path = save(tmp_path, "rgb.png", Image.fromarray(colours()))
    with pytest.raises(ImageError, match="Not a directory"):
        decode(path / "more.png")


def test_a_device_is_not_read() -> None:
    with pytest.raises(ImageError, match="not a regular file"):
        decode(Path("/dev/zero"))


def test_a_path_with_a_null_character_is_an_error() -> None:
    with pytest.raises(ImageError, match="null"):
        decode(Path("a\0b.jpg"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_read_permission_is_an_error(tmp_path: Path) -> None:
    path = save(tmp_path, "rgb.png", Image.fromarray(colours()))
    path.chmod(0)
    with pytest.raises(ImageError, match="no permission"):
        decode(path)


def test_a_refused_read_says_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path, "rgb.png", Image.fromarray(colours()))

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(imagefile, "open_input", refuse)
    with pytest.raises(ImageError, match="no permission"):
        decode(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", r"empty \(0 bytes\)"),
        (b"\n <!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"<html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"just some text", "not an image of a known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not an image of a known format"),
        (b"\xff\xd8\xff", "damaged or cut short in its header"),
        (b"\x89PNG\r\n\x1a\n\0\0", "damaged or cut short in its header"),
    ],
)
def test_kinds_of_non_images_are_distinguished(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=reason):
        decode(path)


def test_a_lack_of_memory_is_not_taken_for_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_room(size: int, _: Any) -> None:
        assert size == 28 * 80 * 50
        raise MemoryError

    path = save(tmp_path, "rgb.jpg", Image.new("RGB", (80, 50)))
    path.write_bytes(path.read_bytes()[:-20])
    monkeypatch.setattr(np, "empty", without_room)
    with pytest.raises(ImageError, match="80 x 50 pixels do not fit in memory") as caught:
        decode(path)
    assert isinstance(caught.value.__cause__, MemoryError)


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
def test_a_truncated_jpeg_is_an_error(tmp_path: Path, share: float, options: dict[str, bool]) -> None:
    path = save(tmp_path, "rgb.jpg", Image.fromarray(np.tile(colours(), (12, 12, 1))), **options)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ImageError, match="damaged or cut short"):
        decode(path)


@pytest.mark.parametrize("name", ["rgb.png", "rgb.gif", "rgb.bmp", "rgb.tiff", "rgb.ppm", "rgb.webp"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_truncated_file_of_any_format_is_an_error(tmp_path: Path, name: str, share: float) -> None:
    path = save(tmp_path, name, Image.fromarray(np.tile(colours(), (12, 12, 1))))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ImageError, match=r"cut short|cannot be read"):
        decode(path)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_a_truncated_deep_file_is_an_error(tmp_path: Path, suffix: str) -> None:
    path = save_deep(tmp_path, f"deep.{suffix}", np.tile(colours(3, np.uint16), (12, 12, 1)))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ImageError, match=r"cut short|cannot be read"):
        decode(path)


@pytest.mark.parametrize("missing", [1, 12, 18])
def test_a_deep_png_that_lacks_its_end_is_an_error(tmp_path: Path, missing: int) -> None:
    path = save_deep(tmp_path, "deep.png", colours(4, np.uint16))
    path.write_bytes(path.read_bytes()[:-missing])
    with pytest.raises(ImageError, match="cut short"):
        decode(path)


def test_images_with_too_many_pixels_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    path.write_bytes(png_claiming(13_400, 13_500))
    with pytest.raises(ImageError, match="too large: it has more than the limit of 180000000 pixels"):
        decode(path)


def test_images_beyond_the_limit_of_pillow_are_refused_the_same_way(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_claiming(60_000, 60_000))
    with pytest.raises(ImageError, match="too large"):
        decode(path)


def test_too_many_bytes_are_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagefile, "MAX_FILE_BYTES", 10)
    with pytest.raises(ImageError, match="the limit is 10"):
        decode(save(tmp_path, "rgb.png", Image.fromarray(colours())))


def test_large_images_give_no_warning(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(png_claiming(10_000, 10_000))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError, match="cut short"):
            decode(path)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_samples_without_a_white_level_are_refused(tmp_path: Path, dtype: type[np.float32]) -> None:
    samples = colours(1)[..., 0].astype(dtype)
    with pytest.raises(ImageError, match="floating-point or 32-bit"):
        decode(save(tmp_path, "odd.tiff", Image.fromarray(samples)))


def test_floating_point_colours_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "float.tiff"
    assert cv2.imwrite(str(path), colours().astype(np.float32))
    with pytest.raises(ImageError, match="floating-point"):
        decode(path)


def test_lab_colours_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path, "lab.tiff", Image.fromarray(colours(), "LAB"))
    with pytest.raises(ImageError, match="LAB cannot be read"):
        decode(path)


def test_a_broken_colour_profile_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = save_deep(tmp_path, "deep.png", colours(3, np.uint16))
    profile = png_chunk(b"iCCP", b"broken\0\0" + zlib.compress(b"no profile"))
    path.write_bytes(insert_chunk(path.read_bytes(), profile))
    np.testing.assert_array_equal(decode(path).samples, colours(3, np.uint16))
    assert capfd.readouterr() == ("", "")


def test_the_file_is_read_only_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_deep(tmp_path, "deep.png", colours(3, np.uint16))
    reads: list[Path] = []

    def counted(path: Path) -> BinaryIO:
        reads.append(path)
        return open_input(path)

    monkeypatch.setattr(imagefile, "open_input", counted)
    decode(path)
    assert reads == [path]


def test_an_image_that_does_not_fit_in_memory_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = io.BytesIO()
    Image.fromarray(colours()).save(buffer, "PNG")
    path = tmp_path / "rgb.png"
    path.write_bytes(buffer.getvalue())

    def no_memory(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(decode_module, "_samples", no_memory)
    with pytest.raises(ImageError, match="9 x 6 pixels do not fit in memory"):
        decode(path)


def test_one_thread_that_is_done_does_not_turn_on_the_warnings_of_another() -> None:
    before = list(warnings.filters)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        first = unwarned()
        first.__enter__()
        with unwarned():
            first.__exit__(None, None, None)
            warnings.warn("within", stacklevel=1)
        warnings.warn("outside", stacklevel=1)
    assert [str(warning.message) for warning in heard] == ["outside"]
    assert warnings.filters == before
