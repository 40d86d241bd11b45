"""What a journal may be, what is made of a damaged one, and what is on the disk before it says so."""

import json
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from database_builders import SHAPE, explanation_of
from hypothesis import given
from hypothesis import strategies as st

from caffe_lrp.batch.delivery import Delivery
from caffe_lrp.batch.job import HeatmapJob, JobOutcome, Prediction
from caffe_lrp.batch.journal import Journal, _shortened, mark_replaced
from caffe_lrp.batch.overlaps import find_overlaps
from caffe_lrp.batch.presence import absent
from caffe_lrp.batch.recorder import Recorder, _most_after
from caffe_lrp.batch.records import (
    DONE,
    FAILED,
    LONGEST_JOURNAL_LINE,
    MISSING,
    Header,
    JournalReader,
    find_journals,
)
from caffe_lrp.batch.shards import Shard
from caffe_lrp.batch.status import read_status
from caffe_lrp.cli import main as cli
from caffe_lrp.errors import OutputError
from caffe_lrp.files.atomic import make_folder, sync_files
from caffe_lrp.outputs.database import AttributionDatabase
from caffe_lrp.relevance.target import Target

FINGERPRINT = "0123456789ab"
HEADER = Header(FINGERPRINT, Shard(1, 2), jobs=9, first=4, last=9, outputs=("npy",), description={"a": 1})
NAME = f"caffe-lrp-{FINGERPRINT}-1of2.jsonl"


def journal(root: Path, *lines: object, header: Any = None) -> Path:
    """A journal with the header and these lines, given as bytes or as what JSON says."""
    first = HEADER.line if header is None else header
    path = root / NAME
    path.write_bytes(first + b"".join(map(line_of, lines)))
    return path


def line_of(line: object) -> bytes:
    return line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n"


def done(job: Any = 4, **more: Any) -> dict[str, Any]:
    return {"job": job, "status": "done", "stem": f"set/{job}", **more}


def outcome(number: int, root: Path, error: str = "") -> JobOutcome:
    job = HeatmapJob(number, number + 1, Path(f"{number}.jpg"), Target(1), 0, str(root / "set" / str(number)))
    return JobOutcome(job, error=error)


@pytest.mark.parametrize(
    "line",
    [
        b"{}\n",
        b"[]\n",
        b"17\n",
        b"null\n",
        b"\0" * 50 + b"\n",
        b"\xff\xfe\n",
        b'{"job": 5, "status": "done"\n',
        b'{"a":' * 20_000 + b"1" + b"}" * 20_000 + b"\n",
        b'{"job": 1' + b"0" * 5000 + b', "status": "done"}\n',
        b" " * (LONGEST_JOURNAL_LINE + 5) + line_of(done()),
        done(3),
        done(9),
        done(-5),
        done(4.0),
        done("4"),
        done(True),
        done(None),
        {"job": 4},
        {"status": "done"},
        {"job": 4, "status": []},
        {"job": 4, "status": {}},
        {"job": 4, "status": "perhaps"},
        done(stem=[]),
        done(stem=None),
        done(image=5),
        done(error={}),
        done(seconds="1"),
        done(time=True),
        done(time=[0]),
        b'{"job": 4, "status": "done", "time": NaN}\n',
        b'{"job": 4, "status": "done", "time": 1e999}\n',
        done(time=10**400),
        done(classes=281),
        done(classes=[281.0]),
        done(classes=[True]),
        done(classes=[-1]),
        done(classes=[2**63]),
        done(score="1"),
        done(score=None),
        b'{"job": 4, "status": "done", "score": NaN}\n',
        b'{"job": 4, "status": "done", "score": -1e999}\n',
        done(rank=0),
        done(rank=1.0),
        done(best={"281": 0.5}),
        done(best=["ab"]),
        done(best=[281, 0.5]),
        done(best=[[281]]),
        done(best=[[281, 0.5, 1]]),
        done(best=[[0.5, 281]]),
        done(best=[[281, True]]),
        done(best=[{"281": 1, "7": 2}]),
        b'{"job": 4, "status": "done", "best": [[281, Infinity]]}\n',
    ],
    ids=lambda line: repr(line)[:40],
)
def test_what_is_no_record_is_passed_over_and_counted(line: object, tmp_path: Path) -> None:
    path = journal(tmp_path, done(5), line, {"job": 6, "status": "failed", "error": "why", "image": "b"})
    with JournalReader(path) as reader:
        assert [(record.job, record.status) for record in reader.records()] == [(5, "done"), (6, "failed")]
        assert (reader.passed_over, reader.is_whole, reader.end) == (1, True, path.stat().st_size)
    (run,) = read_status(tmp_path)
    assert (run.done, run.failed, run.damaged, dict(run.reasons)) == (1, 1, 1, {"why": 1})
    assert "1 damaged line of its journal skipped" in run.as_text()
    assert (
        find_overlaps(tmp_path, Header("ba9876543210", Shard(), 1, 0, 1, ("npy",), {}), None)[0].kind == "npy"
    )
    with Journal(tmp_path, HEADER) as opened:
        assert opened.states.tolist() == [MISSING, DONE, FAILED, MISSING, MISSING]
        assert opened.passed_over == 1


