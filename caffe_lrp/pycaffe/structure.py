"""A net of a prototxt for one size of its input, with the weights in memory."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from caffe_lrp.errors import ModelError
from caffe_lrp.formats.caffe.reader import StoredWeights, read_prototxt, scan_caffemodel
from caffe_lrp.formats.spec import LayerSpec, NetSpec, Shape
from caffe_lrp.messages import MOST_LISTED, enumerated
from caffe_lrp.net.build import build_graph, build_net
from caffe_lrp.net.canonize import canonized
from caffe_lrp.net.deploy.deployed import DeployedNet, deploy, only_input
from caffe_lrp.net.net import Net

from .blob import Weight
from .faults import CaffeError, CaffeValueError
from .weights import HeldBlob, Weights, held_weights, in_shape


@dataclass(frozen=True, eq=False)
class Structure:
    """A net, in the two forms in which it is computed.

    Attributes
    ----------
    spec
        The prototxt.
    deployed
        The net as it is in its files.
    weights
        Its weights; scripts may edit them.
    net
        The net as Caffe computes it, no layer merged into another.
    """

    spec: NetSpec
    deployed: DeployedNet
    weights: Weights
    net: Net

    @cached_property
    def explained(self) -> Net:
        """The net that relevance is propagated through: batch normalization is merged, as by the command."""
        layers, merges = canonized(self.net.layers)
        is_merged = any(merge.into is not None for merge in merges)
        return replace(self.net, layers=layers, merges=merges) if is_merged else self.net

    @property
    def notices(self) -> tuple[str, ...]:
        """What users should know about the files."""
        filled, notices = self.weights.filled, self.net.notices
        if not (filled and self.weights.is_from_file):
            return notices
        return (
            *notices,
            f"{self.spec.source}: the caffemodel has no weights for {enumerated(filled, MOST_LISTED)}; they "
            "are filled as the prototxt says, with zeros unless it says something else",
        )

    @property
    def layer_specs(self) -> tuple[LayerSpec, ...]:
        """The layers as described, Splits included, in order."""
        return self.deployed.layers

    @cached_property
    def blob_names(self) -> tuple[str, ...]:
        """Names of all blobs in order of creation; in-place layers create none."""
        return tuple(dict.fromkeys(self.net.value_names))

    def shape_of(self, name: str, items: int) -> Shape:
        """Shape of a blob with a number of items."""
        values = [value for value, other in enumerate(self.net.value_names) if other == name]
        return (items, *self.net.shape_of(values[-1]))

    def with_edited_weights(self) -> "Structure":
        """The same net, computed with the weights as they are now."""
        return _built(self.spec, self.deployed, self.weights)

    def for_input(self, shape: Shape) -> "Structure":
        """The net for inputs of another shape (N, …).

        Raises
        ------
        CaffeError
            Some layer cannot have such an input.
        """
        declared = only_input(self.deployed)
        if len(shape) != 4 or len(declared.shape) != 4 or shape[1] != declared.shape[1]:
            wanted = " × ".join(map(str, declared.shape[1:]))
            raise CaffeValueError(
                f"the blob '{declared.name}' was reshaped to {shape}, but the net is for items of {wanted}; "
                "only the number of items, and height and width of images, can change"
            )
        try:
            deployed = deploy(self.spec, self.weights.held, None, (shape[2], shape[3]))
            return _built(self.spec, deployed, self.weights)
        except ModelError as error:
            raise CaffeError(f"the net cannot be reshaped to inputs of {shape}: {error}") from error


def open_structure(prototxt: Path, caffemodel: Path | None, random: np.random.Generator) -> Structure:
    """The net of two files; without a caffemodel, or for layers it lacks, weights are filled.

    Raises
    ------
    ModelError
        A file cannot be used, or they do not fit together.
    """
    spec = read_prototxt(prototxt)
    stored: StoredWeights = {} if caffemodel is None else scan_caffemodel(caffemodel)
    deployed = deploy(spec, stored)
    only_input(deployed)
    return _built(spec, deployed, held_weights(deployed, stored, random))


def _built(spec: NetSpec, deployed: DeployedNet, weights: Weights) -> Structure:
    return Structure(spec, deployed, weights, build_net(deployed, weights.held, canonize="off"))


def parameters_of(structure: Structure) -> dict[str, list[Weight]]:
    """Blobs of every layer with weights, in the order of the net; their memory is that of the net."""
    return {
        layer.name: [Weight(blob.read()) for blob in structure.weights.held[layer.name]]
        for layer in structure.net.layers
        if layer.weight_shapes
    }


def stored_in_shape(structure: Structure, caffemodel: Path) -> dict[str, tuple[HeldBlob, ...]]:
    """Blobs of a caffemodel for those layers of a net that it has.

    Raises
    ------
    CaffeError
        A layer of this name has weights of other shapes.
    """
    stored, found = scan_caffemodel(caffemodel), {}
    for layer in build_graph(structure.deployed).layers:
        if layer.weight_shapes and layer.name in stored:
            blobs = tuple(HeldBlob(blob.path, blob.shape, (), blob.read()) for blob in stored[layer.name])
            fitting = in_shape(layer, blobs)
            wanted = [blob.shape for blob in structure.weights.held[layer.name]]
            if [blob.shape for blob in fitting] != wanted:
                raise CaffeError(
                    f"{caffemodel}: layer '{layer.name}' has weights of the shapes "
                    f"{[blob.shape for blob in blobs]}, but the net needs {wanted}; rename the layer in the "
                    "prototxt if it is another one"
                )
            found[layer.name] = fitting
    return found
