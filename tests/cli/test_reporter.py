"""What people read of a run, word for word."""

import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest
from command_line import CONFIG, DATA, listing

from caffe_lrp.batch.claim import Holder
from caffe_lrp.batch.events import (
    Advanced,
    Compiling,
    Ended,
    Event,
    Finished,
    LargeImage,
    ProjectWritten,
    Resumed,
    Settling,
    Started,
    Waiting,
)
from caffe_lrp.batch.job import JobOutcome, Prediction
from caffe_lrp.batch.preparation import PreparedRun, prepare_run
from caffe_lrp.cli.commands.run_list import list_parser
from caffe_lrp.cli.reporter import Reporter
from caffe_lrp.cli.run_options import model_settings, run_options
from caffe_lrp.config import read_config
from caffe_lrp.errors import ExitCode
from caffe_lrp.kernels.ahead import Compiled
from caffe_lrp.model.attempt import StageTimes
from caffe_lrp.model.darkness import Cause, Darkness
from caffe_lrp.sources.filelist import read_filelist

Output = pytest.CaptureFixture[str]
LINES = (
    "images/set/square.jpg 3",
    "images/set/missing.png 1",
    "images/set/tall.png -1",
    "images/set/wide.png 5",
)
FAULT = "images/set/missing.png: there is no such file"
DARK = Darkness(Cause.NOTHING_POSITIVE, (1,), -2.5)
BATCHES = "batches of 4, 1 at a time on 1 thread"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PreparedRun:
    monkeypatch.chdir(DATA)
    given = list_parser().parse_args(["-p", "o", "--threads", "1", "--outputs", "rawhm,heatmap"])
    entries = read_filelist(listing(tmp_path, *LINES))
    config = read_config(CONFIG, {})
    return prepare_run(run_options(given, config), model_settings(given, config), entries, {})


def of_best(index: int) -> Prediction:
    return Prediction((index,), 0.5, 1, ((index, 0.5),))


def outcomes_of(run: PreparedRun) -> list[JobOutcome]:
    """A map, a failure, a dark map, and the same failure of another line twice."""
    first, second, third, fourth = run.task.work
    return [
        JobOutcome(first, StageTimes(decode=0.25, write=0.5), prediction=of_best(3)),
        JobOutcome(second, error=FAULT),
        JobOutcome(third, StageTimes(forward=1.0), prediction=of_best(11), darkness=DARK),
        JobOutcome(fourth, error="broken"),
        JobOutcome(fourth, error="broken"),
    ]


def events_of(run: PreparedRun) -> list[Event]:
    outcomes = outcomes_of(run)
    failures = [
        sum(not outcome.is_done for outcome in outcomes[: place + 1]) for place in range(len(outcomes))
    ]
    return [
        Resumed(6, 1, 2, 3, 1, 5),
        Started(5),
        *map(Finished, outcomes, failures),
        Advanced(1000, 31, 1, 3.1, 312.6),
        Settling(),
        Ended(
            6,
            3,
            3,
            0,
            2,
            3,
            1.75,
            0.5,
            0.0,
            "forward",
            {Cause.NOTHING_POSITIVE: 1},
            "o/out/images/set",
            False,
        ),
        ProjectWritten(Path("o/project.yaml")),
    ]


def follow(run: PreparedRun, events: Sequence[Event], **loudness: bool) -> ExitCode:
    def told() -> Generator[Event, None, None]:
        yield from events

    return Reporter(run, {}, **({"quiet": False, "verbose": False} | loudness)).follow(told())


def source_of(run: PreparedRun) -> str:
    assert run.entries is not None
    return run.entries.source


