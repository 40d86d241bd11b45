"""Parts of object detectors: by which signs they are recognised, and what relevance means there."""

import re
from collections.abc import Iterator, Sequence

from caffe_lrp.formats.caffe.wiring import names_of
from caffe_lrp.formats.spec import LayerSpec
from caffe_lrp.layers import Layer
from caffe_lrp.layers.activation import ReLU
from caffe_lrp.layers.linear import Linear
from caffe_lrp.layers.unsupported import DETECTION_TYPES

#: Losses and measures of detectors.
_TRAINING_TYPES = re.compile(
    "MultiBoxLoss|DetectionEvaluate|EvalDetection|Region(Loss)?|Yolo.*|BoxAnnotatorOHEM"
)
#: Names of Python layers, and of their modules, that make or take boxes.
_PYTHON = re.compile(r"\b(rpn|roi)|proposal|anchor|bbox", re.IGNORECASE)
#: Names that authors of detectors give to heads: SSD, RefineDet, Faster R-CNN, SSH, R-FCN, DetectNet, YOLO.
_HEADS = re.compile(
    r"""region\d* | (.*[_/@-])?( mbox_.* | (arm|odm)_(loc|conf).* | rpn[_/-].* | rfcn_.* | ssh_cls.*
    | bbox(es)?([_/-].*)? | cvg/.* | yolo.* )""",
    re.VERBOSE | re.IGNORECASE,
)
_MOST_NAMED = 3
#: Of YOLO: numbers of a box besides the scores of classes, anchors of a position (versions 2 and 3),
#: positions and boxes of a position (version 1), and classes of VOC and COCO: with other numbers of classes,
#: there are as many channels as in segmentation.
_BOX_NUMBERS, _ANCHORS, _GRID, _BOXES, _CLASSES = 5, (3, 5), 49, 2, (20, 80)
#: Slope of Darknet's leaky ReLU.
_DARKNET_SLOPE = 0.1


def notices_on_detectors(
    layers: Sequence[Layer], outputs: Sequence[int], left_out: Sequence[LayerSpec]
) -> Iterator[str]:
    """A notice if a net looks like part of an object detector, and why; nothing for any other net.

    Parameters
    ----------
    layers
        The layers of the net.
    outputs
        Values that nothing reads.
    left_out
        Layers of its prototxt that are none of the net.
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
    """Outputs in the shape of YOLO's, of a net with Darknet's neurons."""
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
    """The boxes that an output of ``shape`` would be of; empty if it is of none."""
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
