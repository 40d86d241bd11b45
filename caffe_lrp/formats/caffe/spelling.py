"""Misspelt names in a prototxt, and why a prototxt cannot be parsed."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from google.protobuf import text_format

from caffe_lrp.messages import closest, did_you_mean

from .caffe_pb2 import DESCRIPTOR
from .scan import fields_of
from .upgrade import V1_TYPE_NAMES

#: An unknown field less similar than this to every known one is taken for a field of a fork of Caffe.
_LEAST_SIMILARITY = 0.85
_MOST_VALUES = 8
#: At most this many field names are compared with the known ones; forks of Caffe have added a few dozen.
_MOST_NAMES = 2000
_PARAMETERS = "_param"
_AXIS = re.compile("_[a-z]$")

_ENUM_FAULT = re.compile(r'Enum type "(?P<type>[\w.]+)" has no value named (["\']?)(?P<value>.*)\2$')
_TWICE = re.compile(r'Message type "[\w.]+" should not have multiple "(?P<field>\w+)" fields$')
_BARE_TEXT = re.compile(r"Expected string but found: '(?P<found>.*)'$")
#: Complaints of the parser -> what to do.
_ADVICE = (
    (re.compile("Expected string but found: '[“”„‘’]'$"), "; write straight quotes"),
    (_BARE_TEXT, "; put the text in quotes"),
    (re.compile(r'\b(in|ex)clude\b.*Expected "\{"$'), "; write include { phase: TEST }"),
    (re.compile(r'\binput_dim\b.*Expected "\{"$'), "; write 'input_dim:' before each of the four numbers"),
    (re.compile(r'\d,\d.*Expected "\{"$'), "; write decimals with a point"),
    (re.compile('parse integer: "'), "; write numbers without quotes"),
    (re.compile("got /$"), "; comments begin with '#'"),
    (re.compile(r"got \{$"), "; a block begins with its name, such as layer {"),
    (re.compile("got ,$"), "; remove it"),
)
_OLD_TYPES = "caffe_lrp.V1LayerParameter.LayerType"


def misspelt_fields(text: str) -> Iterator[str]:
    """An error for every unknown field of a valid prototxt that looks like a misspelt known one.

    Caffe itself refuses every unknown field. Here the fields of forks are accepted, so a misspelt field would
    silently leave its value at the default.
    """
    seen: set[tuple[str, str]] = set()
    for use in fields_of(text):
        if use.is_known or (use.block, use.name) in seen or len(seen) == _MOST_NAMES:
            continue
        close = _slip_of(use.name, use.known)
        if not close:
            seen.add((use.block, use.name))
        else:
            block = f"'{use.block}'" if use.block else "the net"
            yield (
                f"line {use.line(text)}: there is no field '{use.name}' in {block}; did you mean '{close}'?"
            )


def _slip_of(name: str, known: Any) -> str | None:
    """The known field that the unknown ``name`` is a misspelling of.

    A common ``_param`` does not count as similarity (``mn_param``, ``mvn_param``), and ``kernel_d`` is not a
    misspelt ``kernel_w`` but another axis.
    """
    if name.endswith(_PARAMETERS):
        stems = [other.removesuffix(_PARAMETERS) for other in known if other.endswith(_PARAMETERS)]
        close = closest(name.removesuffix(_PARAMETERS), stems, _LEAST_SIMILARITY)
        return close and close + _PARAMETERS
    axis = _AXIS.search(name)
    return closest(name, [other for other in known if not axis or other.endswith(axis[0])], _LEAST_SIMILARITY)


def why_invalid(error: text_format.ParseError | RecursionError, lines: Sequence[int]) -> str:
    """Why a prototxt cannot be parsed, with the line.

    Parameters
    ----------
    error
        The parser's error.
    lines
        Line number in the file for each line that the parser was given.
    """
    if isinstance(error, RecursionError):
        return "not a valid prototxt: messages are nested too deeply; remove the blocks that are not needed"
    line = error.GetLine()
    message = str(error).removesuffix(".")
    if line is not None:
        message = message.split(" : ", 1)[-1] if message.startswith(f"{line}:") else message
    place = "" if line is None else f"line {lines[min(line, len(lines)) - 1]}: "
    return f"{place}not a valid prototxt: {_explained(message)}"


def _explained(message: str) -> str:
    """The parser's error, with advice where there is some."""
    enum, twice, bare = (pattern.search(message) for pattern in (_ENUM_FAULT, _TWICE, _BARE_TEXT))
    if enum:
        return _no_such_value(enum["type"], enum["value"])
    if twice:
        return f"'{twice['field']}' appears twice in one block; keep one"
    if bare and bare["found"] in V1_TYPE_NAMES:
        return f'{message}; the current style needs quotes: type: "{V1_TYPE_NAMES[bare["found"]]}"'
    if message == 'Expected "}"':
        return "it ends before the last '}'; download or copy it again, or add the missing lines"
    return message + next((advice for pattern, advice in _ADVICE if pattern.search(message)), "")


def _no_such_value(type_name: str, value: str) -> str:
    """The message for an unknown enum value, with the known ones."""
    values = DESCRIPTOR.pool.FindEnumTypeByName(type_name).values_by_name
    if type_name == _OLD_TYPES:
        return _no_such_old_type(value)
    if value in values:
        return f"the value '{value}' is in quotes; remove them"
    choice = f" (known values: {', '.join(values)})" if len(values) <= _MOST_VALUES else ""
    return f"there is no value '{value}'{did_you_mean(value, values)}{choice}"


def _no_such_old_type(value: str) -> str:
    """The message for a type that ``layers { … }`` cannot have."""
    old_names = {current: old for old, current in V1_TYPE_NAMES.items()}
    if value in old_names:
        return f"in 'layers {{ … }}' a type is written without quotes: type: {old_names[value]}"
    return (
        f"there is no value '{value}'{did_you_mean(value, V1_TYPE_NAMES)}; for types that Caffe's old style "
        "'layers { … }' lacks, use the current style: layer { type: \"…\" … }"
    )