def said(run: PreparedRun) -> str:
    source = source_of(run)
    return f"""\
caffe-lrp: note: continuing an earlier run: 1 of 6 maps are done, 2 failed (--retry-failed tries them \
again), the files of 3 are gone, 1 damaged line of its journal skipped; 5 left
{source}: line 2: images/set/missing.png: there is no such file
{source}: line 4: images/set/wide.png: broken
caffe-lrp: 31 of 1,000 maps (3 %), 1 failed, 3.1 a second, 5 min left
caffe-lrp: note: maps that show little or nothing: 1 of 2 (under 0.5 % of the pixels reach 20 % of \
the brightest colour)
  {source}: line 3: images/set/tall.png: no pixel has positive relevance; relevance starts at -2.5
what to try:
  no positive relevance: _heatmap.png is scaled by the largest positive value, and there is none, so it is \
black; explain another class, or draw both signs (--outputs render)
"""


SUMMARY = """\
3 of 6 heatmaps made in 1.8 s, 1 of them in earlier runs, 3 failed (reasons above); 2.86 a second, \
most time spent in the forward pass, quirks reference; after 0.5 s of loading
files in o/out/images/set: _heatmap.png, _rawhm.txt
project for ViRelAy: o/project.yaml
"""


def test_a_run_is_told_as_it_happens(run: PreparedRun, capsys: Output) -> None:
    assert follow(run, events_of(run)) == ExitCode.IMAGES_FAILED
    printed = capsys.readouterr()
    assert printed.err == said(run)
    assert printed.out == SUMMARY


def test_verbose_adds_a_line_for_every_map_and_how_they_are_dealt_out(
    run: PreparedRun, capsys: Output
) -> None:
    assert follow(run, events_of(run), verbose=True) == ExitCode.IMAGES_FAILED
    printed = capsys.readouterr()
    assert printed.err == said(run)
    dealt, maps = printed.out.split("\n", 1)
    assert dealt.startswith(BATCHES)
    assert maps == (
        """\
images/set/square.jpg: best class 3 (n00000004 class3, synthetic label 3), 0.75 s, files o/out/images/set/\
square.jpg_*
images/set/tall.png: best class 11 (n00000012 class11, synthetic label 11), 1.00 s, files o/out/images/set/\
tall.png_*; no pixel has positive relevance; relevance starts at -2.5
"""
        + SUMMARY
    )


def test_quiet_leaves_failures_and_what_ended_the_run(run: PreparedRun, capsys: Output) -> None:
    holder = Holder("node7", "", 12, "")
    ended = Ended(6, 2, 1, 3, 2, 1, 1.0, 0.5, 0.0, "", {}, "", True)
    told = [Waiting(holder, 60.0), LargeImage("large"), *events_of(run)[:7], Settling(), ended]
    assert follow(run, told, quiet=True) == ExitCode.INTERRUPTED
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        *(line for line in said(run).splitlines() if ": line 2: " in line or ": line 4: " in line),
        "caffe-lrp: interrupted: 3 left; run the same command again to continue",
    ]


@pytest.mark.parametrize(
    ("event", "code", "out", "err"),
    [
        (
            Waiting(Holder("node7", "", 12, ""), 60.0),
            ExitCode.DONE,
            "",
            "caffe-lrp: note: o/out: process 12 on node7 was writing the same files less than 60 s ago; "
            "waiting up to 60 s to see whether it still is\n",
        ),
        (LargeImage("a.jpg: large"), ExitCode.DONE, "", "caffe-lrp: note: a.jpg: large\n"),
        (
            Ended(4, 4, 0, 0, 0, 0, 0.04, 0.5, 0.0, "", {}, "", False),
            ExitCode.DONE,
            "nothing left to do: 4 of 4 heatmaps are already in o/out\n",
            "",
        ),
        (
            Ended(4, 0, 1, 3, 0, 1, 0.04, 0.5, 0.0, "", {}, "", False),
            ExitCode.IMAGES_FAILED,
            "0 of 4 heatmaps made in 0.0 s, 1 failed (reasons above); after 0.5 s of loading\n",
            "caffe-lrp: stopped after 1 failure (--max-failures), 3 left; run the same command again "
            "to continue; --retry-failed tries the failed ones again\n",
        ),
    ],
)
def test_what_single_events_read_like(
    event: Event, code: ExitCode, out: str, err: str, run: PreparedRun, capsys: Output
) -> None:
    assert follow(run, [event]) == code
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == (out, err)


