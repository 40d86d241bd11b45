"""``caffe-lrp status``: how far the runs in a folder are."""

import argparse
import json
import sys

from caffe_lrp.batch.status import read_status
from caffe_lrp.cli.terminal import say
from caffe_lrp.errors import ExitCode


def show_status(options: argparse.Namespace) -> int:
    """Print the state of every run; failures and what is missing do not change the exit code."""
    runs = read_status(options.folder)
    if options.json:
        say(json.dumps([run.as_json() for run in runs], indent=2), sys.stdout)
    else:
        for run in runs:
            say(run.as_text(), sys.stdout)
    return ExitCode.DONE
