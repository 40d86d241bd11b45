"""Reads an ONNX file: what is in it, node by node, as layers of Caffe."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from caffe_lrp.errors import ModelError, about
from caffe_lrp.files.reading import read_small_file
from caffe_lrp.formats.importers.imported import ImportedNet

from .advice import advice_on
from .folding import constant_in, folded, shape_slice
from .graph import STANDARD, Graph, Input, graph_of
from .layers import NetBuilder, Value
from .node import Node, said
from .operators import CONVERTERS
from .patterns import recognised
from .scan import refuse_bloat
from .tidy import tidied

#: The largest message of protobuf.
_MOST_MEGABYTES = 2048
#: What TensorFlow's nets do with images (N, H, W, C) before they become (N, C, H, W), and how they become
#: that.
_BEFORE_TRANSPOSE = frozenset(("Add", "Cast", "Clip", "Div", "Identity", "Mul", "Pad", "Sub", "Affine"))
_TO_CHANNELS_FIRST = (0, 3, 1, 2)
#: Operators at the end of a net that choose among its scores.
_CHOICES = frozenset(("ArgMax", "TopK"))


def read(path: Path, input_size: tuple[int, int] | None = None) -> ImportedNet:
    """The net of an ONNX file, as layers of Caffe.

    Parameters
    ----------
    path
        The file. Numbers outside it are only read from files below its folder.
    input_size
        Height and width of the input; needed if the file leaves them open.

    Raises
    ------
    ModelError
        The file is damaged, or has something that cannot become layers; the message names the node. Or the
        package onnx is missing.
    """
    onnx = _onnx()
    model = _model(path, onnx)
    with about(ModelError, place=path), np.errstate(all="ignore"):
        graph = graph_of(model, path.parent, int(onnx.defs.onnx_opset_version()))
        return _imported(recognised(_live(graph)), path, _format(model, graph), input_size)


def _onnx() -> Any:
    try:
        import onnx  # noqa: PLC0415  # an extra
    except ImportError as fault:
        raise ModelError(
            'ONNX files need the package onnx; install it with: pip install "caffe-lrp[onnx]"'
        ) from fault
    return onnx


def _model(path: Path, onnx: Any) -> Any:
    """The message in the file; its bytes are not kept beside it."""
    content = read_small_file(path, "ONNX file", ModelError, most_megabytes=_MOST_MEGABYTES)
    with about(ModelError, place=path):
        refuse_bloat(content)
        return _parsed(content, onnx)


def _parsed(content: bytes, onnx: Any) -> Any:
    """The message in a file; tensors stay as they are stored."""
    from google.protobuf.message import DecodeError  # noqa: PLC0415

    try:
        model = onnx.ModelProto.FromString(content)
    except DecodeError as fault:
        raise ModelError("is no ONNX file, or damaged; export or download it again") from fault
    if not model.HasField("graph"):
        raise ModelError("is no ONNX file: it has no graph; export or download it again")
    return model


def _format(model: Any, graph: Graph) -> str:
    maker = " ".join(filter(None, (said(str(model.producer_name)), said(str(model.producer_version)))))
    return f"ONNX, opset {graph.opset}{f', made by {maker}' if maker else ''}"


def _live(graph: Graph) -> Graph:
    """The graph without nodes that no output depends on."""
    wanted, kept = set(graph.outputs), []
    for node in reversed(graph.nodes):
        if not wanted.isdisjoint(filter(None, node.outputs)):
            wanted.update(node.inputs)
            kept.append(node)
    return graph.with_nodes(reversed(kept))


def _imported(graph: Graph, path: Path, form: str, input_size: tuple[int, int] | None) -> ImportedNet:
    is_last = _has_channels_last(graph)
    given = _input_value(graph.input, input_size, is_last)
    net = NetBuilder(graph, given)
    turned = given
    if is_last:
        node = Node(graph.input.name, "Transpose", "", (graph.input.name,), (f"{given.blob}_nhwc",), {})
        turned = net.permute(node, given, (0, 2, 3, 1))
        net.note("the input is (N, C, H, W), as in Caffe; in the file it is (N, H, W, C)")
    net.bind(graph.input.name, turned)
    cut: dict[str, str] = {}
    computed: Counter[str] = Counter()
    readers = graph.readers()
    for node in graph.nodes:
        if (
            node.operator in _CHOICES
            and not any(name in readers for name in node.outputs)
            and net.is_scores(node)
        ):
            net.note(
                f"{node.source}: left out, as it only chooses among the scores, which are the output now"
            )
            cut.update(dict.fromkeys(node.outputs, node.inputs[0]))
        elif _convert(net, node) and node.operator != "Constant":
            computed[node.operator] += 1
    if computed:
        listed = ", ".join(f"{count} {operator}" for operator, count in sorted(computed.items()))
        net.note(f"computed, as no image changes them: nodes {listed}")
    outputs = tuple(dict.fromkeys(net.output(cut.get(name, name)).blob for name in graph.outputs))
    layers = tidied(net.drafts, outputs)
    if not layers:
        raise ModelError("has no layers between its input and its output; is it a classifier?")
    if len(outputs) > 1:
        net.note(f"the net has {len(outputs)} outputs: {', '.join(outputs)}")
    shape = (1, *given.shape[1:])
    return ImportedNet(path.stem, str(path), form, given.blob, shape, layers, tuple(net.drafts.notes))


def _convert(net: NetBuilder, node: Node) -> bool:
    """Add the layers of a node, or compute it if no image changes it; return whether it was computed."""
    is_standard, is_constant = node.domain in STANDARD, True
    if not any(node.outputs[:1]) or not (any(node.inputs[:1]) or node.operator == "Constant"):
        raise node.error("has no first input or no first output", "export the net again")
    if is_standard and node.operator == "Constant":
        net.bind_constant(node.outputs[0], constant_in(node))
    elif is_standard and node.operator == "Shape":
        net.bind_constant(node.outputs[0], shape_slice(net.shape(node.inputs[0]), node))
    elif is_standard and node.operator == "Size":
        net.bind_constant(node.outputs[0], np.array(np.prod(net.shape(node.inputs[0])), np.int64))
    elif is_standard and net.is_all_constant(node):
        net.bind_constant(node.outputs[0], folded(node, net.constants(node), net.opset))
    else:
        is_constant = False
        converter = CONVERTERS.get(node.operator) if is_standard else None
        if converter is None:
            raise node.error("is an operator that is not supported", advice_on(node.operator, node.domain))
        converter(net, node)
    return is_constant


def _has_channels_last(graph: Graph) -> bool:
    """Whether the input is (N, H, W, C): the first thing done with images is to put their channels first."""
    if len(graph.input.sizes) != 4:
        return False
    reached = {graph.input.name}
    for node in graph.nodes:
        if not reached.isdisjoint(node.inputs):
            if node.operator == "Transpose":
                return node.integers("perm") == _TO_CHANNELS_FIRST
            if node.operator not in _BEFORE_TRANSPOSE:
                return False
            reached.update(node.outputs)
    return False


def _input_value(given: Input, input_size: tuple[int, int] | None, is_last: bool) -> Value:
    """The input blob, channels first; ``is_last`` says that the file has them last."""
    blob = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "_.-") else "_" for letter in given.name
    )
    sizes = list(given.sizes)
    where = f"input '{said(given.name)}'"
    if len(sizes) not in (2, 4):
        raise ModelError(
            f"{where} has {len(sizes)} axes; only images (4 axes) and vectors (2 axes) are supported"
        )
    batch = sizes[0] or 1
    if is_last:
        sizes = [sizes[0], sizes[3], sizes[1], sizes[2]]
    if len(sizes) == 4 and input_size is not None:
        if any(have not in (None, want) for have, want in zip(sizes[2:], input_size, strict=True)):
            raise ModelError(
                f"{where} has a fixed size of {sizes[2]}×{sizes[3]}, not "
                f"{input_size[0]}×{input_size[1]}; leave out "
                "--input-size, or export the net for another size"
            )
        sizes[2:] = input_size
    open_axes = [axis for axis, size in enumerate(sizes[1:], 1) if size is None]
    if open_axes:
        advice = (
            "give --input-size HEIGHTxWIDTH"
            if open_axes[0] > 1
            else "export the net with a fixed number of channels"
        )
        raise ModelError(f"{where} leaves its {'size' if open_axes[0] > 1 else 'channels'} open; {advice}")
    shape = (batch, *(size for size in sizes[1:] if size is not None))
    if max(shape) > 2**20 or np.prod(shape, dtype=float) > 2**31:
        raise ModelError(f"{where} has the impossible shape {shape}; export the net again")
    return Value(blob or "data", shape)
