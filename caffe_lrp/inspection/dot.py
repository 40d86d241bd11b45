"""The graph of a net in the language of Graphviz."""

from collections.abc import Iterator

from caffe_lrp.errors import presentable

from .facts import LayerFacts, NetFacts
from .layer_table import shape_text


def dot_text(facts: NetFacts) -> str:
    """A digraph with a node for every layer (index, name, type and shape) and an edge for every blob."""
    return "\n".join(["digraph net {", *(f"  {line};" for line in _statements(facts)), "}", ""])


def _statements(facts: NetFacts) -> Iterator[str]:
    yield 'node [shape=box, fontname="monospace"]'
    yield 'edge [fontname="monospace", fontsize=10]'
    name = facts.value_names[facts.input_value]
    yield f"input [shape=oval, label={_quoted(f'{name}', shape_text(facts.input_shape))}]"
    writers = {facts.input_value: "input"}
    for value, shape in facts.constants.items():
        yield f"constant{value} [shape=oval, label={_quoted(facts.value_names[value], shape_text(shape))}]"
        writers[value] = f"constant{value}"
    for layer in facts.layers:
        yield f"layer{layer.index} [{_attributes(layer, is_start=layer.index == facts.start)}]"
        writers |= dict.fromkeys(layer.outputs, f"layer{layer.index}")
    for layer in facts.layers:
        for value in layer.inputs:
            label = _quoted(facts.value_names[value])
            yield f"{writers[value]} -> layer{layer.index} [label={label}]"


def _attributes(layer: LayerFacts, *, is_start: bool) -> str:
    text = f"label={_quoted(f'{layer.index} {layer.name}', layer.type, layer.shape_text)}"
    return f"{text}, penwidth=3" if is_start else text


def _quoted(*lines: str) -> str:
    r"""Lines as one Graphviz string, with quotes and backslashes escaped."""
    plain = (presentable(line.replace("\n", " ")) for line in lines)
    escaped = (line.replace("\\", "\\\\").replace('"', '\\"') for line in plain)
    return '"' + "\\n".join(escaped) + '"'
