"""Output files: exact formats, names, order of writing, and failures that leave nothing behind."""

import errno
import os
import re
import stat
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caffe_lrp.errors import ImageError, OutputError
from caffe_lrp.files import atomic
from caffe_lrp.files.atomic import write_atomically
from caffe_lrp.imaging.original import Original
from caffe_lrp.imaging.place import Place
from caffe_lrp.model.explanation import Explanation
from caffe_lrp.outputs import writers
from caffe_lrp.outputs.encoding import Dtype, Encoding
from caffe_lrp.outputs.kinds import OUTPUTS, default_kinds, file_kinds, in_order, need_sums, paths_of
from caffe_lrp.outputs.text import raw_heatmap, top_scores_file
from caffe_lrp.outputs.writers import write_outputs
from caffe_lrp.relevance.conservation import Conservation
from caffe_lrp.relevance.ranking import Ranking
from caffe_lrp.rendering.heatmap import heatmap_picture
from caffe_lrp.rendering.png import encode_png

NUMBER = re.compile(r"-?(?:\d+\.?\d*(?:e[+-]\d\d)?|nan|inf)")
RELEVANCE = np.array([[[1, -2.5]], [[0, 1e-7]], [[123456.7, 1 / 3]]], np.float32)
SMALL = np.array(RELEVANCE / 1000, np.float32)  # enough for half precision


RANKING = Ranking(np.array([281, 7]), np.array([0.75, 1.5e-5], np.float32))


def explanation() -> Explanation:
    return Explanation(
        relevance=RELEVANCE,
        input=np.arange(2 * 5 * 3, dtype=np.uint8).reshape(2, 5, 3),
        scores=np.zeros(300, np.float32),
        target=(7, 281),
        formula=100,
        source="picture.png",
        place=Place(2, 5, 0, 0, 2, 5),
        original=Original(np.zeros((2, 5, 3), np.uint8)),
        ranking=RANKING,
        conservation=Conservation(1.0, 1.0, 0.0, ()),
    )


def write(stem: str, what: Explanation, kinds: Sequence[str], dtype: Dtype = "float32") -> None:
    write_outputs(stem, what, kinds, Encoding(dtype))


def test_the_table_says_what_is_written_and_in_which_order() -> None:
    assert default_kinds(text_only=False) == ("heatmap", "input", "top10", "rawhm")
    assert default_kinds(text_only=True) == ("top10", "rawhm")
    mixed = ["h5", "rawhm", "layer:fc7", "npz", "layer:conv1", "npz", "conservation", "npy"]
    assert in_order(mixed) == ("npy", "npz", "conservation", "rawhm", "h5")
    assert file_kinds(mixed) == ("layer:fc7", "layer:conv1", "npy", "npz", "conservation", "rawhm")
    assert need_sums(mixed)
    assert not need_sums(["layer:fc7", "npz", "h5"])
    assert paths_of("a/cat", ["layer:fc7", "top10"]) == ["a/cat_relevance_fc7.npy", "a/cat_top10scores.txt"]


def test_channels_of_a_raw_heatmap_come_in_their_order_also_those_of_a_view() -> None:
    expected = b"3\n1 2\n1 -2.5 \n0 1e-07 \n123457 0.333333 \n"
    assert raw_heatmap(RELEVANCE) == expected
    expected = b"3\n1 2\n123457 0.333333 \n0 1e-07 \n1 -2.5 \n"
    assert raw_heatmap(RELEVANCE[::-1]) == expected


@pytest.mark.parametrize("is_reversed", [False, True])
def test_a_picture_of_relevance_is_made_in_the_order_of_the_net(is_reversed: bool, tmp_path: Path) -> None:
    """Sums over channels are rounded in that order."""
    of_net = np.array([[[1e30, 2]], [[-1e30, 1]], [[1.5, 0]]], np.float32)
    relevance = np.ascontiguousarray(of_net[::-1]) if is_reversed else of_net
    write(f"{tmp_path}/a", replace(explanation(), relevance=relevance, is_reversed=is_reversed), ["heatmap"])
    assert (tmp_path / "a_heatmap.png").read_bytes() == encode_png(heatmap_picture(of_net))
    assert np.any(heatmap_picture(of_net) != heatmap_picture(np.ascontiguousarray(of_net[::-1])))


def test_rows_of_a_channel_follow_each_other() -> None:
    relevance = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    expected = b"2\n3 2\n0 1 \n2 3 \n4 5 \n6 7 \n8 9 \n10 11 \n"
    assert raw_heatmap(relevance) == expected


