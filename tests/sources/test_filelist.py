import hashlib
import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caffe_lrp.errors import FileListError
from caffe_lrp.relevance.target import Target, parse_target
from caffe_lrp.sources.filelist import read_filelist

BLANKS = " \t\r\v\f"


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "list.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def paths(folder: Path, content: str | bytes) -> list[tuple[str, int]]:
    """Path and class of every line."""
    return [(entry.path, entry.target.code) for entry in read_filelist(write(folder, content))]


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
        entries = read_filelist(path)
    except FileListError as error:
        assert str(path) in str(error)
    else:
        assert [*entries]


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
    with pytest.raises(FileListError, match=r"correct these:\n  line 2: 'b\.jpg'"):
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


# ---- Quotes, tabs, comments ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ('"my photos/a b.jpg" 281', "my photos/a b.jpg"),
        ("'my photos/a b.jpg' 281", "my photos/a b.jpg"),
        ('  "my photos/a b.jpg"\t281  \r', "my photos/a b.jpg"),
        ("my photos/a b.jpg\t281", "my photos/a b.jpg"),
        ("  my photos/a b.jpg \t 281 ", "my photos/a b.jpg"),
        ('"a ""b"" c.jpg" 281', 'a "b" c.jpg'),
        ("'it''s.jpg' 281", "it's.jpg"),
        ('"it\'s.jpg" 281', "it's.jpg"),
        ('"C:\\new\\a b.jpg" 281', "C:\\new\\a b.jpg"),
        ('" a\t.jpg " 281', " a\t.jpg "),
        ('"#1 a.jpg" 281', "#1 a.jpg"),
        ("a#1.jpg 281", "a#1.jpg"),
        ("set #1/a.jpg\t281", "set #1/a.jpg"),
        ("./#1.jpg 281", "./#1.jpg"),
        ('a"b".jpg 281', 'a"b".jpg'),
        ("'70s.jpg 281", "'70s.jpg"),
        ("'70s party.jpg\t281", "'70s party.jpg"),
        ('"" 281', '""'),
    ],
)
def test_a_path_may_be_quoted_or_end_at_a_tab(tmp_path: Path, line: str, path: str) -> None:
    assert paths(tmp_path, f"{line}\n") == [(path, 281)]
    assert paths(tmp_path, f"a.jpg 1\r\n{line}\r\nb.jpg 2") == [("a.jpg", 1), (path, 281), ("b.jpg", 2)]


@pytest.mark.parametrize(
    "line",
    [
        "my photos/a b.jpg 281",
        '"my photos/a b.jpg 281',
        '"my photos/a b.jpg"281',
        '"a b.jpg" cat.jpg 3',
        '"a "b" c.jpg" 281',
        "a b.jpg\tlabel\t281",
        "a b.jpg\t",
        "\t281",
        "a.jpg 281 # a cat",
        f"a.jpg {'1' * 5000}",
    ],
)
def test_what_is_neither_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(FileListError, match="a path with spaces in quotes; correct these:\n  line 2: "):
        read_filelist(write(tmp_path, f"a.jpg 1\n{line}\n"))


def test_whole_lines_are_comments_and_still_counted(tmp_path: Path) -> None:
    entries = read_filelist(write(tmp_path, "# cats and dogs\n#a.jpg 1\n  \t# 7 8\nb.jpg 2\n#"))
    assert [(entry.line, entry.path) for entry in entries] == [(4, "b.jpg")]
    with pytest.raises(FileListError, match="names no image"):
        read_filelist(write(tmp_path, "# a.jpg 1\n"))


plain_paths = st.text(st.characters(exclude_characters=f"{BLANKS}\n"), min_size=1).filter(
    lambda path: path[0] not in "#\"'\ufeff"
)
codes = st.integers(-(10**18) + 1, 10**18 - 1)


@given(st.lists(st.tuples(plain_paths, st.text(BLANKS, min_size=1), codes), min_size=1))
def test_every_plain_line_is_read_as_it_stands(
    tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[str, str, int]]
) -> None:
    content = "".join(f"{path}{blanks}{code}\n" for path, blanks, code in lines).encode("utf-8", "replace")
    expected = [(path.encode("utf-8", "replace").decode(), code) for path, _, code in lines]
    assert paths(tmp_path_factory.mktemp("list"), content) == expected


@given(
    st.lists(
        st.tuples(
            st.binary(min_size=1).filter(lambda path: b"\n" not in path), st.sampled_from("\"'"), codes
        ),
        min_size=1,
    )
)
def test_every_path_can_be_quoted(
    tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[bytes, str, int]]
) -> None:
    content = b""
    for path, quote, code in lines:
        mark = quote.encode()
        content += mark + path.replace(mark, 2 * mark) + mark + b" %d\n" % code
    found = paths(tmp_path_factory.mktemp("list"), content)
    expected = [(path.decode("utf-8", "surrogateescape"), code) for path, _, code in lines]
    assert found == expected


# ---- A sequence that does not grow -----------------------------------------------------------------


def test_a_list_is_a_sequence(tmp_path: Path) -> None:
    path = write(tmp_path, "a 1\n\n# b\n'c d' -1\ne f\t2")
    entries = read_filelist(path)
    assert len(entries) == 3
    assert [entry.line for entry in entries] == [1, 4, 5]
    assert [entry.path for entry in entries[1:]] == ["c d", "e f"]
    assert entries[-1] == entries[2] == [*entries][2]
    assert (entries.source, entries.unit) == (str(path), "line")
    with pytest.raises(IndexError):
        entries[3]


