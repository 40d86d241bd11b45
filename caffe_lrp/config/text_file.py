"""The reference's format: pairs of lines, a key and the value below it (manual: toolbox, "Config file")."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from caffe_lrp.errors import ConfigError
from caffe_lrp.files.recognition import why_no_text
from caffe_lrp.messages import closest

from .keys import KEYS, Key, LocatedValue, exists, locate

#: Words at least this similar to a key are taken for a misspelt key.
_LEAST_SIMILARITY = 0.8
#: Only this many lines are searched for misspelt keys; config files are far shorter.
_MOST_LINES = 2000

_BLANK_DELIMITED = re.compile(r"[^ \t\v\f]+")
_NAME = re.compile(r"\w[^\s]*")
_FIRST_WORD = re.compile(r"\s*([^\s:=]+)")

_NAMES = tuple(key.name for key in KEYS)
_REQUIRED_NAMES = tuple(key.name for key in KEYS if key.required)
_OPTIONAL_NAMES = frozenset(_NAMES) - frozenset(_REQUIRED_NAMES)


def read_text(content: bytes, path: Path, given: Collection[str]) -> dict[str, LocatedValue]:
    """The values in a text file, see `reader.read_entries`."""
    lines = re.split("\r\n|\n|\r", content.decode("utf-8-sig", errors="surrogateescape"))
    key_lines = _find_keys(lines)
    if not key_lines:
        reason = why_no_text(content, "config file") or (
            "has none of the keys of a config file, such as 'param_file'; give the config file with -c, "
            "and the list of images with -f"
        )
        raise ConfigError(f"{path}: {reason}")
    entries = {}
    faults = []
    for key in KEYS:
        if key.attribute in given:
            continue
        try:
            if key.name in key_lines:
                value_line = key_lines[key.name] + 1
                value = _read_value(key, lines, value_line, path.parent)
                entries[key.attribute] = LocatedValue(value, value_line + 1)
            elif key.stand_in not in key_lines:
                _refuse_absence(key, lines, key_lines)
        except ValueError as error:
            faults.append(f"{path}: {error}")
    if faults:
        raise ConfigError("\n".join(faults))
    return entries


def _find_keys(lines: list[str]) -> dict[str, int]:
    """Index of the first line of every key in the file, by the key's name.

    As in the reference, a line names a key if it begins with it. Optional keys are additions of this package.
    They must be alone on their line, so that comments of old files are not taken for keys, and not on a line
    for another key's value: ``crop`` may be the name of a folder or a head.
    """
    found: dict[str, int] = {}
    stripped = list(map(str.strip, lines))
    for number, line in enumerate(stripped):
        if line.startswith(_REQUIRED_NAMES):
            for name in _REQUIRED_NAMES:
                if line.startswith(name):
                    found.setdefault(name, number)
    values = _value_lines(found)
    for number, line in enumerate(stripped):
        below = stripped[number + 1] if number + 1 < len(stripped) else ""
        if line in _OPTIONAL_NAMES and number not in values and not _is_title(line, below):
            found.setdefault(line, number)
            values.add(number + 1)
    return found


def _is_title(line: str, below: str) -> bool:
    """Whether a line with an optional key whose value may be any name is more likely a heading above keys."""
    key = next(key for key in KEYS if key.name == line)
    return key.is_layer and (not below or below.startswith(_REQUIRED_NAMES))


def _value_lines(key_lines: Mapping[str, int]) -> set[int]:
    """Numbers of the lines with values of required keys."""
    return {key_lines[name] + 1 for name in _REQUIRED_NAMES if name in key_lines}


def _read_value(key: Key, lines: list[str], number: int, config_folder: Path) -> Any:
    """The value of ``key`` in line ``number`` (from 0); ValueError says what is wrong with it."""
    line = lines[number] if number < len(lines) else ""
    words = _BLANK_DELIMITED.findall(line)
    forgotten = (
        f"line {number + 1}: no value below the key '{key.name}' ({key.help}); write it on a line of its own"
    )
    if not words:
        raise ValueError(forgotten)
    # A layer may be called crop or resize.
    names_a_key = re.split("[:=]", words[0])[0] in (_REQUIRED_NAMES if key.is_layer else _NAMES)
    try:
        value = key.parse(words[0])
        if key.parse is Path:
            _refuse_blank(words[0], line.strip(), config_folder)
    except ValueError as error:
        raise ValueError(
            forgotten if names_a_key else f"line {number + 1}: the value {words[0]!r} of '{key.name}' {error}"
        ) from None
    if names_a_key and not (key.parse is str or (key.parse is Path and exists(locate(value, config_folder)))):
        raise ValueError(forgotten)
    return value


def _refuse_blank(first_word: str, whole: str, config_folder: Path) -> None:
    """Raise ValueError if the first word of a line is not a file, but the whole line is."""
    if not exists(locate(Path(first_word), config_folder)) and exists(locate(Path(whole), config_folder)):
        raise ValueError("ends at its first space; rename the file so that its path has no spaces")


def _refuse_absence(key: Key, lines: list[str], key_lines: Mapping[str, int]) -> None:
    """ValueError for a missing key that is required, or that a line looks like a misspelling of."""
    if key.required:
        raise ValueError(f"the key '{key.name}' is missing ({key.help}); {_advice_on_missing(key, lines)}")
    values = _value_lines(key_lines)
    for number, line in enumerate(lines[:_MOST_LINES]):
        below = "".join(lines[number + 1 : number + 2]).strip()
        if number not in values and _is_slip(key, line.strip(), below):
            raise ValueError(
                f"line {number + 1}: '{line.strip()}' is read as a comment; write the key '{key.name}' on "
                "a line of its own and its value on the next"
            )


def _advice_on_missing(key: Key, lines: list[str]) -> str:
    """Return advice on a missing key: correct a similar line, or add the key."""
    first_words: dict[str, int] = {}
    for number, line in enumerate(lines[:_MOST_LINES]):
        word = _FIRST_WORD.match(line)
        if word and word[1] not in _NAMES:
            first_words.setdefault(word[1], number)
    close = closest(key.name, first_words, _LEAST_SIMILARITY)
    if close is None:
        return "add it and its value on the next line"
    number = first_words[close]
    return f"write '{key.name}' in line {number + 1} instead of '{lines[number].strip()}'"


def _is_slip(key: Key, line: str, below: str) -> bool:
    """Return whether a line is a misspelt key above a value, or only a key and a value."""
    word, *rest = re.split(r"\s*[:=]\s*|\s+", line, maxsplit=1)
    if not closest(key.name, [word], _LEAST_SIMILARITY):
        return False
    value = "".join(rest) or below
    if key.is_layer and (word != key.name or not rest or not _NAME.fullmatch(value)):
        return False  # any text can be a name, so headings and sentences look like values
    try:
        key.parse(value)
    except ValueError:
        return False
    return True
