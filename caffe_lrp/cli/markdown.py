"""Rendering the Markdown of the manual for a terminal.

Blocks: headings, paragraphs, lists, quotes, code and tables. Within lines: code, bold, italic and links.
Comments, HTML tags and images are left out. Bold text uses escape sequences; plain text has none.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .inline import bold, inline, laid_out, wrapped
from .tables import table

_COMMENT = re.compile(r"<!--.*?-->\n?", re.DOTALL)
_BREAK, _TAG = re.compile("<br ?/?>"), re.compile("</?(details|summary|b|i|code|sub|sup|p)>")
_RULE = re.compile(r"(-{3,}|\*{3,}) *$")
_ROW_OF_DASHES = re.compile(r"\|[ :|]*-[ :|-]*\| *$")
_CELL_BORDER = re.compile(r"(?<!\\)\|")
_ITEM = re.compile(r" {0,3}([-*+]|[0-9]+[.)]) +")
_STARTS = {
    "fence": re.compile(" {0,3}```"),
    "heading": re.compile("#{1,6} "),
    "item": _ITEM,
    "quote": re.compile(">"),
    "table": re.compile(r"\|"),
    "code": re.compile(" {4}"),
}
#: A paragraph goes on until one of these begins.
_INTERRUPTING = ("fence", "heading", "item", "quote", "table")
_INDENT = "    "


class _Widths(NamedTuple):
    """Numbers of columns for running text and for tables."""

    text: int
    table: int

    def behind(self, margin: str) -> "_Widths":
        """Return the widths left after a margin."""
        return _Widths(self.text - len(margin), self.table - len(margin))


def render(source: str, width: int = 80, *, table_width: int = 0, is_styled: bool = False) -> str:
    """Return Markdown as lines for a terminal, with one newline at the end.

    Parameters
    ----------
    source
        The Markdown.
    width
        Columns of running text; only code and long words may be wider.
    table_width
        Columns of tables, if more than ``width``.
    is_styled
        Whether headings, code and emphasis are bold or underlined.
    """
    plain = _TAG.sub("", _BREAK.sub(" ", _COMMENT.sub("", source)))
    lines = _lines(plain.split("\n"), _Widths(width, max(width, table_width)))
    return laid_out("\n".join(lines), is_styled=is_styled).strip("\n") + "\n"


@dataclass(frozen=True)
class _Block:
    """A part of a text: its kind, its lines without markup, and whether a blank line precedes it."""

    kind: str
    lines: list[str]
    mark: str
    is_apart: bool


def _lines(lines: Sequence[str], widths: _Widths) -> list[str]:
    """Return the lines of all blocks, separated by blank lines, except between short items of a list."""
    out: list[str] = []
    before: list[str] = []
    previous = ""
    for block in _blocks(lines):
        content = _LAYOUTS[block.kind](block, widths)
        is_close = block.kind == "item" and previous != "heading" and not block.is_apart and "" not in before
        if out and content and not is_close:
            out.append("")
        out += content
        before, previous = content, block.kind
    return out


def _blocks(lines: Sequence[str]) -> Iterable[_Block]:
    at, is_apart = 0, False
    while at < len(lines):
        if not lines[at].strip() or _RULE.match(lines[at]):
            at, is_apart = at + 1, True
            continue
        kind = _kind_of(lines[at])
        end = _ENDS.get(kind, _end_of_run(kind))(lines, at)
        yield _block(kind, lines[at:end], is_apart)
        at, is_apart = end, False


def _kind_of(line: str) -> str:
    return next((kind for kind, start in _STARTS.items() if start.match(line)), "paragraph")


# --- Where blocks end ---------------------------------------------------------------------------------------


def _end_of_run(kind: str) -> Callable[[Sequence[str], int], int]:
    """Return the end function for blocks in which all lines have the same kind."""

    def end(lines: Sequence[str], at: int) -> int:
        while at < len(lines) and _STARTS[kind].match(lines[at]):
            at += 1
        return at

    return end


def _end_of_line(lines: Sequence[str], at: int) -> int:
    return min(at + 1, len(lines))


def _end_of_paragraph(lines: Sequence[str], at: int) -> int:
    at += 1
    while at < len(lines) and lines[at].strip() and _kind_of(lines[at]) not in _INTERRUPTING:
        at += 1
    return at


def _end_of_fence(lines: Sequence[str], at: int) -> int:
    ends = (place + 1 for place in range(at + 1, len(lines)) if _STARTS["fence"].match(lines[place]))
    return next(ends, len(lines))


def _end_of_code(lines: Sequence[str], at: int) -> int:
    end = at
    while at < len(lines) and (not lines[at].strip() or lines[at].startswith(_INDENT)):
        end = at + 1 if lines[at].strip() else end
        at += 1
    return end


def _end_of_item(lines: Sequence[str], at: int) -> int:
    depth, end, is_lazy = _depth(lines[at]), at + 1, True
    for place in range(at + 1, len(lines)):
        line = lines[place]
        if not line.strip():
            is_lazy = False
        elif line.startswith(" " * depth):
            end, is_lazy = place + 1, True
        elif is_lazy and _kind_of(line) not in _INTERRUPTING:
            end = place + 1
        else:
            break
    return end


def _depth(item: str) -> int:
    """Return the indentation of an item's content."""
    match = _ITEM.match(item)
    return match.end() if match else 0