COMPILING = [
    Compiling(Compiled(*step))
    for step in ((0, 17, 0.0, 8.2), (0, 17, 0.2, 8.0), (9, 17, 5.0, 3.4), (17, 17, 8.6, 0))
]
COMPILED = "caffe-lrp: compiled 17 kernels in 9 s; later runs skip this\n"


def test_a_log_says_when_compiling_begins_and_when_it_ends(run: PreparedRun, capsys: Output) -> None:
    follow(run, COMPILING)
    begins = "caffe-lrp: compiling 17 kernels for this CPU, once; that takes about 8 s\n"
    assert capsys.readouterr() == ("", begins + COMPILED)
    follow(run, COMPILING, quiet=True)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_shows_how_many_kernels_are_compiled_and_how_long_the_others_take(
    run: PreparedRun, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    follow(run, COMPILING)
    shown = capsys.readouterr().err
    assert "\rcaffe-lrp: compiling for this CPU, once: 9 of 17, about 3 s left" in shown
    assert "that takes" not in shown
    assert shown.endswith(f"\r{COMPILED}")


def test_kernels_that_are_still_searched_for_are_not_counted(
    run: PreparedRun, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    searching = Compiling(Compiled(1, 2, 1.0, 1.0, is_counted=False))
    follow(run, [searching, *COMPILING])
    assert capsys.readouterr().err.startswith("caffe-lrp: compiling 17 kernels for this CPU, once; ")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    follow(run, [searching])
    said = "caffe-lrp: compiling for this CPU, once: 1 done, checking what else the net needs"
    assert said in capsys.readouterr().err


def test_no_bar_is_shown_where_nothing_is_left_to_do(
    run: PreparedRun, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    ended = Ended(4, 3, 1, 0, 0, 0, 0.0, 0.5, 0.0, "", {}, "", False)
    assert follow(run, [Resumed(4, 3, 1, 0, 0, 0), Started(0), Settling(), ended]) == ExitCode.IMAGES_FAILED
    said = "nothing left to do: 3 of 4 heatmaps are already in o/out, 1 failed"
    assert capsys.readouterr() == (f"{said} (--retry-failed tries them again)\n", "")


def test_time_spent_on_compiling_is_told_apart(run: PreparedRun, capsys: Output) -> None:
    ended = Ended(4, 4, 0, 0, 4, 0, 2.0, 0.5, 8.6, "forward", {}, "", False)
    follow(run, [ended])
    said = capsys.readouterr().out.splitlines()[0]
    assert said.startswith("4 of 4 heatmaps made in 2.0 s; 2 a second, most time spent in the forward pass")
    assert said.endswith("; after 0.5 s of loading and 8.6 s of compiling")


def test_a_bar_counts_maps_and_failures_and_replaces_the_lines(
    run: PreparedRun, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    follow(run, events_of(run))
    shown = capsys.readouterr().err
    assert "5/5 [" in shown
    assert "failed=3" in shown
    assert "31 of 1,000 maps" not in shown
    assert f"{source_of(run)}: line 2: {FAULT}\n" in shown


def test_the_events_are_closed_and_the_bar_with_them_where_printing_fails(run: PreparedRun) -> None:
    closed: list[Any] = []

    def told() -> Generator[Event, None, None]:
        try:
            yield Started(2)
            yield Finished(outcomes_of(run)[0], 0)
        finally:
            closed.append(True)

    class BrokenError(Exception):
        """Stands for a signal that comes while something is printed."""

    class Broken(Reporter):
        def show(self, event: Event) -> None:
            super().show(event)
            if isinstance(event, Finished):
                raise BrokenError

    with pytest.raises(BrokenError):
        Broken(run, {}, quiet=False, verbose=False).follow(told())
    assert closed == [True]
