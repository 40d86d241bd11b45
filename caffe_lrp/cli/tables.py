"""Tables for a terminal: in columns if they fit, with a wrapped last column, or as a list."""

from collections.abc import Sequence

from .inline import bold, columns, wrapped

_GAP = "  "
_INDENT = "    "
#: Minimum width of a wrapped last column.
_LEAST_LAST_COLUMN = 32


def table(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Return the lines of a table; its first row is the header.

    A table that is too wide becomes a list: the first cell of each row, and below it the other cells, with
    the names of their columns if there are several.
    """
    head, *body = _even(rows)
    widths = [max(columns(cell) for cell in column) for column in zip(head, *body, strict=True)]
    before_last = sum(widths[:-1]) + len(_GAP) * (len(widths) - 1)
    last = min(widths[-1], width - before_last)
    if last < min(widths[-1], _LEAST_LAST_COLUMN):
        return _as_list(head, body, width)
    widths[-1] = last
    lines = _row([bold(cell) for cell in head], widths) if any(head) else []
    rule = [_GAP.join("-" * size for size in widths)] if lines else []
    return lines + rule + [line for row in body for line in _row(row, widths)]


def _even(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return rows padded to the same number of cells."""
    most = max(map(len, rows))
    return [[*row, *[""] * (most - len(row))] for row in rows]


def _row(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    padded = [cell + " " * (size - columns(cell)) for cell, size in zip(cells[:-1], widths, strict=False)]
    first, *rest = wrapped(cells[-1], widths[-1]) or [""]
    margin = " " * (sum(widths[:-1]) + len(_GAP) * (len(widths) - 1))
    return [_GAP.join([*padded, first]).rstrip(), *(margin + line for line in rest)]


def _as_list(head: Sequence[str], body: Sequence[Sequence[str]], width: int) -> list[str]:
    lines: list[str] = []
    for row in body:
        lines += ["", *wrapped(row[0], width)] if lines else wrapped(row[0], width)
        for name, cell in zip(head[1:], row[1:], strict=True):
            text = f"{name}: {cell}" if len(head) > 2 and name else cell
            if cell:
                lines += [_INDENT + line for line in wrapped(text, width - len(_INDENT))]
    return lines
