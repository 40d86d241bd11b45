"""Upgrade of old message styles to the current one.

Source: Caffe's upgrade_proto.cpp. Caffe upgrades a whole file at once, and with mixed styles it refuses the
file or drops layers. Here each layer is upgraded on its own, in file order.
"""

from collections.abc import Iterable
from typing import Any

from caffe_lrp.errors import ModelError
from caffe_lrp.messages import did_you_mean

from .caffe_pb2 import LayerParameter, NetParameter, ParamSpec, V0LayerParameter, V1LayerParameter

#: Names of the V1 layer types in current style; types that this package does not support are included, and
#: the net builder reports them.
V1_TYPE_NAMES = {
    "ABSVAL": "AbsVal",
    "ACCURACY": "Accuracy",
    "ARGMAX": "ArgMax",
    "BNLL": "BNLL",
    "CONCAT": "Concat",
    "CONTRASTIVE_LOSS": "ContrastiveLoss",
    "CONVOLUTION": "Convolution",
    "DATA": "Data",
    "DECONVOLUTION": "Deconvolution",
    "DROPOUT": "Dropout",
    "DUMMY_DATA": "DummyData",
    "ELTWISE": "Eltwise",
    "EUCLIDEAN_LOSS": "EuclideanLoss",
    "EXP": "Exp",
    "FLATTEN": "Flatten",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "HINGE_LOSS": "HingeLoss",
    "IM2COL": "Im2col",
    "IMAGE_DATA": "ImageData",
    "INFOGAIN_LOSS": "InfogainLoss",
    "INNER_PRODUCT": "InnerProduct",
    "LRN": "LRN",
    "MEMORY_DATA": "MemoryData",
    "MULTINOMIAL_LOGISTIC_LOSS": "MultinomialLogisticLoss",
    "MVN": "MVN",
    "NONE": "None",
    "POOLING": "Pooling",
    "POWER": "Power",
    "RELU": "ReLU",
    "SIGMOID": "Sigmoid",
    "SIGMOID_CROSS_ENTROPY_LOSS": "SigmoidCrossEntropyLoss",
    "SILENCE": "Silence",
    "SLICE": "Slice",
    "SOFTMAX": "Softmax",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "SPLIT": "Split",
    "TANH": "TanH",
    "THRESHOLD": "Threshold",
    "WINDOW_DATA": "WindowData",
}

#: Names of the V0 layer types in current style.
_V0_TYPE_NAMES = {
    "accuracy": "Accuracy",
    "bnll": "BNLL",
    "concat": "Concat",
    "conv": "Convolution",
    "data": "Data",
    "dropout": "Dropout",
    "euclidean_loss": "EuclideanLoss",
    "flatten": "Flatten",
    "hdf5_data": "HDF5Data",
    "hdf5_output": "HDF5Output",
    "im2col": "Im2col",
    "images": "ImageData",
    "infogain_loss": "InfogainLoss",
    "innerproduct": "InnerProduct",
    "lrn": "LRN",
    "multinomial_logistic_loss": "MultinomialLogisticLoss",
    "pool": "Pooling",
    "relu": "ReLU",
    "sigmoid": "Sigmoid",
    "softmax": "Softmax",
    "softmax_loss": "SoftmaxWithLoss",
    "split": "Split",
    "tanh": "TanH",
    "window_data": "WindowData",
}
_V0_PADDING = "padding"
#: V0 layers that take over the padding of a padding layer before them.
_V0_PADDED = ("conv", "pool")

#: Where the parameters of a V0 layer belong today: type -> parameter message, old name -> new name.
_V0_PARAMETERS: dict[str, tuple[str, dict[str, str]]] = {
    "concat": ("concat_param", {"concat_dim": "concat_dim"}),
    "conv": (
        "convolution_param",
        {
            "num_output": "num_output",
            "biasterm": "bias_term",
            "pad": "pad",
            "kernelsize": "kernel_size",
            "group": "group",
            "stride": "stride",
        },
    ),
    "dropout": ("dropout_param", {"dropout_ratio": "dropout_ratio"}),
    "images": ("image_data_param", {"new_height": "new_height", "new_width": "new_width"}),
    "innerproduct": ("inner_product_param", {"num_output": "num_output", "biasterm": "bias_term"}),
    "lrn": ("lrn_param", {"local_size": "local_size", "alpha": "alpha", "beta": "beta", "k": "k"}),
    "pool": (
        "pooling_param",
        {"pool": "pool", "pad": "pad", "kernelsize": "kernel_size", "stride": "stride"},
    ),
}
_V0_TRANSFORM = {"scale": "scale", "meanfile": "mean_file", "cropsize": "crop_size"}

_CURRENT_FIELDS = LayerParameter.DESCRIPTOR.fields_by_name
_RENAMED = {"bottom", "top", "name", "include", "exclude", "loss_weight"}
#: Old places of the fields that are in transform_param today.
_OLD_TRANSFORM_PLACES = ("data_param", "image_data_param", "window_data_param")
_OLD_TRANSFORM_FIELDS = ("scale", "mean_file", "crop_size")


