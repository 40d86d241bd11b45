"""Targets, the classes to explain: a class by number or by rank, the best, or the five best."""

import re
from dataclasses import dataclass

BEST_FIVE = -2
_BEST_FIVE_COUNT = 5


@dataclass(frozen=True, slots=True)
class Target:
    """The class, or classes, to explain for an image.

    Attributes
    ----------
    code
        The integer of the list: a class (≥ 0), −2 for the five best classes in one map, any other negative
        number for the best class.
    rank
        If not 0, it replaces the code: the class of this rank in the net's output, from 1.
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
        """Number of best classes requested; 0 for a class given by number or rank."""
        if self.rank or self.code >= 0:
            return 0
        return _BEST_FIVE_COUNT if self.code == BEST_FIVE else 1


def parse_target(text: str) -> Target:
    """The target for a number on the command line.

    Raises
    ------
    ValueError
        The message says what is wrong, to be appended to the text.
    """
    if not re.fullmatch("-[12]|[0-9]{1,9}", text):
        raise ValueError("must be a class number, -1 for the best class, or -2 for the five best in one map")
    return Target(int(text))
