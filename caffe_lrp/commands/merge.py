"""``caffe-lrp merge``: one database out of those of shards."""

import argparse
import sys

from caffe_lrp.errors import ExitCode
from caffe_lrp.outputs.merge import merge_databases
from caffe_lrp.terminal import say


def merge(options: argparse.Namespace) -> int:
    """Join databases, and say into which."""
    merge_databases(options.shards, options.out, allow_missing=options.allow_missing)
    say(f"{len(options.shards)} databases joined in {options.out}", sys.stdout)
    return ExitCode.DONE
