"""Values of options."""

import os
import subprocess
import sys
from typing import get_args

import pytest

from caffe_lrp.cli.commands.run_list import demo_parser, list_parser
from caffe_lrp.cli.options import DTYPES
from caffe_lrp.outputs.encoding import Dtype

GIBIBYTE = 2**30
#: Without these, nothing is explained.
MUST = ("-c", "config.txt", "-f", "list.txt")


def value_of(option: str, text: str) -> object:
    return vars(list_parser().parse_args([f"{option}={text}"]))[option.strip("-")]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4G", 4 * GIBIBYTE),
        ("1.5G", 3 * GIBIBYTE // 2),
        ("800M", 800 * 2**20),
        (".5g", GIBIBYTE // 2),
        ("2 GiB", 2 * GIBIBYTE),
        ("3000kB", 3000 * 2**10),
        ("1T", 1024 * GIBIBYTE),
    ],
)
def test_amounts_of_memory_are_a_number_and_a_unit(text: str, size: int) -> None:
    assert value_of("--memory", text) == size


@pytest.mark.parametrize("text", ["4", "G", "-1G", "1,5G", "4 gigs", "0G", "1e9M", "nanG", ""])
def test_other_amounts_of_memory_are_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        value_of("--memory", text)
    assert "must be a number and a unit, such as 800M or 1.5G" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--batch", "--threads", "--top"])
@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", "", "１"])
def test_counts_are_whole_numbers_from_one_on(
    option: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert value_of(option, "+12") == 12
    with pytest.raises(SystemExit):
        list_parser().parse_args([f"{option}={text}"])
    assert "must be a whole number, at least 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "text", "complaint"),
    [
        *((option, "9" * 5000, "of at most 18 digits") for option in ("--batch", "--top", "--max-failures")),
        ("--memory", "9" * 400 + "G", "must be at most 1048576T"),
        ("--memory", "1048577T", "must be at most 1048576T"),
    ],
)  # fmt: skip
def test_numbers_beyond_all_machines_are_refused(
    option: str, text: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        list_parser().parse_args([f"{option}={text}"])
    assert complaint in capsys.readouterr().err


def test_absurd_numbers_of_threads_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert value_of("--threads", "1024") == 1024
    with pytest.raises(SystemExit):
        value_of("--threads", "1025")
    assert "'1025' must be at most 1024" in capsys.readouterr().err


def test_an_absurd_number_of_best_classes_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert value_of("--top", "10000") == 10000
    with pytest.raises(SystemExit):
        value_of("--top", "1000000000000")
    assert "'1000000000000' must be at most 10000" in capsys.readouterr().err


def test_formulas_stand_between_commas() -> None:
    assert list_parser().parse_args(["--formula", "100"]).formulas == (100,)
    assert list_parser().parse_args(["--formula", "0, 100,102"]).formulas == (0, 100, 102)
    assert list_parser().parse_args(["--formula", "gamma-all,2"]).formulas == ("gamma-all", 2)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("1.5", "'1.5' must be the number or the name of a formula, such as 100 or epsilon-plus\n"),
        ("0,a b", "such as 100 or epsilon-plus; write several, separated by commas, such as 0,100\n"),
        ("ε", "must be the number or the name of a formula"),
        ("1" * 19, "must have at most 18 digits"),
        ("0,,2", "write several, separated by commas"),
        ("0,2,0", "'0,2,0' lists formula 0 twice"),
        ("2,+2", "lists formula 2 twice"),
        ("deep-taylor,2,deep-taylor", "lists formula deep-taylor twice"),
    ],
)
def test_other_lists_of_formulas_are_refused(
    text: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        list_parser().parse_args(["--formula", text])
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "text", "attribute", "value"),
    [
        ("--eps", "0.5", "epsilon", 0.5),
        ("--epsilon", "0.5", "epsilon", 0.5),
        ("--beta", "2", "beta", 2.0),
        ("--gamma", ".1", "gamma", 0.1),
        ("--quirks", "corrected", "quirks", "corrected"),
        ("--start-layer", "fc8", "start_layer", "fc8"),
        ("--first-layer", "3", "first_layer", 3),
        ("--head", "prob", "head", "prob"),
        ("--switch-layer", "-1", "switch_layer", -1),
        ("--input-size", "13x11", "input_size", (13, 11)),
        ("--formula", "gamma-all", "formulas", ("gamma-all",)),
    ],
)
def test_a_key_is_set_by_its_name_and_by_a_shorter_one(
    option: str, text: str, attribute: str, value: object
) -> None:
    given, unless = (vars(list_parser().parse([*MUST, *more])) for more in ([f"{option}={text}"], []))
    assert unless[attribute] is None
    assert given == unless | {attribute: value}


def test_of_two_spellings_the_last_one_counts() -> None:
    assert list_parser().parse([*MUST, "--eps=1", "--epsilon=2"]).epsilon == 2.0
    assert list_parser().parse([*MUST, "--epsilon=2", "--eps=1"]).epsilon == 1.0


def test_the_drop_in_has_the_defaults_of_the_other_program() -> None:
    ours = vars(list_parser().parse_args([]))
    its = vars(demo_parser().parse_args(["c", "f", "p"]))
    places = {"config", "filelist", "prepath", "is_demo"}
    assert {name: its[name] for name in ours.keys() - places} == {
        name: ours[name] for name in ours.keys() - places
    }
    assert (str(its["config"]), str(its["filelist"]), its["prepath"], its["is_demo"]) == ("c", "f", "p", True)


def test_options_are_read_without_loading_a_library() -> None:
    code = "import sys, caffe_lrp.cli.options; sys.exit(bool({'numpy', 'numba', 'cv2'} & {*sys.modules}))"
    subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": ":".join(sys.path)}, check=True
    )


def test_values_that_the_help_knows_without_loading_what_they_stand_for_are_all_of_them() -> None:
    assert get_args(Dtype) == DTYPES
