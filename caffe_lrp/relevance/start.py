"""Start and first layers by index, by name or by code, and the meaning of a class at the start layer.

Only this module looks up the layers of a config in the net. Source of the codes: manual: toolbox,
"Start of the backward pass".

``auto`` searches for the start from the ranked value downwards: through layers that only
reshape or squash scores (Softmax, Sigmoid), and, if the scores are averages over all positions of a
picture, to below the average. A class is then a plane of scores, one per position, and relevance starts
from all of them. Because relevance depends linearly on the start vector, their map is that of the averaged
score times the number of positions, except for two quirks: average pooling adds activations where a window
sums to nearly 0 (Q7), and a gradient that starts from the scores (Q3) is that of half the sum of their
squares; corrected, it is that of their sum.
"""

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from caffe_lrp.errors import ConfigError
from caffe_lrp.layers.activation import Sigmoid
from caffe_lrp.layers.base import Layer, Neuron, WindowAverage
from caffe_lrp.layers.output import Softmax
from caffe_lrp.messages import did_you_mean
from caffe_lrp.net.heads import head_names, layers_below, outputs_above
from caffe_lrp.net.net import Net

#: A layer by index or by name; for the start layer also a code or ``auto``.
LayerReference = int | str

#: Values of ``lastlayerindex`` that are not an index.
BEFORE_LOWEST_SOFTMAX, HIGHEST_INNER_PRODUCT, AUTO = -1, -2, "auto"

_MOST_NEIGHBOURS = 5
_LONGEST_NAME = 200


@dataclass(frozen=True)
class Start:
    """The start layer, and the meaning of a class there.

    Attributes
    ----------
    layer
        The layer that computes the scores.
    seeds
        Value where relevance starts -> the value that supplies the scores.
    top
        Index of the highest layer that relevance passes: ``layer``, or a neuron layer above it.
    class_count
        Number of classes at the start.
    class_size
        Number of elements of a class: more than one if each position has a score.
    output
        The output with the classes that are ranked: of those that the start leads to, the requested one, or
        else the first.
    output_count
        Number of classes in that output.
    """

    layer: Layer
    seeds: dict[int, int]
    top: int
    class_count: int
    class_size: int
    output: int
    output_count: int


def find_start(net: Net, wanted: LayerReference, head: int | None = None) -> Start:
    """Where relevance starts.

    With an index, a name or a code, class c is the flat element c of the layer's output, and of the net's
    output, as in the reference.

    Parameters
    ----------
    net
        The net.
    wanted
        Index or name of a layer, or a code.
    head
        The requested output: codes stand for layers that lead to it. None if there is none in particular.

    Raises
    ------
    ConfigError
        There is no such layer, or it does not lead to ``head``.
    """
    if wanted == AUTO:
        return _find_scores(net, net.output_value if head is None else head)
    layer = _layer_by_code(net, wanted, head)
    output = _output_above(net, layer, wanted, head)
    return Start(
        layer=layer,
        seeds={value: net.stored_value(value) for value in layer.outputs},
        top=layer.index,
        class_count=min(math.prod(shape) for shape in layer.output_shapes),
        class_size=1,
        output=output,
        output_count=math.prod(net.shape_of(output)),
    )


def _output_above(net: Net, layer: Layer, wanted: LayerReference, head: int | None) -> int:
    """The output to rank if relevance starts at ``layer``; ConfigError if that leads to another head."""
    outputs = outputs_above(net, layer.outputs)
    if head is None:
        return net.output_value if net.output_value in outputs else next(iter(outputs), net.output_value)
    if head not in outputs:
        others = head_names(net, outputs) or "none"
        raise ConfigError(
            f"lastlayerindex {wanted} (--start-layer): {net.source}: {layer.label} does not lead to the "
            f"head '{net.value_names[head]}' (--head) but to {others}; give a layer that does, or auto, or "
            "another head"
        )
    return head


