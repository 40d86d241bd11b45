"""``caffe-lrp help``: the chapters of the manual, and the help of the commands."""

import argparse
from collections.abc import Iterable

from caffe_lrp.cli.chapters import chapters, topic_of
from caffe_lrp.cli.markdown import render
from caffe_lrp.cli.options import Parser
from caffe_lrp.cli.pager import page, shows_styles
from caffe_lrp.cli.suggestions import near_word
from caffe_lrp.cli.terminal import remark, table_width, text_width
from caffe_lrp.errors import ExitCode, UsageError

from . import COMMANDS, parser_of, summaries

HELP = "Show a chapter of the manual, or the help of a command."

_EPILOG = """\
Without a topic: the list of topics and commands. On a terminal, long texts are \
shown with the program that PAGER names, or with less; PAGER=cat prints them. \
Otherwise they are printed as plain text."""
_TITLE = "caffe-lrp explains the predictions of a Caffe image classifier, pixel by pixel."


def add_arguments(parser: Parser) -> None:
    """Add the topic or command."""
    parser.epilog = _EPILOG
    parser.add_argument("word", nargs="?", metavar="TOPIC|COMMAND", help="what to show")


def run(options: argparse.Namespace) -> int:
    """Show the chapter or the help; return the exit code."""
    topics = chapters()
    if options.word is None:
        _show(_list_of_topics())
    elif options.word in topics:
        _show(topics[options.word].source)
    elif options.word in COMMANDS:
        parser_of(options.word).print_help()
    elif (topic := topic_of(options.word)) in topics:
        remark(f"note: '{options.word}' is in the chapter '{topic}'")
        _show(topics[topic].source)
    else:
        known = [*topics, *COMMANDS]
        raise UsageError(
            f"there is no topic or command '{options.word}'{near_word(options.word, known)}; "
            "caffe-lrp help lists them all"
        )
    return ExitCode.DONE


def _list_of_topics() -> str:
    """Return the list of topics and commands, in Markdown."""
    topics = [(chapter.topic, chapter.summary) for chapter in chapters().values()]
    return f"""\
# {_TITLE}

**Topics of the manual:** caffe-lrp help TOPIC

{_table(topics)}

**Commands:** caffe-lrp COMMAND ... (each has its own --help)

{_table(summaries().items())}

Without a command, a list or a folder of images is explained: caffe-lrp --help

All formulas, outputs and colour maps: --formula help, --outputs help, --cmap help
"""


def _table(rows: Iterable[tuple[str, str]]) -> str:
    return "\n".join(["| | |", *(f"| **{word}** | {text} |" for word, text in rows)])


def _show(source: str) -> None:
    """Show Markdown."""
    page(render(source, text_width(), table_width=table_width(), is_styled=shows_styles()))
