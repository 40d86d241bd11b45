"""A net read from another format, as the layers and weights of Caffe files.

Importers build an `ImportedNet`; `caffe_files` writes it. Nothing here knows a format.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.formats.spec import Shape

#: Weights in the order and shapes of a caffemodel.
Blobs = tuple[NDArray[np.float32], ...]


@dataclass(frozen=True, eq=False)
class ImportedLayer:
    """One layer of the new prototxt.

    Attributes
    ----------
    name, type, bottoms, tops
        As the prototxt has them.
    parameters
        Other fields of LayerParameter, such as ``{"pooling_param": {"pool": "MAX"}}``; enumerations by
        name.
    blobs
        Its weights.
    source
        The node or module it was made from, for the report; empty if it was added.
    """

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    blobs: Blobs = ()
    source: str = ""


class Setting(NamedTuple):
    """A value that the config of the new net should have, and why."""

    value: Any
    reason: str


@dataclass(frozen=True, eq=False)
class ImportedNet:
    """A whole net.

    Attributes
    ----------
    name
        For the prototxt.
    source
        The file, for messages and the report.
    format
        Its format in words, such as ``ONNX, opset 17, made by pytorch 2.5``.
    input_name, input_shape
        The image: (N, C, H, W), or (N, D) for nets on vectors.
    layers
        In the order of execution.
    notes
        What was left out, folded or changed, for the report.
    settings
        Attributes of a config -> their values.
    """

    name: str
    source: str
    format: str
    input_name: str
    input_shape: Shape
    layers: tuple[ImportedLayer, ...]
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Setting] = field(default_factory=dict)
