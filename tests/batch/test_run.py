"""A run over a list in this process: its events, and that it prints nothing."""

import json
import shutil
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from command_line import CONFIG, DATA, listing

from caffe_lrp.batch import run as running
from caffe_lrp.batch.events import (
    Advanced,
    Ended,
    Event,
    Finished,
    LargeImage,
    ProjectWritten,
    Resumed,
    Settling,
    Started,
)
from caffe_lrp.batch.options import RunOptions
from caffe_lrp.batch.preparation import PreparedRun, prepare_run
from caffe_lrp.batch.run import explain_list
from caffe_lrp.batch.shards import Shard
from caffe_lrp.config import read_config
from caffe_lrp.errors import ExitCode, OutputError, UsageError
from caffe_lrp.model import schedule
from caffe_lrp.model.settings import ModelSettings
from caffe_lrp.sources.filelist import read_filelist

LINES = ("images/set/square.jpg 3", "images/set/missing.png 1", "images/set/tall.png -1")


@dataclass
class Request:
    """A request to end that a test makes."""

    requested: bool = False
    at_once: bool = False

    def is_requested(self) -> bool:
        return self.requested

    def finishing(self) -> AbstractContextManager[None]:
        return nullcontext()


@pytest.fixture(autouse=True)
def _in_the_folder_of_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(DATA)


def prepared(
    folder: Path, *lines: str, environment: dict[str, str] | None = None, **options: Any
) -> PreparedRun:
    given: dict[str, Any] = {"outputs": ("top10",), "prepath": str(folder), "threads": 1, "batch_size": 1}
    entries = read_filelist(listing(folder, *(lines or LINES)))
    config = read_config(CONFIG, {})
    settings = ModelSettings(**config.model_arguments())
    given |= {"output_root": config.output_root, "path_root": config.path_root}
    return prepare_run(RunOptions(**given | options), settings, entries, environment or {})


def untold(event: Event) -> None:
    raise AssertionError(f"nobody has to be told of {event}")


def events_of(run: PreparedRun) -> list[Event]:
    return list(explain_list(run, Request(), untold))


