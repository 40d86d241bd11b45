"""Slips of the pen in a prototxt: misspelt names of fields and values, found and put into words."""

import re
from collections.abc import Iterator
from typing import Any

from google.protobuf import text_format

from caffe_lrp.messages import closest, did_you_mean

from .caffe_pb2 import DESCRIPTOR, NetParameter

#: An unknown field less similar than this to a known one is taken for one of a fork of Caffe.
_LEAST_SIMILARITY = 0.85
_MOST_VALUES = 8
#: So many names of fields are compared with the known ones; forks of Caffe have added a few dozen.
_MOST_NAMES = 2000
_PARAMETERS = "_param"
_AXIS = re.compile("_[a-z]$")

#: Comments and texts are stepped over; a name counts where a value or a block follows it.
_TOKEN = re.compile(
    r"""\#[^\n]* | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*' | (?P<field>[A-Za-z_]\w*)(?=\s*:|\s*[{<])"""
    r"""| [A-Za-z_]\w* | (?P<brace>[{}<>])""",
    re.VERBOSE,
)
_ENUM_FAULT = re.compile(r'Enum type "(?P<type>[\w.]+)" has no value named (?P<value>\w+)')


def misspelt_fields(text: str) -> Iterator[str]:
    """A complaint for every unknown field of a valid prototxt that is nearly a known one.

    Caffe itself refuses every unknown field. Here those of forks are let pass, so that a misspelt one
    would silently leave its value at the default.
    """
    seen: set[tuple[str, str]] = set()
    blocks: list[tuple[str, Any]] = []
    block: tuple[str, Any] = ("the net", NetParameter.DESCRIPTOR)
    opened: tuple[str, Any] = ("", None)
    for token in _TOKEN.finditer(text):
        if token["brace"] in ("{", "<"):
            blocks.append(block)
            block = opened
        elif token["brace"]:
            block = blocks.pop()
        elif token["field"]:
            name = token["field"]
            known = {} if block[1] is None else block[1].fields_by_name
            opened = (f"'{name}'", known[name].message_type if name in known else None)
            if (block[0], name) in seen or len(seen) == _MOST_NAMES:
                continue
            close = _slip_of(name, known)
            if not close:
                seen.add((block[0], name))
            else:
                line = text.count("\n", 0, token.start()) + 1
                yield f"line {line}: there is no field '{name}' in {block[0]}; did you mean '{close}'?"


def _slip_of(name: str, known: Any) -> str | None:
    """The field that ``name`` is a misspelling of.

    ``_param`` makes no two names alike (``mn_param``, ``mvn_param``), and ``kernel_d`` is of another
    axis than ``kernel_w``.
    """
    if name in known:
        return None
    if name.endswith(_PARAMETERS):
        stems = [other.removesuffix(_PARAMETERS) for other in known if other.endswith(_PARAMETERS)]
        close = closest(name.removesuffix(_PARAMETERS), stems, _LEAST_SIMILARITY)
        return close and close + _PARAMETERS
    axis = _AXIS.search(name)
    return closest(name, [other for other in known if not axis or other.endswith(axis[0])], _LEAST_SIMILARITY)


def why_invalid(error: text_format.ParseError | RecursionError) -> str:
    """What is wrong with a prototxt that cannot be parsed, and in which line."""
    if isinstance(error, RecursionError):
        return "not a valid prototxt: messages are nested too deeply; remove what is superfluous"
    line = error.GetLine()
    message = str(error).removesuffix(".")
    if line is not None:
        message = message.split(" : ", 1)[-1] if message.startswith(f"{line}:") else message
    place = "" if line is None else f"line {line}: "
    return f"{place}not a valid prototxt: {_explained(message)}"


def _explained(message: str) -> str:
    """A complaint of the parser, with what to do where that can be told."""
    enum = _ENUM_FAULT.search(message)
    if enum:
        values = DESCRIPTOR.pool.FindEnumTypeByName(enum["type"]).values_by_name
        choice = f" (there are {', '.join(values)})" if len(values) <= _MOST_VALUES else ""
        return f"there is no value '{enum['value']}'{did_you_mean(enum['value'], values)}{choice}"
    if message == 'Expected "}"':
        return "it ends before the last '}'; download or copy it again, or add what is missing"
    if "Expected string but found" in message:
        return f"{message}; put the text in quotes"
    return message
