import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caffe_lrp.errors import FileListError
from caffe_lrp.filelist import Target, read_filelist


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "list.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_entries_carry_line_path_and_target(tmp_path: Path) -> None:
    entries = read_filelist(write(tmp_path, "a/x.jpg 7\nb/y.png -1\nz.gif -2\n"))
    assert [(entry.line, entry.path, entry.target.code) for entry in entries] == [
        (1, "a/x.jpg", 7),
        (2, "b/y.png", -1),
        (3, "z.gif", -2),
    ]


def test_lines_of_two_characters_or_fewer_are_skipped_and_still_counted(tmp_path: Path) -> None:
    entries = read_filelist(write(tmp_path, "\nab\n\na 1\n"))
    assert [entry.line for entry in entries] == [4]


def test_crlf_byte_order_mark_tabs_and_a_missing_last_newline_are_accepted(tmp_path: Path) -> None:
    entries = read_filelist(write(tmp_path, b"\xef\xbb\xbfa.jpg\t3\r\n\r\n  b.jpg   -1"))
    assert [(entry.path, entry.target.code) for entry in entries] == [("a.jpg", 3), ("b.jpg", -1)]


def test_bytes_that_are_not_utf8_survive_in_paths(tmp_path: Path) -> None:
    (entry,) = read_filelist(write(tmp_path, b"caf\xe9.jpg 3\n"))
    assert entry.path.encode(errors="surrogateescape") == b"caf\xe9.jpg"


def test_all_lines_without_an_integer_are_named_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, "good.jpg 1\nnoclass.jpg\nword.jpg cat\nfloat.jpg 1.5\nmy cat.jpg 3\n")
    with pytest.raises(FileListError) as caught:
        read_filelist(path)
    message = str(caught.value)
    assert str(path) in message
    assert all(f"line {number}:" in message for number in (2, 3, 4, 5))
    assert "line 1:" not in message


def test_a_long_list_of_faults_is_cut(tmp_path: Path) -> None:
    with pytest.raises(FileListError, match="and 80 more"):
        read_filelist(write(tmp_path, "noclass.jpg\n" * 100))


def test_an_empty_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileListError, match="names no image"):
        read_filelist(write(tmp_path, "\n\n"))


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileListError, match=r"nowhere\.txt.*No such file"):
        read_filelist(tmp_path / "nowhere.txt")


@pytest.mark.parametrize(
    ("code", "label", "best_count"),
    [(281, "c281", 0), (0, "c0", 0), (-1, "top1", 1), (-2, "top5", 5), (-7, "top1", 1)],
)
def test_negative_codes_stand_for_the_best_classes(code: int, label: str, best_count: int) -> None:
    assert (Target(code).label, Target(code).best_count) == (label, best_count)


def test_a_rank_takes_the_place_of_the_code() -> None:
    assert (Target(-1, rank=3).label, Target(-2, rank=3).best_count) == ("rank3", 0)


@given(st.binary(max_size=200))
def test_no_bytes_cause_anything_but_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = write(tmp_path_factory.mktemp("list"), content)
    try:
        assert read_filelist(path)
    except FileListError as error:
        assert str(path) in str(error)


def test_only_ascii_blanks_separate_and_only_plain_digits_count(tmp_path: Path) -> None:
    entries = read_filelist(write(tmp_path, "a\u3000b\u00a0c.jpg 3\n"))
    assert entries[0].path == "a\u3000b\u00a0c.jpg"
    with pytest.raises(FileListError, match="line 1:"):
        read_filelist(write(tmp_path, "a.jpg 0_3\n"))


def test_a_pipe_will_do(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("a.jpg 3\n",))
    writer.start()
    assert read_filelist(pipe)[0].path == "a.jpg"
    writer.join()


@pytest.mark.parametrize(
    "path", [b"GIF8/a.gif", b"GIF89a/a.gif", b"BZh/a.jpg", b"%PDF-pages/a.jpg", b"\xff\xfe.jpg", b"a\0b.jpg"]
)
def test_a_list_may_begin_as_other_files_do(tmp_path: Path, path: bytes) -> None:
    entries = read_filelist(write(tmp_path, path + b" 1\nb.jpg 2\n"))
    assert [os.fsencode(entry.path) for entry in entries] == [path, b"b.jpg"]
    with pytest.raises(FileListError, match=r"mend these:\n  line 2: 'b\.jpg'"):
        read_filelist(write(tmp_path, path + b" 1\nb.jpg\n"))


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\xff\xd8\xff\xe0\n\0\na.jpg 1\n", "a picture"),
        ("a.jpg 1\n".encode("utf-16"), "a text in UTF-16"),
        (b"\n\x04tiny\xa2\x06\n", "a binary file"),
        (b"<!DOCTYPE html>\n<html>\n", "a web page"),
    ],
)
def test_another_file_given_as_list_is_named(tmp_path: Path, content: bytes, kind: str) -> None:
    with pytest.raises(FileListError, match=f"is {kind}.*, not a list of images; "):
        read_filelist(write(tmp_path, content))
