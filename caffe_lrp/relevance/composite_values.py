"""From plain values, of a file or in Python, to a composite; all that is wrong with them is said at once."""

import re
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any

from caffe_lrp.errors import ConfigError
from caffe_lrp.messages import MOST_LISTED, did_you_mean
from caffe_lrp.quirks import QUIRK_MODES

from .composite import KINDS, POSITIONS, Composite, Entry
from .rule_names import RULES, Parameter, flag, number_at_least, one_of

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*(_[A-Za-z0-9.-]+)*")
_WHOLE = re.compile("[+-]?[0-9]{1,9}")
_LONGEST_NAME = 100
#: Whole numbers from here on have more digits than `_WHOLE`.
_TOO_MANY = 10**9


def _words(value: Any) -> tuple[str, ...]:
    """One word, or several."""
    words = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    if not words or not all(isinstance(word, str) and word for word in words):
        raise ValueError("must be a word, or a list of words")
    return words


def _kinds(value: Any) -> tuple[str, ...]:
    return tuple(map(one_of(KINDS), _words(value)))


def _layers(value: Any) -> tuple[str | int, ...]:
    """Names, patterns and ranges; whole numbers are indices."""
    given = value if isinstance(value, (list, tuple)) else [value]
    texts = [_text_of_whole(each) for each in given]
    if not texts or not all(isinstance(text, str) and text for text in texts):
        raise ValueError("must be a name, an index, or a list of them")
    return tuple(int(text) if _WHOLE.fullmatch(text) else text for text in texts)


def _text_of_whole(value: Any) -> Any:
    """A whole number as a text, unless no net has as many layers; other values as they are."""
    is_whole = isinstance(value, Integral) and not isinstance(value, bool)
    return str(value) if is_whole and abs(value) < _TOO_MANY else value


def _layer(value: Any) -> str | int:
    text = _text_of_whole(value)
    if not isinstance(text, str) or not text:
        raise ValueError("must be one layer, by name or index")
    return _layers(text)[0]


def _count(value: Any) -> int:
    text = _text_of_whole(value)
    if not isinstance(text, str) or not _WHOLE.fullmatch(text) or int(text) < 1:
        raise ValueError("must be a whole number, at least 1")
    return int(text)


def _base(value: Any) -> int | str:
    """A number or name of a formula."""
    from .formulas import FORMULAS  # noqa: PLC0415 - which loads NumPy

    text = _text_of_whole(value)
    if not (isinstance(text, str) and text):
        raise ValueError("must be the number or the name of a formula")
    code = int(text) if _WHOLE.fullmatch(text) else text
    if code not in FORMULAS:
        advice = did_you_mean(text, list(map(str, FORMULAS))) or "; caffe-lrp --formula help lists all"
        raise ValueError(f"is '{text}', which is no formula{advice}")
    return code


def _name(value: Any) -> str:
    text = _text_of_whole(value)
    if not isinstance(text, str):
        raise ValueError("must be a word")  # noqa: TRY004 - as other parsers
    return text


_not_negative = number_at_least(0)
#: Keys of a composite besides its rules, with their parsers; those of a run that it can replace among them.
_TOP: Mapping[str, Callable[[Any], Any]] = {
    "name": _name,
    "base": _base,
    "channel_norm": flag,
    "epsilon": _not_negative,
    "beta": _not_negative,
    "gamma": _not_negative,
    "switch_layer": _layer,
    "quirks": one_of(QUIRK_MODES),
}
#: Keys of an entry besides its rule and that one's parameters.
_CHOICES: Mapping[str, Callable[[Any], Any]] = {
    "type": _words,
    "kind": _kinds,
    "layers": _layers,
    "position": one_of(POSITIONS),
    "first": _count,
    "optional": flag,
}


def composite_of(
    values: Any, name: str, source: str = "", line_of: Callable[[object], int] | None = None
) -> Composite:
    """The composite that ``values`` describe.

    Parameters
    ----------
    values
        A mapping, as a file has it (manual: composites).
    name
        Its name, unless ``values`` have one.
    source
        The file, for messages; empty if there is none.
    line_of
        The line of a key of the mapping, or of an entry by its number; None if there are no lines.

    Raises
    ------
    ConfigError
        They do not describe one; all faults are reported at once.
    """
    reader = _Reader(line_of)
    composite = reader.composite(values, name, source)
    if reader.faults:
        where = f"{source}: " if source else ""
        lines = [f"{where}{fault}" for fault in reader.faults[:MOST_LISTED]]
        rest = len(reader.faults) - MOST_LISTED
        raise ConfigError("\n".join(lines + ([f"{where}… and {rest} more"] if rest > 0 else [])))
    return composite


