"""One pass over a list finds what its jobs, made one by one, would say."""

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from caffe_lrp.batch.claim import hash_of
from caffe_lrp.batch.job import HeatmapJob, OutputPaths, WorkList, make_jobs
from caffe_lrp.batch.journal import relative_stem
from caffe_lrp.batch.resume import Task
from caffe_lrp.batch.shards import Shard
from caffe_lrp.batch.survey import Survey, refuse_other_paths, survey_of
from caffe_lrp.errors import ConfigError
from caffe_lrp.relevance.target import Target
from caffe_lrp.sources.collection import read_images
from caffe_lrp.sources.filelist import ListEntry

OUTPUT_PATHS = OutputPaths("", "out", "images")


def work_of(
    *paths: str, output_paths: OutputPaths = OUTPUT_PATHS, formulas: tuple[int, ...] = (0,)
) -> WorkList:
    entries = [ListEntry(line, path, Target(line)) for line, path in enumerate(paths, start=1)]
    return make_jobs(entries, output_paths, formulas)


def images_in_a_row(jobs: Iterator[HeatmapJob]) -> int:
    images = [job.image for job in jobs]
    return sum(one != before for one, before in zip(images, [None, *images], strict=False))


def task_of(work: WorkList, shard: Shard, root: Path = Path("out")) -> Task:
    return Task(work, survey_of(work), shard, ("npy",), root, {})


STEPS = st.lists(st.sampled_from(["..", ".", "", "~", "a", "images", "..b", ".c", "a\0", "\udc80"]))


@given(
    st.lists(STEPS.map("/".join), max_size=8),
    st.sampled_from(["out", "./out/.", "../out", "a/../out", "/out"]),
    st.booleans(),
    st.booleans(),
)
def test_the_survey_says_what_the_jobs_do(paths: list[str], root: str, named: bool, whole: bool) -> None:
    assume(all(Path(path).name != ".." for path in paths))  # folders, of which no map is ever made
    output_paths = OutputPaths("images/.", root, "images", whole_path=whole, names_have_targets=named)
    work = work_of(*paths, output_paths=output_paths, formulas=(0, 2))
    task = task_of(work, Shard(), Path(root))
    jobs = list(work)
    stems = [relative_stem(task.root, job) for job in jobs if job.stem is not None]
    assert task.survey.claimed.tolist() == [*map(hash_of, stems)]
    assert task.survey.has_clashes == (len({*stems}) < len(stems))
    assert [*work.stems(range(len(paths)))] == [job.stem for job in jobs]
    for shard in (Shard(), Shard(1, 3)):
        part = task_of(work, shard)
        assert part.part.image_count == images_in_a_row(part.jobs())


def test_images_in_a_row_count_once_however_their_paths_are_written() -> None:
    lines = ("images/a", "images/./a", "images//a/", "images/b", "images/a")
    assert survey_of(work_of(*lines)).image_count == 3
    assert [survey_of(work_of(*lines)).of_lines(range(first, 5)).image_count for first in (1, 3, 4, 5)] == [
        3, 2, 1, 0,
    ]  # fmt: skip


def test_lines_that_clash_are_told_from_those_in_other_parts() -> None:
    survey = survey_of(work_of("images/a", "elsewhere", "images/b", "elsewhere", "images/./a"))
    assert survey.clashing_lines.tolist() == [0, 4]
    assert (survey.has_clashes, survey.of_lines(range(4)).has_clashes) == (True, False)
    assert survey.has_name.tolist() == [True, False, True, False, True]
    assert survey.claimed.tolist() == [*map(hash_of, ("images/a", "images/b", "images/a"))]


def test_images_that_cannot_be_read_claim_no_files(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "all.tar", "w") as archive:
        for name, kind in (("a.jpg", tarfile.REGTYPE), ("b.jpg", tarfile.SYMTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/elsewhere"
            archive.addfile(member)
    images = read_images(tmp_path / "all.tar", Target(1))
    survey = survey_of(make_jobs(images, OUTPUT_PATHS, (0,)))
    assert survey.is_readable.tolist() == [True, False]
    assert survey.claimed.tolist() == [hash_of("a.jpg")]


def test_a_list_without_the_path_root_is_refused_and_an_empty_one_is_not() -> None:
    work = work_of("pictures/a", "pictures/b")
    with pytest.raises(ConfigError) as caught:
        refuse_other_paths(work, survey_of(work))
    assert str(caught.value) == (
        "path_root: no path in the list contains 'images', the string where output paths begin; set "
        "standalone_rootpath to a string that all of them contain, such as the name of a folder"
    )
    refuse_other_paths(work_of(), survey_of(work_of()))
    mixed = work_of("pictures/a", "images/b")
    refuse_other_paths(mixed, survey_of(mixed))


@pytest.mark.parametrize("wanted", ["000000", "111111", "010110", "100001", "001111"])
def test_only_the_jobs_that_are_wanted_are_made(wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    work = work_of(*(f"images/{name}" for name in "abcdef"), formulas=(0, 2))
    task = task_of(work, Shard(1, 2))
    mask = np.array([digit == "1" for digit in wanted])
    expected = [number for number, is_wanted in enumerate(mask, start=6) if is_wanted]
    made: list[int] = []
    jobs = OutputPaths.jobs

    def noted(output_paths: OutputPaths, first: int, entry: ListEntry, *others: Any) -> list[HeatmapJob]:
        made.append(entry.line)
        return jobs(output_paths, first, entry, *others)

    monkeypatch.setattr(OutputPaths, "jobs", noted)
    assert [job.number for job in task.jobs_where(mask)] == expected
    assert made == sorted({number // 2 + 1 for number in expected})
    assert [*task.stems_where(mask)] == [f"out/images/{'abcdef'[number // 2]}" for number in expected]


def test_a_list_takes_a_few_bytes_a_line() -> None:
    survey = survey_of(work_of("images/a", "images/b"))
    arrays = [value for value in vars(survey).values() if isinstance(value, np.ndarray)]
    assert isinstance(survey, Survey)
    assert sum(array.nbytes for array in arrays) == 2 * (8 + 3)
