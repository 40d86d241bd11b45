"""The manual and the help: what they show, how it is laid out, and what is suggested."""

import argparse
import re
import sys
from pathlib import Path

import pytest
from command_line import run

from caffe_lrp.cli import chapters as manual
from caffe_lrp.cli.chapters import OTHER_WORDS, SYNONYMS, chapters
from caffe_lrp.cli.commands import COMMANDS, parser_of
from caffe_lrp.cli.commands.run_list import list_parser
from caffe_lrp.cli.markdown import render
from caffe_lrp.cli.options import HelpFormatter, Parser
from caffe_lrp.cli.pager import page
from caffe_lrp.cli.suggestions import near_option, near_word
from caffe_lrp.outputs.kinds import OUTPUTS
from caffe_lrp.relevance.formulas import FORMULAS
from caffe_lrp.rendering.colour_maps import COLOUR_MAPS

#: Columns of an option's help behind its name, where both have a line of 80 columns.
ROOM = 54

SOURCE = """\
# A *title* with `code`
<!-- generated -->
Some **bold words** and `--an option`, [a chapter](nets.md),
[a page](https://example.org/x) and 2 * 3 * 4, a\\*b.

- one item
  that goes on

      code of it
- another
1. first
   - inner

```
| no table |
```

| a | long column |
| --- | --- |
| `x\\|y` | one two three four five six seven |

> quoted
"""
PLAIN = """\
A title with code

Some bold words and --an option, a
chapter, a page
(https://example.org/x) and 2 * 3 * 4,
a*b.

* one item that goes on

      code of it

* another
1. first
   * inner

    | no table |

a    long column
---  ---------------------------------
x|y  one two three four five six seven

    quoted
"""


def test_markdown_is_laid_out_for_a_terminal() -> None:
    assert render(SOURCE, 38) == PLAIN


def test_on_a_terminal_headings_and_code_are_bold_and_no_style_goes_beyond_its_word() -> None:
    styled = render("# A title\n\nsome `two words`", 8, is_styled=True)
    assert styled == "\x1b[1mA\x1b[0m \x1b[1mtitle\x1b[0m\n\nsome \x1b[1mtwo\x1b[0m\n\x1b[1mwords\x1b[0m\n"


TABLE = """\
| option | meaning |
| --- | --- |
| --threads-of-all | how many threads compute; each takes whole batches |"""


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (70, ["--threads-of-all  how many threads compute; each takes whole batches"]),
        (55, ["--threads-of-all  how many threads compute; each takes", " " * 18 + "whole batches"]),
        (40, ["--threads-of-all", "    how many threads compute; each takes", "    whole batches"]),
    ],
)
def test_a_table_that_is_too_wide_is_wrapped_or_becomes_a_list(width: int, lines: list[str]) -> None:
    assert render(TABLE, width).splitlines()[-len(lines) :] == lines


@pytest.mark.parametrize("topic", chapters())
def test_every_chapter_is_readable_in_80_columns(topic: str) -> None:
    chapter = chapters()[topic]
    assert chapter.source.startswith("# ")
    assert chapter.summary.endswith(".")
    text = render(chapter.source)
    running = [line for line in text.splitlines() if not line.startswith("    ")]
    assert [line for line in running if len(line) > 80 and " " in line.strip()] == []
    assert [line for line in running if any(mark in line for mark in ("`", "**", "](", "<!--", "|--"))] == []


def test_help_lists_topics_and_commands_and_shows_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nets.md").write_text("# Nets\n\nWhich *nets* can be\nexplained.\n\nMore.\n")
    monkeypatch.setattr(manual, "_FOLDER", tmp_path)
    listed = [line.split(maxsplit=1) for line in run("help").stdout.splitlines()]
    assert ["nets", "Which nets can be explained."] in listed
    assert {*COMMANDS} <= {words[0] for words in listed if words}
    assert run("help", "nets").stdout == "Nets\n\nWhich nets can be explained.\n\nMore.\n"
    assert run("help", "merge").stdout == run("merge", "--help").stdout