class _Reader:
    """Reads values, and notes what is wrong with them."""

    def __init__(self, line_of: Callable[[object], int] | None) -> None:
        self.faults: list[str] = []
        self._line_of = line_of

    def composite(self, values: Any, name: str, source: str) -> Composite:
        if not isinstance(values, Mapping) or not values:
            self.faults.append("has no keys; a composite has a list 'rules', or a 'base', or both")
            return Composite(name)
        known = (*_TOP, "rules")
        for key in values:
            if key not in known:
                self._fault(key, _no_such_key(str(key), known))
        found = {key: self._value(key, f"'{key}'", _TOP[key], values[key]) for key in _TOP if key in values}
        called = found.pop("name", name)
        if called is not None:
            self._check_name(called, is_given="name" in values)
        if "base" not in values and ("rules" not in values or values["rules"] in ([], ())):
            self.faults.append(
                "gives no layer a rule; add a list 'rules', or a 'base', such as base: epsilon-plus"
            )
        return Composite(
            name=called or name,
            entries=self._entries(values.get("rules", ())),
            base=found.pop("base", None),
            channel_norm=found.pop("channel_norm", False),
            settings=tuple(found.items()),
            source=source,
        )

    def _check_name(self, name: str, *, is_given: bool) -> None:
        """Names become parts of file names."""
        if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
            remedy = "choose another" if is_given else "give it one, such as name: my-rules"
            self._fault(
                "name" if is_given else None,
                f"'{name[:_LONGEST_NAME]}' cannot be the name of a composite, which has at most "
                f"{_LONGEST_NAME} letters, digits, '.', '-', and single '_' between them; {remedy}",
            )

    def _entries(self, rules: Any) -> tuple[Entry, ...]:
        if isinstance(rules, (str, Mapping)) or not isinstance(rules, Sequence):
            self._fault(
                "rules", "'rules' must be a list of entries, such as - {type: Convolution, rule: gamma}"
            )
            return ()
        found = [self._entry(number, values) for number, values in enumerate(rules)]
        return tuple(entry for entry in found if entry)

    def _entry(self, number: int, values: Any) -> Entry | None:
        if not isinstance(values, Mapping):
            self._fault(number, "an entry must have keys, such as {type: Convolution, rule: gamma}")
            return None
        rule = values.get("rule")
        if rule is None:
            self._fault(number, "the entry has no rule; add one, such as rule: epsilon")
            return None
        if not isinstance(rule, str) or rule not in RULES:
            self._fault(number, f"there is no rule '{rule}'{did_you_mean(str(rule), RULES) or _all_rules()}")
            return None
        before = len(self.faults)
        found = {
            key: self._value(number, f"'{key}'", parse, values[key])
            for key, parse in _CHOICES.items()
            if key in values
        }
        parameters = self._parameters(number, rule, values)
        if len(self.faults) > before:
            return None
        return Entry(
            rule=rule,
            parameters=parameters,
            types=found.get("type", ()),
            kinds=found.get("kind", ()),
            layers=found.get("layers", ()),
            position=found.get("position", ""),
            first=found.get("first", 0),
            is_optional=found.get("optional", False),
            place=self._place(number),
        )

    def _parameters(self, number: int, rule: str, values: Mapping[Any, Any]) -> tuple[tuple[str, Any], ...]:
        known = RULES[rule].parameters
        for key in values:
            if key not in known and key not in _CHOICES and key != "rule":
                self._fault(number, _unknown_key(str(key), rule, known))
        found = {
            name: self._value(number, f"'{name}'", parameter.parse, values[name])
            for name, parameter in known.items()
            if name in values
        }
        alpha, beta = found.get("alpha"), found.get("beta")
        if alpha is not None and beta is not None and abs(alpha - beta - 1) > 1e-6 * max(1, abs(alpha)):
            self._fault(
                number, f"α − β must be 1, but alpha is {alpha:g} and beta is {beta:g}; give only one of them"
            )
        if ("low" in found) != ("high" in found):
            missing = "high" if "low" in found else "low"
            self._fault(number, f"z-box has only one of its bounds; give '{missing}' too")
        low, high = found.get("low") or (), found.get("high") or ()
        if any(least > most for least, most in zip(*_paired(low, high), strict=False)):
            self._fault(number, "a lower bound of z-box is above the upper one; swap them")
        return tuple(found.items())

    def _value(self, where: object, what: str, parse: Callable[[Any], Any], value: Any) -> Any:
        """A parsed value; None where it is wrong, which is noted."""
        try:
            return parse(value)
        except ValueError as error:
            self._fault(where, f"the value of {what} {error}")
            return None

    def _fault(self, where: object, text: str) -> None:
        place = self._place(where)
        self.faults.append(f"{place}: {text}" if place else text)

    def _place(self, where: object) -> str:
        """The line of a key or entry; without lines, which entry it is."""
        if self._line_of is not None:
            return f"line {self._line_of(where)}"
        return f"entry {where + 1}" if isinstance(where, int) else ""


def _unknown_key(key: str, rule: str, known: Mapping[str, Parameter]) -> str:
    """What is wrong with a key of an entry."""
    if any(key in other.parameters for other in RULES.values()):
        its = f"it has {', '.join(known)}" if known else "it has none"
        return f"'{key}' is no parameter of the rule '{rule}'; {its}"
    return _no_such_key(key, [*_CHOICES, "rule", *known])


def _no_such_key(key: str, known: Sequence[str]) -> str:
    return f"there is no key '{key}'{did_you_mean(key, known) or '; the keys are ' + ', '.join(known)}"


def _paired(low: tuple[float, ...], high: tuple[float, ...]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Bounds one for one, where one of them is a single number for all channels."""
    count = max(len(low), len(high))
    return (low * count if len(low) == 1 else low), (high * count if len(high) == 1 else high)


def _all_rules() -> str:
    return f"; the rules are {', '.join(RULES)}"
