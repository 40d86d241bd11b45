"""Split insertion: a blob that feeds several layers gets a Split layer, which counts as a layer.

Source: manual: toolbox, "Layer numbers". A Split comes right after the last layer that writes its blob,
including in-place layers; the Split of an input blob comes first.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from caffe_lrp.errors import ModelError, about
from caffe_lrp.formats.caffe.caffe_pb2 import LayerParameter
from caffe_lrp.formats.spec import ConstantSpec, InputSpec, LayerSpec
from caffe_lrp.messages import did_you_mean

#: The writer of a blob: number of the layer (−1 for an input, −2 for a constant) and of its top.
_Writer = tuple[int, int]
_INPUT, _CONSTANT = -1, -2


def insert_splits(
    inputs: Sequence[InputSpec],
    layers: Sequence[LayerSpec],
    source: str,
    constants: Sequence[ConstantSpec] = (),
) -> list[LayerSpec]:
    """``layers`` with Split layers inserted, and bottoms renamed to the split tops.

    Constants need no Split for any number of readers, because no relevance has to be summed there.

    Raises
    ------
    ModelError
        No layer before writes a bottom (a misspelt name, or a cycle).
    """
    writers_of_bottoms = _resolve_bottoms(inputs, layers, source, constants)
    readers = Counter(writer for writers in writers_of_bottoms for writer in writers)
    taken: Counter[_Writer] = Counter()
    result: list[LayerSpec] = []
    for number, declared in enumerate(inputs):
        result.extend(_split(declared.name, "input", number, readers[_INPUT, number]))
    for number, (layer, writers) in enumerate(zip(layers, writers_of_bottoms, strict=True)):
        bottoms = []
        for bottom, writer in zip(layer.bottoms, writers, strict=True):
            bottoms.append(bottom)
            if readers[writer] > 1 and writer[0] != _CONSTANT:
                writer_name = "input" if writer[0] < 0 else layers[writer[0]].name
                bottoms[-1] = _split_top(bottom, writer_name, writer[1], taken[writer])
                taken[writer] += 1
        result.append(replace(layer, bottoms=tuple(bottoms)))
        for top_number, top in enumerate(layer.tops):
            result.extend(_split(top, layer.name, top_number, readers[number, top_number]))
    return result


def _resolve_bottoms(
    inputs: Sequence[InputSpec],
    layers: Sequence[LayerSpec],
    source: str,
    constants: Sequence[ConstantSpec],
) -> list[list[_Writer]]:
    """For every layer, the last writer of each of its bottoms."""
    last_writer: dict[str, _Writer] = {
        constant.name: (_CONSTANT, number) for number, constant in enumerate(constants)
    }
    last_writer |= {declared.name: (_INPUT, number) for number, declared in enumerate(inputs)}
    result = []
    for number, layer in enumerate(layers):
        with about(ModelError, layer=layer.name):
            for bottom in layer.bottoms:
                if bottom not in last_writer:
                    raise ModelError(
                        f"{source}: layer '{layer.name}' ({layer.type}) reads the blob '{bottom}', which no "
                        f"input or layer before it writes{_way_out(bottom, last_writer, layers, number)}"
                    )
            result.append([last_writer[bottom] for bottom in layer.bottoms])
            bottoms = frozenset(layer.bottoms)
            for top_number, top in enumerate(layer.tops):
                if top in last_writer and top not in bottoms:
                    forgotten = "" if layer.bottoms else f', or add bottom: "{top}" if it works in place'
                    raise ModelError(
                        f"{source}: layer '{layer.name}' ({layer.type}) writes the blob '{top}' a second "
                        f"time; give its top another name{forgotten}"
                    )
                last_writer[top] = (number, top_number)
    return result


def _way_out(bottom: str, written: Collection[str], layers: Sequence[LayerSpec], number: int) -> str:
    """The remedy for a bottom of layer ``number`` that is not among the blobs ``written`` before it."""
    writer = next((layer for layer in layers[number:] if bottom in layer.tops), None)
    if bottom == "label":
        return "; labels are for training: remove this bottom"
    silent = next((layer for layer in layers[:number] if not layer.tops), None)
    if silent is not None:
        return (
            f"; layer '{silent.name}' ({silent.type}) before it has no top: is top: \"{bottom}\" missing "
            "there?"
        )
    if writer is not None:
        return f"; layer '{writer.name}' writes it, but later: put the layers in order, without a cycle"
    if not written:
        return f'; declare the input: input: "{bottom}" input_shape {{ dim: 1 dim: 3 dim: H dim: W }}'
    return did_you_mean(bottom, written) or "; check the names of its bottom and of other layers' tops"


def _split_top(blob: str, writer_name: str, top_number: int, branch: int) -> str:
    return f"{blob}_{writer_name}_{top_number}_split_{branch}"


def _split(blob: str, writer_name: str, top_number: int, branches: int) -> Iterator[LayerSpec]:
    """The Split layer of a blob with several readers; none for any other blob."""
    if branches > 1:
        tops = tuple(_split_top(blob, writer_name, top_number, branch) for branch in range(branches))
        name = f"{blob}_{writer_name}_{top_number}_split"
        yield LayerSpec(name, "Split", (blob,), tops, LayerParameter())
