"""Suggestions for unknown words: a similar word of the same kind, or an option of another command."""

from collections.abc import Iterable
from typing import Protocol

from caffe_lrp.messages import closest

#: Minimum similarity of options, as measured by `closest`: names are short, and several are similar.
_LEAST = 0.7
#: Minimum number of letters; shorter words match too many options.
_LEAST_BEGINNING = 3


class Options(Protocol):
    """The part of a parser that is used here."""

    @property
    def options(self) -> list[str]:
        """The names of its options."""

    def options_elsewhere(self) -> Iterable[tuple[str, str]]:
        """The options of all commands, and the name of each of these commands."""


def near_option(option: str, parser: Options) -> str:
    """Return a suggestion to follow ``there is no option --x``, with a semicolon; empty if there is none."""
    elsewhere = list(parser.options_elsewhere())
    known = [name for name, _ in elsewhere]
    own = None if option in known else _near(option, parser.options)
    if own:
        return f"; did you mean '{own}'?"
    other = option if option in known else _near(option, known)
    commands = [command for name, command in elsewhere if name == other]
    if not commands:
        return ""
    verb = "has" if len(commands) == 1 else "have"
    return f"; {_enumerated(commands)} {verb} {'it' if other == option else other}"


def near_word(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` if a known word begins with ``word`` or is similar; else empty."""
    near = _nearest(word, list(known))
    return f"; did you mean '{near}'?" if near else ""


def _near(option: str, known: Iterable[str]) -> str | None:
    """Return the option that begins with ``option`` or is similar, ignoring the dashes, which all have."""
    name = _nearest(option.lstrip("-"), [name[2:] for name in known if name.startswith("--")])
    return f"--{name}" if name else None


def _nearest(word: str, known: list[str]) -> str | None:
    longer = {name for name in known if name.startswith(word) and len(word) >= _LEAST_BEGINNING}
    return longer.pop() if len(longer) == 1 else closest(word, known, _LEAST)


def _enumerated(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