def test_status_forgets_why_a_job_failed_that_was_done_later(tmp_path: Path) -> None:
    failures = [{"job": job, "status": "failed", "error": f"why {job}", "image": "b"} for job in (5, 6)]
    journal(tmp_path, *failures, done(6))
    (run,) = read_status(tmp_path)
    assert (run.done, run.failed, dict(run.reasons)) == (1, 1, {"why 5": 1})


def test_a_line_says_what_the_net_says_of_the_image_in_numbers_that_read_back(tmp_path: Path) -> None:
    """The scores are float32: 0.1, 1/3, and the least number that there is."""
    best = ((7, 0.3333333432674408), (281, 0.10000000149011612), (5, 1.401298464324817e-45))
    said = Prediction((281, 5), 0.10000000149011612, 2, best)
    unranked = Prediction((9,), float("inf"), None, best[:1])
    with Journal(tmp_path, HEADER) as opened:
        opened.record([replace(outcome(4, tmp_path), prediction=said)])
        opened.record([replace(outcome(5, tmp_path), prediction=unranked)])
        opened.record([replace(outcome(6, tmp_path, "no room"), prediction=said), outcome(7, tmp_path)])
    first, second, failed, silent = (tmp_path / NAME).read_bytes().splitlines()[1:]
    assert first.endswith(
        b'"stem": "set/4", "classes": [281, 5], "score": 0.100000001, "rank": 2, '
        b'"best": [[7, 0.333333343], [281, 0.100000001], [5, 1.40129846e-45]]}'
    )
    assert second.endswith(b'"stem": "set/5", "classes": [9], "best": [[7, 0.333333343]]}')
    assert failed.endswith(b'"error": "no room"}')
    assert silent.endswith(b'"stem": "set/7"}')
    with JournalReader(tmp_path / NAME) as reader:
        records = list(reader.records())
    assert (records[0].classes, records[0].rank) == ((281, 5), 2)
    assert {record.formula for record in records} == {"0"}
    assert np.float32(records[0].score) == np.float32(0.1)
    assert [(index, float(np.float32(score))) for index, score in records[0].best] == [*best]
    assert (records[1].score, records[1].rank) == (None, None)
    assert records[3][-4:] == ((), None, None, ())


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_every_score_reads_back_as_the_same_float32(score: float) -> None:
    assert float(np.float32(_shortened(score))) == score


OLD_HEADER = (
    b'{"fingerprint": "0123456789ab", "shard": [1, 2], "jobs": 9, "range": [4, 9], "outputs": ["npy"], '
    b'"description": {"a": 1}}\n'
)
OLD_LINE = (
    b'{"job": 5, "status": "done", "line": 6, "image": "5.jpg", "formula": 0, "target": "c1", '
    b'"seconds": 0.2965, "time": 1796041190.482, "stem": "set/5"}\n'
)
PREPROCESSING = {"mean_values": [104.0, 117.0, 123.0], "resize": "stretch"}
NEW = replace(HEADER, labels="/data/labels.txt", preprocessing=PREPROCESSING)