def test_numbers_without_a_value_are_spelled_as_in_c() -> None:
    relevance = np.array([[[np.nan, np.inf, -np.inf, -0.0]]], np.float32)
    assert raw_heatmap(relevance) == b"1\n1 4\nnan inf -inf -0 \n"


@given(st.lists(st.floats(width=32), min_size=6, max_size=6))
def test_every_number_has_six_digits_and_reads_back(numbers: list[float]) -> None:
    relevance = np.array(numbers, np.float32).reshape(1, 2, 3)
    lines = raw_heatmap(relevance).decode().split("\n")
    assert (lines[:2], lines[-1], len(lines)) == (["1", "2 3"], "", 5)
    words = [word for line in lines[2:4] for word in line.removesuffix(" ").split(" ")]
    assert all(NUMBER.fullmatch(word) for word in words)
    np.testing.assert_allclose(np.array(words, dtype=float), relevance.ravel().astype(float), rtol=1e-5)


def test_scores_are_lines_of_class_and_score() -> None:
    assert top_scores_file(explanation(), Encoding()) == b"281 0.75\n7 1.5e-05\n"


def test_a_picture_that_opencv_encodes_without_success_lacks_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imencode", lambda *_: (False, None))
    with pytest.raises(MemoryError):
        encode_png(np.zeros((2, 3, 3), np.uint8))


def test_a_png_reads_back_as_the_picture() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (4, 7, 3), np.uint8)
    read = cv2.imdecode(np.frombuffer(encode_png(picture), np.uint8), cv2.IMREAD_UNCHANGED)
    assert read is not None
    np.testing.assert_array_equal(read[..., ::-1], picture)


def test_a_picture_without_pixels_is_an_error() -> None:
    with pytest.raises(ImageError, match="cannot be encoded"):
        encode_png(np.zeros((0, 7, 3), np.uint8))


def test_all_files_are_written_into_new_folders(tmp_path: Path) -> None:
    write(f"{tmp_path}/a/b/cat.jpg", explanation(), ["rawhm", "top10", "input", "heatmap", "npz", "npy"])
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == [
        "cat.jpg_as_inputted_into_the_dnn.png",
        "cat.jpg_heatmap.png",
        "cat.jpg_rawhm.txt",
        "cat.jpg_relevance.npy",
        "cat.jpg_relevance.npz",
        "cat.jpg_top10scores.txt",
    ]


def test_only_the_wanted_files_are_written(tmp_path: Path) -> None:
    write(f"{tmp_path}/cat.jpg", explanation(), ["top10"])
    assert [path.name for path in tmp_path.iterdir()] == ["cat.jpg_top10scores.txt"]


def test_the_files_hold_the_result(tmp_path: Path) -> None:
    write(f"{tmp_path}/cat.jpg", explanation(), ["rawhm", "top10", "input"])
    assert (tmp_path / "cat.jpg_rawhm.txt").read_bytes() == raw_heatmap(RELEVANCE)
    assert (tmp_path / "cat.jpg_top10scores.txt").read_bytes() == b"281 0.75\n7 1.5e-05\n"
    assert (tmp_path / "cat.jpg_as_inputted_into_the_dnn.png").read_bytes() == encode_png(explanation().input)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("order", [1, -1])
def test_numpy_reads_the_relevance_in_the_order_of_the_text(tmp_path: Path, dtype: Dtype, order: int) -> None:
    small = replace(explanation(), relevance=SMALL[::order])
    write(f"{tmp_path}/cat.jpg", small, ["npy"], dtype)
    read = np.load(tmp_path / "cat.jpg_relevance.npy", allow_pickle=False)
    assert read.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(read, SMALL[::order].astype(dtype))


def test_the_archive_says_what_was_explained_and_how(tmp_path: Path) -> None:
    write_outputs(f"{tmp_path}/cat.jpg", explanation(), ["npz"], Encoding(description='{"net": "größer"}'))
    with np.load(tmp_path / "cat.jpg_relevance.npz", allow_pickle=False) as read:
        arrays = {name: read[name] for name in read.files}
    assert {name: (array.dtype.kind, array.shape) for name, array in arrays.items()} == {
        "relevance": ("f", (3, 1, 2)),
        "scores": ("f", (2,)),
        "classes": ("i", (2,)),
        "target": ("i", (2,)),
        "config": ("U", ()),
    }
    np.testing.assert_array_equal(arrays["relevance"], RELEVANCE)
    assert (arrays["relevance"].dtype, arrays["scores"].dtype) == (np.float32, np.float32)
    assert (arrays["classes"].tolist(), arrays["target"].tolist()) == ([281, 7], [7, 281])
    np.testing.assert_array_equal(arrays["scores"], RANKING.scores)
    assert arrays["config"].item() == '{"net": "größer"}'


