"""Parsing a prototxt into a message with protobuf's own parser, which takes minutes for some files.

The parser copies the whole line for every value that it reads, and scans a run of backslashes once for each
backslash. So long lines are split before it sees them, and long runs are refused.
"""

import re
from array import array
from collections.abc import Iterator

from google.protobuf import text_format

from caffe_lrp.messages import counted

from .caffe_pb2 import NetParameter
from .spelling import why_invalid

#: A net of 5,000 layers has 50,000 fields; the parser takes a second per 20,000 unknown fields.
MOST_FIELDS = 100_000
#: The longest name in a file: some exporters write the whole path of a tensor, but nothing longer.
LONGEST_NAME = 1_000
#: Longer lines are split into pieces of about this length.
_LONG_LINE = 1_000
_MOST_BACKSLASHES = 100

#: Comments and strings, which are skipped. A quote that is not closed ends with its line.
_ASIDE = re.compile(
    r"""\#[^\n]* | "[^"\\\n]*(?:\\.[^"\\\n]*)*"? | '[^'\\\n]*(?:\\.[^'\\\n]*)*'?""", re.VERBOSE
)
#: One match per field or value, in a text without comments whose strings are each replaced by a single quote.
_VALUE = re.compile(r"""[:](?:\s*["{<\[])?|[",{<]""")
#: Where a long line is split: after a string, or after blanks, commas, semicolons and brackets.
_PIECE = re.compile(rf"(?:{_ASIDE.pattern} | [^\s,;{{}}<>\[\]\"'\#]+ | [\s,;{{}}<>\[\]])", re.VERBOSE)


class UnreadableError(Exception):
    """The text is not a valid prototxt; the message names the line if possible."""


def parsed(text: str) -> NetParameter:
    """The net that ``text`` describes; unknown fields are skipped.

    Raises
    ------
    UnreadableError
        The text is not valid, or has too many fields or backslashes in a row.
    """
    _refuse_what_takes_long(text)
    net = NetParameter()
    numbers, pieces = array("l"), list[str]()
    for number, piece in _pieces(text):
        numbers.append(number)
        pieces.append(piece)
    try:
        text_format.Parse("\n".join(pieces), net, allow_unknown_field=True)
    except (text_format.ParseError, RecursionError) as error:
        raise UnreadableError(why_invalid(error, numbers)) from error
    return net


def _refuse_what_takes_long(text: str) -> None:
    run = "\\" * (_MOST_BACKSLASHES + 1)
    if run in text:
        for aside in _ASIDE.finditer(text):
            if run in aside[0] and not aside[0].startswith("#"):
                line = text.count("\n", 0, aside.start()) + 1
                raise UnreadableError(
                    f"line {line}: has more than {_MOST_BACKSLASHES} backslashes in a row; is it really a "
                    "prototxt?"
                )
    bare = _ASIDE.sub(lambda aside: "" if aside[0].startswith("#") else '"', text)
    fields = sum(1 for _ in _VALUE.finditer(bare))
    if fields > MOST_FIELDS:
        raise UnreadableError(
            f"has {counted(fields, 'field')}, the limit is {MOST_FIELDS:,}; is it really a prototxt?"
        )


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    """The lines of a text, long ones in pieces, each with its line number."""
    for number, line in enumerate(text.split("\n"), start=1):
        if len(line) <= _LONG_LINE:
            yield number, line
            continue
        start = 0
        for token in _PIECE.finditer(line):
            if token.end() - start > _LONG_LINE:
                yield number, line[start : token.end()]
                start = token.end()
        yield number, line[start:]
