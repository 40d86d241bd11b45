"""Parts of error messages: suggestions for misspelt names, lists shortened to a readable length."""

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence

#: Longer names are not typing errors, and take minutes to compare.
_LONGEST_NAME = 200
#: Maximum length of a name times that of all names it is compared with: a second or two.
_MOST_COMPARED = 5_000_000
_SEPARATORS = ("_", ".", "-")


def did_you_mean(name: str, known: Iterable[str], least: float = 0.6) -> str:
    """``"; did you mean 'x'?"`` if a known name is close to ``name``, else an empty text.

    A name that continues after a separator is close, however long the rest is (``fc8`` and ``fc8_flickr``).
    """
    names, wanted, end = list(known), name.casefold(), len(name)
    longer = (other for other in names if other[end : end + 1] in _SEPARATORS)
    close = next((other for other in names if other.casefold() == wanted), None)
    close = close or next((other for other in longer if other[:end].casefold() == wanted), None)
    close = close or closest(name, names, least)
    return f"; did you mean '{close}'?" if close else ""


def closest(name: str, known: Iterable[str], least: float = 0.6) -> str | None:
    """Return the known name most similar to ``name``, None if none is similar.

    Case does not matter. Numbers do: ``fc7`` is not a misspelt ``fc8``, but another layer. So
    does the first letter, which is seldom mistyped.

    Parameters
    ----------
    name
        The unknown name.
    known
        The known names.
    least
        Least similarity from 0 to 1, as measured by difflib.
    """
    wanted, digits = name.casefold(), _digits(name)
    if len(name) > _LONGEST_NAME:
        return None
    short = (other for other in known if len(other) <= _LONGEST_NAME)
    same_initial = (other for other in short if other[:1].casefold() == wanted[:1])
    folded = {other.casefold(): other for other in same_initial if _digits(other) == digits}
    alike = difflib.get_close_matches(wanted, _first_of(folded, len(wanted)), n=1, cutoff=least)
    return folded[alike[0]] if alike else None


def _first_of(names: Iterable[str], length: int) -> Iterator[str]:
    """As many names as can be compared with one of ``length`` in a second or two."""
    compared = 0
    for name in names:
        compared += length * len(name)
        if compared > _MOST_COMPARED:
            return
        yield name


def counted(count: int, noun: str) -> str:
    """``1 map``, ``2 maps``, ``1,000 maps``; ``2 processes``."""
    plural = "es" if noun.endswith("s") else "s"
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}{plural}"


def enumerated(names: Sequence[str], most: int) -> str:
    """``a, b``; for more than ``most`` names ``a, b, and 3 more``."""
    more = [f"and {len(names) - most} more"] if len(names) > most else []
    return ", ".join([*names[:most], *more])


def _digits(name: str) -> str:
    return re.sub("[^0-9]", "", name)


#: Lines of a longer list that are shown.
MOST_LISTED = 20


def listed(lines: Sequence[str], most: int = MOST_LISTED, more: int = 0) -> str:
    """``lines`` below each other, indented; beyond ``most`` lines, only the number of the rest.

    ``more`` is the number of lines that exist beyond ``lines``.
    """
    rest = len(lines) - most if len(lines) > most else 0
    shown = [*lines[:most], f"… and {rest + more} more"] if rest + more else lines
    return "\n".join(f"  {line}" for line in shown)


def duration(seconds: float) -> str:
    """A readable duration from seconds: ``40 s``, ``5 min``, ``3 h 20 min``, ``2 d 4 h``."""
    minutes, hours, days = round(seconds / 60), seconds / 3600, seconds / 86400
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 90:
        return f"{minutes} min"
    if hours < 36:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{days:.0f} d {round(hours) % 24} h" if days < 7 else f"{days:.0f} d"
