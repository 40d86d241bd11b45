"""``caffe-lrp status``: the progress of the runs in a folder."""

import argparse
import json
import sys
from pathlib import Path

from caffe_lrp.cli.options import Parser
from caffe_lrp.cli.terminal import say
from caffe_lrp.errors import ExitCode

HELP = (
    "Show the progress of the runs in a folder. It counts maps done, failed and missing, from their journals."
)


def add_arguments(parser: Parser) -> None:
    """Add the folder."""
    parser.add_argument(
        "folder", type=Path, metavar="DIR", help="output folder: -p joined with standalone_outpath"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for other programs")


def run(options: argparse.Namespace) -> int:
    """Print the state of every run; failed and missing maps do not change the exit code."""
    from caffe_lrp.batch.status import read_status  # noqa: PLC0415 - it loads NumPy

    runs = read_status(options.folder)
    if options.json:
        say(json.dumps([state.as_json() for state in runs], indent=2), sys.stdout)
    else:
        for state in runs:
            say(state.as_text(), sys.stdout)
    return ExitCode.DONE