def upgraded_layers(net: NetParameter, blocks: Iterable[str], source: str) -> dict[int, LayerParameter]:
    """Layers of ``net`` in current style, in file order, by the number of the block that each comes from.

    Parameters
    ----------
    net
        The parsed net.
    blocks
        Names of the file's blocks, in order: they show how ``layer`` and ``layers`` alternate.
    source
        The file, for messages.

    Raises
    ------
    ModelError
        A V0 layer has an unknown type, or a padding layer is in the wrong place.
    """
    places = {number: block for number, block in enumerate(blocks) if block in ("layer", "layers")}
    order = list(places.values())
    if (order.count("layer"), order.count("layers")) != (len(net.layer), len(net.layers)):
        raise ModelError(f"{source}: the order of 'layer' and 'layers' is unclear; use one style throughout")
    current, old = iter(net.layer), iter(_without_padding(list(net.layers), source))
    upgraded = {}
    for number, block in places.items():
        if block == "layer":
            upgraded[number] = next(current)
        elif (layer := next(old)) is not None:
            upgraded[number] = _from_old(layer, source)
    for upgraded_layer in upgraded.values():
        _move_transform(upgraded_layer)
        _move_holes(upgraded_layer)
    return upgraded


def _without_padding(layers: list[V1LayerParameter], source: str) -> list[V1LayerParameter | None]:
    """Layers with padding layers of V0 replaced by None, and their padding moved to the layers after them."""
    writers: dict[str, V1LayerParameter] = {}
    result: list[V1LayerParameter | None] = []
    for layer in layers:
        for number, bottom in enumerate(layer.bottom):
            padding = writers.get(bottom)
            if padding is None or padding.layer.type != _V0_PADDING:
                continue
            if layer.layer.type not in _V0_PADDED or len(padding.bottom) != 1:
                raise ModelError(
                    f"{source}: the padding layer '{padding.layer.name}' must have one bottom, and only "
                    "layers of type conv or pool may read it; set pad in those layers instead"
                )
            layer.layer.pad = padding.layer.pad
            layer.bottom[number] = padding.bottom[0]
        writers.update(dict.fromkeys(layer.top, layer))
        result.append(None if layer.layer.type == _V0_PADDING else layer)
    return result


def _from_old(old: V1LayerParameter, source: str) -> LayerParameter:
    """A layer of V1 or V0 style in current style: the same parameter messages, and its type as a name."""
    new = LayerParameter(type=V1_TYPE_NAMES[V1LayerParameter.LayerType.Name(old.type)])
    for field, value in old.ListFields():
        is_kept = field.name in _RENAMED or field.name.endswith("_param")
        if not is_kept or field.name not in _CURRENT_FIELDS:
            continue
        target = getattr(new, field.name)
        if field.message_type is not None and not isinstance(value, list) and hasattr(target, "CopyFrom"):
            target.CopyFrom(value)
        elif hasattr(target, "extend"):
            target.extend(value)
        else:
            setattr(new, field.name, value)
    for name in old.param:
        new.param.add(name=name)
    for parameter, mode in zip(new.param, old.blob_share_mode, strict=False):
        if mode == V1LayerParameter.PERMISSIVE:
            parameter.share_mode = ParamSpec.PERMISSIVE
    if old.HasField("layer"):
        _take_v0(new, old.layer, source)
    return new


def _take_v0(new: LayerParameter, old: V0LayerParameter, source: str) -> None:
    """Copy name, type and parameters of a V0 layer to ``new``."""
    new.name = old.name
    if old.type not in _V0_TYPE_NAMES:
        raise ModelError(
            f"{source}: layer '{old.name}' is in Caffe's V0 style (layers {{ layer {{ … }} }}), which has no "
            f"type '{old.type}'{did_you_mean(old.type, _V0_TYPE_NAMES)}; for types it lacks, use the "
            'current style: layer { type: "…" … }'
        )
    new.type = _V0_TYPE_NAMES[old.type]
    if old.type in _V0_PARAMETERS:
        parameters, names = _V0_PARAMETERS[old.type]
        _copy_fields(old, getattr(new, parameters), names)
    _copy_fields(old, new.transform_param, _V0_TRANSFORM)


def _copy_fields(old: Any, new: Any, names: dict[str, str]) -> None:
    """Copy the fields of ``old`` that are set, old name -> new name."""
    for old_name, new_name in names.items():
        if old.HasField(old_name):
            value = getattr(old, old_name)
            if hasattr(getattr(new, new_name), "append"):
                getattr(new, new_name).append(value)
            else:
                setattr(new, new_name, value)


def _move_transform(layer: LayerParameter) -> None:
    """Move the old transformation fields of a data layer to ``transform_param``."""
    for place in _OLD_TRANSFORM_PLACES:
        if layer.HasField(place):
            unset = [name for name in _OLD_TRANSFORM_FIELDS if not layer.transform_param.HasField(name)]
            _copy_fields(getattr(layer, place), layer.transform_param, dict(zip(unset, unset, strict=True)))


def _move_holes(layer: LayerParameter) -> None:
    """Move dilation from its name in forks, ``hole``, to Caffe's field."""
    if not layer.HasField("convolution_param") or layer.convolution_param.dilation:
        return
    parameters = layer.convolution_param
    if parameters.HasField("hole_h") or parameters.HasField("hole_w"):
        parameters.dilation.extend((parameters.hole_h or 1, parameters.hole_w or 1))
    elif parameters.HasField("hole"):
        parameters.dilation.append(parameters.hole)
