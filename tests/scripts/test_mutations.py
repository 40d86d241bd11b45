"""The tables of mutations fit the package; whether tests notice them takes the script half an hour."""

from pathlib import Path

import mutations
import pytest
from mutants_entry import Mutation
from mutants_table import AREAS

ROW = Mutation("answer = 42", "answer = 41", "the answer is wrong", ("test_it.py",))


def checkout(tmp_path: Path, source: str) -> Path:
    for folder, name, content in (("caffe_lrp", "it.py", source), ("tests", "test_it.py", "")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(content)
    return tmp_path


def test_there_are_sixty_nine_in_all_areas_and_none_twice() -> None:
    rows = [row for _, row in mutations.numbered().values()]
    assert len({row.text for row in rows}) == len(rows) == 69
    assert set(AREAS) == {"kernels", "layers", "rules", "parsers", "batch", "outputs"}
    assert min(map(len, AREAS.values())) >= 10


@pytest.mark.parametrize("number", mutations.numbered())
def test_each_can_be_made_in_one_place(number: int) -> None:
    assert list(mutations.faults_of(mutations.ROOT, mutations.numbered()[number][1])) == []


def test_the_line_is_broken_in_the_copy_alone(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    root, copy = checkout(tmp_path / "own", "question = 6\nanswer = 42  # true\n"), tmp_path / "copy"
    mutations.copy_checkout(root, copy)
    assert mutations.break_line(copy, ROW) == mutations.Place("caffe_lrp/it.py", 2)
    assert (copy / "caffe_lrp/it.py").read_text() == "question = 6\nanswer = 41  # true\n"
    assert (root / "caffe_lrp/it.py").read_text() == "question = 6\nanswer = 42  # true\n"


@pytest.mark.parametrize(
    ("source", "row", "fault"),
    [
        ("answer = 43\n", ROW, "found: nowhere"),
        ("answer = 42\n" * 2, ROW, "found: caffe_lrp/it.py:1, caffe_lrp/it.py:2"),
        ("answer = 42\n", ROW._replace(instead="answer ="), "is no Python"),
        ("answer = 42\n", ROW._replace(instead=ROW.text), "must become another text"),
        ("answer = 42\n", ROW._replace(targets=("gone.py",)), "there are no tests gone.py"),
    ],
)
def test_rows_that_do_not_fit_are_reported(tmp_path: Path, source: str, row: Mutation, fault: str) -> None:
    (found,) = mutations.faults_of(checkout(tmp_path, source), row)
    assert fault in found
