"""The command line: arguments in, exit code out.

With options alone, a list of images is explained. A first word that is not an option is a subcommand.
"""

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence

from caffe_lrp.errors import CaffeLrpError, ExitCode, notices_of
from caffe_lrp.machine.crew import require_threads
from caffe_lrp.machine.environment import (
    address_space_limit,
    environment_fault,
    refuse_bad_variables,
    require_address_space,
    threads_of_libraries,
)

from .commands import COMMANDS, RUN_LIST, Command, parser_of
from .commands.run_list import INTRODUCTION, demo_parser, list_parser
from .halt import Halt
from .listings import show_listing
from .suggestions import near_word
from .terminal import coloured, prepared_streams, remark, say

Read = Callable[[], argparse.Namespace]
Work = Callable[[argparse.Namespace], int]

#: A word that may be a misspelt command; names of files have a dot or a slash.
_WORD = re.compile("[A-Za-z][A-Za-z_-]*")


def main(arguments: Sequence[str] | None = None, halt: Halt | None = None) -> int:
    """Run ``caffe-lrp``; return the exit code. Without a ``halt``, it handles signals itself."""
    given = sys.argv[1:] if arguments is None else arguments
    if not given:
        return _guarded(_nothing, _introduce, halt)
    name = given[0]
    if name in COMMANDS:
        return _guarded(lambda: parser_of(name).parse(given[1:]), _work_of(COMMANDS[name]), halt)
    return _guarded(lambda: _list_options(given), _work_of(RUN_LIST), halt)


def demo_main(arguments: Sequence[str] | None = None, halt: Halt | None = None) -> int:
    """Run ``caffe-lrp-demo CONFIG FILELIST PREPATH``, the drop-in for the reference's program."""
    return _guarded(lambda: demo_parser().parse(arguments), _work_of(RUN_LIST), halt)


def _list_options(given: Sequence[str]) -> argparse.Namespace:
    """Return the options of ``caffe-lrp``; refuse a first word that may be a misspelt command."""
    parser = list_parser()
    if _WORD.fullmatch(given[0]):
        suggestion = near_word(given[0], COMMANDS)
        if suggestion:
            parser.error(f"there is no command '{given[0]}'{suggestion}")
    return parser.parse(given)


def _work_of(command: Command) -> Work:
    """Return the work of a command, which first checks that there is enough memory."""

    def work(options: argparse.Namespace) -> int:
        if command.address_space is not None:
            _require_room(command.address_space)
        if options.listing:
            return show_listing(options.listing)
        return command.load().run(options)

    return work


def _require_room(besides: int) -> None:
    """Refuse to load the libraries if they would crash the process.

    They crash without enough address space or threads, or because of an environment variable.
    """
    threads = threads_of_libraries(os.environ)
    require_address_space(threads, besides)
    if address_space_limit() is None:  # with a limit, trying would take space that the libraries need
        require_threads(threads)
    refuse_bad_variables(os.environ)


def _nothing() -> argparse.Namespace:
    return argparse.Namespace(verbose=False, listing="")


def _introduce(_: argparse.Namespace) -> int:
    say(INTRODUCTION, sys.stdout)
    return ExitCode.USAGE


def _guarded(read: Read, work: Work, halt: Halt | None) -> int:
    """Run the work and turn every expected end into an exit code, unprintable results included."""
    if halt is None:
        with Halt().listening() as heard:
            return _guarded(read, work, heard)
    with prepared_streams() as output:
        code: int | str | None
        try:
            code = _finished(read, work, halt)
            halt.conclude()
        except KeyboardInterrupt:
            code = _interrupted()
        output.flush()
        if output.fault:
            why = f"standard output cannot be written: {output.fault}; redirect it to a place that can be"
            unprinted = _stopped(ExitCode.OUTPUT, "error", why)
            code = code or unprinted
    return code if isinstance(code, int) else ExitCode.DONE


def _finished(read: Read, work: Work, halt: Halt) -> int | str | None:
    """Run the command of the arguments; return its exit code."""
    try:
        options = read()
    except SystemExit as end:  # from --help, --version, and wrong usage
        return end.code
    options.halt = halt
    try:
        return work(options)
    except Exception as error:  # noqa: BLE001 - it is classified, and printed or raised
        if halt.is_unwinding:  # a library turned the interruption into another error
            return _interrupted()
        return _complaint(error, options)


def _complaint(error: Exception, options: argparse.Namespace) -> ExitCode:
    """Print the error; return the exit code. With ``-v``, internal errors are raised."""
    if isinstance(error, CaffeLrpError):
        if not vars(options).get("quiet"):  # not every subcommand has this option
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
    """Print how and why the run ended early; return ``code``."""
    say(f"caffe-lrp: {coloured(how, 'bad', sys.stderr)}: {why}", sys.stderr)
    return code
