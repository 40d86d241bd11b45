"""What to do about layer types that no class here describes."""

from caffe_lrp.messages import did_you_mean

from .base import REGISTRY

#: Types of Caffe that read their own images, or belong to training.
TRAINING_TYPES = frozenset((
    "Accuracy", "ContrastiveLoss", "Data", "DummyData", "EuclideanLoss", "HDF5Data", "HDF5Output",
    "HingeLoss", "ImageData", "InfogainLoss", "MemoryData", "MultinomialLogisticLoss",
    "SigmoidCrossEntropyLoss", "SoftmaxWithLoss", "WindowData",
))  # fmt: skip
#: Types less similar than this are others, not misspelt: ``RReLU`` is no ``ReLU``.
_LEAST_SIMILARITY = 0.9


def unsupported_type(name: str) -> str:
    """That the layer type ``name`` is not supported, and what to do about it."""
    if not name:
        return 'has no type; add one, such as type: "ReLU"'
    complaint = f"layer type '{name}' is not supported"
    if name in TRAINING_TYPES:
        return f"{complaint}: it belongs to training; use the net's deploy prototxt"
    advice = did_you_mean(name, REGISTRY, _LEAST_SIMILARITY) or "; nets with it cannot be explained"
    return f"{complaint}{advice} (supported: {', '.join(sorted(REGISTRY))})"
