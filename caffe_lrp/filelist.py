"""The list of images and classes to explain (spec/reference.md §3)."""

import re
from dataclasses import dataclass
from pathlib import Path

from caffe_lrp.errors import FileListError
from caffe_lrp.files import read_small_file, why_no_text
from caffe_lrp.messages import listed

BEST_FIVE = -2
_BEST_FIVE_COUNT = 5
_SHORTEST_LINE = 3
#: Only ASCII blanks separate, as in the reference; others belong to the path.
_LINE = re.compile(r"[ \t\r\v\f]*(?P<path>[^ \t\r\v\f]+)[ \t\r\v\f]+(?P<code>[+-]?[0-9]+)[ \t\r\v\f]*")

#: A line that every config file has, and no list.
_CONFIG_KEY = re.compile(r"^[ \t]*param_file\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Target:
    """Which classes an image is explained for.

    Attributes
    ----------
    code
        The integer of the list: a class (≥ 0), −2 for the five best classes in one map, any other negative
        number for the best class.
    rank
        If not 0, in place of the code: the class that the net ranks there, from 1.
    """

    code: int
    rank: int = 0

    @property
    def label(self) -> str:
        """Name of the target in file names: ``c281``, ``top1`` or ``top5``; ``rank3`` for a rank."""
        if self.rank:
            return f"rank{self.rank}"
        if self.code >= 0:
            return f"c{self.code}"
        return "top5" if self.code == BEST_FIVE else "top1"

    @property
    def best_count(self) -> int:
        """Number of best classes asked for; 0 for a class given by number or rank."""
        if self.rank or self.code >= 0:
            return 0
        return _BEST_FIVE_COUNT if self.code == BEST_FIVE else 1


@dataclass(frozen=True)
class ListEntry:
    """One line of the list: its number (from 1), the path as written, and the target."""

    line: int
    path: str
    target: Target


def read_filelist(path: Path) -> list[ListEntry]:
    """Entries of the list in order; blank lines and those of two characters or fewer are skipped.

    Raises
    ------
    FileListError
        The file cannot be read, names no image, or has lines that are not ``path integer``; all such
        lines are named at once.
    """
    content = read_small_file(path, "list of images", FileListError, most_megabytes=1024, may_be_pipe=True)
    text = content.decode("utf-8-sig", errors="surrogateescape")
    entries, faults = [], []
    begins_well = False
    for number, line in enumerate(text.split("\n"), start=1):
        if len(line.rstrip("\r")) < _SHORTEST_LINE or not line.strip():
            continue
        entry = _parse(number, line)
        if entry is None:
            faults.append(f"line {number}: {line.rstrip()[:120]!r}")
        else:
            begins_well = begins_well or not faults
            entries.append(entry)
    if faults:
        other = "" if begins_well else why_no_text(content, "list of images")
        if other:
            raise FileListError(f"{path}: {other}")
        if _CONFIG_KEY.search(text):
            raise FileListError(f"{path}: is a config file, not a list of images; -c takes it, -f the list")
        raise FileListError(
            f"{path}: every line must be 'path class', a path without blanks and an integer "
            f"(a class number, -1: the best class, -2: the five best); mend these:\n{listed(faults)}"
        )
    if not entries:
        raise FileListError(f"{path}: names no image; write one 'path class' a line")
    return entries


def _parse(number: int, line: str) -> ListEntry | None:
    """Entry of one line, None if it is not ``path integer``."""
    match = _LINE.fullmatch(line)
    return match and ListEntry(number, match["path"], Target(int(match["code"])))
