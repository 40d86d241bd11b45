"""Progress while kernels are compiled: a line that changes on a terminal, two lines in a log."""

import sys
from typing import Any

from tqdm import tqdm

from caffe_lrp.kernels.ahead import Compiled

from .terminal import remark


class CompilerReporter:
    """Prints the progress of the compiler."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._is_terminal = sys.stderr.isatty()

    def show(self, compiled: Compiled) -> None:
        """Print one step."""
        if not (compiled.is_counted or self._is_terminal):
            return
        if self._bar is None:
            self._bar = tqdm(
                bar_format="{desc}", leave=False, dynamic_ncols=True, disable=not self._is_terminal
            )
            if not self._is_terminal:
                remark(compiled.begun_line)
        if not compiled.is_over:
            self._bar.set_description_str(f"caffe-lrp: {compiling_line(compiled)}")
            return
        self.close()
        remark(compiled.ended_line)

    def close(self) -> None:
        """Clear the line."""
        if self._bar is not None:
            self._bar.close()


def compiling_line(compiled: Compiled) -> str:
    """Return the line that a terminal shows while kernels are compiled."""
    text = f"compiling for this CPU{compiled.once}: {compiled.done}"
    if not compiled.is_counted:
        return f"{text} done, checking what else the net needs"
    return f"{text} of {compiled.total}, about {compiled.left} left"