def kinds_of(events: list[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


def last(events: list[Event]) -> Ended:
    assert isinstance(events[-1], Ended)
    return events[-1]


def test_a_run_tells_of_its_maps_in_order_and_prints_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = events_of(prepared(tmp_path))
    assert kinds_of(events) == ["Started", "Finished", "Finished", "Finished", "Settling", "Ended"]
    assert events[0] == Started(3)
    finished = [event for event in events if isinstance(event, Finished)]
    assert [event.outcome.job.line for event in finished] == [1, 2, 3]
    assert [event.outcome.is_done for event in finished] == [True, False, True]
    assert [event.failed for event in finished] == [0, 1, 1]
    assert "missing.png" in finished[1].outcome.error
    ended = last(events)
    assert (ended.total, ended.done, ended.failed, ended.left, ended.made, ended.failures) == (
        3,
        2,
        1,
        0,
        2,
        1,
    )
    assert (ended.folder, ended.was_interrupted) == (f"{tmp_path}/out/images/set", False)
    assert ended.exit_code == ExitCode.IMAGES_FAILED
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "")


def test_the_same_run_goes_on_and_does_only_what_is_missing(tmp_path: Path) -> None:
    events_of(prepared(tmp_path))
    events = events_of(prepared(tmp_path))
    assert events[:3] == [Resumed(3, 2, 1, 0, 0, 0), Started(0), Settling()]
    assert (last(events).made, last(events).folder) == (0, "")
    (tmp_path / "out/images/set/tall.png_top10scores.txt").unlink()
    events = events_of(prepared(tmp_path, retry_failed=True))
    assert events[0] == Resumed(total=3, done=1, failed=0, vanished=1, passed_over=0, left=2)
    assert [event.outcome.job.line for event in events if isinstance(event, Finished)] == [2, 3]


#: Batches of an image each: neighbours differ.
MANY = [f"images/set/{name} {number}" for number in range(6) for name in ("square.jpg", "tall.png")]


def test_a_request_to_end_leaves_the_rest_for_later(tmp_path: Path) -> None:
    request, events = Request(), []
    for event in explain_list(prepared(tmp_path, *MANY, suffix_target=True), request, untold):
        events.append(event)
        request.requested |= isinstance(event, Finished)
    ended = last(events)
    assert (ended.was_interrupted, ended.exit_code) == (True, ExitCode.INTERRUPTED)
    assert 0 < ended.made < 12
    assert ended.left == 12 - ended.made
    assert json.loads((tmp_path / "out/summary.json").read_text())["interrupted"]
    resumed = events_of(prepared(tmp_path, *MANY, suffix_target=True))[0]
    assert resumed == Resumed(12, ended.made, 0, 0, 0, ended.left)


@pytest.mark.parametrize(
    ("failed", "left", "was_interrupted", "code"),
    [
        (0, 0, False, ExitCode.DONE),
        (0, 0, True, ExitCode.DONE),
        (2, 0, False, ExitCode.IMAGES_FAILED),
        (2, 0, True, ExitCode.IMAGES_FAILED),
        (0, 3, False, ExitCode.IMAGES_FAILED),
        (0, 3, True, ExitCode.INTERRUPTED),
        (2, 3, True, ExitCode.INTERRUPTED),
    ],
)
def test_a_run_is_interrupted_only_if_something_is_left(
    failed: int, left: int, was_interrupted: bool, code: ExitCode
) -> None:
    ended = Ended(9, 9 - failed - left, failed, left, 1, failed, 1.0, 0.5, 0.0, "", {}, "", was_interrupted)
    assert ended.exit_code == code


def test_events_that_nobody_wants_any_more_end_the_run_in_good_order(tmp_path: Path) -> None:
    events = explain_list(prepared(tmp_path, *MANY, suffix_target=True), Request(), untold)
    assert [type(next(events)) for _ in range(3)] == [Started, Finished, Finished]
    events.close()
    resumed = events_of(prepared(tmp_path, *MANY, suffix_target=True))[0]
    assert isinstance(resumed, Resumed)
    assert resumed.done >= 2
    assert not [*(tmp_path / "out").glob(".caffe-lrp-*")]


def test_a_run_stops_after_so_many_failures(tmp_path: Path) -> None:
    lines = (
        "images/set/no.png 1",
        "images/set/square.jpg 1",
        "images/set/none.png 1",
        "images/set/tall.png 1",
    )
    ended = last(events_of(prepared(tmp_path, *lines, max_failures=2)))
    assert (ended.failed, ended.failures, ended.was_interrupted) == (2, 2, False)
    assert ended.left >= 1
    assert ended.exit_code == ExitCode.IMAGES_FAILED


def test_how_far_it_is_is_told_now_and_then_but_not_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_SECONDS_BETWEEN_REPORTS", 0.0)
    events = events_of(prepared(tmp_path))
    told = [event for event in events if isinstance(event, Advanced)]
    assert [(event.total, event.finished, event.failed) for event in told] == [(3, 1, 0), (3, 2, 1)]
    assert all(event.per_second > 0 and event.seconds_left > 0 for event in told)
    assert kinds_of(events)[1:5] == ["Finished", "Advanced", "Finished", "Advanced"]


def test_of_a_large_image_is_told_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "_LEAST_FOR_IMAGES", 1)
    told: list[Event] = []
    events = explain_list(prepared(tmp_path, LINES[0], memory=1), Request(), told.append)
    assert next(events) == Started(1)
    assert not told
    assert isinstance(next(events), Finished)
    assert isinstance(told[0], LargeImage)
    assert told[0].note.startswith("images/set/square.jpg: loading it takes about ")
    events.close()


def test_a_project_comes_after_the_database_is_closed(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    run = prepared(tmp_path, LINES[0], outputs=("h5",), input_dataset=True)
    events = events_of(run)
    assert kinds_of(events) == ["Started", "Finished", "Settling", "Ended", "ProjectWritten"]
    assert events[-1] == ProjectWritten(tmp_path / "out/project.yaml")


def test_files_that_vanish_during_the_run_are_an_error_after_its_end(tmp_path: Path) -> None:
    events = explain_list(prepared(tmp_path, LINES[0]), Request(), untold)
    seen = []
    with pytest.raises(OutputError, match="files of 1 map, of 1 that this run has made, are gone"):
        for event in events:
            seen.append(event)
            if isinstance(event, Finished):
                shutil.rmtree(tmp_path / "out/images")
    assert kinds_of(seen) == ["Started", "Finished", "Settling", "Ended"]


def test_the_part_of_the_list_may_come_from_the_environment(tmp_path: Path) -> None:
    task = {"ID": "1", "MIN": "0", "MAX": "1", "STEP": "1", "COUNT": "2"}
    environment = {f"SLURM_ARRAY_TASK_{name}": value for name, value in task.items()}
    run = prepared(tmp_path, environment=environment, shard="auto")
    assert run.task.shard == Shard(1, 2)
    with pytest.raises(UsageError, match="this is not a task of a Slurm array job"):
        prepared(tmp_path, shard="auto")


def test_a_check_names_the_jobs_that_will_fail_and_describes_no_run(tmp_path: Path) -> None:
    run = prepared(tmp_path, *LINES, "images/set/tall.png 99", dry_run=True, suffix_target=True)
    assert [(job.line, fault.partition(":")[0]) for job, fault in run.foreseeable_faults()] == [
        (2, "images/set/missing.png"),
        (4, "class 99 does not exist"),
    ]
    assert run.task.description == {}
    assert not (tmp_path / "out").exists()