_ENDS = {
    "paragraph": _end_of_paragraph,
    "fence": _end_of_fence,
    "code": _end_of_code,
    "item": _end_of_item,
    "heading": _end_of_line,
}


def _block(kind: str, lines: Sequence[str], is_apart: bool) -> _Block:
    """Return the block without the markup of its lines."""
    content, mark = list(lines), ""
    if kind == "fence":
        content = content[1:-1]
    elif kind == "code":
        content = [line[len(_INDENT) :] for line in content]
    elif kind in ("heading", "quote"):
        content = [line.lstrip("#> ") for line in content]
    elif kind == "item":
        depth = _depth(content[0])
        mark = content[0][:depth].strip()
        content = [
            content[0][depth:],
            *(line[depth:] if not line[:depth].strip() else line for line in content[1:]),
        ]
    return _Block(kind, content, mark, is_apart)


# --- How they are laid out ----------------------------------------------------------------------------------


def _heading(block: _Block, widths: _Widths) -> list[str]:
    return wrapped(bold(inline(block.lines[0].rstrip(" #"))), widths.text)


def _paragraph(block: _Block, widths: _Widths) -> list[str]:
    return wrapped(inline(" ".join(line.strip() for line in block.lines)), widths.text)


def _quote(block: _Block, widths: _Widths) -> list[str]:
    return [_INDENT + line if line else "" for line in _lines(block.lines, widths.behind(_INDENT))]


def _code(block: _Block, widths: _Widths) -> list[str]:
    return [_INDENT + line if line.strip() else "" for line in block.lines]


def _item(block: _Block, widths: _Widths) -> list[str]:
    mark = f"{block.mark if block.mark[0].isdigit() else '*'} "
    first, *rest = _lines(block.lines, widths.behind(mark)) or [""]
    return [mark + first, *(" " * len(mark) + line if line else "" for line in rest)]


def _table(block: _Block, widths: _Widths) -> list[str]:
    rows = [line.strip().strip("|") for line in block.lines if not _ROW_OF_DASHES.match(line)]
    return table([[inline(cell.strip()) for cell in _CELL_BORDER.split(row)] for row in rows], widths.table)


_LAYOUTS: dict[str, Callable[[_Block, _Widths], list[str]]] = {
    "heading": _heading,
    "paragraph": _paragraph,
    "quote": _quote,
    "code": _code,
    "fence": _code,
    "item": _item,
    "table": _table,
}