def _layer_by_code(net: Net, wanted: LayerReference, head: int | None) -> Layer:
    way, where = list(net.layers), net.source
    if head is not None:
        way, where = layers_below(net, head), f"the way to the head '{net.value_names[head]}' of {net.source}"
    if wanted == BEFORE_LOWEST_SOFTMAX:
        softmax = [place for place, layer in enumerate(way) if layer.type == "Softmax"]
        if not softmax or softmax[0] == 0:
            raise ConfigError(
                f"lastlayerindex -1: {where} has no Softmax with a layer before it; give -2 "
                "(the highest InnerProduct), auto or an index"
            )
        return way[softmax[0] - 1]
    if wanted == HIGHEST_INNER_PRODUCT:
        products = [layer for layer in way if layer.type == "InnerProduct"]
        if not products:
            raise ConfigError(
                f"lastlayerindex -2: {where} has no InnerProduct layer; give -1 (the layer before the "
                "lowest Softmax), auto or an index"
            )
        return products[-1]
    index = layer_index(net, wanted, "lastlayerindex", "--start-layer")
    if not 0 <= index < len(net.layers):
        raise ConfigError(
            f"lastlayerindex {wanted} (--start-layer): {net.source} has layers 0 to {len(net.layers) - 1}; "
            "give one of them by index or name, -1 (the layer before the lowest Softmax), -2 (the highest "
            "InnerProduct) or auto (the layer of the class scores)"
        )
    return net.layers[index]


def layer_index(net: Net, wanted: LayerReference, key: str, option: str) -> int:
    """The index of a layer given by name; an index is returned unchanged.

    Parameters
    ----------
    net
        The net.
    wanted
        Index or name.
    key, option
        The key of the config and the option that name the layer, for messages.

    Raises
    ------
    ConfigError
        No layer has this name, or several do.
    """
    if isinstance(wanted, int):
        return wanted
    found = [layer.index for layer in net.layers if layer.name == wanted]
    if len(found) == 1:
        return found[0]
    said = f"{key} {wanted} ({option}): {net.source}"
    if found:
        raise ConfigError(f"{said} has several layers with this name; give one by index: {_listed(found)}")
    names = [layer.name for layer in net.layers]
    raise ConfigError(
        f"{said} has no layer with this name{did_you_mean(wanted, names)}{_neighbours(wanted, names)}; "
        "caffe-lrp inspect shows all"
    )


def _listed(items: Iterable[object]) -> str:
    return ", ".join(map(str, items))


def _neighbours(name: str, names: Sequence[str]) -> str:
    """The names that are most similar to an unknown one."""
    short = [other for other in names if len(other) <= _LONGEST_NAME]
    alike = difflib.get_close_matches(name[:_LONGEST_NAME], short, n=_MOST_NEIGHBOURS, cutoff=0.0)
    return f"; names near it: {_listed(alike)}" if alike else ""


def _find_scores(net: Net, output: int) -> Start:
    """The start under ``auto`` if the classes of ``output`` are ranked."""
    writers = {value: layer for layer in net.layers for value in layer.outputs}
    value, is_averaged = output, False
    count = net.shape_of(value)[0]
    while (layer := writers.get(value)) is not None:
        if isinstance(layer, Softmax) and not is_averaged:
            # The elements along its axis are the classes; further axes are positions.
            count = math.prod(layer.output_shapes[0][: layer.axis + 1])
        elif _averages_all(layer) and not is_averaged:
            is_averaged = True
        elif not (layer.is_alias or (isinstance(layer, Sigmoid) and not is_averaged)):
            break
        value = layer.inputs[0]
    if layer is None:
        raise ConfigError(
            f"lastlayerindex auto (--start-layer): no layer of {net.source} computes scores of classes; give "
            "the index or the name of a layer"
        )
    return Start(
        layer=_below_neurons(layer, writers),
        seeds={value: value},
        top=layer.index,
        class_count=count,
        class_size=math.prod(net.shape_of(value)) // count,
        output=output,
        output_count=count,
    )


def _averages_all(layer: Layer) -> bool:
    """Whether each output is the average of all elements of one channel."""
    if not isinstance(layer, WindowAverage):
        return False
    height, width = layer.input_shapes[0][1:]
    window = layer.window
    covers = window.kernel_h - window.pad_h >= height and window.kernel_w - window.pad_w >= width
    return covers and layer.output_shapes[0][1:] == (1, 1)


def _below_neurons(layer: Layer, writers: Mapping[int, Layer]) -> Layer:
    """The layer that computes the scores in ``layer``'s outputs, with only neurons between."""
    while isinstance(layer, Neuron) and layer.inputs[0] in writers:
        layer = writers[layer.inputs[0]]
    return layer
