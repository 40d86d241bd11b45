"""The command line: what it prints, where it writes, how it ends."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from command_line import CONFIG, DATA, config, files_below, listing, run, run_demo

from caffe_lrp import __version__
from caffe_lrp.errors import ExitCode
from caffe_lrp.kernels._jit import CACHE_FOLDER

SUFFIXES = ["_as_inputted_into_the_dnn.png", "_heatmap.png", "_rawhm.txt", "_top10scores.txt"]


def on_a_terminal(arguments: list[str], environment: dict[str, str], stream: str = "stderr") -> bytes:
    """What the command writes to one of its streams if that, and only that, is a terminal."""
    ours, its = os.openpty()
    command = [sys.executable, "-m", "caffe_lrp", *arguments]
    others = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")}
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: its}
    subprocess.run(command, cwd=DATA, env=others | environment, check=False, **streams)  # type: ignore[call-overload]
    os.close(its)
    written = os.read(ours, 100_000)
    os.close(ours)
    return written


def names(stem: str, suffixes: Iterable[str] = SUFFIXES) -> list[str]:
    return sorted(stem + suffix for suffix in suffixes)


def assert_clean(result: subprocess.CompletedProcess[str]) -> None:
    assert "Traceback" not in result.stderr
    assert "Warning" not in result.stderr


def test_four_files_an_image_are_written_below_the_prepath(tmp_path: Path) -> None:
    result = run("-c", CONFIG, "-f", listing(tmp_path, "images/set/square.jpg 3"), "-p", tmp_path / "o")
    assert (result.returncode, result.stderr) == (0, "")
    assert files_below(tmp_path / "o") == names("out/images/set/square.jpg")


@pytest.mark.parametrize("binary", ["default_minimal", "parallel_minimal"])
def test_minimal_output_is_the_two_text_files(tmp_path: Path, binary: str) -> None:
    result = run(
        "-c", CONFIG, "-f", listing(tmp_path, "images/set/square.jpg 3"), "-p", tmp_path, "-b", binary
    )
    assert result.returncode == 0
    assert files_below(tmp_path / "out") == names("images/set/square.jpg", ["_rawhm.txt", "_top10scores.txt"])


def test_whole_batches_give_the_numbers_of_single_images(tmp_path: Path) -> None:
    batched = tmp_path / "vgg.prototxt"
    batched.write_text((DATA / "models/vgg.prototxt").read_text().replace("dim: 1 ", "dim: 3 "))
    single, whole = tmp_path / "single", tmp_path / "whole"
    images = [
        f"images/set/{name} -1" for name in ("wide.png", "square.jpg", "missing.png", "tall.png", "frame.gif")
    ]
    path = listing(tmp_path, *images)
    assert run("-c", CONFIG, "-f", path, "-p", single).returncode == 4
    changed = config(tmp_path, param_file=batched)
    assert run("-c", changed, "-f", path, "-p", whole, "-b", "parallel").returncode == 4
    assert files_below(single) == files_below(whole)
    for name in files_below(single):
        if name.endswith("_rawhm.txt"):
            one, other = (np.array((root / name).read_text().split()[3:], float) for root in (single, whole))
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(one).max())


def test_a_bad_image_costs_no_other_its_result(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no image at all")
    path = listing(
        tmp_path,
        "images/set/missing.png -1",
        "images/set/square.jpg 3",
        "images/set/wide.png 12",
        "elsewhere/other.png 1",
        f"{tmp_path}/broken.jpg 1",
        "images/set/tall.png -2",
    )
    result = run("-c", CONFIG, "-f", path, "-p", tmp_path / "o")
    assert result.returncode == 4
    assert_clean(result)
    assert files_below(tmp_path / "o") == names("out/images/set/square.jpg") + names(
        "out/images/set/tall.png"
    )
    complaints = result.stderr.splitlines()
    assert len(complaints) == 4
    assert f"{path}: line 1: images/set/missing.png" in complaints[0]
    assert "line 3:" in complaints[1]
    assert "class 12 does not exist" in complaints[1]
    assert "line 4:" in complaints[2]
    assert "standalone_rootpath" in complaints[2]
    assert "line 5:" in complaints[3]
    assert result.stdout.startswith("2 of 6 heatmaps made in ")
    assert "4 failed" in result.stdout


def test_suffix_target_puts_formula_and_class_into_the_names(tmp_path: Path) -> None:
    path = listing(tmp_path, *(f"images/set/square.jpg {target}" for target in (3, 5, -1, -2)))
    result = run(
        "-c",
        CONFIG,
        "-f",
        path,
        "-p",
        tmp_path,
        "--suffix-target",
        "--formula",
        "100",
        "-b",
        "default_minimal",
    )
    assert result.returncode == 0
    labels = {name.split("square.jpg_")[1].rsplit("_", 1)[0] for name in files_below(tmp_path / "out")}
    assert labels == {"f100_c3", "f100_c5", "f100_top1", "f100_top5"}


def test_several_formulas_make_a_map_each_with_the_numbers_of_runs_of_their_own(tmp_path: Path) -> None:
    path = listing(tmp_path, "images/set/square.jpg 3", "images/set/tall.png -2")
    options = ["-b", "default_minimal", "--batch", 2]
    together = run("-c", CONFIG, "-f", path, "-p", tmp_path / "all", "--formula", "0,100,99", *options)
    assert (together.returncode, together.stderr) == (0, "")
    assert together.stdout.startswith("6 of 6 heatmaps made in ")
    for code in (0, 100, 99):
        alone = ["-p", tmp_path / "one", "--formula", code, "--suffix-target"]
        assert run("-c", CONFIG, "-f", path, *alone, *options).returncode == 0
    assert files_below(tmp_path / "all") == files_below(tmp_path / "one")
    # A forward pass that sums positive and negative products for one formula rounds differently for all.
    for name in files_below(tmp_path / "all"):
        first, second = (
            np.array((tmp_path / run_name / name).read_text().split(), float) for run_name in ("all", "one")
        )
        np.testing.assert_allclose(first, second, rtol=0, atol=1e-5 * np.abs(second[3:]).max())


def test_top_makes_a_map_for_each_of_the_best_classes(tmp_path: Path) -> None:
    top = run(
        "-c", CONFIG, "-f", listing(tmp_path, "images/set/square.jpg 3"), "-p", tmp_path / "top", "--top", 2
    )
    assert (top.returncode, top.stderr) == (0, "")
    stem = "out/images/set/square.jpg_f2"
    assert files_below(tmp_path / "top") == names(f"{stem}_rank1") + names(f"{stem}_rank2")
    scores = (tmp_path / "top" / f"{stem}_rank1_top10scores.txt").read_text().splitlines()
    second = scores[1].split()[0]
    by_number = listing(tmp_path, f"images/set/square.jpg {second}")
    run("-c", CONFIG, "-f", by_number, "-p", tmp_path / "number", "--suffix-target", "-b", "default_minimal")
    one = tmp_path / "top" / f"{stem}_rank2_rawhm.txt"
    other = tmp_path / "number" / f"{stem}_c{second}_rawhm.txt"
    assert one.read_bytes() == other.read_bytes()


def test_an_image_listed_twice_has_its_best_classes_once(tmp_path: Path) -> None:
    path = listing(tmp_path, "images/set/square.jpg 3", "images/set/square.jpg 5")
    result = run("-c", CONFIG, "-f", path, "-p", tmp_path, "--top", 2)
    assert result.returncode == 3
    assert "lines 1 and 2: " in result.stderr
    assert "remove the duplicate lines:" in result.stderr


def test_a_line_that_fails_in_every_way_is_complained_of_once(tmp_path: Path) -> None:
    path = listing(tmp_path, "images/set/none.jpg 3", "images/set/square.jpg 12", "images/set/tall.png 3")
    result = run("-c", CONFIG, "-f", path, "-p", tmp_path, "--formula", "0,100", "-b", "default_minimal")
    assert result.returncode == 4
    assert [line.split(": ")[1] for line in result.stderr.splitlines()] == ["line 1", "line 2"]
    assert result.stdout.startswith("2 of 6 heatmaps made in ")
    dry = run("-c", CONFIG, "-f", path, "--formula", "0,100", "--dry-run")
    assert [line.split(": ")[1] for line in dry.stderr.splitlines()] == ["line 1", "line 2"]


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        (["--threads", 3, "--batch", 1], "batches of 1, 2 at a time on 3 threads, about "),
        (["--threads", 1], "batches of 2, 1 at a time on 1 thread, about "),
        (["--threads", 1, "-b", "parallel_minimal"], "batches of 1, 1 at a time on 1 thread, about "),
        (["--threads", 2, "-b", "parallel", "--batch", 9], "batches of 9, 1 at a time on 2 threads, about "),
    ],
)
def test_verbose_says_how_images_are_dealt_out(tmp_path: Path, options: list[object], chosen: str) -> None:
    path = listing(tmp_path, "images/set/square.jpg 3", "images/set/tall.png 3")
    result = run("-c", CONFIG, "-f", path, "-p", tmp_path, "-v", *options)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[0].startswith(chosen)


def test_less_memory_than_needed_is_noted_and_no_reason_to_fail(tmp_path: Path) -> None:
    path = listing(tmp_path, "images/set/square.jpg 3", "images/set/tall.png 3")
    result = run("-c", CONFIG, "-f", path, "-p", tmp_path, "--memory", "1M")
    assert result.returncode == 0
    assert re.fullmatch(
        r"caffe-lrp: note: a single image takes about \d+ MB, more than the 1 MB that may be used "
        r"\(--memory\); trying it anyway\n",
        result.stderr,
    )
    assert run("-c", CONFIG, "-f", path, "-p", tmp_path, "--memory", "1M", "--quiet").stderr == ""


def test_the_nets_own_batch_size_is_cut_to_what_fits_with_a_note(tmp_path: Path) -> None:
    batched = tmp_path / "vgg.prototxt"
    batched.write_text((DATA / "models/vgg.prototxt").read_text().replace("dim: 1 ", "dim: 100000 "))
    changed, path = config(tmp_path, param_file=batched), listing(tmp_path, "images/set/square.jpg 3")
    result = run("-c", changed, "-f", path, "-p", tmp_path, "-b", "parallel", "--memory", "2G")
    assert result.returncode == 0
    assert "note: batches of 100000 images take about " in result.stderr


def test_image_root_is_the_folder_of_relative_image_paths(tmp_path: Path) -> None:
    path = listing(tmp_path, "set/square.jpg 3", f"{DATA}/images/set/tall.png 3")
    result = run(
        "-c",
        config(tmp_path, standalone_rootpath="set"),
        "-f",
        path,
        "-p",
        tmp_path,
        "--image-root",
        DATA / "images",
    )
    assert result.returncode == 0
    assert files_below(tmp_path / "out") == names("set/square.jpg") + names("set/tall.png")


def test_a_path_root_found_only_in_the_image_root_counts(tmp_path: Path) -> None:
    path = listing(tmp_path, "set/square.jpg 3")
    result = run("-c", CONFIG, "-f", path, "-p", tmp_path, "--image-root", "images")
    assert result.returncode == 0
    assert files_below(tmp_path / "out") == names("images/set/square.jpg")


def test_prepath_and_an_absolute_output_root_are_joined_as_text(tmp_path: Path) -> None:
    absolute = config(tmp_path, standalone_outpath=tmp_path / "absolute")
    result = run("-c", absolute, "-f", listing(tmp_path, "images/set/square.jpg 3"), "-p", "/")
    assert result.returncode == 0
    assert files_below(tmp_path / "absolute") == names("images/set/square.jpg")


def test_the_drop_in_puts_prepath_before_image_paths_and_overwrites(tmp_path: Path) -> None:
    path = listing(tmp_path, "set/square.jpg 3", "set/square.jpg 5")
    result = run_demo(config(tmp_path, standalone_outpath=tmp_path / "o"), path, "images")
    assert result.returncode == 0
    assert result.stdout.startswith("2 of 2 heatmaps made in ")
    assert files_below(tmp_path / "o") == names("images/set/square.jpg")
    alone = config(tmp_path, standalone_outpath=tmp_path / "alone")
    assert run_demo(alone, listing(tmp_path, "set/square.jpg 5"), "images").returncode == 0
    for name in names("images/set/square.jpg"):
        assert (tmp_path / "o" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


def test_the_drop_in_says_what_it_puts_before_paths_if_an_image_is_missing(tmp_path: Path) -> None:
    path = listing(tmp_path, "images/set/square.jpg 3")
    note = "caffe-lrp: note: PREPATH, here 'images', is put before every path in the list"
    missing = run_demo(config(tmp_path, standalone_outpath=tmp_path / "o"), path, "images")
    assert missing.returncode == ExitCode.IMAGES_FAILED
    assert "images/images/set/square.jpg: " in missing.stderr
    assert note in missing.stderr
    path.write_text("images/none.jpg 3\n")
    missing = run_demo(config(tmp_path, standalone_outpath=tmp_path / "o"), path, "./")
    assert missing.returncode == ExitCode.IMAGES_FAILED
    assert "PREPATH" not in missing.stderr


def test_options_replace_values_of_the_config(tmp_path: Path) -> None:
    path = listing(tmp_path, "images/set/square.jpg 3")
    case = DATA / "configs" / "vgg_104_eps1_beta1_aux4.txt"
    one, other = tmp_path / "one", tmp_path / "other"
    assert run("-c", case, "-f", path, "-p", one).returncode == 0
    overrides = ["--formula", 104, "--eps", 1, "--beta", 1, "--switch-layer", 4, "--first-layer", 0]
    assert run("-c", CONFIG, "-f", path, "-p", other, *overrides, "--start-layer", -2).returncode == 0
    name = "out/images/set/square.jpg_rawhm.txt"
    assert (one / name).read_bytes() == (other / name).read_bytes()


def test_corrected_quirks_change_the_result(tmp_path: Path) -> None:
    path = listing(tmp_path, "images/set/wide.png 3")
    for mode in ("reference", "corrected"):
        assert run("-c", CONFIG, "-f", path, "-p", tmp_path / mode, "--quirks", mode).returncode == 0
    name = "out/images/set/wide.png_rawhm.txt"
    assert (tmp_path / "reference" / name).read_bytes() != (tmp_path / "corrected" / name).read_bytes()


def test_first_layer_writes_the_relevance_of_that_layers_bottom(tmp_path: Path) -> None:
    path = listing(tmp_path, "images/set/square.jpg 3")
    result = run("-c", CONFIG, "-f", path, "-p", tmp_path, "--first-layer", 5, "-b", "default")
    assert result.returncode == 0
    head = (tmp_path / "out/images/set/square.jpg_rawhm.txt").read_text().split("\n")[:2]
    assert head == ["12", "20 20"]


def test_dry_run_prints_a_line_a_layer_and_writes_nothing(tmp_path: Path) -> None:
    result = run(
        "-c", CONFIG, "-f", listing(tmp_path, "images/set/square.jpg 3"), "-p", tmp_path / "o", "--dry-run"
    )
    assert result.returncode == 0
    rows = [line.split() for line in result.stdout.splitlines()]
    assert rows[0] == ["index", "name", "type", "output", "rule"]
    assert rows[1] == ["0", "conv1_1", "Convolution", "1×10×40×40", "αβ"]
    assert rows[2][-1] == "pass"
    assert rows[-1] == ["17", "prob", "Softmax", "1×12", "-"]
    assert len(rows) == 19
    assert not (tmp_path / "o").exists()


def test_a_dry_run_has_a_column_for_every_formula() -> None:
    result = run("-c", CONFIG, "--dry-run", "--formula", "0,11")
    rows = [re.split("  +", line) for line in result.stdout.splitlines()]
    assert rows[0] == ["index", "name", "type", "output", "rule of 0", "rule of 11"]
    assert rows[1][-2:] == ["ε", "gradient"]
    assert rows[-1][-2:] == ["-", "-"]


def test_a_dry_run_does_without_a_list() -> None:
    result = run("-c", CONFIG, "--dry-run")
    assert (result.returncode, result.stderr) == (0, "")
    assert len(result.stdout.splitlines()) == 19


def test_a_dry_run_names_the_lines_that_will_fail(tmp_path: Path) -> None:
    lines = (
        "images/set/square.jpg 3",
        "images/set/none.jpg 3",
        "elsewhere/a.jpg 1",
        "images/set/tall.png 12",
    )
    path = listing(tmp_path, *lines)
    result = run("-c", CONFIG, "-f", path, "--dry-run")
    assert result.returncode == 4
    assert [line.split(": ")[1] for line in result.stderr.splitlines()] == ["line 2", "line 3", "line 4"]
    for reason in ("No such file", "does not contain", "class 12 does not exist"):
        assert reason in result.stderr
    really = run("-c", CONFIG, "-f", path, "-p", tmp_path)
    assert [line.split(": ")[1] for line in really.stderr.splitlines()] == ["line 2", "line 3", "line 4"]


def test_settings_seldom_meant_are_noted_unless_quiet(tmp_path: Path) -> None:
    path = listing(tmp_path, "images/set/square.jpg 3")
    changed = config(tmp_path, numclasses=5)
    result = run("-c", changed, "-f", path, "-p", tmp_path)
    assert result.returncode == 0
    assert result.stderr == (
        f"caffe-lrp: note: {changed}: line 23: numclasses is 5, but the net has 12 outputs; outputs from 5 "
        "on are not ranked, and -1 and -2 never choose them\n"
    )
    assert run("-c", changed, "-f", path, "-p", tmp_path, "--quiet").stderr == ""


def test_quiet_prints_nothing_and_verbose_a_line_an_image(tmp_path: Path) -> None:
    path = listing(tmp_path, "images/set/square.jpg 3")
    quiet = run("-c", CONFIG, "-f", path, "-p", tmp_path, "--quiet")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    verbose = run("-c", CONFIG, "-f", path, "-p", tmp_path / "other", "-v")
    assert "\nimages/set/square.jpg: best class" in verbose.stdout


def test_version(tmp_path: Path) -> None:
    assert run("--version", cwd=tmp_path).stdout == f"caffe-lrp {__version__}\n"


def test_help_names_every_exit_code() -> None:
    text = run("--help").stdout
    assert max(map(len, text.splitlines())) <= 80
    for code in ExitCode:
        assert re.search(rf"\b{code.value} \w", text)


@pytest.mark.slow
def test_the_introduction_needs_no_reader() -> None:
    assert shell(f"{sys.executable} -m caffe_lrp >&-").returncode == 2


def test_names_of_images_do_not_steer_the_terminal(tmp_path: Path) -> None:
    path = listing(tmp_path, "images/\x1b[2Jgone.jpg 3")
    result = run("-c", CONFIG, "-f", path, "-p", tmp_path)
    assert (result.returncode, "\x1b" in result.stderr) == (4, False)
    assert "line 1: images/\\x1b[2Jgone.jpg: " in result.stderr


def test_without_arguments_it_explains_itself() -> None:
    result = run()
    assert result.returncode == 2
    assert result.stderr == ""
    for command in ("explain", "init", "-c net.yaml --images photos/", "-c net.yaml -f list.txt", "help"):
        assert f"caffe-lrp {command} " in result.stdout
    assert "scripts/demo.sh" in result.stdout
    assert "--help" in result.stdout


def test_the_summary_says_what_was_written_where(tmp_path: Path) -> None:
    path = listing(tmp_path, "images/set/square.jpg 3", "images/set/tall.png 3")
    result = run("-c", CONFIG, "-f", path, "-p", tmp_path, "-b", "default_minimal")
    first = r"2 of 2 heatmaps made in \d+\.\d s; [\d.e+]+ a second, most time spent in [a-z ]+, "
    loading = r"quirks reference; after \d\.\d s of loading"
    assert re.fullmatch(first + loading, result.stdout.splitlines()[0])
    assert result.stdout.splitlines()[1:] == [
        f"files in {tmp_path}/out/images/set: _top10scores.txt, _rawhm.txt"
    ]


@pytest.mark.parametrize(("outpath", "folder"), [("o", "o"), (".", ".")])
def test_the_summary_names_the_folder_that_has_all_files(tmp_path: Path, outpath: str, folder: str) -> None:
    (tmp_path / "models").symlink_to(DATA / "models")
    for name in ("images1", "images2"):
        (tmp_path / name).mkdir()
        shutil.copy(DATA / "images/set/square.jpg", tmp_path / name)
    changed = config(tmp_path, standalone_outpath=outpath)
    path = listing(tmp_path, "images1/square.jpg 3", "images2/square.jpg 3")
    result = run("-c", changed, "-f", path, "-b", "default_minimal", cwd=tmp_path)
    assert result.stdout.splitlines()[1].startswith(f"files in {folder}: ")


def test_no_folder_is_named_when_nothing_was_written(tmp_path: Path) -> None:
    result = run("-c", CONFIG, "-f", listing(tmp_path, "images/none.jpg 3"), "-p", tmp_path)
    assert "files in" not in result.stdout


@pytest.mark.parametrize(
    ("environment", "has_colour"),
    [({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_colour_is_for_terminals_that_want_it(environment: dict[str, str], has_colour: bool) -> None:
    word = b"\x1b[31merror\x1b[0m" if has_colour else b"error"
    written = on_a_terminal(["-c", "none.txt", "-f", "none.txt"], environment)
    assert written.startswith(b"caffe-lrp: " + word + b": none.txt: the config file cannot be read")


@pytest.mark.slow
def test_the_summary_is_green_if_all_is_well_else_red(tmp_path: Path) -> None:
    for name, colour, code in (("square.jpg", b"\x1b[32m1", 0), ("none.jpg", b"\x1b[31m0", 4)):
        path = listing(tmp_path, f"images/set/{name} 3")
        arguments = ["-c", str(CONFIG), "-f", str(path), "-p", str(tmp_path)]
        written = on_a_terminal(arguments, {"TERM": "xterm"}, stream="stdout")
        assert colour + b" of 1 heatmaps made\x1b[0m in " in written, code


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["-c", "x"], "-f/--filelist is missing"),
        (["-f", "x"], "-c/--config is missing"),
        (["-c", "x", "-f", "y", "-b", "fast"], "'fast' is not one of default, default_minimal, parallel"),
        (["-c", "x", "-f", "y", "--eps", "-1"], "must be at least 0"),
        (["-c", "x", "-f", "y", "--formula", "1.5"], "must be the number or the name of a formula"),
        (["-c", "x", "-f", "y", "-p", ""], "is empty"),
        (["-c", "x", "-f", "y", "--first", "3"], "there is no option --first; did you mean '--first-layer'?"),
        (["--confg", "x", "-f", "y"], "there is no option --confg; did you mean '--config'?"),
        (["-c", "x", "-f", "y", "--formla=0"], "there is no option --formla; did you mean '--formula'?"),
        (["-c", "x", "-f", "y", "z"], "'z' needs an option before it; write -c CONFIG -f FILELIST"),
        (["inspect.txt", "x"], "'inspect.txt' needs an option before it"),
        (["-c", "x", "-f", "y", "statsu"], "'statsu' needs an option before it"),
        (["help", "rendre"], "there is no topic or command 'rendre'; did you mean 'render'?"),
        (
            ["merge", "--cmap", "jet"],
            "there is no option --cmap; caffe-lrp explain, caffe-lrp render and caffe-lrp -c have it",
        ),
        (["convert", "x"], "there is no command 'convert'; did you mean 'convert-config'?"),
        (["-c", "x", "-f", "y", "--epsilon", "-1"], "argument --epsilon: '-1' must be at least 0"),
        (["-c", "x", "-f", "y", "--quirks", "none"], "one of reference, corrected"),
        (["-c", "x", "-f", "y", "--quiet", "-v"], "not allowed"),
    ],
)
def test_wrong_usage_ends_with_its_own_code(arguments: list[str], complaint: str) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert complaint in result.stderr
    assert_clean(result)


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_with_its_own_code_and_whole_files(
    tmp_path: Path, sent: signal.Signals
) -> None:
    links = tmp_path / "images"
    links.mkdir()
    lines = []
    for index in range(2000):
        (links / f"{index}.jpg").symlink_to(DATA / "images/set/square.jpg")
        lines.append(f"{links}/{index}.jpg 3")
    command = [sys.executable, "-m", "caffe_lrp", "-c", str(CONFIG), "-f", str(listing(tmp_path, *lines))]
    process = subprocess.Popen(
        [*command, "-p", str(tmp_path / "o")],
        cwd=DATA,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not list((tmp_path / "o").rglob("*_rawhm.txt")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, sent)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in complaint
    assert "Traceback" not in complaint
    assert not [name for name in files_below(tmp_path / "o") if name.endswith(".tmp")]


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a shell line in which {lrp} stands for the command with the conformance config."""
    line = command.format(lrp=f"{sys.executable} -m caffe_lrp -c {CONFIG}")
    return subprocess.run(
        ["bash", "-c", line],
        cwd=DATA,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("redirection", ["-v | true", "-v > /dev/full", ">&-", "2>&-", "> /dev/full 2>&-"])
def test_all_images_are_explained_even_if_nobody_can_read_the_output(
    tmp_path: Path, redirection: str
) -> None:
    path = listing(
        tmp_path, *(f"images/set/{name} 3" for name in ("square.jpg", "tall.png", "none.png", "wide.png"))
    )
    result = shell(f"{{lrp}} -f {path} -p {tmp_path} {redirection}; exit ${{{{PIPESTATUS[0]}}}}")
    assert result.returncode == 4
    assert ("standard output cannot be written" in result.stderr) == (
        redirection in (">&-", "-v > /dev/full")
    )
    assert len([name for name in files_below(tmp_path / "out") if name.endswith("_rawhm.txt")]) == 3
    assert_clean(result)


@pytest.mark.slow
@pytest.mark.parametrize("options", ["--help", "--dry-run -f {path}", "-v -f {path} -p {out}"])
def test_terminals_without_our_characters_get_escapes(tmp_path: Path, options: str) -> None:
    path = listing(tmp_path, "images/set/square.jpg 3")
    command = options.format(path=path, out=tmp_path)
    result = shell(f"{{lrp}} {command}", PYTHONIOENCODING="ascii:strict")
    assert (result.returncode, result.stderr) == (0, "")


def test_image_names_in_any_encoding_are_explained_and_printed(tmp_path: Path) -> None:
    image = os.fsencode(tmp_path / "images") + b"/caf\xe9.jpg"
    (tmp_path / "images").mkdir()
    Path(os.fsdecode(image)).symlink_to(DATA / "images/set/square.jpg")
    path = tmp_path / "list.txt"
    path.write_bytes(image + b" 3\n" + image + b".missing 3\n")
    result = run("-c", CONFIG, "-f", path, "-p", tmp_path / "o", "-v")
    assert result.returncode == 4
    assert len(files_below(tmp_path / "o")) == 4
    assert_clean(result)


@pytest.mark.slow
def test_a_damaged_cache_of_compiled_kernels_costs_no_image(tmp_path: Path) -> None:
    """The cache is a copy of that of all tests, and some of it is damaged: compiling takes long."""
    cache, path = tmp_path / "cache", listing(tmp_path, "images/set/square.jpg 3")
    command = f"{{lrp}} -f {path} -p {tmp_path} -b default_minimal"
    assert shell(f"{{lrp}} -f {path} -p {tmp_path}/first -b default_minimal").returncode == 0
    assert CACHE_FOLDER.folder is not None
    shutil.copytree(CACHE_FOLDER.folder, cache / CACHE_FOLDER.folder.name)
    damaged = list(cache.glob("*/text.*"))
    for stored in damaged:
        stored.write_bytes(b"")
    result = shell(command, CAFFE_LRP_CACHE_DIR=str(cache))
    assert result.returncode == 0
    assert result.stderr.startswith(
        "caffe-lrp: compiling 1 kernel for this CPU, once; that takes about 1 s\n"
    )
    assert any(stored.stat().st_size for stored in damaged)


@pytest.mark.slow
@pytest.mark.parametrize("option", ["-v", "--quiet"])
def test_a_cache_of_compiled_kernels_in_another_place_is_noted_in_a_line(tmp_path: Path, option: str) -> None:
    command = f"{{lrp}} -f {listing(tmp_path, 'images/set/square.jpg 3')} -p {tmp_path} --dry-run {option}"
    result = shell(command, CAFFE_LRP_CACHE_DIR="/dev/null/cache", XDG_CACHE_HOME=str(tmp_path))
    note = (
        "caffe-lrp: note: /dev/null/cache cannot be written, so compiled kernels are kept in "
        f"{tmp_path}/caffe-lrp\n"
    )
    assert (result.returncode, result.stderr) == (0, "" if option == "--quiet" else note)


def test_paths_that_mean_the_same_file_clash(tmp_path: Path) -> None:
    path = listing(tmp_path, "images/set/square.jpg 3", "images/../images/set/square.jpg 5")
    result = run("-c", CONFIG, "-f", path, "-p", tmp_path / "o")
    assert result.returncode == 3
    assert "lines 1 and 2" in result.stderr
    repeated = listing(tmp_path, *["images/set/square.jpg 3"] * 2)
    assert "use --suffix-target" not in run("-c", CONFIG, "-f", repeated, "--suffix-target").stderr


def test_a_failing_image_changes_no_byte_of_the_others_in_its_batch(tmp_path: Path) -> None:
    batched = tmp_path / "vgg.prototxt"
    batched.write_text((DATA / "models/vgg.prototxt").read_text().replace("dim: 1 ", "dim: 3 "))
    changed = config(tmp_path, param_file=batched)
    for name, second in (("good", "tall.png"), ("bad", "missing.png")):
        path = listing(
            tmp_path, "images/set/square.jpg -1", f"images/set/{second} 3", "images/set/wide.png -2"
        )
        run("-c", changed, "-f", path, "-p", tmp_path / name, "-b", "parallel")
    for name in names("square.jpg") + names("wide.png"):
        good, bad = (tmp_path / folder / "out/images/set" / name for folder in ("good", "bad"))
        assert good.read_bytes() == bad.read_bytes()
