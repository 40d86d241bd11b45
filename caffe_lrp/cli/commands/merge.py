"""``caffe-lrp merge``: merges the databases of shards into one."""

import argparse
import sys
from pathlib import Path

from caffe_lrp.cli.options import Parser
from caffe_lrp.cli.terminal import say
from caffe_lrp.errors import ExitCode
from caffe_lrp.messages import counted

HELP = "Merge the databases (--outputs h5) of shards into one."


def add_arguments(parser: Parser) -> None:
    """Add the databases."""
    parser.add_argument("out", type=Path, metavar="OUT", help="the database to make")
    parser.add_argument("shards", type=Path, nargs="+", metavar="SHARD", help="databases to join")
    parser.add_argument(
        "--labels", type=Path, metavar="FILE", help="class labels, like synsetfile in a config"
    )
    parser.add_argument("--allow-missing", action="store_true", help="leave out missing maps")


def run(options: argparse.Namespace) -> int:
    """Merge databases, and report the result."""
    from caffe_lrp.model.labels import read_labels  # noqa: PLC0415 - these load NumPy and Numba
    from caffe_lrp.outputs.database import input_path_of  # noqa: PLC0415
    from caffe_lrp.outputs.merge import merge_databases  # noqa: PLC0415
    from caffe_lrp.outputs.project import write_project  # noqa: PLC0415

    options.halt.unwind()
    labels = read_labels(options.labels) if options.labels else ()  # first, as merging may take an hour
    count = merge_databases(options.shards, options.out, allow_missing=options.allow_missing)
    say(f"{counted(count, 'database')} merged into {options.out}", sys.stdout)
    if input_path_of(options.out).exists():
        path = write_project(
            options.out.parent, options.out, labels, name=options.out.stem, model="Caffe net", method="LRP"
        )
        say(f"project for ViRelAy: {path}", sys.stdout)
    return ExitCode.DONE
