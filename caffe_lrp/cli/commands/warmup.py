"""``caffe-lrp warmup``: compiles everything in advance, so that no run has to."""

import argparse
import os
import sys
import time
from contextlib import closing

from caffe_lrp.cli.options import Parser
from caffe_lrp.cli.terminal import remark, say
from caffe_lrp.errors import ExitCode, UsageError

HELP = "Compile everything in advance, so that no run has to."


def add_arguments(parser: Parser) -> None:
    """Add the CPU."""
    parser.epilog = (
        "For machines of several kinds, name a CPU whose instructions all of them have,\n"
        "such as x86-64-v3, and set CAFFE_LRP_CPU to the same name when they run."
    )
    parser.add_argument("--cpu", metavar="NAME", help="CPU to compile for (default: this machine's)")


def run(options: argparse.Namespace) -> int:
    """Compile all kernels, and print how to use them."""
    if options.cpu:
        os.environ["CAFFE_LRP_CPU"] = options.cpu
    # The compiler reads the environment when it is imported.
    from caffe_lrp.cli.compiler_reporter import CompilerReporter  # noqa: PLC0415
    from caffe_lrp.kernels._jit import CACHE_FOLDER, mark_cache_complete  # noqa: PLC0415
    from caffe_lrp.kernels.ahead import Compilation, all_kernels, unstored  # noqa: PLC0415
    from caffe_lrp.machine.resources import allowed_processors  # noqa: PLC0415

    options.halt.unwind()
    notices = "; ".join(CACHE_FOLDER.notices)
    if CACHE_FOLDER.folder is None:
        raise UsageError(f"nothing was compiled in advance: {notices}")
    if notices:
        remark(f"note: {notices}")
    started, reporter = time.monotonic(), CompilerReporter()
    with Compilation(allowed_processors()) as compilation, closing(reporter), options.halt.finishing():
        compilation.add(all_kernels())
        for step in compilation.steps():
            if not step.is_over:  # the end is reported below
                reporter.show(step)
            if options.halt.requested:
                raise KeyboardInterrupt
    if missing := unstored(all_kernels()):
        raise UsageError(
            f"{', '.join(missing)} could not be saved in {CACHE_FOLDER.folder}; is the disk full?"
        )
    mark_cache_complete()
    say(f"compiled in {time.monotonic() - started:.0f} s, kept in {CACHE_FOLDER.folder}", sys.stdout)
    names = ("CAFFE_LRP_CPU", "CAFFE_LRP_CACHE_DIR")
    settings = [f"{name}={os.environ[name]}" for name in names if os.environ.get(name)]
    if settings:
        say(f"to use it, set {' and '.join(settings)}", sys.stdout)
    return ExitCode.DONE
