"""Parts of object detectors: how they are recognized, and what relevance means there."""

import re
from collections.abc import Iterator, Sequence

from caffe_lrp.formats.caffe.wiring import names_of
from caffe_lrp.formats.spec import LayerSpec
from caffe_lrp.layers import Layer
from caffe_lrp.layers.activation import ReLU
from caffe_lrp.layers.linear import Linear
from caffe_lrp.layers.unsupported import DETECTION_TYPES

#: Losses and metrics of detectors.
_TRAINING_TYPES = re.compile(
    "MultiBoxLoss|DetectionEvaluate|EvalDetection|Region(Loss)?|Yolo.*|BoxAnnotatorOHEM"
)
#: Names of Python layers, and of their modules, that produce or read boxes.
_PYTHON = re.compile(r"\b(rpn|roi)|proposal|anchor|bbox", re.IGNORECASE)
#: Usual names of heads in detectors: SSD, RefineDet, Faster R-CNN, SSH, R-FCN, DetectNet, YOLO.
_HEADS = re.compile(
    r"""region\d* | (.*[_/@-])?( mbox_.* | (arm|odm)_(loc|conf).* | rpn[_/-].* | rfcn_.* | ssh_cls.*
    | bbox(es)?([_/-].*)? | cvg/.* | yolo.* )""",
    re.VERBOSE | re.IGNORECASE,
)
_MOST_NAMED = 3
#: YOLO: numbers per box apart from scores of classes, anchors per position (versions 2 and 3), positions and
#: boxes per position (version 1), and classes of VOC and COCO. With other numbers of classes, a net for
#: segmentation could have as many channels.
_BOX_NUMBERS, _ANCHORS, _GRID, _BOXES, _CLASSES = 5, (3, 5), 49, 2, (20, 80)
#: Slope of Darknet's leaky ReLU.
_DARKNET_SLOPE = 0.1


def notices_on_detectors(
    layers: Sequence[Layer], outputs: Sequence[int], left_out: Sequence[LayerSpec]
) -> Iterator[str]:
    """A notice, with reasons, if a net looks like part of an object detector; none for any other net.

    Parameters
    ----------
    layers
        The layers of the net.
    outputs
        Values that no layer reads.
    left_out
        Layers of its prototxt that are not in the net.
    """
    signs = [*_left_out(left_out), *_heads(layers), *_grids(layers, outputs)]
    if signs:
        yield (
            f"looks like part of an object detector: {'; '.join(signs)}. Detectors score boxes at many "
            "positions, so class c is one of these scores or coordinates, not a class of the whole image; "
            "explain the classifier that the detector was made from, or start the backward pass at a layer "
            "of box scores (lastlayerindex, --start-layer); its planes or elements are then the classes"
        )


def _left_out(layers: Sequence[LayerSpec]) -> Iterator[str]:
    found = [layer for layer in layers if _is_for_boxes(layer)]
    if found:
        yield f"left out: {names_of(found, _MOST_NAMED)}"


def _is_for_boxes(layer: LayerSpec) -> bool:
    if layer.type == "Python":
        parameters = layer.parameters.python_param
        return bool(_PYTHON.search(f"{parameters.module} {parameters.layer}"))
    return layer.type in DETECTION_TYPES or bool(_TRAINING_TYPES.fullmatch(layer.type))


def _heads(layers: Sequence[Layer]) -> Iterator[str]:
    linear = (layer.name for layer in layers if isinstance(layer, Linear))
    names = [f"'{name}'" for name in linear if _HEADS.fullmatch(name)]
    if names:
        more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        yield f"layers have the names of detection heads: {', '.join(names[:_MOST_NAMED])}{more}"


def _grids(layers: Sequence[Layer], outputs: Sequence[int]) -> Iterator[str]:
    """Outputs with the shape of YOLO's, in a net with Darknet's activation functions."""
    slopes = (layer.negative_slope for layer in layers if isinstance(layer, ReLU))
    if not any(abs(slope - _DARKNET_SLOPE) < 1e-6 for slope in slopes):
        return
    unread = set(outputs)
    for layer in layers:
        if isinstance(layer, Linear) and not unread.isdisjoint(layer.outputs):
            boxes = _boxes(layer.output_shapes[0])
            if boxes:
                yield f"'{layer.name}' gives {boxes}, as in YOLO"


def _boxes(shape: tuple[int, ...]) -> str:
    """The boxes in an output of ``shape``, in words; empty if it does not look like boxes."""
    channels, *positions = shape
    if not positions:
        classes, rest = divmod(channels, _GRID)
        classes -= _BOXES * _BOX_NUMBERS
        is_grid = not rest and classes in _CLASSES
        return f"{_BOXES}×{_BOX_NUMBERS}+{classes} numbers at each of {_GRID} positions" if is_grid else ""
    for anchors in _ANCHORS:
        numbers, rest = divmod(channels, anchors)
        classes = numbers - _BOX_NUMBERS
        if not rest and classes in _CLASSES and max(positions) > 1:
            grid = "×".join(map(str, positions))
            return f"{anchors}×({_BOX_NUMBERS}+{classes}) numbers at each of {grid} positions"
    return ""
