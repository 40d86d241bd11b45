"""Progress of long work: a bar on a terminal, a line per minute in a log."""

import sys
import time
from collections import Counter
from types import TracebackType
from typing import Any

from tqdm import tqdm

from caffe_lrp.messages import counted, duration

from .terminal import remark, say

_SECONDS_BETWEEN_LINES = 60.0
#: Number of errors printed one by one, and of those with the same advice; others are counted.
_MOST_ERRORS, _MOST_ALIKE = 20, 5


class Tally:
    """Counts finished items, and shows progress; a context manager.

    Parameters
    ----------
    total
        Number of items.
    unit
        Name of one item, for the bar.
    title
        Text after the counts in a line of a log.

    Attributes
    ----------
    done, failed
        Number of finished items, and of failed ones among them.
    """

    def __init__(self, total: int, unit: str, title: str) -> None:
        self.done = self.failed = self._unsaid = 0
        self._alike: Counter[str] = Counter()
        self._total, self._title = total, title
        self._has_bar = sys.stderr.isatty()
        self._bar: tqdm[Any] = tqdm(total=total, unit=unit, disable=not self._has_bar, dynamic_ncols=True)
        self._began = self._told = time.monotonic()

    def __enter__(self) -> "Tally":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        if self._unsaid:
            say(f"… and {counted(self._unsaid, 'failure')} more", sys.stderr)
        for advice in filter(None, self._alike):
            remark(f"what to do: {advice}")

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    @property
    def per_second(self) -> float:
        """Finished items per second."""
        return self.done / max(self.seconds, 1e-9)

    def add(self, error: str = "", advice: str = "") -> None:
        """Count one finished item, and print the error if it failed; the advice is said once, at the end."""
        self.done += 1
        if error:
            self.failed += 1
            self._bar.set_postfix(failed=self.failed, refresh=False)
            self._alike[advice] += 1
            if self._alike[advice] <= (_MOST_ALIKE if advice else _MOST_ERRORS):
                say(error, sys.stderr, self._bar.write)
            else:
                self._unsaid += 1
        self._bar.update()
        now = time.monotonic()
        if not self._has_bar and now - self._told >= _SECONDS_BETWEEN_LINES:
            self._told = now
            left = duration((self._total - self.done) / self.per_second)
            counts = f"{self.done:,} of {self._total:,} {self._title}"
            remark(f"{counts}, {self.per_second:.3g} a second, {left} left")