def test_an_archive_of_half_precision_without_a_description(tmp_path: Path) -> None:
    write(f"{tmp_path}/cat.jpg", replace(explanation(), relevance=SMALL), ["npz"], "float16")
    with np.load(tmp_path / "cat.jpg_relevance.npz", allow_pickle=False) as read:
        assert read["relevance"].dtype == np.float16
        assert read["config"].item() == ""


@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_the_same_result_gives_the_same_bytes_at_another_time(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"cat.jpg_relevance.{kind}"
    write(f"{tmp_path}/cat.jpg", explanation(), [kind])
    before = path.read_bytes()
    time.sleep(2.1)  # ZIP archives count time in steps of two seconds
    write(f"{tmp_path}/cat.jpg", explanation(), [kind])
    assert path.read_bytes() == before


@pytest.mark.parametrize("kind", ["npy", "npz"])
@pytest.mark.parametrize("largest", [65505, -1e9])
def test_relevance_that_half_precision_cannot_hold_is_an_error(
    tmp_path: Path, kind: str, largest: float
) -> None:
    large = replace(explanation(), relevance=np.array([[[0, 65504]], [[0, largest]]], np.float32))
    with pytest.raises(ImageError, match=r"is too large for float16.*--dtype float32"):
        write(f"{tmp_path}/cat.jpg", large, [kind], "float16")
    assert not list(tmp_path.iterdir())
    write(f"{tmp_path}/cat.jpg", large, [kind], "float32")


def test_the_raw_heatmap_is_written_last(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(writers, "write_atomically", lambda path, *_, **__: written.append(path.name))
    write("cat.jpg", explanation(), ["rawhm", *OUTPUTS])
    assert len(written) == len(file_kinds(OUTPUTS))
    assert written[-1] == "cat.jpg_rawhm.txt"


def test_a_folder_is_looked_at_once_for_all_files_of_an_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[Path] = []
    monkeypatch.setattr(atomic, "refuse_outside", lambda folder, _: looked_at.append(folder))
    for name in ("cat", "dog"):
        write_outputs(f"{tmp_path}/{name}/1", explanation(), ["heatmap", "top10"], Encoding(), tmp_path)
    assert looked_at == [tmp_path / "cat", tmp_path / "dog"]


def test_an_existing_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old and longer")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_the_rights_of_a_file_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "file", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.ENOSPC, OutputError),
        (errno.EDQUOT, OutputError),
        (errno.EROFS, OutputError),
        (errno.EIO, OutputError),
        (errno.EACCES, ImageError),
        (errno.ENAMETOOLONG, ImageError),
    ],
)
def test_a_failed_write_names_path_and_reason_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, kind: type[Exception]
) -> None:
    """A fault that all files to come would have as well is none of the image."""
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(self: Path, target: Path) -> Path:
        raise OSError(code, os.strerror(code), str(self), None, str(target))

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(kind, match=f"{path}: cannot be written: {os.strerror(code)}"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file", b"new")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("stem", ["file/cat.jpg", "file/deeper/cat.jpg"])
def test_a_file_where_a_folder_should_be_is_an_error(tmp_path: Path, stem: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ImageError, match="a file is where a folder is needed"):
        write(f"{tmp_path}/{stem}", explanation(), ["top10"])


def test_a_folder_where_the_file_should_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "cat.jpg_top10scores.txt").mkdir()
    with pytest.raises(ImageError, match="a folder has the name of the output file"):
        write(f"{tmp_path}/cat.jpg", explanation(), ["top10"])
    assert len(list(tmp_path.iterdir())) == 1


def test_a_name_that_is_too_long_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="shorter name"):
        write(f"{tmp_path}/{'x' * 250}", explanation(), ["top10"])


def test_a_null_character_in_the_name_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="null"):
        write(f"{tmp_path}/a\0b", explanation(), ["top10"])


def test_parallel_writers_leave_one_complete_file(tmp_path: Path) -> None:
    contents = [bytes([number]) * 100_000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: write_atomically(tmp_path / "file", content), contents))
    assert (tmp_path / "file").read_bytes() in contents
    assert len(list(tmp_path.iterdir())) == 1
