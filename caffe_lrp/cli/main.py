"""The command line: arguments in, exit code out.

Plain options explain a list of images. A first word that is no option is a subcommand.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from caffe_lrp.errors import CaffeLrpError, ExitCode, notices_of
from caffe_lrp.machine.crew import require_threads
from caffe_lrp.machine.environment import (
    ADDRESS_SPACE_TO_COMPILE,
    address_space_limit,
    environment_fault,
    refuse_bad_variables,
    require_address_space,
    threads_of_libraries,
)

from .halt import Halt
from .options import INTRODUCTION, demo_arguments, list_arguments
from .subcommands import (
    convert_arguments,
    inspect_arguments,
    merge_arguments,
    status_arguments,
    warmup_arguments,
)
from .terminal import coloured, prepared_streams, remark, say

Read = Callable[[Sequence[str] | None], argparse.Namespace]
Work = Callable[[argparse.Namespace], int]


def _require_room(besides: int = 0) -> None:
    """Refuse to load the libraries where they would end the process.

    They do for want of address space or of threads, or because of an environment variable.
    """
    threads = threads_of_libraries(os.environ)
    require_address_space(threads, besides)
    if address_space_limit() is None:  # to try takes some that the libraries need
        require_threads(threads)
    refuse_bad_variables(os.environ)


def _explain(options: argparse.Namespace) -> int:
    _require_room()
    from caffe_lrp.cli.commands.explain import explain  # noqa: PLC0415 - as is needed, and no sooner

    return explain(options, options.halt)


def _inspect(options: argparse.Namespace) -> int:
    _require_room()
    from caffe_lrp.cli.commands.inspect import inspect  # noqa: PLC0415

    options.halt.unwind()
    return inspect(options)


def _warm_up(options: argparse.Namespace) -> int:
    _require_room(ADDRESS_SPACE_TO_COMPILE)
    from caffe_lrp.cli.commands.warmup import warm_up  # noqa: PLC0415

    return warm_up(options)


def _status(options: argparse.Namespace) -> int:
    from caffe_lrp.cli.commands.status import show_status  # noqa: PLC0415

    return show_status(options)


def _merge(options: argparse.Namespace) -> int:
    from caffe_lrp.cli.commands.merge import merge  # noqa: PLC0415

    options.halt.unwind()
    return merge(options)


def _convert_config(options: argparse.Namespace) -> int:
    from caffe_lrp.cli.commands.convert_config import convert_config  # noqa: PLC0415

    return convert_config(options)


#: Subcommand -> how its arguments are read, and what it does.
SUBCOMMANDS: dict[str, tuple[Read, Work]] = {
    "inspect": (inspect_arguments, _inspect),
    "warmup": (warmup_arguments, _warm_up),
    "status": (status_arguments, _status),
    "merge": (merge_arguments, _merge),
    "convert-config": (convert_arguments, _convert_config),
}


def main(arguments: Sequence[str] | None = None, halt: Halt | None = None) -> int:
    """Run ``caffe-lrp``; returns the exit code. Without a ``halt`` it hears signals itself, until it ends."""
    given = sys.argv[1:] if arguments is None else arguments
    if given and given[0] in SUBCOMMANDS:
        return _guarded(*SUBCOMMANDS[given[0]], given[1:], halt)
    read, work = (list_arguments, _explain) if given else (_nothing, _introduce)
    return _guarded(read, work, given, halt)


def demo_main(arguments: Sequence[str] | None = None, halt: Halt | None = None) -> int:
    """Run ``caffe-lrp-demo CONFIG FILELIST PREPATH``, the drop-in for the reference's program."""
    return _guarded(demo_arguments, _explain, arguments, halt)


def _nothing(_: Sequence[str] | None) -> argparse.Namespace:
    return argparse.Namespace(verbose=False)


def _introduce(_: argparse.Namespace) -> int:
    say(INTRODUCTION, sys.stdout)
    return ExitCode.USAGE


def _guarded(read: Read, work: Work, arguments: Sequence[str] | None, halt: Halt | None) -> int:
    """Work with every foreseeable end turned into an exit code, results that cannot be printed included."""
    if halt is None:
        with Halt().listening() as heard:
            return _guarded(read, work, arguments, heard)
    with prepared_streams() as output:
        code: int | str | None
        try:
            code = _finished(read, work, arguments, halt)
            halt.conclude()
        except KeyboardInterrupt:
            code = _interrupted()
        output.flush()
        if output.fault:
            why = f"standard output cannot be written: {output.fault}; send it to a place that can be"
            unprinted = _stopped(ExitCode.OUTPUT, "error", why)
            code = code or unprinted
    return code if isinstance(code, int) else ExitCode.DONE


def _finished(read: Read, work: Work, arguments: Sequence[str] | None, halt: Halt) -> int | str | None:
    """The exit code of what the arguments ask for."""
    try:
        options = read(arguments)
    except SystemExit as end:  # --help, --version, and wrong usage
        return end.code
    options.halt = halt
    try:
        return work(options)
    except Exception as error:  # noqa: BLE001 - it is told apart, and said or raised
        if halt.is_unwinding:  # a library made an error of its own of the interruption
            return _interrupted()
        return _complaint(error, options)


def _complaint(error: Exception, options: argparse.Namespace) -> ExitCode:
    """Say what is wrong; the exit code. With ``-v``, internal errors are raised."""
    if isinstance(error, CaffeLrpError):
        if not vars(options).get("quiet"):  # not every subcommand has that option
            for notice in notices_of(error):
                remark(f"note: {notice}")
        return _stopped(error.exit_code, "error", str(error))
    fault = environment_fault(error, os.environ)
    if fault:
        return _stopped(ExitCode.USAGE, "error", fault)
    if options.verbose:
        raise error
    reason = f"please report it with what -v prints: {type(error).__name__}: {error}"
    return _stopped(ExitCode.INTERNAL, "internal error", reason)


def _interrupted() -> ExitCode:
    return _stopped(ExitCode.INTERRUPTED, "interrupted", "files written so far are complete")


def _stopped(code: ExitCode, how: str, why: str) -> ExitCode:
    """Say how and why the run ended before its time; returns ``code``."""
    say(f"caffe-lrp: {coloured(how, 'bad', sys.stderr)}: {why}", sys.stderr)
    return code
