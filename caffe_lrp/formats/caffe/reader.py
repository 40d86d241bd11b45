"""Reading prototxt files as `NetSpec`; the entry point of the package for Caffe's files."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from caffe_lrp.errors import ModelError, noticing
from caffe_lrp.files.reading import read_small_file
from caffe_lrp.files.recognition import why_no_text
from caffe_lrp.formats.spec import InputSpec, LayerSpec, NetSpec, UnknownField

from .caffe_pb2 import LayerParameter, NetParameter, V1LayerParameter
from .data_layers import transform_of_net
from .foreign import LAYER_BLOCKS, place_of, unknown_fields
from .parsing import LONGEST_NAME, UnreadableError, parsed
from .scan import blocks_of
from .spelling import misspelt_fields
from .upgrade import upgraded_layers
from .weights import StoredBlob, StoredWeights, scan_blob, scan_caffemodel

__all__ = ["StoredBlob", "StoredWeights", "read_prototxt", "scan_blob", "scan_caffemodel"]

#: The largest prototxts have a few hundred kilobytes; far larger files are of another kind.
LARGEST_PROTOTXT_MEGABYTES = 2
#: The deepest nets have a thousand layers, and few layers read or write more than a dozen blobs.
MOST_LAYERS = 5_000
MOST_BLOB_NAMES = 20_000

_MOST_SLIPS = 20
#: Notices of one kind that are shown; the rest are counted.
MOST_NOTICES = 20


def read_prototxt(path: Path) -> NetSpec:
    """The net that a prototxt describes, upgraded to the current style.

    Forks of Caffe add fields, so unknown fields are skipped with a notice, unless they look like misspelt
    known fields. Unknown layer types are kept, and the net builder reports them.

    Raises
    ------
    ModelError
        The file is missing, not text, or not a net; the message names the line.
    """
    content = read_small_file(path, "prototxt", ModelError, most_megabytes=LARGEST_PROTOTXT_MEGABYTES)
    # Comments may be in any encoding; invalid bytes in names are replaced the same way as in weights.py.
    text = content.decode("utf-8-sig", errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    try:
        net = parsed(text)
    except UnreadableError as error:
        raise ModelError(f"{path}: {why_no_text(content, 'prototxt') or error}") from error
    slips = list(itertools.islice(misspelt_fields(text), _MOST_SLIPS))
    if slips:
        raise ModelError("\n".join(f"{path}: {slip}" for slip in slips))
    if not (net.layer or net.layers):
        raise ModelError(f"{path}: describes no layers; give the deploy prototxt, not the solver's")
    _refuse_too_many(net, path)
    blocks, unknown = list(blocks_of(text)), unknown_fields(text)
    notices = tuple(f"{path}: {notice}" for notice in _notices(net, blocks, unknown))
    with noticing(notices):
        layers = tuple(
            LayerSpec(
                layer.name, layer.type, tuple(layer.bottom), tuple(layer.top), layer, unknown.get(number, ())
            )
            for number, layer in upgraded_layers(net, blocks, str(path)).items()
        )
        spec = NetSpec(str(path), net.name, _declared_inputs(net, path), layers, net.state)
        return replace(spec, transform=transform_of_net(spec), notices=notices)


def _notices(
    net: NetParameter, blocks: Sequence[str], unknown: Mapping[int, Sequence[UnknownField]]
) -> Iterator[str]:
    """Notices on anything that is read differently than its author may expect, except layers' fields."""
    if net.layer and net.layers:
        yield (
            "has both 'layer { … }' and 'layers { … }' entries; all are used, in file order (Caffe "
            "refuses such files, or ignores the 'layer' entries)"
        )
    of_net = [
        field
        for number, fields in unknown.items()
        if number < 0 or blocks[number] not in LAYER_BLOCKS
        for field in fields
    ]
    told = list({(field.block, field.name): field for field in reversed(of_net)}.values())[::-1]
    for field in told[:MOST_NOTICES]:
        yield f"line {field.line}: field '{field.name}'{place_of(field)} is unknown and is ignored"
    if len(told) > MOST_NOTICES:
        yield f"{len(told) - MOST_NOTICES} more fields are unknown and are ignored"


def _refuse_too_many(net: NetParameter, path: Path) -> None:
    """ModelError for a net larger than any real one, such as text repeated without end.

    Names of Split layers and their tops are built from other names, once for every reader of a blob: with
    long names they would take gigabytes.
    """
    count = len(net.layer) + len(net.layers)
    if count > MOST_LAYERS:
        raise ModelError(
            f"{path}: describes {count} layers, the limit is {MOST_LAYERS}; is it really a prototxt?"
        )
    names, others = list(net.input), list[str]()
    for layer in itertools.chain[LayerParameter | V1LayerParameter](net.layer, net.layers):
        names += (*layer.bottom, *layer.top)
        others += (layer.name, layer.layer.name if isinstance(layer, V1LayerParameter) else layer.type)
    if len(names) > MOST_BLOB_NAMES:
        raise ModelError(
            f"{path}: has {len(names)} bottom, top and input lines, the limit is {MOST_BLOB_NAMES}; is it "
            "really a prototxt?"
        )
    longest = max((net.name, *names, *others), key=len)
    if len(longest) > LONGEST_NAME:
        raise ModelError(
            f"{path}: the name '{longest[:50]}…' has {len(longest):,} characters, the limit is "
            f"{LONGEST_NAME:,}; is it really a prototxt?"
        )


def _declared_inputs(net: NetParameter, path: Path) -> tuple[InputSpec, ...]:
    """Inputs declared by ``input:`` with ``input_shape`` or four ``input_dim`` each."""
    shapes, sizes = [tuple(shape.dim) for shape in net.input_shape], list(net.input_dim)
    by_sizes = [tuple(sizes[i : i + 4]) for i in range(0, len(sizes), 4)]
    if len(sizes) % 4 or (shapes and sizes and shapes != by_sizes):
        stated = f"{len(net.input_shape)} input_shape and " if shapes else ""
        raise ModelError(
            f"{path}: declares {len(net.input)} input(s) with {stated}{len(sizes)} input_dim; every 'input:' "
            "needs either four 'input_dim:' (images, channels, height, width) or an 'input_shape { dim: … }'"
        )
    shapes = shapes or by_sizes
    if len(shapes) != len(net.input) or any(not shape for shape in shapes):
        raise ModelError(
            f"{path}: declares {len(net.input)} input(s) but {len(shapes)} shape(s); every 'input:' needs "
            "an 'input_shape { dim: … }' or four 'input_dim:'"
        )
    return tuple(InputSpec(name, shape) for name, shape in zip(net.input, shapes, strict=True))
