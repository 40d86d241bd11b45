"""Showing long text on a terminal: through the user's pager if it does not fit on the screen."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from .terminal import say, wants_styles

#: The pager, unless ``PAGER`` names another; ``-R`` shows bold text.
_DEFAULT = "less -R"
#: Options of ``less`` if neither ``LESS`` nor ``PAGER`` gives any: the same.
_OPTIONS_OF_LESS = "R"
#: Values of ``PAGER`` that mean no pager.
_NO_PAGER = ("", "cat")


def page(text: str) -> None:
    """Show ``text`` on standard output; on a terminal, through a pager if it is longer than the screen."""
    pager = _pager() if sys.stdout.isatty() and _is_long(text) else []
    if not pager or not _shown_by(pager, text):
        say(text.rstrip("\n"), sys.stdout)


def shows_styles() -> bool:
    """Return whether text may have escape sequences, which pagers other than ``less`` may not support."""
    pager = _pager()
    return wants_styles(sys.stdout) and (not pager or os.path.basename(pager[0]) == "less")  # noqa: PTH119


def _pager() -> list[str]:
    """Return the pager and its options; empty if there is none."""
    wanted = os.environ.get("PAGER", _DEFAULT).strip()
    if wanted in _NO_PAGER or os.environ.get("TERM") == "dumb":
        return []
    try:
        words = shlex.split(wanted)
    except ValueError:
        return []
    return words if shutil.which(words[0]) else []


def _is_long(text: str) -> bool:
    return text.count("\n") + 1 >= shutil.get_terminal_size().lines


def _shown_by(pager: list[str], text: str) -> bool:
    """Show ``text`` with a pager; return whether it could be started."""
    environment = {"LESS": _OPTIONS_OF_LESS, **os.environ}
    sys.stdout.flush()
    try:
        process = subprocess.Popen(pager, stdin=subprocess.PIPE, env=environment)
    except OSError:
        return False
    encoding = sys.stdout.encoding or "utf-8"
    with _left_to_the_pager(), suppress(OSError):  # users may quit the pager early
        process.communicate(text.encode(encoding, "backslashreplace"))
    return True


@contextmanager
def _left_to_the_pager() -> Iterator[None]:
    """Leave Ctrl-C to the pager within the block: it stops a search, and must not end this program."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
