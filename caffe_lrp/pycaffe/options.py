"""``RelPropOpts`` of the toolbox's Caffe, and the composites that its numbers stand for."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

import numpy as np

from caffe_lrp.quirks import QUIRK_MODES
from caffe_lrp.relevance.composite import Composite, Entry
from caffe_lrp.relevance.formulas import FORMULAS, find_formula, needs_switch_layer
from caffe_lrp.relevance.rules.base import RuleParameters

from .faults import CaffeValueError

#: The numbers of the toolbox's formulas.
_NUMBERS = tuple(code for code in FORMULAS if isinstance(code, int))
_GRADIENT, _GRADIENT_NORM = 11, 99
_SWITCH = "auxiliaryvariable_maxlayerindexforflatdistinconv"


@dataclass(frozen=True)
class Option:
    """An attribute of `RelPropOpts`: what it is unless set, and what it may be."""

    default: Any
    is_whole: bool
    choices: tuple[int, ...] = ()


OPTIONS: Mapping[str, Option] = {
    "relpropformulatype": Option(-1, True, _NUMBERS),
    "epsstab": Option(1.0, False),
    "alphabeta_beta": Option(0.1, False),
    "lastlayerindex": Option(-1, True),
    "firstlayerindex": Option(-1, True),
    "numclasses": Option(0, True),
    _SWITCH: Option(-1, True),
    "codeexectype": Option(-1, True, (-1, 0, 1)),
    "lrn_forward_type": Option(-1, True),
    "lrn_backward_type": Option(-1, True, (-1, 0, 1)),
    "maxpoolingtoavgpoolinginbackwardpass": Option(0, True, (0, 1)),
    "biastreatmenttype": Option(0, True, (0, 1)),
}


class RelPropOpts:
    """How relevance is propagated, as ``caffe.RelPropOpts`` of the toolbox.

    Its attributes are those of `OPTIONS`; others can be set, and are not read. One is ours: ``quirks``,
    ``reference`` or ``corrected``. What the toolbox makes of each: manual: pycaffe, "Options of relevance".
    """

    relpropformulatype: int
    epsstab: float
    alphabeta_beta: float
    lastlayerindex: int
    firstlayerindex: int
    numclasses: int
    auxiliaryvariable_maxlayerindexforflatdistinconv: int
    codeexectype: int
    lrn_forward_type: int
    lrn_backward_type: int
    maxpoolingtoavgpoolinginbackwardpass: int
    biastreatmenttype: int
    quirks: str

    def __init__(self) -> None:
        for name, option in OPTIONS.items():
            setattr(self, name, option.default)
        self.quirks = "reference"

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; numbers become those of C++, int or float.

        Raises
        ------
        CaffeValueError
            It is no such number.
        """
        option = OPTIONS.get(name)
        if option is not None:
            kind, needed = (Integral, "a whole number") if option.is_whole else (Real, "a number")
            if not isinstance(value, kind) or not math.isfinite(value):
                raise CaffeValueError(f"RelPropOpts: {name} must be {needed}, not {value!r}")
            value = int(float(value)) if option.is_whole else float(np.float32(value))
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in (*OPTIONS, "quirks"))
        return f"RelPropOpts({shown})"


@dataclass(frozen=True)
class Propagation:
    """What options ask for.

    Attributes
    ----------
    composite
        The rules.
    parameters
        Their numbers.
    start, first
        Where relevance starts, see `find_start`, and the lowest layer.
    class_count
        Number of classes at the start, as the options have it; 0: not given.
    is_by_definition
        Whether the toolbox's slow code is asked for, which knows no pooling.
    """

    composite: Composite
    parameters: RuleParameters
    start: int
    first: int
    class_count: int
    is_by_definition: bool


def propagation_of(options: RelPropOpts | None) -> Propagation:
    """What options ask for.

    Raises
    ------
    CaffeValueError
        There are none, or a value is one with which the toolbox ends the process.
    """
    if options is None:
        raise CaffeValueError(
            "net.lrp needs options: opts = caffe.RelPropOpts(); opts.relpropformulatype = 100; "
            "opts.firstlayerindex = 0; net.lrp(classes, opts)"
        )
    if not isinstance(options, RelPropOpts):
        raise CaffeValueError(f"options must be of caffe.RelPropOpts, not {options!r}")
    values = {name: _checked(options, name) for name in OPTIONS}
    if values["firstlayerindex"] < 0:
        raise CaffeValueError("RelPropOpts: firstlayerindex is not set; 0 leads down to the image")
    if values["epsstab"] < 0:
        raise CaffeValueError(f"RelPropOpts: epsstab must not be negative, but is {values['epsstab']}")
    composite = _composite(values)
    if needs_switch_layer(composite) and values[_SWITCH] < 0:
        raise CaffeValueError(
            f"RelPropOpts: formula {values['relpropformulatype']} needs {_SWITCH}: the index of the highest "
            "layer with the lower rule"
        )
    quirks = getattr(options, "quirks", "reference")
    if quirks not in QUIRK_MODES:
        raise CaffeValueError(f"RelPropOpts: quirks must be one of {', '.join(QUIRK_MODES)}, not {quirks!r}")
    return Propagation(
        composite,
        RuleParameters(values["epsstab"], values["alphabeta_beta"], values[_SWITCH], QUIRK_MODES[quirks]),
        values["lastlayerindex"],
        values["firstlayerindex"],
        max(values["numclasses"], 0),
        values["codeexectype"] == 1,
    )


def _checked(options: RelPropOpts, name: str) -> Any:
    """The value of an option; CaffeValueError if it is none of the choices."""
    value, choices = getattr(options, name), OPTIONS[name].choices
    if choices and value not in choices:
        state = "is not set" if value == OPTIONS[name].default else f"is {value}"
        raise CaffeValueError(
            f"RelPropOpts: {name} {state}; it must be one of {', '.join(map(str, choices))}"
        )
    return value


def _composite(values: Mapping[str, Any]) -> Composite:
    """The rules of a formula, changed as other options say."""
    code = values["relpropformulatype"]
    if code in (_GRADIENT, _GRADIENT_NORM):  # the wrapper never takes the norm, and reads no other options
        return Composite(str(_GRADIENT), base=_GRADIENT)
    entries = tuple(replace(entry, is_optional=True) for entry in find_formula(code).entries)
    if values["biastreatmenttype"]:
        entries = tuple(_sharing_bias(entry) if entry.rule == "alpha-beta" else entry for entry in entries)
    lrn = "taylor" if values["lrn_backward_type"] == 1 else "pass"
    entries += (Entry(lrn, kinds=("lrn",), is_optional=True),)
    if values["maxpoolingtoavgpoolinginbackwardpass"]:
        entries += (Entry("proportional", kinds=("max-pooling",), is_optional=True),)
    return Composite(str(code), entries)


def _sharing_bias(entry: Entry) -> Entry:
    return replace(entry, parameters=(*entry.parameters, ("bias", "share")))
