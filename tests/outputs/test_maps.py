"""Maps read back: what was written comes out, and damage is told by name."""

import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from database_builders import explanation_of, make, shards

from caffe_lrp.errors import ConfigError, ImageError
from caffe_lrp.outputs.encoding import Encoding
from caffe_lrp.outputs.maps import Account, read_account, read_map, stem_of
from caffe_lrp.outputs.merge import merge_databases
from caffe_lrp.outputs.stored import MapDatabase, MapFile, MapRow
from caffe_lrp.outputs.writers import write_outputs

KINDS = ("npy", "npz", "rawhm", "top10", "input")


@pytest.fixture
def stem(tmp_path: Path) -> str:
    write_outputs(str(tmp_path / "cat.jpg"), explanation_of(3), KINDS, Encoding())
    return str(tmp_path / "cat.jpg")


@pytest.mark.parametrize(
    ("suffix", "tolerance"), [("_relevance.npy", 0), ("_relevance.npz", 0), ("_rawhm.txt", 1e-5)]
)
def test_every_kind_of_file_gives_the_map_and_the_picture(stem: str, suffix: str, tolerance: float) -> None:
    expected, map_file = explanation_of(3), MapFile(Path(stem + suffix))
    np.testing.assert_allclose(map_file.read(), expected.relevance, rtol=tolerance)
    picture = map_file.picture()
    assert picture is not None
    assert np.array_equal(picture, expected.input)
    assert map_file.stem == "cat.jpg"


def test_an_archive_says_what_it_explains_and_a_list_of_scores_which_classes_are_best(stem: str) -> None:
    expected = explanation_of(3)
    best = tuple((each.class_index, each.score) for each in expected.top(10))
    assert read_account(Path(f"{stem}_relevance.npz")) == Account.among(expected.target, best)
    found = read_account(Path(f"{stem}_rawhm.txt"))
    assert [index for index, _ in found.best] == [index for index, _ in best]
    assert (found.classes, found.score) == ((), None)


@pytest.mark.parametrize("is_merged", [False, True])
def test_a_database_gives_maps_and_pictures_by_their_indices(is_merged: bool, tmp_path: Path) -> None:
    if is_merged:
        path = tmp_path / "all.h5"
        merge_databases(shards(tmp_path, [[4, 1, 2], [0, 3, 5]]), path)
    else:
        path = make(tmp_path / "maps.h5", [5, 2], with_input=True)
    database = MapDatabase(path)
    for index in database.indices:
        expected, row = explanation_of(index), MapRow(database, index)
        assert np.array_equal(row.read(), expected.relevance)
        picture = row.picture()
        assert picture is not None
        assert np.array_equal(picture, expected.input)
        assert row.account().classes == expected.target[:1]
        assert row.account().score == pytest.approx(expected.score)
    assert database.indices == ([0, 1, 2, 3, 4, 5] if is_merged else [2, 5])
    with pytest.raises(ConfigError, match="map 17 is not written"):
        MapRow(database, 17).read()
    path.unlink()
    with pytest.raises(ImageError, match="cannot be read: No such file"):
        MapRow(database, 2).changed()
    database.close()


def test_an_input_dataset_is_no_database_of_maps(tmp_path: Path) -> None:
    make(tmp_path / "maps.h5", [1], with_input=True)
    with pytest.raises(ConfigError, match="contains no maps; give the database, not its"):
        MapDatabase(tmp_path / "maps.input.h5")


def numpy_file(array: Any) -> bytes:
    content = io.BytesIO()
    np.save(content, array, allow_pickle=True)
    return content.getvalue()


def archive(**members: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, member in members.items():
            file.writestr(f"{name}.npy", member)
    return content.getvalue()


MAP = np.ones((3, 4, 5), np.float32)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a_relevance.npy", b"", "cannot be read as a NumPy file"),
        ("a_relevance.npy", numpy_file(MAP)[:-1], "is cut short"),
        ("a_relevance.npy", numpy_file(MAP[0, 0]), "holds 5 numbers, which is not a map"),
        ("a_relevance.npy", numpy_file(np.array([None])), "holds 1 of the type object"),
        ("a_relevance.npz", b"PK", "cannot be read as .npz"),
        ("a_relevance.npz", archive(scores=b"", classes=b""), "contains no array 'relevance'"),
        ("a_relevance.npz", archive(relevance=numpy_file(MAP))[:-60], "cannot be read as .npz"),
        ("a_rawhm.txt", b"", "is not a raw heatmap"),
        ("a_rawhm.txt", b"\x89PNG\r\n", "is a picture, not a raw heatmap"),
        ("a_rawhm.txt", b"3\n4 five\n1 2 3", "is not a raw heatmap"),
        (
            "a_rawhm.txt",
            b"1\n1 3\n1 2",
            "should have 1\N{MULTIPLICATION SIGN}1\N{MULTIPLICATION SIGN}3 numbers",
        ),
        ("a_rawhm.txt", b"1\n1 3\n1 2 x", "but does not; get a complete copy"),
        ("a_rawhm.txt", b"999999999\n999999999 999999999\n1", "should have 999999999×"),
        ("a.pickle", b"", "must end with one of .npy, .npz, .txt"),
    ],
)
def test_what_is_no_map_is_refused_by_name(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ImageError, match=message) as caught:
        read_map(path)
    assert str(path) in str(caught.value)
    assert read_account(path) == Account()


def test_infinities_of_a_raw_heatmap_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a_rawhm.txt"
    path.write_text("1\n1 4\n1 inf -inf nan \n")
    np.testing.assert_array_equal(read_map(path), [[[1, np.inf, -np.inf, np.nan]]])


@pytest.mark.parametrize(
    ("damage", "expected"),
    [(lambda text: b"x" + text, Account()), (lambda text: b"\xff", Account()), (lambda text: b"", Account())],
)
def test_damaged_scores_say_nothing(damage: Callable[[bytes], bytes], expected: Account, stem: str) -> None:
    path = Path(f"{stem}_top10scores.txt")
    path.write_bytes(damage(path.read_bytes()))
    assert read_account(Path(f"{stem}_rawhm.txt")) == expected


def test_the_stem_of_any_file_is_its_name_without_what_tells_the_kind() -> None:
    names = ["cat.jpg_relevance.npy", "cat.jpg_rawhm.txt", "cat.jpg_relevance_conv3.npy", "_rawhm.txt"]
    stems = ["cat.jpg", "cat.jpg", "cat.jpg_relevance_conv3", "_rawhm"]
    assert [stem_of(Path(name)) for name in names] == stems


def test_a_map_without_its_classes_among_the_best_has_no_rank() -> None:
    best = ((2, 0.5), (1, 0.25))
    assert Account.among((1,), best) == Account((1,), best, 0.25, 2)
    assert Account.among((7,), best) == replace(Account((7,), best))
