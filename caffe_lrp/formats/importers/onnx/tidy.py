"""Simpler layers with the same result: pairs that are one layer, layers that nothing reads."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from caffe_lrp.errors import ModelError
from caffe_lrp.formats.importers.imported import ImportedLayer
from caffe_lrp.formats.spec import Shape

from .advice import TRANSFORMER
from .layers import Drafts

Shapes = Mapping[str, Shape]
#: Two layers, one reading only the other -> one layer that does the same; None if there is none.
Merge = Callable[[ImportedLayer, ImportedLayer, Shapes], ImportedLayer | None]

#: Layers that may follow a Softmax of scores.
_AFTER_SOFTMAX = frozenset(("Flatten", "Log", "Reshape", "Silence", "Slice", "Permute"))


def tidied(drafts: Drafts, outputs: Sequence[str]) -> tuple[ImportedLayer, ...]:
    """The layers that the outputs depend on, as few as possible.

    Raises
    ------
    ModelError
        A Softmax is in the middle of the net.
    """
    layers = _with_joined_slices(_without_dead(drafts.layers, outputs), outputs)
    layers = _with_shuffles(layers, drafts.shapes, outputs)
    layers = _merged(layers, drafts.shapes, outputs)
    layers = _with_silence(layers, outputs)
    _refuse_attention(layers)
    return tuple(layers)


def _without_dead(layers: Sequence[ImportedLayer], outputs: Sequence[str]) -> list[ImportedLayer]:
    wanted, found = set(outputs), []
    for layer in reversed(layers):
        if not wanted.isdisjoint(layer.tops):
            wanted.update(layer.bottoms)
            found.append(layer)
    return found[::-1]


def _with_joined_slices(layers: Sequence[ImportedLayer], outputs: Sequence[str]) -> list[ImportedLayer]:
    """One Slice layer instead of several that cut a blob into the same pieces."""
    firsts: dict[tuple[str, str], ImportedLayer] = {}
    renamed: dict[str, str] = {}
    found = []
    for layer in layers:
        layer = replace(layer, bottoms=tuple(renamed.get(name, name) for name in layer.bottoms))  # noqa: PLW2901
        if layer.type == "Slice" and set(outputs).isdisjoint(layer.tops):
            first = firsts.setdefault((layer.bottoms[0], str(layer.parameters)), layer)
            if first is not layer:
                renamed.update(zip(layer.tops, first.tops, strict=True))
                continue
        found.append(layer)
    return found


def _readers(layers: Sequence[ImportedLayer], outputs: Sequence[str]) -> dict[str, list[int]]:
    """Blob -> numbers of the layers that read it; an output is read by nobody, once."""
    found: dict[str, list[int]] = {name: [-1] for name in outputs}
    for number, layer in enumerate(layers):
        for name in layer.bottoms:
            found.setdefault(name, []).append(number)
    return found


def _with_shuffles(
    layers: list[ImportedLayer], shapes: Shapes, outputs: Sequence[str]
) -> list[ImportedLayer]:
    """Channels shuffled by reshaping, ordering axes and reshaping back become one layer."""
    readers, writers = _readers(layers, outputs), {top: layer for layer in layers for top in layer.tops}
    replaced: dict[str, ImportedLayer] = {}
    for last in layers:
        middle = writers.get(last.bottoms[0]) if last.type == "Reshape" else None
        first = writers.get(middle.bottoms[0]) if middle is not None and middle.type == "Permute" else None
        if first is None or middle is None or first.type != "Reshape":
            continue
        before, apart, after = (shapes[name] for name in (first.bottoms[0], first.tops[0], last.tops[0]))
        order = middle.parameters["permute_param"]["order"]
        is_shuffle = (
            before == after
            and (len(apart), apart[3:], list(order[:3])) == (len(before) + 1, before[2:], [0, 2, 1])
            and list(order[3:]) == list(range(3, len(apart)))
        )
        if is_shuffle and all(len(readers[layer.tops[0]]) == 1 for layer in (first, middle)):
            parameters = {"shuffle_channel_param": {"group": apart[1]}}
            replaced[last.name] = replace(
                last, type="ShuffleChannel", bottoms=first.bottoms, parameters=parameters
            )
    return _without_dead([replaced.get(layer.name, layer) for layer in layers], outputs)


def _merged(layers: list[ImportedLayer], shapes: Shapes, outputs: Sequence[str]) -> list[ImportedLayer]:
    """Pairs of layers become one until none is left."""
    while True:
        readers = _readers(layers, outputs)
        number_of = {top: number for number, layer in enumerate(layers) for top in layer.tops}
        kept: dict[int, ImportedLayer] = dict(enumerate(layers))
        for number, after in enumerate(layers):
            before = number_of.get(after.bottoms[0], -1)
            merge = (
                _MERGES.get((layers[before].type, after.type))
                if before >= 0 and len(after.bottoms) == 1
                else None
            )
            if merge is None or before not in kept or len(readers[after.bottoms[0]]) != 1:
                continue
            merged = merge(kept[before], after, shapes)
            if merged is not None and kept[before] is layers[before]:
                # The name of the layer with weights, and the top that is read.
                kept[number] = replace(merged, tops=after.tops)
                del kept[before]
        if len(kept) == len(layers):
            return layers
        layers = [kept[number] for number in sorted(kept)]


def _bias(before: ImportedLayer, after: ImportedLayer, shapes: Shapes) -> ImportedLayer | None:
    """A linear layer, then constants for its output channels."""
    field = _PARAMETERS[before.type]
    parameters = before.parameters[field]
    (summand,) = after.blobs
    shape = shapes[before.tops[0]]
    is_last = before.type == "InnerProduct" and len(shape) > 2
    axis = after.parameters["bias_param"]["axis"]
    outputs = parameters["num_output"]
    if summand.shape != (outputs,) or axis != (len(shape) - 1 if is_last else 1):
        return None
    bias = summand if len(before.blobs) == 1 else before.blobs[1] + summand
    numbers = {**parameters, "bias_term": True}
    return replace(before, parameters={field: numbers}, blobs=(before.blobs[0], np.asarray(bias, np.float32)))


def _scale_and_bias(before: ImportedLayer, after: ImportedLayer, shapes: Shapes) -> ImportedLayer | None:
    """Factors, then summands along the same axes."""
    if len(before.bottoms) != 1 or len(before.blobs) != 1 or before.blobs[0].shape != after.blobs[0].shape:
        return None
    numbers = before.parameters["scale_param"]
    if {**numbers} != {**after.parameters["bias_param"]}:
        return None
    return replace(
        before, parameters={"scale_param": {**numbers, "bias_term": True}}, blobs=before.blobs + after.blobs
    )


def _reshapes(before: ImportedLayer, after: ImportedLayer, shapes: Shapes) -> ImportedLayer | None:
    """Two reshapings: only the last shape matters."""
    shape = shapes[after.tops[0]]
    if len(shape) == 2:
        return replace(after, type="Flatten", parameters={}, bottoms=before.bottoms)
    return replace(
        after,
        type="Reshape",
        parameters={"reshape_param": {"shape": {"dim": [0, *shape[1:]]}}},
        bottoms=before.bottoms,
    )


def _padding(before: ImportedLayer, after: ImportedLayer, shapes: Shapes) -> ImportedLayer | None:
    """A border of zeros around the image, then a convolution: its own padding."""
    border, numbers = before.parameters["pad_param"], dict(after.parameters["convolution_param"])
    if (
        border["mode"] != "CONSTANT"
        or border.get("value", 0.0)
        or border["axis"] != 2
        or len(border["begin"]) != 2
    ):
        return None
    top, left, bottom, right = _pads(numbers)
    for name in ("pad_h", "pad_w", "pad_t", "pad_l", "pad_b", "pad_r"):
        numbers.pop(name, None)
    begins = (top + border["begin"][0], left + border["begin"][1])
    ends = (bottom + border["end"][0], right + border["end"][1])
    if begins == ends:
        numbers |= {"pad_h": begins[0], "pad_w": begins[1]}
    else:
        numbers |= {"pad_t": begins[0], "pad_l": begins[1], "pad_b": ends[0], "pad_r": ends[1]}
    return replace(after, bottoms=before.bottoms, parameters={"convolution_param": numbers})


def _pads(numbers: Mapping[str, Any]) -> tuple[int, int, int, int]:
    """Padding above, left, below and right."""
    height, width = numbers.get("pad_h", 0), numbers.get("pad_w", 0)
    return (
        numbers.get("pad_t", height),
        numbers.get("pad_l", width),
        numbers.get("pad_b", height),
        numbers.get("pad_r", width),
    )


_PARAMETERS = {
    "InnerProduct": "inner_product_param",
    "Convolution": "convolution_param",
    "Deconvolution": "convolution_param",
}
_MERGES: Mapping[tuple[str, str], Merge] = {
    **{(kind, "Bias"): _bias for kind in _PARAMETERS},
    ("Scale", "Bias"): _scale_and_bias,
    **{(first, last): _reshapes for first in ("Flatten", "Reshape") for last in ("Flatten", "Reshape")},
    ("Pad", "Convolution"): _padding,
}


def _with_silence(layers: list[ImportedLayer], outputs: Sequence[str]) -> list[ImportedLayer]:
    """A Silence layer for pieces that nothing reads, which would be outputs of the net otherwise."""
    readers = _readers(layers, outputs)
    unread = tuple(top for layer in layers for top in layer.tops if top not in readers)
    if not unread:
        return layers
    return [*layers, ImportedLayer("silence", "Silence", unread, ())]


def _refuse_attention(layers: Sequence[ImportedLayer]) -> None:
    readers = _readers(layers, ())
    for layer in layers:
        if layer.type != "Softmax":
            continue
        reached = [layer]
        while reached:
            above = [layers[number] for top in reached.pop().tops for number in readers.get(top, [])]
            for reader in above:
                if reader.type not in _AFTER_SOFTMAX:
                    raise ModelError(
                        f"node {layer.source}: is in the middle of the net, as in attention: "
                        f"{reader.source} reads it; "
                        f"{TRANSFORMER}"
                    )
            reached.extend(above)