def test_words_that_readers_look_up_lead_to_the_chapter_that_has_them() -> None:
    words = [(topic, word) for topic, text in SYNONYMS.items() for word in text.split()]
    synonyms = {word for _, word in words}
    assert len(synonyms) == len(words)
    assert {*OTHER_WORDS.values()} <= synonyms
    assert not {*synonyms, *OTHER_WORDS} & {*chapters(), *COMMANDS}
    assert not synonyms & {*OTHER_WORDS}
    for topic, word in words:
        assert re.search(rf"\b{word}", chapters()[topic].source, re.IGNORECASE), (topic, word)
    shown = run("help", "Citation")
    assert shown.stdout == run("help", "formulas").stdout
    assert shown.stderr == "caffe-lrp: note: 'Citation' is in the chapter 'formulas'\n"


# --- Options ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parser", [list_parser(), *map(parser_of, COMMANDS)], ids=lambda parser: parser.prog)
def test_every_option_has_a_help_of_one_line(parser: Parser) -> None:
    formatter = HelpFormatter("")
    for action in parser._actions:
        if not action.option_strings:
            continue
        assert action.help, action
        assert action.help != argparse.SUPPRESS, action
        assert len(action.help) <= ROOM, action.help
        assert len(formatter._format_action_invocation(action)) <= 80 - ROOM - 4, action


@pytest.mark.parametrize(
    ("option", "names"), [("--formula", FORMULAS), ("--outputs", OUTPUTS), ("--cmap", COLOUR_MAPS)]
)
def test_help_as_a_value_lists_all_values_a_line_each(option: str, names: dict[object, object]) -> None:
    for arguments in ([option, "help"], ["-c", "none.txt", f"{option}=help"]):
        result = run(*arguments)
        assert (result.returncode, result.stderr) == (0, "")
        lines = result.stdout.splitlines()
        assert max(map(len, lines)) <= 80
        assert (
            lines[2 : lines.index("")]
            == [line for line in lines[2:] if line and line[0] != " "][: len(names)]
        )
        assert [line.split()[0] for line in lines[2 : 2 + len(names)]] == [str(name) for name in names]


@pytest.mark.parametrize(
    ("option", "suggestion"),
    [
        ("--gama", "; did you mean '--gamma'?"),
        ("--over", "; did you mean '--overwrite'?"),
        ("--labels", "; caffe-lrp explain, caffe-lrp init, caffe-lrp import and caffe-lrp merge have it"),
        (
            "--label",
            "; caffe-lrp explain, caffe-lrp init, caffe-lrp import and caffe-lrp merge have --labels",
        ),
        ("--cnap", "; did you mean '--cmap'?"),
        ("--verbosity", "; did you mean '--verbose'?"),
        ("--colour", ""),
        ("--mean", ""),
    ],
)
def test_an_option_is_suggested_that_is_near_or_that_another_command_has(
    option: str, suggestion: str
) -> None:
    assert near_option(option, list_parser()) == suggestion


def test_a_word_is_near_one_that_it_begins_or_that_is_spelt_nearly_so() -> None:
    assert near_word("conv", ["convert-config", "merge"]) == "; did you mean 'convert-config'?"
    assert near_word("rendre", ["render", "merge"]) == "; did you mean 'render'?"
    assert near_word("co", ["convert-config", "merge"]) == ""


# --- The pager ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pager", "is_terminal", "is_paged"),
    [
        ("pager --plain", True, True),
        ("pager --plain", False, False),
        ("none", True, False),
        ("cat", True, False),
    ],
)
def test_long_texts_go_through_the_pager_of_a_terminal(
    pager: str, is_terminal: bool, is_paged: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "pager").write_text(f'#!/bin/sh\n(echo "$@"; cat) > {tmp_path}/paged\n')
    (tmp_path / "pager").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("PAGER", pager)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("LINES", "10")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal, raising=False)
    text = "".join(f"line {number}\n" for number in range(20))
    page(text)
    assert capsys.readouterr().out == ("" if is_paged else text)
    assert (tmp_path / "paged").exists() == is_paged
    if is_paged:
        assert (tmp_path / "paged").read_text() == f"--plain\n{text}"
