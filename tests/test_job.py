"""Where the outputs of a line go, and where they can never go."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caffe_lrp.batch.job import HeatmapJob, OutputLayout
from caffe_lrp.errors import ImageError
from caffe_lrp.filelist import ListEntry, Target
from caffe_lrp.outputs.atomic import write_atomically


def job_of(path: str, path_root: str = "images", *, inside: str = "") -> HeatmapJob:
    layout = OutputLayout("", "out", path_root)
    (job,) = layout.jobs(0, ListEntry(1, path, Target(1), inside), (0,), (Target(1),))
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
        ("images/..", "the path is one of a folder"),
        ("images/../b/..", "the path is one of a folder"),
        ("images/a\0.jpg", "has a null character"),
        ("pictures/a.jpg", "the path does not contain 'images'"),
    ],
)
def test_what_would_lead_out_of_it_is_refused(path: str, fault: str) -> None:
    job = job_of(path)
    assert job.stem is None
    assert fault in job.fault


def test_a_path_of_the_folder_itself_has_no_output() -> None:
    assert "is one of a folder" in job_of(".", ".").fault
    assert "is one of a folder" in job_of("x/./.", "./").fault


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
        f"{root}/images/link: leads out of the output folder, to '{elsewhere}'; remove this link, or have "
        "the output go there in the first place (-p)"
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
