"""Where the outputs of a line go, and where they can never go."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caffe_lrp.batch.job import HeatmapJob, OutputPaths, WorkList, make_jobs
from caffe_lrp.batch.survey import refuse_clashes, survey_of
from caffe_lrp.errors import FileListError, ImageError
from caffe_lrp.files.atomic import write_atomically
from caffe_lrp.relevance.target import Target
from caffe_lrp.sources.filelist import ListEntry, read_filelist


def job_of(path: str, path_root: str = "images", *, inside: str = "") -> HeatmapJob:
    output_paths = OutputPaths("", "out", path_root)
    (job,) = output_paths.jobs(0, ListEntry(1, path, Target(1), inside), (0,), (Target(1),))
    return job


@pytest.mark.parametrize(
    ("path", "path_root", "stem"),
    [
        ("images/a.jpg", "images", "out/images/a.jpg"),
        ("/data/images/a.jpg", "images", "out/images/a.jpg"),
        ("/data/images/a.jpg", "/", "out/data/images/a.jpg"),
        ("//images///a.jpg", "images", "out/images/a.jpg"),
        ("~/images/a.jpg", "~", "out/~/images/a.jpg"),
        ("images/..a.jpg", "..", "out/..a.jpg"),
        ("images/./a.jpg", "images", "out/images/a.jpg"),
        ("images/b/../a.jpg", "images", "out/images/b/../a.jpg"),
        ("images/a b.jpg", "images", "out/images/a b.jpg"),
    ],
)
def test_outputs_lie_below_the_output_folder(path: str, path_root: str, stem: str) -> None:
    job = job_of(path, path_root)
    assert (job.stem, job.fault, job.output_root) == (stem, "", Path("out"))


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("images/../../a.jpg", "would lie outside the output folder; write the path without '..'"),
        ("images/../..", "would lie outside the output folder; write the path without '..'"),
        ("images/..", "the path names a folder"),
        ("images/../b/..", "the path names a folder"),
        ("images/a\0.jpg", "has a null character"),
        ("pictures/a.jpg", "the path does not contain 'images'"),
    ],
)
def test_what_would_lead_out_of_it_is_refused(path: str, fault: str) -> None:
    job = job_of(path)
    assert job.stem is None
    assert fault in job.fault


def test_a_path_of_the_folder_itself_has_no_output() -> None:
    assert "names a folder" in job_of(".", ".").fault
    assert "names a folder" in job_of("x/./.", "./").fault


@given(st.lists(st.sampled_from(["..", ".", "", "~", "a", "images", "..b"])).map("/".join), st.booleans())
def test_no_path_leads_out_of_the_output_folder(path: str, is_inside: bool) -> None:
    job = job_of(path, "", inside=path if is_inside else "")
    if job.stem is not None:
        root = Path("/somewhere/out")
        file = Path(f"/somewhere/{job.stem}_heatmap.png")
        write_to = Path(*_resolved(file.parts[1:]))
        assert root.parts[1:] == write_to.parts[:2]


def _resolved(steps: tuple[str, ...]) -> list[str]:
    found: list[str] = []
    for step in steps:
        if step == "..":
            found.pop()
        else:
            found.append(step)
    return found


# ---- Lines that write the same files ---------------------------------------------------------------


def work_of(folder: Path, lines: str, output_paths: OutputPaths, *formulas: int) -> WorkList:
    (folder / "list.txt").write_text(lines)
    return make_jobs(read_filelist(folder / "list.txt"), output_paths, formulas or (0,))


SPELLINGS = """images/a.jpg 1
images/b.jpg 1
/data/images//a.jpg 2
"images/./a.jpg" 3
images/c/../b.jpg\t4
images/../../a.jpg 5
images/../../a.jpg 5
images/c.jpg 6
"""


def test_lines_clash_however_their_paths_are_written(tmp_path: Path) -> None:
    work = work_of(tmp_path, SPELLINGS, OutputPaths("", "out", "images"))
    with pytest.raises(FileListError) as caught:
        refuse_clashes(work, survey_of(work), "list.txt")
    assert str(caught.value) == (
        "list.txt: several lines would write the same files; remove the duplicate lines, or use "
        "--suffix-target to put formula and class into the names of the files:\n"
        "  lines 1 and 3: out/images/a.jpg\n"
        "  lines 1 and 4: out/images/a.jpg\n"
        "  lines 2 and 5: out/images/c/../b.jpg"
    )
    assert survey_of(work).of_lines(range(1, 5)).has_clashes
    assert not survey_of(work).of_lines(range(4, 8)).has_clashes


def test_targets_and_formulas_in_names_keep_lines_apart(tmp_path: Path) -> None:
    output_paths = OutputPaths("", "out", "images", names_have_targets=True)
    work = work_of(tmp_path, SPELLINGS, output_paths, 0, 2)
    refuse_clashes(work, survey_of(work), "list.txt")
    work = work_of(tmp_path, "images/a.jpg -1\nimages/a.jpg 1\nimages/a.jpg -7\n", output_paths, 0, 2)
    with pytest.raises(FileListError, match=r"lines 1 and 3: .*_f0_top1\n  lines 1 and 3: .*_f2_top1$"):
        refuse_clashes(work, survey_of(work), "list.txt")


def test_of_many_clashes_twenty_are_named(tmp_path: Path) -> None:
    work = work_of(tmp_path, "images/a.jpg 1\n" * 1000, OutputPaths("", "out", "images"))
    with pytest.raises(FileListError, match=r"lines 1 and 21: .*\n  … and 979 more$"):
        refuse_clashes(work, survey_of(work), "list.txt")


@given(
    st.lists(st.sampled_from(["..", ".", "", "~", "a", "images", "..b", ".c", "a\0"])).map("/".join),
    st.sampled_from(["images", "", "/", "."]),
    st.sampled_from(["", "root", "/root/images/"]),
)
def test_stems_are_those_that_paths_make(path: str, path_root: str, image_root: str) -> None:
    output_paths = OutputPaths(image_root, "out/.", path_root)
    (job,) = output_paths.jobs(0, ListEntry(1, path, Target(1)), (0,), (Target(1),))
    image = path if path.startswith("/") or not image_root else f"{image_root}/{path}"
    parts = [text[text.index(path_root) :] for text in (path, image) if path_root in text]
    assert job.image == Path(image)
    if job.stem is not None:
        assert job.stem == str(Path("out/.") / f"./{parts[0]}")
        assert f"out/{output_paths.place_of(output_paths.part_of(path, ''))}" == os.path.normpath(job.stem)
    else:
        assert job.fault


# ---- Links below the output folder -----------------------------------------------------------------


@pytest.mark.parametrize("below", ["", "deeper"])
@pytest.mark.parametrize("exists", [True, False])
def test_a_link_that_leads_out_is_named_and_not_followed(tmp_path: Path, below: str, exists: bool) -> None:
    root, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    (root / "images").mkdir(parents=True)
    if exists:
        elsewhere.mkdir()
    (root / "images/link").symlink_to("../../elsewhere")
    with pytest.raises(ImageError) as caught:
        write_atomically(root / "images/link" / below / "a.txt", b"", root)
    assert str(caught.value) == (
        f"{root}/images/link: leads out of the output folder, to '{elsewhere}'; remove this link, or "
        "write the output there directly (-p)"
    )
    assert not elsewhere.exists() or not [*elsewhere.iterdir()]


def test_links_that_stay_inside_and_the_folder_itself_may_be_links(tmp_path: Path) -> None:
    real = tmp_path / "real"
    (real / "big").mkdir(parents=True)
    (real / "images").symlink_to("big")
    (tmp_path / "out").symlink_to(real)
    write_atomically(tmp_path / "out/images/new/a.txt", b"a", tmp_path / "out")
    assert (real / "big/new/a.txt").read_bytes() == b"a"


def test_a_link_in_place_of_a_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "out/a.txt").symlink_to("../precious")
    write_atomically(tmp_path / "out/a.txt", b"new", tmp_path / "out")
    assert (tmp_path / "precious").read_text() == "precious"
    assert (tmp_path / "out/a.txt").read_text() == "new"


def test_dots_behind_a_link_do_not_lead_out(tmp_path: Path) -> None:
    (tmp_path / "away/deep").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/link").symlink_to("../away/deep")
    with pytest.raises(ImageError, match="leads out of the output folder"):
        write_atomically(tmp_path / "out/link/../a.txt", b"", tmp_path / "out")
    assert not (tmp_path / "away/a.txt").exists()


def test_links_in_a_circle_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(ImageError, match="cannot be written: "):
        write_atomically(tmp_path / "a/file", b"", tmp_path)
