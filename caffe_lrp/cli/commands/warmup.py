"""``caffe-lrp warmup``: compile everything ahead, so that no run has to."""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from caffe_lrp.cli.options import Parser
from caffe_lrp.cli.terminal import remark, say
from caffe_lrp.errors import ExitCode, UsageError

HELP = "Compile everything ahead, so that no run has to."


def add_arguments(parser: Parser) -> None:
    """Add the CPU."""
    parser.epilog = (
        "For machines of several kinds, name a CPU that all of them can stand in for,\n"
        "such as x86-64-v3, and set CAFFE_LRP_CPU to the same name when they run."
    )
    parser.add_argument("--cpu", metavar="NAME", help="CPU to compile for (default: this machine's)")


def run(options: argparse.Namespace) -> int:
    """Compile all kernels by explanations that need every one of them; say how to make use of it."""
    if options.cpu:
        os.environ["CAFFE_LRP_CPU"] = options.cpu
    # What compiles reads the environment when it is imported.
    from tqdm import tqdm  # noqa: PLC0415

    from caffe_lrp.cli.warmup import prepare_warm_up  # noqa: PLC0415
    from caffe_lrp.kernels._jit import CACHE_FOLDER, mark_cache_complete  # noqa: PLC0415

    options.halt.unwind()
    notices = "; ".join(CACHE_FOLDER.notices)
    if CACHE_FOLDER.folder is None:
        raise UsageError(f"nothing is compiled ahead: {notices}")
    if notices:
        remark(f"note: {notices}")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="caffe-lrp-") as folder, options.halt.finishing():
        parts = prepare_warm_up(Path(folder))
        for part in tqdm(parts, "compiling", disable=not sys.stderr.isatty(), dynamic_ncols=True):
            part.run()
            if options.halt.requested:
                raise KeyboardInterrupt
    mark_cache_complete()
    say(f"compiled in {time.monotonic() - started:.0f} s, kept in {CACHE_FOLDER.folder}", sys.stdout)
    names = ("CAFFE_LRP_CPU", "CAFFE_LRP_CACHE_DIR")
    settings = [f"{name}={os.environ[name]}" for name in names if os.environ.get(name)]
    if settings:
        say(f"to run with it, set {' and '.join(settings)}", sys.stdout)
    return ExitCode.DONE
