"""Messages about layer types that are not supported."""

from caffe_lrp.formats.caffe.upgrade import V1_TYPE_NAMES
from caffe_lrp.messages import did_you_mean

from .base import REGISTRY

#: Types less similar than this are different types, not misspelt ones: ``CReLU`` is not a ``ReLU``.
_LEAST_SIMILARITY = 0.9

_RECURRENT = (
    "is recurrent: it reads sequences, not single images; give a classifier of images, or cut the net off "
    "below it"
)
_DETECTION = (
    "belongs to an object detector, which has no scores for the image as a whole; give the classifier "
    "that the detector was made from, or cut the net off below the layer"
)
_SAMPLING = (
    "reads at positions that depend on the image, for which there is no rule; replace it by layers that "
    "read at fixed positions"
)
_SEQUENCE = "is for videos or volumes; only nets for single images can be explained"
_ITEMS = "changes the number of images in a batch, but every image is explained on its own; remove it"
#: Layers of object detectors.
DETECTION_TYPES = (
    "PriorBox", "DetectionOutput", "ROIPooling", "ROIAlign", "ROIWarping", "PSROIPooling",
    "PSROIAlign", "Proposal", "ProposalLayer", "RPNProposal", "RegionOutput", "YoloDetectionOutput",
    "Yolov3DetectionOutput", "BoxOutput", "DecodeBBox", "AnchorTarget", "ProposalTarget",
)  # fmt: skip
#: What types are for, and how to do without them.
_KINDS = {
    **dict.fromkeys(
        ("LSTM", "LSTMUnit", "LSTMNode", "Lstm", "RNN", "Recurrent", "GRU", "Reverse", "TransposeTime"),
        _RECURRENT,
    ),
    **dict.fromkeys(DETECTION_TYPES, _DETECTION),
    **dict.fromkeys(
        ("SpatialTransformer", "GridGenerator", "DeformableConvolution", "FlowWarp", "Correlation", "Warp"),
        _SAMPLING,
    ),
    **dict.fromkeys(("Convolution3D", "Pooling3D", "Deconvolution3D", "Conv3D"), _SEQUENCE),
    **dict.fromkeys(("Filter", "BatchReindex"), _ITEMS),
    "Embed": "looks up words or other indices, not images; only nets for images can be explained",
    "Python": (
        "runs the author's own Python code, which is not read here; replace it by Caffe layers that compute "
        "the same, or cut the net off below it"
    ),
    "Im2col": (
        "copies windows into columns; write it, and the product that follows, as one Convolution layer"
    ),
    "Parameter": "is a learned blob without an input; only layers that read the image can be explained",
    "MultiStageMeanfield": "is a random field over pixels; cut the net off below it and explain its scores",
    "DenseCRF": "is a random field over pixels; cut the net off below it and explain its scores",
}  # fmt: skip


def unsupported_type(name: str) -> str:
    """The message that the layer type ``name`` is not supported, with a remedy."""
    if not name:
        return 'has no type; add one, such as type: "ReLU"'
    complaint = f"layer type '{name}' is not supported"
    if name in _KINDS:
        return f"{complaint}: it {_KINDS[name]}"
    if name in V1_TYPE_NAMES:
        return f'{complaint}; in the current style it is written type: "{V1_TYPE_NAMES[name]}"'
    advice = did_you_mean(name, REGISTRY, _LEAST_SIMILARITY) or "; nets with it cannot be explained"
    return f"{complaint}{advice} (supported: {', '.join(sorted(REGISTRY))})"


def is_slip(name: str) -> bool:
    """Whether the type ``name`` is missing, or probably a misspelling of a supported one."""
    return not name or name in V1_TYPE_NAMES or bool(did_you_mean(name, REGISTRY, _LEAST_SIMILARITY))
