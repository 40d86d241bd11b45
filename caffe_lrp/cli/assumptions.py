"""The table of settings that were assumed for a net without a config."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from caffe_lrp.errors import presentable
from caffe_lrp.formats.spec import Shape
from caffe_lrp.inspection.layer_table import aligned
from caffe_lrp.messages import counted
from caffe_lrp.model.explainer import Explainer
from caffe_lrp.net.net import Net
from caffe_lrp.relevance.advice import suitable_formula
from caffe_lrp.relevance.start import Start

from .inline import wrapped
from .tables import table

#: How images are resized to the net's input, by ``resize``.
_RESIZING = {
    "reference": "the longer side becomes base_size; the shorter one is padded by repeating the edge",
    "stretch": "height and width both become base_size, as in Caffe's own tools",
    "short-side": "the shorter side becomes base_size; the net sees the centre",
}
_FROM_PROTOTXT = "from the prototxt"
_BY_CHANNELS = {
    3: "a guess: the mean of ImageNet's photos",
    1: "a guess: nothing is subtracted",
}
_UNLESS_KNOWN = "a guess: nothing is subtracted, as the meaning of the channels is unknown"

_GUESSED_SCALE = "a guess: not scaled; LeNets for MNIST often need 0.00390625, MobileNets 0.017"


@dataclass(frozen=True)
class Assumption:
    """A setting that was assumed.

    Attributes
    ----------
    setting
        Its name.
    value
        Its value.
    reason
        Reason for the value.
    """

    setting: str
    value: str
    reason: str

    @property
    def option(self) -> str:
        """The option that changes it."""
        return option_of(self.setting)


def option_of(setting: str) -> str:
    """Return the option for a setting."""
    return "--" + setting.replace("_", "-")


def assumption_lines(assumptions: Collection[Assumption], width: int | None = None) -> Iterator[str]:
    """Return a table of the assumed settings, and how to change them; wrapped if ``width`` is given."""
    if not assumptions:
        return
    yield "assumed, because you did not say otherwise:"
    rows = [(f"  {each.option}", each.value, each.reason) for each in assumptions]
    yield from aligned(rows) if width is None else map(presentable, table([("", "", ""), *rows], width))
    example = next(iter(assumptions))
    advice = (
        "to change one, give its option with another value; YAML configs and Python use the same names with "
        f"underscores, such as {example.setting}: {example.value}"
    )
    yield from [advice] if width is None else map(presentable, wrapped(advice, width))


def guess_of_mean(assumed: Mapping[str, Any], source: str) -> str:
    """Return a warning about a guessed mean; empty if the mean is not a guess."""
    if "mean_values" not in assumed:
        return ""
    return (
        f"{why_no_mean(source)}: "
        f"{_numbers(assumed['mean_values'])} is a guess. With the wrong one, classes and pictures are wrong; "
        "give the right one with --mean-values or --mean-file (0 subtracts nothing)"
    )


def why_no_mean(source: str) -> str:
    """Return the warning for a net with an unknown mean."""
    return f"{source} does not say which mean the net was trained with, and no option gives it"


def assumptions_of(
    explainer: Explainer, said: Collection[str], assumed: Collection[str]
) -> Iterator[Assumption]:
    """Return the assumed settings, in the order in which they apply to an image.

    Parameters
    ----------
    explainer
        The opened net.
    said
        Names of the settings that the user gave.
    assumed
        Names of the settings that were assumed before the net was opened.
    """
    of_input = assumptions_of_input(explainer.described_preprocessing, explainer.net.input_shape, assumed)
    for assumption in (*of_input, *assumptions_of_relevance(explainer.net, explainer.origin)):
        if assumption.setting not in said:
            yield assumption
    if not explainer.labels:
        yield Assumption("labels", "none", "classes are shown by number; give a file with one label per line")


def assumptions_of_input(
    described: Mapping[str, Any], shape: Shape, assumed: Collection[str]
) -> Iterator[Assumption]:
    """Return the assumed preprocessing, ``described`` by the model, for an input of ``shape``."""
    from_prototxt = {*described["from_prototxt"]}
    channels, height, width = shape
    if described["resize"] in _RESIZING:
        yield Assumption("resize", described["resize"], _RESIZING[described["resize"]])
    if described["resize"] != "none":
        size = f"the net's input is {height} × {width} pixels"
        reason = _FROM_PROTOTXT if "base_size" in assumed else size
        yield Assumption("base_size", str(described["base_size"]), reason)
    if channels == 3:
        yield Assumption("channel_order", described["channel_order"], "as Caffe reads pictures")
    if "mean_file" in described:
        yield Assumption("mean_file", described["mean_file"], _FROM_PROTOTXT)
    else:
        guess = _BY_CHANNELS.get(channels, _UNLESS_KNOWN)
        reason = guess if "mean_values" in assumed else _FROM_PROTOTXT
        yield Assumption("mean_values", _numbers(described["mean_values"]), reason)
    if "std_values" in described:
        return
    unscaled = _GUESSED_SCALE if "mean_values" in assumed else "grey levels minus the mean, not scaled"
    reason = _FROM_PROTOTXT if "input_scale" in from_prototxt else unscaled
    yield Assumption("input_scale", f"{described['input_scale']:g}", reason)


def assumptions_of_relevance(net: Net, origin: Start) -> Iterator[Assumption]:
    """Return the assumed start layer and formula."""
    start = origin.layer
    scores = f"computes the scores of {counted(origin.class_count, 'class')}"
    yield Assumption("start_layer", start.name, f"{start.label} {scores}")
    suitable = suitable_formula(net, origin.output)
    yield Assumption("formula", str(suitable.formula), f"suits the net: {suitable.reason}")


def _numbers(values: Collection[float]) -> str:
    return ",".join(f"{value:g}" for value in values)