def test_a_journal_of_an_earlier_version_is_continued_and_keeps_its_header(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(OLD_HEADER + OLD_LINE)
    with Journal(tmp_path, NEW) as opened:
        assert opened.states.tolist() == [MISSING, DONE, MISSING, MISSING, MISSING]
        opened.record([replace(outcome(7, tmp_path), prediction=Prediction((1,), 0.5, 1, ((1, 0.5),)))])
    assert (tmp_path / NAME).read_bytes().startswith(OLD_HEADER + OLD_LINE)
    with JournalReader(tmp_path / NAME) as reader:
        assert reader.header == HEADER
        assert (reader.header.labels, reader.header.preprocessing) == ("", {})
        assert [(record.job, record.best) for record in reader.records()] == [(5, ()), (7, ((1, 0.5),))]


def test_the_header_says_where_the_labels_are_and_how_pictures_became_the_input(tmp_path: Path) -> None:
    with Journal(tmp_path, NEW) as opened:
        opened.record([outcome(5, tmp_path)])
    assert (tmp_path / NAME).read_bytes().startswith(
        OLD_HEADER[:-2] + b', "labels": "/data/labels.txt", "preprocessing": {"mean_values": '
        b'[104.0, 117.0, 123.0], "resize": "stretch"}}\n'
    )  # fmt: skip
    with JournalReader(tmp_path / NAME) as reader:
        assert reader.header == NEW
    with Journal(tmp_path, replace(NEW, labels="/elsewhere/labels.txt")) as opened:
        assert opened.count(DONE) == 1


@pytest.mark.parametrize(
    "more", [{"labels": ["a"]}, {"preprocessing": [1]}, {"labels": 1, "preprocessing": ""}]
)
def test_what_cannot_be_labels_or_preprocessing_is_dropped(more: dict[str, Any], tmp_path: Path) -> None:
    with JournalReader(journal(tmp_path, done(5), header=changed(**more))) as reader:
        assert reader.header == HEADER
        assert len(list(reader.records())) == 1


def changed(**changes: Any) -> bytes:
    return line_of(json.loads(HEADER.line) | changes)


@pytest.mark.parametrize(
    "header",
    [
        b"\n",
        b"{}\n",
        b"{" * 50_000 + b"\n",
        b'{"fingerprint": "0123456789ab"}\n',
        b" " * LONGEST_JOURNAL_LINE + HEADER.line,
        changed(range=[0, 4 * 10**9]),
        changed(range=[4, 10**30], jobs=10**30),
        changed(range=[9, 4]),
        changed(range=[-1, 4]),
        changed(range=[4, 9, 9]),
        changed(range=[4.0, 9]),
        changed(range=[False, True]),
        changed(range=None),
        changed(range=[3, 9]),
        changed(jobs="9"),
        changed(jobs=None),
        changed(shard=[0, 0]),
        changed(shard=[1, 3]),
        changed(shard={}),
        changed(fingerprint="ba9876543210"),
        changed(outputs="npy"),
        changed(outputs=[["npy"]]),
        changed(description=[]),
    ],
    ids=lambda line: line.decode()[:60].strip(),
)
def test_a_journal_that_says_nothing_of_its_run_is_neither_believed_nor_overwritten(
    header: bytes, tmp_path: Path
) -> None:
    path = journal(tmp_path, done(5), header=header)
    content = path.read_bytes()
    with pytest.raises(
        OutputError, match=f"{NAME}: is not a journal of this run, or is damaged; move or rename it"
    ):
        Journal(tmp_path, HEADER)
    assert path.read_bytes() == content
    if header != changed(range=[3, 9]):  # one of a run that might be
        with pytest.raises(OutputError, match="contains no journal of a run"):
            read_status(tmp_path)


def test_a_header_that_promises_too_much_takes_no_memory(tmp_path: Path) -> None:
    journal(tmp_path, done(4), header=changed(range=[0, 2**32], jobs=2**32))
    assert read_status(tmp_path)[0].done == 1


@pytest.mark.parametrize("count", [0, 1, 40, len(HEADER.line) - 1])
@pytest.mark.parametrize("fill", [b"", b"\0" * 7])
def test_a_header_that_was_cut_off_is_written_again(count: int, fill: bytes, tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(fill or HEADER.line[:count])
    with Journal(tmp_path, HEADER) as opened:
        assert opened.count(MISSING) == 5
    assert path.read_bytes() == HEADER.line


@pytest.mark.parametrize("count", [1, 40, len(OLD_HEADER) - 1, len(NEW.line) - 40, len(NEW.line) - 1])
def test_a_header_with_labels_that_was_cut_off_is_written_again(count: int, tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(NEW.line[:count])
    moved = replace(NEW, labels="/elsewhere/labels.txt")
    with Journal(tmp_path, moved):
        assert path.read_bytes() == moved.line


def test_a_line_that_was_cut_off_leaves_no_trace(tmp_path: Path) -> None:
    path = journal(tmp_path, done(5), line_of(done(6))[:-9])
    with JournalReader(path) as reader:
        assert (len(list(reader.records())), reader.passed_over) == (1, 0)
    with Journal(tmp_path, HEADER) as opened:
        opened.record([outcome(7, tmp_path), outcome(8, tmp_path, "no picture")])
    with JournalReader(path) as reader:
        assert [record.stem for record in reader.records()] == ["set/5", "set/7", "set/8"]
        assert reader.passed_over == 0


def test_a_hole_as_a_failing_machine_leaves_it_costs_no_line_behind_it(tmp_path: Path) -> None:
    path = journal(tmp_path, done(5), b"\0" * 3_000_000 + b"\n", done(6))
    with JournalReader(path) as reader:
        assert [record.job for record in reader.records()] == [5, 6]
        assert (reader.passed_over, reader.is_whole) == (1, True)


def test_a_file_without_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = journal(tmp_path, done(5))
    os.truncate(path, 2**42)
    with JournalReader(path) as reader:
        assert [record.job for record in reader.records()] == [5]
        assert (reader.passed_over, reader.is_whole) == (1, False)
    assert read_status(tmp_path)[0].done == 1


def test_a_file_of_nothing_but_damage_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = journal(tmp_path, done(5), *[b"{\n"] * 100_000, done(6))
    with JournalReader(path) as reader:
        assert [record.job for record in reader.records()] == [5]
        assert (reader.passed_over, reader.is_whole) == (65_536, False)
    path = journal(tmp_path, done(5), *[b"x" * 999_999 + b"\n"] * 20, done(6))
    with JournalReader(path) as reader:
        assert [record.job for record in reader.records()] == [5]
        assert (reader.passed_over, reader.is_whole) == (5, False)
    with Journal(tmp_path, HEADER) as opened:
        opened.record([outcome(7, tmp_path)])
    assert path.read_bytes().endswith(b'"stem": "set/7"}\n')


def _link(path: Path) -> None:
    path.with_name("precious").write_bytes(b"precious")
    path.symlink_to("precious")


@pytest.mark.parametrize("stands", [_link, os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_in_the_place_of_a_journal_is_left_alone(
    stands: Callable[[Path], None], tmp_path: Path
) -> None:
    stands(tmp_path / NAME)
    with pytest.raises(OutputError, match=f"{NAME}: the journal cannot be written: a .* in place of this"):
        Journal(tmp_path, HEADER)
    with pytest.raises(OutputError, match=f"{NAME}: the journal cannot be written: a .* in place of this"):
        mark_replaced(tmp_path / NAME, [4])
    assert find_journals(tmp_path) == []
    if (tmp_path / "precious").exists():
        assert (tmp_path / "precious").read_bytes() == b"precious"


def test_what_another_run_replaces_is_missing(tmp_path: Path) -> None:
    path = journal(tmp_path, done(5), line_of(done(6))[:-9])
    mark_replaced(path, [5])
    assert read_status(tmp_path)[0].replaced == 1
    with Journal(tmp_path, HEADER) as opened:
        assert opened.count(MISSING) == 5


def test_a_run_that_is_refused_leaves_no_journal_unless_somebody_wrote_into_it(tmp_path: Path) -> None:
    def refused() -> None:
        with pytest.raises(OutputError), Journal(tmp_path, HEADER):
            raise OutputError("the folder is another run's")

    refused()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match="the folder is another run's"), Journal(tmp_path, HEADER):
        shutil.rmtree(tmp_path)
        tmp_path.write_text("a file in the place of the folder")
        raise OutputError("the folder is another run's")
    tmp_path.unlink()
    tmp_path.mkdir()
    journal(tmp_path, b"damaged\n")
    refused()
    assert (tmp_path / NAME).exists()


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what was synced, in this order."""
    names: list[str] = []

    def noting(file: int) -> None:
        names.append(Path(f"/proc/self/fd/{file}").readlink().name)

    monkeypatch.setattr(os, "fsync", noting)
    return names


def test_files_are_synced_before_the_folders_that_name_them(tmp_path: Path, synced: list[str]) -> None:
    folder = tmp_path / "root/new/set"
    folder.mkdir(parents=True)
    (folder / "a").write_bytes(b"a")
    (folder.parent / "b").write_bytes(b"b")
    sync_files([str(folder / "a"), str(folder.parent / "b"), str(folder / "gone")], [tmp_path / "root"])
    assert sorted(synced[:2]) == ["a", "b"]
    assert synced[2:] == ["set", "new", "root"]


@pytest.mark.parametrize("is_synced", [True, False])
def test_what_is_settled_is_marked_in_the_database(tmp_path: Path, is_synced: bool) -> None:
    with AttributionDatabase(tmp_path / "maps.h5", SHAPE) as maps:
        maps.write(2, explanation_of(2), 2)
        assert not maps.rows_done().any()
        Delivery((), database=maps, is_synced=is_synced).settle([outcome(2, tmp_path)])
        assert maps.rows_done().nonzero()[0].tolist() == [2]


def test_a_folder_is_made_in_one_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(path: Path, *_: object) -> int:
        raise PermissionError(13, os.strerror(13), str(path))

    monkeypatch.setattr(os, "open", refusing)  # root may read everything
    make_folder(tmp_path / "a/b", is_synced=True)
    assert (tmp_path / "a/b").is_dir()


def test_a_journal_is_synced_line_by_line_unless_nobody_wants_that(tmp_path: Path, synced: list[str]) -> None:
    with Journal(tmp_path, HEADER) as opened:
        assert synced == [NAME, tmp_path.name]
        opened.record([outcome(4, tmp_path), outcome(5, tmp_path)])
        assert synced[2:] == [NAME]
    shutil.copy(tmp_path / NAME, tmp_path / "copy")
    with Journal(tmp_path, HEADER, is_synced=False) as opened:
        opened.record([outcome(6, tmp_path)])
    assert synced[3:] == []


def test_outcomes_are_noted_in_order_and_together_while_the_disk_is_slow(tmp_path: Path) -> None:
    noted: list[list[int]] = []
    may_go_on = threading.Event()

    def note(outcomes: Any) -> None:
        may_go_on.wait()
        noted.append([found.job.number for found in outcomes])

    with Recorder(note) as recorder:
        for number in range(50):
            recorder.add(outcome(number, tmp_path))
        may_go_on.set()
    assert [number for part in noted for number in part] == [*range(50)]
    assert len(noted) <= 3


def test_no_more_outcomes_wait_than_the_disk_takes_in_two_seconds() -> None:
    assert [_most_after(32, seconds) for seconds in (0.0, 0.1, 1.0, 32.0, 640.0)] == [1024, 640, 64, 2, 1]


def test_what_cannot_be_noted_ends_the_run(tmp_path: Path) -> None:
    def failing(outcomes: Any) -> None:
        raise OutputError("the disk is full")

    with pytest.raises(OutputError, match="the disk is full"), Recorder(failing) as recorder:
        recorder.add(outcome(0, tmp_path))
    with pytest.raises(OutputError, match="the disk is full"), Recorder(failing) as recorder:
        for number in range(10**6):
            recorder.add(outcome(number, tmp_path))
    with pytest.raises(ZeroDivisionError), Recorder(failing) as recorder:
        recorder.add(outcome(0, tmp_path))
        raise ZeroDivisionError


def test_a_map_is_there_if_all_its_files_are_and_none_is_empty(tmp_path: Path) -> None:
    kinds = ("heatmap", "npy", "rawhm")
    stems = [str(outcome(number, tmp_path).job.stem) for number in range(6)]
    (tmp_path / "set").mkdir()
    for stem in stems[:5]:
        for suffix in ("_heatmap.png", "_relevance.npy", "_rawhm.txt"):
            Path(f"{stem}{suffix}").write_bytes(b"content")
    (tmp_path / "set/1_heatmap.png").unlink()
    (tmp_path / "set/2_relevance.npy").write_bytes(b"")
    (tmp_path / "set/3_rawhm.txt").unlink()
    (tmp_path / "set/3_rawhm.txt").mkdir()
    (tmp_path / "set/4_rawhm.txt").rename(tmp_path / "elsewhere")
    (tmp_path / "set/4_rawhm.txt").symlink_to(tmp_path / "elsewhere")
    assert absent(stems, kinds).tolist() == [False, True, True, True, False, True]
    assert absent(stems[4:], kinds[:2]).tolist() == [False, True]
    shutil.rmtree(tmp_path / "set")
    assert absent(stems, kinds).all()
    assert absent([], kinds).tolist() == []


def test_maps_right_below_the_root_of_the_file_system_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_relevance.npy").write_bytes(b"content")
    scan = os.scandir
    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", lambda path: scan({"/": tmp_path}.get(path, path)))
        assert absent(["/a", "/b"], ["npy"]).tolist() == [False, True]


def test_status_reads_a_folder_of_hostile_journals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal(
        tmp_path, {"job": 1, "status": []}, {"job": 4, "status": "failed", "error": "\x1b[2Jred", "image": ""}
    )
    assert cli.main(["status", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "1 damaged line" in out
    assert "\x1b" not in out
