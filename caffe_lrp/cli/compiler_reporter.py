"""What people see while kernels are compiled: a line that changes on a terminal, two lines in a log."""

import sys
from typing import Any

from tqdm import tqdm

from caffe_lrp.kernels.ahead import Compiled
from caffe_lrp.messages import counted, duration

from .terminal import remark


class CompilerReporter:
    """Prints how far the compiler is."""

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
                remark(compiling_begins_line(compiled))
        if not compiled.is_over:
            self._bar.set_description_str(f"caffe-lrp: {compiling_line(compiled)}")
            return
        self.close()
        remark(compiling_ended_line(compiled))

    def close(self) -> None:
        """Take the line away."""
        if self._bar is not None:
            self._bar.close()


def compiling_line(compiled: Compiled) -> str:
    """What a terminal shows while kernels are compiled."""
    left = duration(max(1.0, compiled.seconds_left))
    once = ", once" if compiled.is_kept else ""
    if not compiled.is_counted:
        return f"compiling for this CPU{once}: {compiled.done} done, looking for what else the net needs"
    return f"compiling for this CPU{once}: {compiled.done} of {compiled.total}, about {left} left"


def compiling_begins_line(compiled: Compiled) -> str:
    """What a log says when kernels begin to be compiled."""
    about = duration(max(1.0, compiled.seconds_left))
    once = ", once" if compiled.is_kept else ""
    return f"compiling {counted(compiled.total, 'kernel')} for this CPU{once}; that takes about {about}"


def compiling_ended_line(compiled: Compiled) -> str:
    """What is left of that when it is over."""
    text = f"compiled {counted(compiled.total, 'kernel')} in {duration(compiled.seconds)}"
    return (
        f"{text}; {'later runs skip this' if compiled.is_kept else 'they could not be kept for later runs'}"
    )
