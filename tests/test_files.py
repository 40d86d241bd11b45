"""What is said about files that are missing, or of another kind than they should be."""

from pathlib import Path

import pytest
from fetch_model import MODELS

from caffe_lrp.config import read_config
from caffe_lrp.errors import ConfigError, ModelError
from caffe_lrp.files import PUBLISHED_FILES, foreign_kind, missing_file_advice, read_small_file


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("images/bee.jpeg", "did you mean 'bee.jpg'?"),
        ("images/BEE.JPG", "did you mean 'bee.jpg'?"),
        ("images/wasp.tiff", "check the path and the folder it is relative to"),
        ("image/bee.jpg", "there is no folder 'image'; did you mean 'images'?"),
        ("else/where/bee.jpg", "there is no folder 'else'"),
        ("images/bee.jpg/bee.jpg", "'images/bee.jpg' is a file, not a folder"),
        ("~/bee.jpg", "'~' is not expanded here, write the path in full"),
        ("https://example.org/bee.jpg", "it is a web address, download the file and give its path"),
        ("C:\\images\\bee.jpg", "write '/' in place of '\\'"),
        ("bvlc_googlenet.caffemodel", "scripts/fetch_model.py googlenet downloads it"),
    ],
)
def test_a_missing_file_is_answered_with_what_was_probably_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, advice: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "bee.jpg").touch()
    assert missing_file_advice(Path(path)) == advice


@pytest.mark.parametrize("name", PUBLISHED_FILES)
def test_files_said_to_be_downloaded_are(name: str) -> None:
    assert name in {Path(place).name for place in MODELS[PUBLISHED_FILES[name]].files}


def test_large_folders_are_not_searched(tmp_path: Path) -> None:
    for number in range(2001):
        (tmp_path / f"bee{'x' * (number % 50)}{number}").touch()
    (tmp_path / "bee.jpg").touch()
    assert missing_file_advice(tmp_path / "bee.jpeg").startswith("check the path")


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"\xef\xbb\xbf \r\n<!doctype HTML>", "a web page (HTML)"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'>", "an XML file"),
        (b"\x1f\x8b\x08", "a gzip archive"),
        (b"\x93NUMPY\x01\x00", "a NumPy file"),
        (b"\xff\xfea\x00", "a text in UTF-16"),
    ],
)
def test_well_known_kinds_of_file_are_recognised(content: bytes, name: str) -> None:
    kind = foreign_kind(content)
    assert kind is not None
    assert kind.name == name


@pytest.mark.parametrize(
    "content", [b"", b"param_file\n", b"version 2\n", b'name: "net"\n', b"\n\x04tiny\xa2\x06"]
)
def test_other_files_are_of_no_such_kind(content: bytes) -> None:
    assert foreign_kind(content) is None


def test_a_binary_file_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_bytes(b"\n\x04tiny\x00")
    with pytest.raises(ModelError, match=r"net\.prototxt: is a binary file, not a prototxt; look again"):
        read_small_file(path, "prototxt", ModelError, most_megabytes=1, advice_on_binary="look again")


def test_a_path_longer_than_paths_can_be_is_not_looked_up_in_vain(tmp_path: Path) -> None:
    path = tmp_path / "config.txt"
    path.write_text(f"param_file\n{'x' * 5000}\n")
    with pytest.raises(ConfigError, match="'model_file' is missing"):
        read_config(path)
