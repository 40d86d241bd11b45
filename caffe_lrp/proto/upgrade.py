"""Upgrade of old message styles to the current one."""

from caffe_lrp.errors import ModelError

from .caffe_pb2 import LayerParameter, NetParameter, V1LayerParameter

#: Names of the V1 layer types in current style; types this package does not know keep their meaning
#: and are reported by the net builder.
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

_CURRENT_FIELDS = LayerParameter.DESCRIPTOR.fields_by_name
_RENAMED = {"bottom", "top", "name", "include", "exclude", "loss_weight"}


def upgraded_layers(net: NetParameter, source: str) -> list[LayerParameter]:
    """Layers of ``net`` in current style, in file order.

    Raises
    ------
    ModelError
        The file mixes ``layer`` and ``layers``, or holds V0 layers.
    """
    if net.layer and net.layers:
        raise ModelError(
            f"{source}: has both 'layer {{ … }}' and 'layers {{ … }}' entries; use one style throughout"
        )
    if not net.layers:
        return list(net.layer)
    return [_from_v1(layer, source) for layer in net.layers]


def _from_v1(old: V1LayerParameter, source: str) -> LayerParameter:
    """One V1 layer in current style: same parameter messages, type by name."""
    if old.HasField("layer"):
        raise ModelError(
            f"{source}: layer '{old.layer.name}' is in Caffe's V0 style (layers {{ layer {{ … }} }}); "
            "upgrade the file with Caffe's upgrade_net_proto_text"
        )
    new = LayerParameter(type=V1_TYPE_NAMES[V1LayerParameter.LayerType.Name(old.type)])
    for field, value in old.ListFields():
        if field.name not in _RENAMED and not field.name.endswith("_param"):
            continue
        if field.name not in _CURRENT_FIELDS:
            continue
        target = getattr(new, field.name)
        if field.message_type is not None and not isinstance(value, list) and hasattr(target, "CopyFrom"):
            target.CopyFrom(value)
        elif hasattr(target, "extend"):
            target.extend(value)
        else:
            setattr(new, field.name, value)
    return new