def test_the_digest_is_that_of_the_content(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf# list\r\na.jpg 3\r\n"
    assert read_filelist(write(tmp_path, content)).digest == hashlib.sha256(content).hexdigest()


MEASUREMENT = """
import sys
from pathlib import Path
from caffe_lrp.sources.filelist import read_filelist

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

before = peak()
entries = read_filelist(Path(sys.argv[1]))
assert sum(entry.target.code >= 0 for entry in entries) == len(entries) == 200_000
print(peak() - before)
"""


@pytest.mark.slow
def test_a_long_list_takes_little_more_memory_than_its_text(tmp_path: Path) -> None:
    lines = (
        f"imagenet/train/n{number % 1000:08d}/{number:09d}.JPEG {number % 1000}" for number in range(200_000)
    )
    path = write(tmp_path, "\n".join(lines))
    result = subprocess.run(
        [sys.executable, "-c", MEASUREMENT, str(path)], capture_output=True, text=True, check=True
    )
    assert int(result.stdout) < path.stat().st_size + 10_000_000  # 16 bytes a line, and some room


def test_of_very_many_faults_the_first_are_kept(tmp_path: Path) -> None:
    with pytest.raises(FileListError) as caught:
        read_filelist(write(tmp_path, "noclass.jpg\n" * 100_000))
    assert len(str(caught.value)) < 2000
    assert str(caught.value).endswith("line 20: 'noclass.jpg'\n  … and 99980 more")


# ---- Standard input, and targets -------------------------------------------------------------------


def give(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Have standard input read from a file."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(path.open("rb")))


def test_a_minus_stands_for_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, write(tmp_path, b"caf\xe9.jpg 3\n"))
    entries = read_filelist(Path("-"))
    assert (entries.source, os.fsencode(entries[0].path)) == ("standard input", b"caf\xe9.jpg")


def test_what_is_wrong_with_standard_input_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, write(tmp_path, "a.jpg\n"))
    with pytest.raises(FileListError, match=r"^standard input: every line must be 'path class'"):
        read_filelist(Path("-"))
    give(monkeypatch, write(tmp_path, ""))
    with pytest.raises(FileListError, match=r"^standard input: names no image"):
        read_filelist(Path("-"))
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(FileListError, match=r"^standard input: .* closed or broken; pipe a list into it"):
        read_filelist(Path("-"))


def test_a_pipe_may_be_standard_input() -> None:
    program = "from pathlib import Path; from caffe_lrp.sources.filelist import read_filelist as read; "
    result = subprocess.run(
        [sys.executable, "-c", program + "print([entry.path for entry in read(Path('-'))])"],
        input="a.jpg 1\nb.jpg 2\n" * 100_000,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.count("a.jpg") == 100_000


@pytest.mark.parametrize(("text", "code"), [("281", 281), ("0", 0), ("-1", -1), ("-2", -2)])
def test_a_target_is_a_number(text: str, code: int) -> None:
    assert parse_target(text) == Target(code)


@pytest.mark.parametrize("text", ["", "-3", "cat", "1.5", "+1", "1_0", "１", "9" * 10])
def test_other_targets_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be a class number, -1 for the best class"):
        parse_target(text)


# ---- Lines of absurd length ------------------------------------------------------------------------


@pytest.mark.parametrize("beginning", ['"', "'", '"a""', "a b", "a\t", "a.jpg ", '""' * 10])
def test_a_line_that_is_too_long_is_named_without_being_parsed(tmp_path: Path, beginning: str) -> None:
    path = write(tmp_path, f"a.jpg 1\n{beginning}{'x' * 70_000} y\n")
    with pytest.raises(FileListError) as caught:
        read_filelist(path)
    size = f"{len(beginning) + 70_002:,}"
    shown = f"{beginning}{'x' * 120}"[:120]
    assert f"correct these:\n  line 2: has {size} bytes, the limit is 65,536: {shown!r}" in str(caught.value)


def test_comments_and_blank_lines_may_be_of_any_length(tmp_path: Path) -> None:
    long = "x" * 70_000
    entries = read_filelist(write(tmp_path, f"  # {long}\n{' ' * 70_000}\na.jpg 1\n#{long}"))
    assert [(entry.line, entry.path) for entry in entries] == [(3, "a.jpg")]


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    [
        '"' * 65_001 + " x",
        "'" + "''" * 32_000,
        '"a' + " " * 65_000 + '" x',
        " " * 65_000 + "x",
        "a" + " \t" * 32_000,
    ],
)
def test_no_form_of_a_line_takes_long(tmp_path: Path, line: str) -> None:
    with pytest.raises(FileListError, match="correct these:\n  line 200: "):
        read_filelist(write(tmp_path, "a.jpg 1\n" * 199 + f"{line}\n" * 50))


def test_long_lists_are_read_in_blocks_whose_ends_may_lie_anywhere(tmp_path: Path) -> None:
    lines = [f"{'p' * (place % 97 + 1)} {place}" for place in range(5000)]
    lines[1234], lines[3210] = '"a b" 7', "x" * 65_000 + " 8"
    entries = read_filelist(write(tmp_path, "\n".join(lines)))
    assert [entry.line for entry in entries] == [*range(1, 5001)]
    assert [(entry.path, entry.target.code) for entry in entries[1233:1236]] == [
        ("p" * 70, 1233),
        ("a b", 7),
        ("p" * 72, 1235),
    ]
    assert entries[3210].path == "x" * 65_000
    assert entries[4999] == [*entries][4999]
    assert [path for path, _, _ in entries.outlines(range(4998, 5000))] == ["p" * 52, "p" * 53]
