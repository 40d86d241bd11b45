"""A picture of a net's graph as SVG, drawn without other programs.

Consecutive layers without a branch share a box, with one line each. Branches are next to each other.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from caffe_lrp.errors import presentable
from caffe_lrp.relevance.assignment import NO_RULE

from .facts import LayerFacts, NetFacts
from .layer_table import shape_text
from .layout import Arrangement, Point, arrange

#: Sizes in pixels; characters of a monospaced font of 11 pixels are 6.6 wide.
_LETTER, _FONT = 6.7, 11
_LINE = 16.0
_MARGIN = 5.0
_BORDER = 20.0

#: Longer names are shortened in the middle; the full name is shown when the pointer is over the line.
_LONGEST_NAME = 32

#: Family of layers -> colour, and name in the legend; see `facts.family_of`.
_FAMILIES = {
    "Linear": ("#cfe2f3", "linear"),
    "Neuron": ("#fff2cc", "neuron"),
    "Winner": ("#d9ead3", "winner"),
    "WindowAverage": ("#c9e5d8", "average"),
    "Combination": ("#f9d5c7", "combination"),
    "Router": ("#e8e8e8", "router"),
    "Normalization": ("#e4d7ee", "normalization"),
    "ChannelNormalization": ("#e4d7ee", "normalization"),
}
_OTHERS = ("#ffffff", "other")


@dataclass(frozen=True)
class _Line:
    """One line of a box: a layer, or the input of the net, which has no index."""

    cells: tuple[str, ...]
    title: str
    colour: str
    layer: LayerFacts | None = None


@dataclass(frozen=True)
class _Edge:
    """An edge between two boxes, and its blob."""

    begin: int
    end: int
    blob: str


def svg_text(facts: NetFacts) -> str:
    """The picture, with the rules of the first formula."""
    boxes, edges = _boxes(facts)
    widths = [_column_widths(box) for box in boxes]
    sizes = [
        (sum(columns) * _LETTER + 2 * _MARGIN, len(box) * _LINE + 2 * _MARGIN)
        for box, columns in zip(boxes, widths, strict=True)
    ]
    drawing = arrange(sizes, [(edge.begin, edge.end) for edge in edges])
    heading = _heading(facts)
    head = (len(heading) + 2) * _LINE
    width = max(drawing.width, max(map(len, heading)) * _LETTER, 600.0) + 2 * _BORDER
    height = drawing.height + head + 2 * _BORDER
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{math.ceil(width)}" height="{math.ceil(height)}" '
        f'viewBox="0 0 {math.ceil(width)} {math.ceil(height)}" '
        f'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="{_FONT}">',
        '<rect width="100%" height="100%" fill="white"/>',
        *_headed(facts, heading),
        f'<g transform="translate({_number((width - drawing.width) / 2)} {_number(_BORDER + head)})">',
        *_edge_lines(edges, drawing),
    ]
    for number, (box, columns) in enumerate(zip(boxes, widths, strict=True)):
        corner = (drawing.lefts[number], drawing.tops[number])
        lines += _box_lines(box, columns, corner, sizes[number], facts.start)
    return "\n".join([*lines, "</g>", "</svg>", ""])


# From layers to boxes


def _boxes(facts: NetFacts) -> tuple[list[list[_Line]], list[_Edge]]:
    """Boxes with their lines, the input first, and the edges between them."""
    name = facts.value_names[facts.input_value]
    boxes = [[_Line(("", _short(name), "input", shape_text(facts.input_shape[1:]), ""), name, _OTHERS[0])]]
    box_of = {facts.input_value: 0}
    for value, shape in facts.constants.items():
        title = facts.value_names[value]
        box_of[value] = len(boxes)
        boxes.append([_Line(("", _short(title), "constant", shape_text(shape[1:]), ""), title, _OTHERS[0])])
    lone = {layer.outputs[0] for layer in facts.layers if len(layer.outputs) == 1}
    edges = []
    for layer in facts.layers:
        goes_on = len(layer.inputs) == 1 and layer.inputs[0] in lone
        number = box_of[layer.inputs[0]] if goes_on else len(boxes)
        if not goes_on:
            boxes.append([])
            edges += [_Edge(box_of[value], number, facts.value_names[value]) for value in layer.inputs]
        boxes[number].append(_line(layer, facts))
        box_of |= dict.fromkeys(layer.outputs, number)
    return boxes, edges


def _line(layer: LayerFacts, facts: NetFacts) -> _Line:
    rule = layer.rules.get(facts.formulas[0], "") if facts.formulas else ""
    shape = shape_text(layer.output_shapes[0][1:]) if layer.output_shapes else ""
    cells = (str(layer.index), _short(layer.name), layer.type, shape, rule)
    tops = ", ".join(facts.value_names[value] for value in layer.outputs)
    title = f"layer {layer.index} '{layer.name}' ({layer.type}) writes {tops}"
    if layer.parameters:
        title += f"; {layer.parameters:,} parameters, {layer.multiply_adds:,} multiply-adds"
    return _Line(cells, title, _FAMILIES.get(layer.family, _OTHERS)[0], layer)


def _short(name: str) -> str:
    """``name``, shortened in the middle if it is long."""
    if len(name) <= _LONGEST_NAME:
        return name
    half = _LONGEST_NAME // 2
    return f"{name[: half - 1]}…{name[-half:]}"


def _column_widths(box: Sequence[_Line]) -> list[int]:
    """Characters in every column of a box, including blanks after it, because fonts differ in width."""
    widths = [max(len(line.cells[column]) for line in box) for column in range(len(box[0].cells))]
    return [width + 2 if width else 0 for width in widths]


# From boxes to SVG


def _heading(facts: NetFacts) -> list[str]:
    counts = f"{len(facts.layers):,} layers, {facts.parameters:,} parameters"
    counts += f", {facts.multiply_adds:,} multiply-adds"
    start = facts.layers[facts.start]
    formula = f", formula {facts.formulas[0]}" if facts.formulas else ""
    return [facts.source, counts, f"relevance starts at layer {start.index} '{start.name}'{formula}"]


def _headed(facts: NetFacts, heading: Sequence[str]) -> Iterator[str]:
    """The heading, and a legend of the colours."""
    y = _BORDER + _FONT
    for number, line in enumerate(heading):
        weight = ' font-weight="bold"' if number == 0 else ""
        yield f'<text x="{_BORDER}" y="{_number(y)}"{weight}>{_text(line)}</text>'
        y += _LINE
    x = _BORDER
    present = dict.fromkeys(_FAMILIES.get(layer.family, _OTHERS) for layer in facts.layers)
    for colour, name in sorted(present, key=lambda family: family[1]):
        yield (
            f'<rect x="{_number(x)}" y="{_number(y - _FONT)}" width="12" height="12" fill="{colour}" '
            'stroke="#888"/>'
        )
        yield f'<text x="{_number(x + 17)}" y="{_number(y)}">{name}</text>'
        x += 17 + (len(name) + 3) * _LETTER


def _edge_lines(edges: Sequence[_Edge], drawing: Arrangement) -> Iterator[str]:
    yield '<g fill="none" stroke="#666" stroke-width="1.2">'
    for edge, route in zip(edges, drawing.routes, strict=True):
        yield f'<path d="{_path(route)}"><title>{_text(edge.blob)}</title></path>'
    yield "</g>"


def _path(route: Sequence[Point]) -> str:
    """An SVG path: vertical through ranks, curved between them."""
    (x, y), *rest = route
    commands = [f"M{_number(x)} {_number(y)}"]
    for next_x, next_y in rest:
        if next_x == x:
            commands.append(f"V{_number(next_y)}")
        else:
            middle = _number((y + next_y) / 2)
            commands.append(
                f"C{_number(x)} {middle} {_number(next_x)} {middle} {_number(next_x)} {_number(next_y)}"
            )
        x, y = next_x, next_y
    return "".join(commands)


def _box_lines(
    box: Sequence[_Line], columns: Sequence[int], corner: Point, size: Point, start: int
) -> Iterator[str]:
    """One box with its lines."""
    x, y = corner
    width, height = size
    yield (
        f'<rect x="{_number(x)}" y="{_number(y)}" width="{_number(width)}" height="{_number(height)}" '
        'rx="4" fill="white" stroke="#444"/>'
    )
    for number, line in enumerate(box):
        top = y + _MARGIN + number * _LINE
        is_start = line.layer is not None and line.layer.index == start
        border = ' stroke="#c00" stroke-width="2"' if is_start else ""
        yield f"<g><title>{_text(line.title)}</title>"
        yield (
            f'<rect x="{_number(x + 2)}" y="{_number(top)}" width="{_number(width - 4)}" '
            f'height="{_number(_LINE)}" fill="{line.colour}"{border}/>'
        )
        left = x + _MARGIN
        for column, (cell, letters) in enumerate(zip(line.cells, columns, strict=True)):
            if cell:
                style = f"fill={quoteattr(_ink(line, column))}"
                yield f'<text x="{_number(left)}" y="{_number(top + _FONT + 1)}" {style}>{_text(cell)}</text>'
            left += letters * _LETTER
        yield "</g>"


def _ink(line: _Line, column: int) -> str:
    """Colour of a text: pale if relevance does not pass the layer, red if a rule is missing."""
    if line.layer is not None and not line.layer.is_on_the_way:
        return "#999"
    if column == len(line.cells) - 1:
        return "#c00" if line.cells[column] == NO_RULE else "#06c"
    return "#000"


def _text(text: str) -> str:
    """``text``, escaped for XML."""
    return escape(presentable(text.replace("\n", " ")))


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
