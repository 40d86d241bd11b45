"""``caffe-lrp -c … -f … -p …``: explain a list of images. What can be checked in no time is checked here."""

import argparse
import os
from pathlib import Path
from typing import Any

from caffe_lrp.cli.halt import Halt
from caffe_lrp.config import KEYS, read_config
from caffe_lrp.relevance.target import Target
from caffe_lrp.sources.collection import read_images
from caffe_lrp.sources.filelist import EntryList, read_filelist


def explain(options: argparse.Namespace, halt: Halt) -> int:
    """Explain all images of the list; the exit code."""
    config = read_config(options.config, _overrides(options))
    entries: EntryList | None = None
    if options.images:
        output_root = Path(f"{options.prepath}/{config.output_root}")
        entries = read_images(options.images, options.target or Target(-1), output_root)
    elif options.filelist:
        entries = read_filelist(options.filelist)
    # Numba and OpenCV take a second to load: not for --help, nor for a wrong config.
    from caffe_lrp.batch.preparation import prepare_run  # noqa: PLC0415
    from caffe_lrp.batch.run import explain_list  # noqa: PLC0415
    from caffe_lrp.cli.reporter import Reporter  # noqa: PLC0415
    from caffe_lrp.cli.run_options import run_options  # noqa: PLC0415

    halt.unwind()
    run = prepare_run(run_options(options), config, entries, os.environ)
    reporter = Reporter(run, quiet=options.quiet, verbose=options.verbose)
    reporter.show_notes()
    if options.dry_run:
        return reporter.show_check()
    return reporter.follow(explain_list(run, halt, reporter.show))


def _overrides(options: argparse.Namespace) -> dict[str, Any]:
    """Values given on the command line, by attribute of the config."""
    given = vars(options) | {"formula": options.formulas and options.formulas[0]}
    return {key.attribute: given[key.attribute] for key in KEYS if given.get(key.attribute) is not None}
