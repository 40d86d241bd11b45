"""The output of ``caffe-lrp inspect``: tables about a net, and its graph."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caffe_lrp.errors import ExitCode, OutputError, UsageError, noticing, presentable
from caffe_lrp.files.atomic import replace_file, why_unwritable
from caffe_lrp.inspection.dot import dot_text
from caffe_lrp.inspection.facts import STARTS, LayerFacts, NetFacts, facts_of, with_parameters_of
from caffe_lrp.inspection.layer_table import shape_text
from caffe_lrp.inspection.svg import svg_text
from caffe_lrp.messages import counted, listed
from caffe_lrp.model.opening import open_net
from caffe_lrp.model.schedule import readable
from caffe_lrp.net.canonize import Merge
from caffe_lrp.net.heads import find_head, head_notices
from caffe_lrp.net.net import Net
from caffe_lrp.quirks import QUIRK_MODES
from caffe_lrp.relevance.composite import Composite, FormulaCode
from caffe_lrp.relevance.formulas import composite_for, needs_switch_layer
from caffe_lrp.relevance.rules.base import RuleParameters
from caffe_lrp.relevance.start import layer_index

from .terminal import remark, say
from .wording import merges_line

_BYTES = 4
#: Number of unused layers of a caffemodel that are named; others are counted.
_MOST_NAMED = 5


@dataclass(frozen=True)
class _CaffemodelUse:
    """Findings about a caffemodel.

    Attributes
    ----------
    path
        The file.
    unused
        Layers in it that the net does not have.
    merges
        Merges of layers that scale and shift.
    """

    path: Path
    unused: tuple[str, ...]
    merges: tuple[Merge, ...]


def show_net(options: argparse.Namespace) -> int:
    """Print the layers of a net, and write its graph on request."""
    for path in (options.dot, options.svg):
        if path and path.exists():
            raise OutputError(f"{path}: already exists; give another name, or remove it first")
    outline, net, weights = _loaded(options)
    with noticing(net.notices):
        facts = with_parameters_of(_facts(net, options), outline)
    notices = (*net.notices, *facts.remarks)
    if not options.head:
        notices += head_notices(net, facts.head)
    for path, text in ((options.dot, dot_text), (options.svg, svg_text)):
        if path:
            _write(path, text, facts)
    if options.json:
        say(json.dumps(_as_json(facts, weights, notices), indent=2, ensure_ascii=False), sys.stdout)
        return ExitCode.DONE
    for line in _lines(facts, weights):
        say(line, sys.stdout)
    for notice in notices:
        remark(f"note: {notice}")
    return ExitCode.DONE


def _facts(net: Net, options: argparse.Namespace) -> NetFacts:
    """Return the facts about a net under the requested formulas."""
    switch_layer = layer_index(net, options.switch_layer, "the switch layer", "--switch-layer")
    _refuse_missing_switch(options.formulas, switch_layer)
    parameters = RuleParameters(0.0, 0.0, switch_layer, QUIRK_MODES[options.quirks])
    head = None if options.head is None else find_head(net, options.head)
    return facts_of(net, options.formulas, parameters, options.start_layer, options.first_layer, head)


def _refuse_missing_switch(formulas: Sequence[FormulaCode], switch_layer: int) -> None:
    """Raise UsageError for a formula that needs a switch layer if none is given."""
    for code in formulas:
        composite = composite_for(code)
        is_set = switch_layer >= 0 or "switch_layer" in dict(composite.settings)
        if needs_switch_layer(composite) and not is_set:
            kind = "composite" if isinstance(code, Composite) else "formula"
            raise UsageError(
                f"{kind} {code} depends on the switch layer; give its index or name with --switch-layer"
            )


def _loaded(options: argparse.Namespace) -> tuple[Net, Net, _CaffemodelUse | None]:
    """Return the net of the prototxt, or with a caffemodel the net used in runs, and findings."""
    opened = open_net(
        options.prototxt, options.caffemodel, options.head, options.input_size, options.canonize
    )
    if opened.stored is None:
        return opened.outline, opened.net, None
    used = {layer.name for layer in opened.outline.layers if layer.weight_shapes}
    unused = tuple(sorted(opened.stored.keys() - used))
    return opened.outline, opened.net, _CaffemodelUse(options.caffemodel, unused, opened.net.merges)


def _write(path: Path, text: Callable[[NetFacts], str], facts: NetFacts) -> None:
    """Write a picture of the graph."""
    try:
        replace_file(path, text(facts).encode(errors="backslashreplace"))
    except OSError as fault:
        raise OutputError(f"{path}: cannot be written: {why_unwritable(fault)}") from fault


def _as_json(facts: NetFacts, weights: _CaffemodelUse | None, notices: Sequence[str]) -> dict[str, Any]:
    found = None
    if weights is not None:
        merges = [merge.text for merge in weights.merges]
        found = {"caffemodel": str(weights.path), "unused": list(weights.unused), "merges": merges}
    return facts.as_json() | {"weights": found, "notices": list(notices)}


def _lines(facts: NetFacts, weights: _CaffemodelUse | None) -> Iterator[str]:
    """Yield the table of layers, and lines about the whole net."""
    yield from facts.table()
    for line in (*_totals(facts, weights), *_starts(facts), _advice(facts), *_gaps(facts)):
        yield presentable(line)


def _totals(facts: NetFacts, weights: _CaffemodelUse | None) -> Iterator[str]:
    name = facts.value_names[facts.input_value]
    yield f"input '{name}' {shape_text(facts.input_shape)}; {counted(len(facts.layers), 'layer')}"
    size = readable(_BYTES * facts.parameters)
    yield (
        f"{facts.parameters:,} parameters ({size}), {facts.multiply_adds:,} multiply-adds per image in "
        "convolutions and fully connected layers"
    )
    if weights is None:
        yield "weights are not checked: no caffemodel was given"
        return
    yield f"{weights.path}: fits; every layer has its weights, in the right shapes"
    if weights.unused:
        shown = listed([f"'{name}'" for name in weights.unused], _MOST_NAMED)
        yield f"{weights.path}: also has weights of layers that the net does not have:\n{shown}"
    if weights.merges:
        yield merges_line(weights.merges)
        yield from (f"  {merge.text}" for merge in weights.merges if merge.into is None)


def _starts(facts: NetFacts) -> Iterator[str]:
    start, first = facts.layers[facts.start], facts.layers[facts.first]
    yield f"relevance starts at {_label(start)} and ends below {_label(first)}"
    if len(facts.heads) > 1:
        ranked, *others = (
            f"'{facts.value_names[value]}' {shape_text(shape)}" for value, shape in facts.head_shapes.items()
        )
        yield f"classes are those of the head {ranked}; the others (--head):\n{listed(others)}"
    if facts.positions > 1:
        yield f"class c stands for its scores at all {facts.positions} positions"
    for value, meaning in STARTS.items():
        found = facts.starts[value]
        place = "not in this net" if isinstance(found, str) else _label(facts.layers[found])
        yield f"lastlayerindex {value}, {meaning}: {place}"


def _label(layer: LayerFacts) -> str:
    return f"layer {layer.index} '{layer.name}' ({layer.type})"


def _advice(facts: NetFacts) -> str:
    return f"recommended formula: {facts.suitable.formula} ({facts.suitable.reason})"


def _gaps(facts: NetFacts) -> Iterator[str]:
    for gap in facts.gaps:
        name = gap.formula.label if isinstance(gap.formula, Composite) else f"formula {gap.formula}"
        yield f"{gap.label} has no rule under {name}: {gap.advice}"
