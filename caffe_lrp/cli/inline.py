"""Markdown within a line: code, emphasis and links; and wrapping of styled text.

Styled words are enclosed in marks of zero width, which finally become escape sequences or are removed.
"""

import re

_BOLD, _UNDERLINED, _END = "\ue000", "\ue001", "\ue002"
_SEQUENCES = {_BOLD: "\x1b[1m", _UNDERLINED: "\x1b[4m", _END: "\x1b[0m"}
_MARKS = re.compile("[\ue000-\ue002]")

#: Code comes first: Markdown inside it has no meaning.
_INLINE = re.compile(
    r"(?P<ticks>`+)(?P<code>.+?)(?P=ticks)(?!`)"
    r"|!\[(?P<image>[^]]*)\]\([^)]*\)"
    r"|\[(?P<text>[^]]+)\]\((?P<target>[^)]*)\)"
    r"|\*\*(?P<bold>.+?)\*\*"
    r"|(?<![\w*])\*(?P<italic>[^*\s](?:[^*]*[^*\s])?)\*(?![\w*])"
    r"|\\(?P<literal>[\\`*_|#\[\]<>.-])"
)


def inline(text: str) -> str:
    """Return a line of Markdown with marks around code and emphasis; only links to the web are kept."""
    return _INLINE.sub(_replaced, text)


def _replaced(match: re.Match[str]) -> str:
    part = match.groupdict()
    if part["code"] is not None:
        return bold(part["code"].strip().replace(r"\|", "|"))
    if part["bold"] is not None:
        return bold(inline(part["bold"]))
    if part["italic"] is not None:
        return _styled(inline(part["italic"]), _UNDERLINED)
    if part["text"] is not None:
        text, target = inline(part["text"]), part["target"]
        return f"{text} ({target})" if "://" in target and target not in text else text
    return part["literal"] or ""


def bold(text: str) -> str:
    """Return ``text`` with marks around each word, so that lines can break anywhere."""
    return _styled(text, _BOLD)


def _styled(text: str, mark: str) -> str:
    return " ".join(f"{mark}{_MARKS.sub('', word)}{_END}" if word else "" for word in text.split(" "))


def columns(text: str) -> int:
    """Return the number of columns that a text takes."""
    return len(_MARKS.sub("", text))


def wrapped(text: str, width: int) -> list[str]:
    """Return lines of at most ``width`` columns; a longer word gets its own line."""
    lines: list[str] = []
    line, used = "", 0
    for word in text.split():
        size = columns(word)
        if line and used + 1 + size > width:
            lines.append(line)
            line, used = word, size
        else:
            line, used = (f"{line} {word}", used + 1 + size) if line else (word, size)
    return [*lines, line] if line else lines


def laid_out(text: str, *, is_styled: bool) -> str:
    """Return ``text`` with escape sequences in place of its marks, or without marks."""
    return _MARKS.sub(lambda mark: _SEQUENCES[mark[0]] if is_styled else "", text)
