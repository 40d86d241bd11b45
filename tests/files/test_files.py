"""What is said about files that are missing, or of another kind than they should be."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from fetch_model import MODELS

from caffe_lrp.batch.fingerprint import ContentHashes
from caffe_lrp.config import read_config
from caffe_lrp.errors import CaffeLrpError, ConfigError, FileListError, ImageError
from caffe_lrp.files import reading as files
from caffe_lrp.files.reading import (
    PUBLISHED_FILES,
    NotRegularError,
    missing_file_advice,
    open_input,
    open_own,
    pieces_of,
    read_small_file,
    require_file,
)
from caffe_lrp.formats.caffe.reader import read_prototxt, scan_caffemodel
from caffe_lrp.imaging.decode import decode
from caffe_lrp.imaging.mean import load_mean
from caffe_lrp.imaging.numpy_file import read_numpy_file
from caffe_lrp.model.labels import read_labels
from caffe_lrp.quirks import REFERENCE
from caffe_lrp.relevance.target import Target
from caffe_lrp.sources.collection import read_images
from caffe_lrp.sources.filelist import read_filelist


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("images/bee.jpeg", "did you mean 'bee.jpg'?"),
        ("images/BEE.JPG", "did you mean 'bee.jpg'?"),
        ("images/bear.jpg", "did you mean 'bee.jpg'?"),
        ("images/bat.jpg", "check the path and the folder it is relative to"),
        ("images/wasp.tiff", "check the path and the folder it is relative to"),
        ("image/bee.jpg", "there is no folder 'image'; did you mean 'images'?"),
        ("else/where/bee.jpg", "there is no folder 'else'"),
        ("images/bee.jpg/bee.jpg", "'images/bee.jpg' is a file, not a folder"),
        ("~/bee.jpg", "'~' is not expanded here; write the path in full"),
        (
            '"images/bee.jpg',
            "it begins with a quote; remove it, or in a list add the closing one after the path",
        ),
        ("https://example.org/bee.jpg", "it is a web address; download the file and give its path"),
        ("images/gone.jpg", "it is a link to '../store/gone.jpg', which does not exist"),
        ("lost/bee.jpg", "'lost' is a link to '../annex/lost', which does not exist"),
        ("C:\\images\\bee.jpg", "write '/' instead of '\\'"),
        ("bvlc_googlenet.caffemodel", "scripts/fetch_model.py googlenet downloads it into configs/"),
    ],
)
def test_a_missing_file_is_answered_with_what_was_probably_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, advice: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "bee.jpg").touch()
    (tmp_path / "images" / "gone.jpg").symlink_to("../store/gone.jpg")
    (tmp_path / "lost").symlink_to("../annex/lost")
    assert missing_file_advice(Path(path)) == advice


@pytest.mark.parametrize("name", PUBLISHED_FILES)
def test_files_said_to_be_downloaded_are(name: str) -> None:
    assert name in {Path(place).name for place in MODELS[PUBLISHED_FILES[name]].files}


def test_large_folders_are_not_searched(tmp_path: Path) -> None:
    for number in range(200):
        (tmp_path / f"bee{'x' * (number % 50)}{number}").touch()
    (tmp_path / "bee.jpg").touch()
    assert missing_file_advice(tmp_path / "bee.jpeg").startswith("check the path")
    (tmp_path / "beex1").unlink()
    assert missing_file_advice(tmp_path / "bee.jpeg") == "did you mean 'bee.jpg'?"


def test_a_file_in_the_place_of_a_folder_is_named_by_whoever_opens_what_lies_in_it(tmp_path: Path) -> None:
    (tmp_path / "images").touch()
    for check in (lambda path: require_file(path, "image", ImageError), decode):
        with pytest.raises(ImageError, match=r"Not a directory; '.*images' is a file, not a folder"):
            check(tmp_path / "images" / "bee.jpg")


def test_a_path_longer_than_paths_can_be_is_not_looked_up_in_vain(tmp_path: Path) -> None:
    path = tmp_path / "config.txt"
    path.write_text(f"param_file\n{'x' * 5000}\n")
    with pytest.raises(ConfigError, match="'model_file' is missing"):
        read_config(path)


def _link(path: Path) -> None:
    victim = path.with_name("of somebody else")
    victim.write_text("precious")
    path.symlink_to(victim)


@pytest.mark.parametrize(
    ("stands", "kind"),
    [
        (_link, "a link"),
        (lambda path: path.symlink_to("nowhere"), "a link"),
        (os.mkdir, "a folder"),
        (os.mkfifo, "a pipe"),
    ],
)
@pytest.mark.parametrize(
    "flags", [os.O_RDONLY, os.O_RDWR | os.O_CREAT, os.O_WRONLY | os.O_CREAT | os.O_APPEND]
)
def test_what_is_in_the_place_of_a_file_of_our_own_is_not_opened(
    stands: Callable[[Path], None], kind: str, flags: int, tmp_path: Path
) -> None:
    path = tmp_path / "journal"
    stands(path)
    with pytest.raises(NotRegularError, match=f"^{kind} is in place of this file; move or rename it$"):
        open_own(path, flags)
    assert {child.name for child in tmp_path.iterdir()} <= {"journal", "of somebody else"}


def test_a_file_of_our_own_is_opened_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with pytest.raises(FileNotFoundError):
        open_own(path)
    os.close(open_own(path, os.O_RDWR | os.O_CREAT))
    path.write_text("one line")
    file = open_own(path, os.O_RDWR | os.O_CREAT)
    assert os.read(file, 100) == b"one line"
    assert not os.get_inheritable(file)
    os.close(file)


READERS: dict[str, Callable[[Path], object]] = {
    "image": decode,
    "npy": lambda path: read_numpy_file(path, 3, 1000),
    "mean": lambda path: load_mean(path, 1, REFERENCE),
    "text mean": lambda path: load_mean(path, 0, REFERENCE),
    "caffemodel": scan_caffemodel,
    "prototxt": read_prototxt,
    "config": read_config,
    "list": read_filelist,
    "tar": lambda path: read_images(path, Target(-1)),
    "synset": read_labels,
    "hashed": lambda path: ContentHashes(None).of(path),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("endless", ["/proc/kmsg", "/proc/self/pagemap", "/dev/zero", "a pipe"])
def test_files_that_never_end_are_refused_or_empty(
    endless: str, reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_SECONDS_FOR_A_WRITER", 0)
    path = tmp_path / "link"
    if endless == "a pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(endless)
    if path.is_file() and reader in ("synset", "hashed"):
        READERS[reader](path)  # an empty file will do
    else:
        with pytest.raises(CaffeLrpError):
            READERS[reader](path)


def test_a_pipe_that_nobody_writes_to_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_SECONDS_FOR_A_WRITER", 0)
    os.mkfifo(tmp_path / "list")
    with pytest.raises(FileListError, match="no process writes to this pipe; start its writer first"):
        read_filelist(tmp_path / "list")


def test_a_writer_that_comes_late_and_takes_its_time_is_heard_out(tmp_path: Path) -> None:
    path = tmp_path / "list"
    os.mkfifo(path)

    def write() -> None:
        with path.open("wb", buffering=0) as file:
            for piece in (b"a.png ", b"1\n", b"b.png 2\n"):
                file.write(piece)
                threading.Event().wait(0.1)

    writer = threading.Thread(target=write)
    later = threading.Timer(0.2, writer.start)
    later.start()
    assert len(read_filelist(path)) == 2
    later.join()
    writer.join()


def test_of_a_file_that_grows_while_it_is_read_the_end_is_the_one_it_had(tmp_path: Path) -> None:
    path = tmp_path / "grows"
    path.write_bytes(b"begun ")
    with open_input(path) as file, path.open("ab", buffering=0) as writer:
        pieces = []
        for piece in pieces_of(file, size=2):
            pieces.append(piece)
            writer.write(b"more and more ")
    assert b"".join(pieces) == b"begun "


def test_a_file_of_the_system_that_is_shorter_than_it_says_is_read() -> None:
    path = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not path.is_file():
        pytest.skip("there is no such file here")
    assert b"never" in read_small_file(path, "list", FileListError, most_megabytes=1)
