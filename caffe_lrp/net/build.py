"""Builds a net that runs from a deployed one: indices, shapes, weights.

The only layer type handled specially is ``Input``, which declares an input instead of computing anything
and is not counted (Q2).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from caffe_lrp.errors import ModelError, about, noticing
from caffe_lrp.formats.caffe.reader import StoredBlob, StoredWeights
from caffe_lrp.formats.spec import ConstantSpec, LayerSpec, Shape
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers import REGISTRY, Layer, unsupported_type
from caffe_lrp.messages import did_you_mean

from .canonize import canonized
from .deploy.deployed import DeployedNet, only_input
from .detectors import notices_on_detectors
from .empty_windows import notices_on_empty_windows, refuse_masks_of_empty_windows
from .heads import in_order
from .limits import check_shape, refuse_beyond_memory, refuse_too_many_activations
from .net import Net
from .shared_weights import refuse_shared_names, with_shared_weights
from .values import Values

_MOST_FAULTS = 5


@dataclass(frozen=True)
class Graph:
    """Layers with indices, value ids and shapes, but without weights; the rest as in `Net`."""

    layers: tuple[Layer, ...]
    value_names: tuple[str, ...]
    outputs: tuple[int, ...]
    notices: tuple[str, ...]
    constants: Mapping[int, ConstantSpec]
    fixed_values: frozenset[int]


def build_net(
    deployed: DeployedNet,
    weights: StoredWeights,
    memory: int | None = None,
    canonize: str = "auto",
) -> Net:
    """The net with its weights in memory.

    Parameters
    ----------
    deployed
        The net at test time.
    weights
        Blobs of the caffemodel by layer name; read here, after a check of their shapes.
    memory
        Available bytes; a net that needs more is rejected before it allocates any. None: not checked.
    canonize
        ``auto`` merges layers that scale and shift into others, see `canonize`; ``off`` keeps them.

    Raises
    ------
    ModelError
        A layer type is unknown, a layer does not support a parameter, blobs do not match or do not fit into
        memory, or weights are missing or have the wrong shape; the message names the layer.
    """
    graph, source = build_graph(deployed), deployed.source
    with noticing(graph.notices):
        only_input(deployed)
        if memory is not None:
            refuse_beyond_memory(graph.layers, memory, source)
        completed = with_shared_weights(deployed.described, graph.layers, weights)
        loaded = _loaded(graph.layers, completed, source)
    layers, merges = canonized(loaded) if canonize == "auto" else (loaded, ())
    net = _net_of(deployed, graph, layers)
    return replace(net, merges=merges, notices=(*net.notices, *_remarks(loaded, source)))


def build_outline(deployed: DeployedNet) -> Net:
    """The net without its weights, for anything that depends only on shapes.

    Raises
    ------
    ModelError
        As `build_net`, weights aside.
    """
    graph = build_graph(deployed)
    with noticing(graph.notices):
        return _net_of(deployed, graph, graph.layers)


def _net_of(deployed: DeployedNet, graph: Graph, layers: Sequence[Layer]) -> Net:
    """The net of a graph, with or without the weights of layers.

    Raises
    ------
    ModelError
        It does not have exactly one input, it has no output, or a mask has no positions.
    """
    source = deployed.source
    refuse_masks_of_empty_windows(layers, source)
    batch_size, *shape = only_input(deployed).shape
    if not graph.outputs:
        raise ModelError(
            f"{source}: has no output: every blob that depends on the image is read by another layer or by a "
            "Silence layer; remove the Silence layer that reads the scores"
        )
    return Net(
        source=source,
        layers=tuple(layers),
        value_names=graph.value_names,
        input_value=0,
        input_shape=tuple(shape),
        batch_size=batch_size,
        outputs=graph.outputs,
        output_value=graph.outputs[0],
        notices=(*graph.notices, *notices_on_empty_windows(layers, source)),
        constants=graph.constants,
        fixed_values=graph.fixed_values,
    )


def _loaded(layers: Sequence[Layer], weights: StoredWeights, source: str) -> tuple[Layer, ...]:
    """The layers with their weights; all are checked before any are read."""
    stored = _checked_weights(layers, weights, source)
    loaded = []
    for layer, blobs in zip(layers, stored, strict=True):
        with about(ModelError, layer=layer.name):
            loaded.append(_with_weights(layer, blobs, source))
    return tuple(loaded)


def weight_shapes(deployed: DeployedNet) -> dict[str, tuple[Shape, ...]]:
    """Layer name -> shapes of the learned blobs, for every layer with any, in layer order."""
    return {layer.name: layer.weight_shapes for layer in build_graph(deployed).layers if layer.weight_shapes}


def build_graph(deployed: DeployedNet) -> Graph:
    """The layers with indices, value ids and shapes.

    Raises
    ------
    ModelError
        As `build_net`, weights aside.
    """
    with noticing(deployed.notices):
        return _graph_of(deployed)


def _graph_of(deployed: DeployedNet) -> Graph:
    inputs, source = deployed.inputs, deployed.source
    for declared in inputs:
        check_shape(declared.shape, f"{source}: input '{declared.name}'")
    for constant in deployed.constants:
        check_shape(constant.shape, f"{source}: constant '{constant.name}'")
    values = Values(inputs, deployed.constants)
    unread = dict.fromkeys(range(len(inputs)))
    layers: list[Layer] = []
    for index, spec in enumerate(deployed.layers):
        read = tuple(map(values.read, spec.bottoms))
        written = values.next(len(spec.tops))
        with about(ModelError, layer=spec.name, file=source):
            layer = _build_layer(
                spec,
                source,
                index=index,
                inputs=read,
                outputs=written,
                input_shapes=tuple(values.shapes[value] for value in read),
                batch_size=inputs[0].shape[0] if inputs else 1,
            )
        layers.append(layer)
        values.write(spec.tops, layer)
        for value in read:
            unread.pop(value, None)
        unread.update(dict.fromkeys(value for value in written if value not in values.fixed))
    refuse_shared_names(deployed.layers, layers, source)
    refuse_too_many_activations(inputs, layers, source)
    heard = [value for value in unread if values.names[value] not in deployed.outputs.silenced]
    outputs = in_order(heard, layers, values.names, deployed.outputs.precedence)
    on_detectors = notices_on_detectors(layers, outputs, deployed.left_out)
    return Graph(
        layers=tuple(layers),
        value_names=tuple(values.names),
        outputs=outputs,
        notices=(*deployed.notices, *(f"{source}: {notice}" for notice in on_detectors)),
        constants=values.constants,
        fixed_values=frozenset(values.fixed),
    )


def _build_layer(spec: LayerSpec, source: str, index: int, **node: Any) -> Layer:
    """One layer from its description; every fault is reported with the layer's index and name."""
    what = f"{source}: layer {index} '{spec.name}' ({spec.type})"
    layer_class = REGISTRY.get(spec.type)
    if layer_class is None:
        raise ModelError(f"{what}: {unsupported_type(spec.type)}")
    _check_count(len(spec.bottoms), layer_class.input_counts, what, "bottom")
    _check_count(len(spec.tops), layer_class.output_counts, what, "top")
    try:
        layer = layer_class.from_spec(
            spec, index=index, name=spec.name, type=spec.type, is_in_place=spec.is_in_place, **node
        )
        shapes = layer.output_shapes
    except ModelError as error:
        raise ModelError(f"{what}: {error}") from error
    if layer.is_in_place and shapes[0] != layer.input_shapes[0]:
        raise ModelError(
            f"{what}: cannot work in place: its top and its bottom differ in shape; give its top another name"
        )
    for shape in shapes:
        check_shape((1, *shape), f"{what}: its output")
    return layer


