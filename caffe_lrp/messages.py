"""Pieces of error messages: suggestions for names that are nearly right, lists cut to a readable length."""

import difflib
from collections.abc import Iterable, Sequence


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` if a known name is close to ``name``, else an empty text."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def listed(lines: Sequence[str], most: int = 20) -> str:
    """``lines`` one below the other, indented; of more than ``most``, the first and how many follow."""
    rest = len(lines) - most
    shown = [*lines[:most], f"… and {rest} more"] if rest > 0 else lines
    return "\n".join(f"  {line}" for line in shown)
