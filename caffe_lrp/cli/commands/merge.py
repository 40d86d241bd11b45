"""``caffe-lrp merge``: one database out of those of shards."""

import argparse
import sys

from caffe_lrp.cli.terminal import say
from caffe_lrp.errors import ExitCode
from caffe_lrp.messages import counted
from caffe_lrp.model.explainer import read_labels
from caffe_lrp.outputs.database import input_path_of
from caffe_lrp.outputs.merge import merge_databases
from caffe_lrp.outputs.project import write_project


def merge(options: argparse.Namespace) -> int:
    """Join databases, and say into which."""
    labels = read_labels(options.labels) if options.labels else ()  # not only after an hour's work
    count = merge_databases(options.shards, options.out, allow_missing=options.allow_missing)
    say(f"{counted(count, 'database')} joined in {options.out}", sys.stdout)
    if input_path_of(options.out).exists():
        path = write_project(
            options.out.parent, options.out, labels, name=options.out.stem, model="Caffe net", method="LRP"
        )
        say(f"project for ViRelAy: {path}", sys.stdout)
    return ExitCode.DONE
