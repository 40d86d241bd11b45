"""What to do about layer types that no class here describes."""

from caffe_lrp.messages import did_you_mean

from .base import REGISTRY

#: Types of Caffe that read their own images, or belong to training.
TRAINING_TYPES = frozenset((
    "Accuracy", "ContrastiveLoss", "Data", "DummyData", "EuclideanLoss", "HDF5Data", "HDF5Output",
    "HingeLoss", "ImageData", "InfogainLoss", "MemoryData", "MultinomialLogisticLoss",
    "SigmoidCrossEntropyLoss", "SoftmaxWithLoss", "WindowData",
))  # fmt: skip
#: Other types of Caffe, which are no misspellings of supported ones.
OTHER_TYPES = frozenset((
    "ArgMax", "BNLL", "BatchNorm", "BatchReindex", "Bias", "Clip", "Crop", "Deconvolution", "ELU",
    "Eltwise", "Embed", "Exp", "Filter", "Im2col", "LSTM", "Log", "MVN", "PReLU", "Parameter", "Power",
    "Python", "RNN", "Recurrent", "Reduction", "Reshape", "SPP", "Scale", "Silence", "Slice", "Swish",
    "Threshold", "Tile",
))  # fmt: skip


def unsupported_type(name: str) -> str:
    """That the layer type ``name`` is not supported, and what to do about it.

    A type of Caffe's is what it says: ``PReLU`` is no misspelt ``ReLU``.
    """
    complaint = f"layer type '{name}' is not supported"
    if name in TRAINING_TYPES:
        return f"{complaint}: it belongs to training; use the net's deploy prototxt"
    advice = "; nets with it cannot be explained"
    if name not in OTHER_TYPES:
        advice = did_you_mean(name, [*REGISTRY, *OTHER_TYPES, *TRAINING_TYPES])
    return f"{complaint}{advice} (supported: {', '.join(sorted(REGISTRY))})"