def _check_count(count: int, limits: tuple[int, int | None], what: str, kind: str) -> None:
    least, most = limits
    if count < least or (most is not None and count > most):
        wanted = f"at least {least}" if most is None else " or ".join(map(str, sorted({least, most})))
        raise ModelError(f"{what}: has {count} {kind}(s), needs {wanted}; check its {kind} lines")


def _refuse_missing_weights(layers: Sequence[Layer], weights: StoredWeights, source: str) -> None:
    """Reject layers without weights under their name; suggest an unused name if it is similar."""
    needed = [layer for layer in layers if layer.weight_shapes]
    unclaimed = sorted(weights.keys() - {layer.name for layer in needed})
    missing = [layer for layer in needed if layer.name not in weights]
    if missing:
        faults = [
            f"{source}: {layer.label}: the caffemodel has no weights for it"
            f"{did_you_mean(layer.name, unclaimed)}"
            for layer in missing[:_MOST_FAULTS]
        ]
        if len(missing) > _MOST_FAULTS:
            faults.append(f"… and {len(missing) - _MOST_FAULTS} more")
        advice = "Weights are matched by layer name; are the prototxt and the caffemodel from the same net?"
        with about(ModelError, layer=missing[0].name if len(missing) == 1 else ""):
            raise ModelError("\n".join([*faults, advice]))


