"""The data of a backward pass: the forward pass from which it starts, and relevance, layer by layer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers.base import Blobs
from caffe_lrp.net.net import Activations

from .plan import Step
from .rules.base import Seen


@dataclass(frozen=True, eq=False)
class ForwardPass:
    """The part of one forward pass that several plans need.

    Attributes
    ----------
    activations
        Value id -> blob: the output, and the values that one of the plans uses.
    sums
        Index of a layer -> its sums of positive and of negative products, if a rule uses them.
    """

    activations: Activations
    sums: Mapping[int, Blob]


@dataclass(frozen=True, eq=False)
class Passage:
    """Relevance that passes one layer.

    Attributes
    ----------
    step
        The layer and its rule.
    seen
        The part of the forward pass that the rule used.
    received
        Relevance of the layer's outputs, one blob for each.
    propagated
        Relevance of its inputs. Neither these blobs nor those received may be changed.
    workspace
        Memory and threads for computations of an observer.
    """

    step: Step
    seen: Seen
    received: Blobs
    propagated: Blobs
    workspace: Workspace


#: Called after every step of a backward pass.
Observer = Callable[[Passage], None]
