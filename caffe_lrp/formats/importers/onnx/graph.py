"""The graph of an ONNX file: nodes in order, constants, one input; checked, before anything is converted."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from caffe_lrp.errors import ModelError
from caffe_lrp.messages import enumerated

from .node import Node, naming, said
from .tensors import FLOATS, Constant, ExternalFiles, stored_constant, type_name

MOST_NODES = 100_000
#: Names of the domain of standard operators.
STANDARD = ("", "ai.onnx")
OLDEST_OPSET = 7


@dataclass(frozen=True)
class Input:
    """The input of a graph; sizes that the file leaves open are None."""

    name: str
    sizes: tuple[int | None, ...]


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in order of execution, constants by name, the input, and the names of the outputs."""

    nodes: tuple[Node, ...]
    constants: Mapping[str, Constant]
    input: Input
    outputs: tuple[str, ...]
    opset: int

    def readers(self) -> dict[str, list[Node]]:
        """Value -> nodes that read it; a node is named once for every time it reads."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in filter(None, node.inputs):
                found.setdefault(name, []).append(node)
        return found

    def writers(self) -> dict[str, Node]:
        """Value -> the node that writes it."""
        return {name: node for node in self.nodes for name in node.outputs if name}

    def with_nodes(self, nodes: Iterable[Node]) -> "Graph":
        """The same with other nodes."""
        return replace(self, nodes=tuple(nodes))


@dataclass
class _Names:
    """Values known so far, and what they are."""

    known: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, what: str) -> None:
        if name in self.known:
            raise ModelError(
                f"'{said(name)}' is the name of {self.known[name]} and of {what}; names must be "
                "unique: export the net again"
            )
        self.known[name] = what


def opset_of(model: Any, newest: int) -> int:
    """The version of the standard operators.

    Raises
    ------
    ModelError
        The model does not say it, or it is too old or too new.
    """
    versions = {int(entry.version) for entry in model.opset_import if entry.domain in STANDARD}
    if len(versions) != 1:
        raise ModelError("does not say which version of operators (opset) it uses; export the net again")
    (version,) = versions
    if version < OLDEST_OPSET:
        raise ModelError(
            f"uses opset {version}; supported are {OLDEST_OPSET} to {newest}: export the net again, "
            "or raise it with "
            "onnx.version_converter"
        )
    if version > newest:
        raise ModelError(
            f"uses opset {version}, but the installed package onnx knows up to {newest}; update it "
            "with 'pip install "
            "-U onnx', or export the net with a lower opset_version"
        )
    return version


def graph_of(model: Any, folder: Path, newest: int) -> Graph:
    """The graph of a parsed file.

    Raises
    ------
    ModelError
        It has no graph that can be read; the message names the node or tensor.
    """
    opset = opset_of(model, newest)
    if model.functions:
        name = said(f"{model.functions[0].domain}.{model.functions[0].name}")
        raise ModelError(
            f"defines functions of its own ('{name}'), which are not supported; replace them by their "
            "nodes with "
            "onnx.inliner.inline_local_functions, and save the model"
        )
    stored = model.graph
    if stored.sparse_initializer:
        raise ModelError("has sparse tensors, which are not supported; export the net with dense ones")
    if len(stored.node) > MOST_NODES:
        raise ModelError(f"has {len(stored.node):,} nodes, the limit is {MOST_NODES:,}; is it a classifier?")
    files, names = ExternalFiles(folder), _Names()
    constants = _initializers(stored, files, names)
    given = _input(stored, constants)
    names.add(given.name, "the input")
    nodes = _nodes(stored, files, names)
    return Graph(nodes, constants, given, _outputs(stored, names), opset)


def _initializers(stored: Any, files: ExternalFiles, names: _Names) -> dict[str, Constant]:
    found = {}
    for tensor in stored.initializer:
        names.add(str(tensor.name), f"initializer '{said(tensor.name)}'")
        with naming(f"initializer '{said(tensor.name)}'"):
            found[str(tensor.name)] = stored_constant(tensor, files)
    return found


def _input(stored: Any, constants: Mapping[str, Constant]) -> Input:
    """The input that is not an initializer; files of IR version 3 list these, too."""
    inputs = [value for value in stored.input if value.name not in constants]
    if len(inputs) != 1:
        listed = enumerated([f"'{said(value.name)}'" for value in inputs], 5) or "none"
        raise ModelError(
            f"has {len(inputs)} inputs ({listed}); only nets with one image as input are supported: "
            "export the net "
            "with one input, and constants instead of the others"
        )
    (value,) = inputs
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or int(kind.elem_type) not in FLOATS:
        raise ModelError(
            f"input '{said(value.name)}' has numbers of type {type_name(int(kind.elem_type))}; only "
            "floating-point images are "
            "supported: export the net without the conversion of bytes"
        )
    sizes = tuple(
        int(axis.dim_value) if axis.HasField("dim_value") and axis.dim_value > 0 else None
        for axis in kind.shape.dim
    )
    return Input(str(value.name), sizes)


def _nodes(stored: Any, files: ExternalFiles, names: _Names) -> tuple[Node, ...]:
    """The nodes; each reads only values that are known before it."""
    later = {name: number for number, node in enumerate(stored.node) for name in node.output if name}
    found = []
    for number, message in enumerate(stored.node):
        node = Node.of(message, number, files)
        for name in filter(None, node.inputs):
            if name not in names.known:
                raise node.error(
                    f"reads '{said(name)}', which a later node writes: the nodes are not in order, or "
                    "form a cycle"
                    if name in later
                    else f"reads '{said(name)}', which is no input, initializer or output of a node",
                    "export the net again",
                )
        for name in filter(None, node.outputs):
            names.add(name, f"an output of {node.label}")
        found.append(node)
    return tuple(found)


def _outputs(stored: Any, names: _Names) -> tuple[str, ...]:
    outputs: Sequence[str] = [str(value.name) for value in stored.output]
    missing = [name for name in outputs if name not in names.known]
    if missing or not outputs:
        raise ModelError(
            f"output '{said(missing[0])}' is written by no node; export the net again"
            if missing
            else "has no outputs; export the net again"
        )
    return tuple(dict.fromkeys(outputs))