def _checked_weights(
    layers: Sequence[Layer], weights: StoredWeights, source: str
) -> list[tuple[StoredBlob, ...]]:
    """The blobs of every layer in the caffemodel; raises if one is missing or has another shape."""
    _refuse_missing_weights(layers, weights, source)
    found = []
    for layer in layers:
        with about(ModelError, layer=layer.name):
            found.append(_stored_weights(layer, weights, source))
    return found


def _stored_weights(layer: Layer, weights: StoredWeights, source: str) -> tuple[StoredBlob, ...]:
    """The blobs of a layer that has some in the caffemodel; shapes are checked."""
    if not layer.weight_shapes:
        return ()
    stored = weights[layer.name]
    if _fitting_shapes(layer, stored) is None:
        wanted = ", or ".join(map(_list, layer.accepted_weight_shapes))
        raise ModelError(
            f"{source}: {layer.label}: needs weights of shapes {wanted}, but the caffemodel has "
            f"{_list([blob.shape for blob in stored])}; are the prototxt and the caffemodel from the "
            "same net?"
        )
    return stored


def _fitting_shapes(layer: Layer, stored: Sequence[StoredBlob]) -> tuple[Shape, ...] | None:
    """The first of the `accepted_weight_shapes` that matches the stored blobs; None if none does."""
    shapes = [_without_ones(blob.shape) for blob in stored]
    return next(
        (wanted for wanted in layer.accepted_weight_shapes if list(map(_without_ones, wanted)) == shapes),
        None,
    )


def _without_ones(shape: Shape) -> Shape:
    """The shape without axes of size 1: old files store blobs with 4 axes, forks channels as 1×C×1×1."""
    return tuple(size for size in shape if size != 1)


def _list(shapes: Sequence[Shape]) -> str:
    return " and ".join("×".join(map(str, shape)) for shape in shapes) or "none"


def _with_weights(layer: Layer, stored: tuple[StoredBlob, ...], source: str) -> Layer:
    """The layer with its weights in memory.

    Raises
    ------
    ModelError
        Weights are not finite, cannot be used, or cannot be read.
    """
    if not stored:
        return layer
    shapes = _fitting_shapes(layer, stored) or ()
    blobs: tuple[Blob, ...] = tuple(
        blob.read().reshape(shape) for blob, shape in zip(stored, shapes, strict=True)
    )
    for blob in blobs:
        # NaN and infinity show in the extremes; isfinite would copy half a gigabyte.
        if not (np.isfinite(blob.min()) and np.isfinite(blob.max())):
            raise ModelError(
                f"{source}: {layer.label}: the caffemodel has weights for it that are NaN or "
                "infinite; download it again, or use a snapshot from before training diverged"
            )
    try:
        return layer.with_weights(blobs)
    except ModelError as error:
        raise ModelError(f"{source}: {layer.label}: {error}") from error


def _remarks(layers: Sequence[Layer], source: str) -> tuple[str, ...]:
    """Remarks on odd weights, each once for all affected layers."""
    concerned: dict[str, list[Layer]] = {}
    for layer in layers:
        if layer.remark:
            concerned.setdefault(layer.remark, []).append(layer)
    return tuple(
        f"{source}: {found[0].label}{f' and {len(found) - 1} more' if len(found) > 1 else ''}: {remark}"
        for remark, found in concerned.items()
    )
