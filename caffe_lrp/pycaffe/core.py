"""``caffe.Net`` as it is in Caffe itself, without the toolbox's extension."""

import os
import warnings
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.engines.cpu import CpuEngine
from caffe_lrp.machine.resources import allowed_processors
from caffe_lrp.messages import did_you_mean

from . import caffemodel_file
from .arguments import TEST, TRAIN, existing, files_of
from .batches import append_to, batches_of, joined, one_batch
from .blob import Blob, Floats, Named, Weight
from .faults import CaffeError, CaffeValueError
from .runs import Callback, Memory, Run, run_backward, run_forward
from .settings import random_numbers
from .structure import open_structure, parameters_of, stored_in_shape

__all__ = ["TEST", "TRAIN", "CoreNet", "LayerView"]


@dataclass(frozen=True, eq=False)
class LayerView:
    """A layer as scripts see it: its type and its learned blobs."""

    type: str
    blobs: list[Weight]


class CoreNet:
    """A net that is computed at test time.

    Parameters
    ----------
    network_file
        The prototxt.
    given
        ``phase``, or ``weights, phase``; the phase must be `TEST`.
    phase, weights, level, stages
        The same by keywords.

    Raises
    ------
    CaffeError
        A file cannot be opened, or the net is to be trained.
    ModelError
        A file cannot be used.
    """

    def __init__(
        self,
        network_file: str | os.PathLike[str],
        *given: Any,
        phase: int | None = None,
        weights: str | os.PathLike[str] | None = None,
        level: int = 0,
        stages: Sequence[str] | None = None,
    ) -> None:
        prototxt, caffemodel = files_of(network_file, given, phase, weights, level, stages or ())
        self._structure = open_structure(prototxt, caffemodel, random_numbers())
        self._blobs: Named[Blob] = Named()
        self._params = Named(parameters_of(self._structure))
        self._memory = Memory(self._structure.net, self._blobs)
        self._is_edited = False
        self._callbacks: dict[str, list[Callback]] = {name: [] for name in _CALLBACKS}
        self._allocate(self._structure.net.batch_size)
        for notice in self._structure.notices:
            warnings.warn(notice, stacklevel=2)

    def _allocate(self, items: int) -> None:
        """Give all blobs the shapes that they have for a number of items."""
        for name in self._structure.blob_names:
            shape = self._structure.shape_of(name, items)
            if name in self._blobs:
                self._blobs[name].reshape(*shape)
            else:
                self._blobs[name] = Blob(shape)

    @cached_property
    def _threads(self) -> int:
        return allowed_processors()

    @cached_property
    def _workspace(self) -> Workspace:
        workspace = Workspace(self._threads)
        weakref.finalize(self, workspace.close)
        return workspace

    @cached_property
    def _engine(self) -> CpuEngine:
        engine = CpuEngine(self._threads)
        weakref.finalize(self, engine.close)
        return engine

    @property
    def blobs(self) -> Named[Blob]:
        """All blobs by name, in order of creation."""
        return self._blobs

    @property
    def params(self) -> Named[list[Weight]]:
        """Learned blobs by layer name."""
        return self._params

    @property
    def inputs(self) -> list[str]:
        """Names of the blobs that are given from outside."""
        return [self._input_name]

    @property
    def outputs(self) -> list[str]:
        """Names of the blobs that no layer reads."""
        net = self._structure.net
        return sorted({net.value_names[value] for value in net.outputs})

    @property
    def _input_name(self) -> str:
        net = self._structure.net
        return net.value_names[net.input_value]

    @property
    def _layer_names(self) -> list[str]:
        return [layer.name for layer in self._structure.net.layers]

    @property
    def _blob_names(self) -> list[str]:
        return list(self._blobs)

    @property
    def layers(self) -> list[LayerView]:
        """The layers in order, without one for the input, as relevance counts them."""
        return [
            LayerView(layer.type, self._params.get(layer.name, [])) for layer in self._structure.net.layers
        ]

    @property
    def layer_dict(self) -> Named[LayerView]:
        """The layers by name."""
        return Named(zip(self._layer_names, self.layers, strict=True))

    @property
    def top_names(self) -> Named[list[str]]:
        """Names of the blobs that each layer writes."""
        return Named((spec.name, list(spec.tops)) for spec in self._structure.layer_specs)

    @property
    def bottom_names(self) -> Named[list[str]]:
        """Names of the blobs that each layer reads."""
        return Named((spec.name, list(spec.bottoms)) for spec in self._structure.layer_specs)

    @property
    def blob_loss_weights(self) -> Named[float]:
        """All 0: losses are not computed."""
        return Named(dict.fromkeys(self._blobs, 0.0))

    def forward(
        self,
        blobs: Sequence[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **kwargs: Any,
    ) -> dict[str, Floats]:
        """Run layers, and return views of the outputs; they change in the next pass.

        Parameters
        ----------
        blobs
            Names of further blobs to return.
        start, end
            Names of the first and of the last layer; unless given, all layers are run. With ``end``, its tops
            are returned in place of the net's outputs.
        kwargs
            Numbers for the input by its name, as many items as the blob has.
        """
        self._refresh()
        names = self._layer_names
        first = 0 if start is None else self._index(start)
        last = len(names) - 1 if end is None else self._index(end)
        _require_order(names[first], names[last], first <= last)
        wanted = self.outputs if end is None else list(self._structure.layer_specs[last].tops)
        wanted += self._further(blobs)
        if kwargs:
            self._require_names(kwargs, self.inputs, "Input blob arguments do not match net inputs")
            for name, given in kwargs.items():
                blob = self._blobs[name]
                blob.data[...] = one_batch(name, given, blob.shape, "Input")
        items = self._blobs[self._input_name].shape[0]
        run = Run(first, last, items, self._callbacks["before_forward"], self._callbacks["after_forward"])
        run_forward(self._memory, run, self._workspace)
        return Named((name, self._blobs[name].data) for name in dict.fromkeys(wanted))

    def backward(
        self,
        diffs: Sequence[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **kwargs: Any,
    ) -> dict[str, Floats]:
        """Propagate gradients downwards, and return views of the inputs' diffs.

        Parameters
        ----------
        diffs
            Names of further blobs whose diffs are returned.
        start, end
            Names of the highest and of the lowest layer. With ``end``, the diffs of its bottoms are returned.
        kwargs
            Gradients for all outputs by name; unless given, the diffs of blobs are used as they are.
        """
        self._refresh()
        last = len(self._layer_names) - 1 if start is None else self._index(start)
        first = 0 if end is None else self._index(end)
        names = self._layer_names
        _require_order(names[last], names[first], first <= last)
        wanted = self.inputs if end is None else list(self._structure.layer_specs[first].bottoms)
        wanted += self._further(diffs)
        if kwargs:
            self._require_names(kwargs, self.outputs, "Top diff arguments do not match net outputs")
            for name, given in kwargs.items():
                blob = self._blobs[name]
                blob.diff[...] = one_batch(name, given, blob.shape, "Diff")
        items = self._blobs[self._input_name].shape[0]
        run = Run(first, last, items, self._callbacks["before_backward"], self._callbacks["after_backward"])
        run_backward(self._memory, run, self._workspace)
        return Named((name, self._blobs[name].diff) for name in dict.fromkeys(wanted))

    def forward_all(self, blobs: Sequence[str] | None = None, **kwargs: Any) -> dict[str, Floats]:
        """As `forward` for any number of items, in batches of the net's size; arrays of their own."""
        self._require_names(kwargs, self.inputs, "Input blob arguments do not match net inputs")
        name, given = next(iter(kwargs.items()))
        pieces: dict[str, list[Floats]] = {}
        for batch, kept in batches_of(name, given, self._blobs[name]):
            arguments: dict[str, Any] = {name: batch}
            append_to(pieces, self.forward(blobs, **arguments), kept)
        return joined(pieces)

    def forward_backward_all(
        self, blobs: Sequence[str] | None = None, diffs: Sequence[str] | None = None, **kwargs: Any
    ) -> tuple[dict[str, Floats], dict[str, Floats]]:
        """As `forward` and `backward` for any number of items; ``kwargs``: inputs, and all outputs' diffs."""
        self._require_names(
            kwargs, [*self.inputs, *self.outputs], "arguments do not match inputs and outputs"
        )
        each = {name: list(batches_of(name, given, self._blobs[name])) for name, given in kwargs.items()}
        if len({tuple(kept for _, kept in batches) for batches in each.values()}) > 1:
            raise CaffeValueError("all arguments must have the same number of items")
        outs: dict[str, list[Floats]] = {}
        gradients: dict[str, list[Floats]] = {}
        for number, (_, kept) in enumerate(each[self._input_name]):
            given: dict[str, Any] = {name: batches[number][0] for name, batches in each.items()}
            tops = {name: given.pop(name) for name in self.outputs}
            append_to(outs, self.forward(blobs, **given), kept)
            append_to(gradients, self.backward(diffs, **tops), kept)
        return joined(outs), joined(gradients)

    def reshape(self) -> None:
        """Give all blobs the shapes that follow from that of the input.

        Raises
        ------
        CaffeError
            A layer cannot have such an input.
        """
        self._refresh()
        self._allocate(self._blobs[self._input_name].shape[0])

    def _refresh(self) -> None:
        """Follow a reshaped input and edited weights."""
        shape = self._blobs[self._input_name].shape
        edited = [weight.has_changed() for blobs in self._params.values() for weight in blobs]
        self._is_edited |= any(edited)
        structure = self._structure
        if self._is_edited:
            structure = structure.with_edited_weights()
        if shape[1:] != structure.net.input_shape:
            structure = structure.for_input(shape)
        if structure is not self._structure:
            self._structure = structure
            self._memory.net = structure.net
            self._memory.overwritten.clear()
            self._is_edited = False

    def copy_from(self, weights: str | os.PathLike[str]) -> None:
        """Copy weights of a caffemodel, by layer name.

        Raises
        ------
        CaffeError
            The file cannot be opened, or the shapes differ.
        """
        for name, blobs in stored_in_shape(self._structure, existing(weights)).items():
            for weight, blob in zip(self._params[name], blobs, strict=True):
                weight.data[...] = blob.read()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the layers with their weights into a caffemodel; a file of this name is replaced."""
        caffemodel_file.write(
            Path(path), self._structure.spec.name, self._structure.layer_specs, self._params
        )

    def clear_param_diffs(self) -> None:
        """Nothing: gradients of weights are not computed."""

    def share_with(self, other: Any) -> None:
        """Refused."""
        raise CaffeError(
            "nets do not share weights; copy them: net.params[name][0].data[...] = other.params…"
        )

    def set_input_arrays(self, data: Any, labels: Any) -> None:
        """Refused."""
        raise CaffeError(
            f"MemoryData layers are inputs here: net.blobs['{self._input_name}'].data[...] = data"
        )

    def save_hdf5(self, path: Any, *_: Any) -> None:
        """Refused."""
        raise CaffeError("weights are written in Caffe's binary format only: net.save(path)")

    load_hdf5 = save_hdf5

    def before_forward(self, call: Callback) -> None:
        """Have ``call`` called with the index of each layer before it is run."""
        self._callbacks["before_forward"].append(call)

    def after_forward(self, call: Callback) -> None:
        """Have ``call`` called with the index of each layer after it was run."""
        self._callbacks["after_forward"].append(call)

    def before_backward(self, call: Callback) -> None:
        """Have ``call`` called with the index of each layer before its gradient is computed."""
        self._callbacks["before_backward"].append(call)

    def after_backward(self, call: Callback) -> None:
        """Have ``call`` called with the index of each layer after its gradient was computed."""
        self._callbacks["after_backward"].append(call)

    def _index(self, name: str) -> int:
        """The layer with this name."""
        names = self._layer_names
        if name not in names:
            raise CaffeValueError(
                f"there is no layer '{name}'{did_you_mean(str(name), names) or '; see net._layer_names'}"
            )
        return names.index(name)

    def _further(self, names: Sequence[str] | None) -> list[str]:
        """Names of blobs; CaffeError if there is none of such a name."""
        if isinstance(names, str):
            raise CaffeValueError(f"names of blobs are given as a list: ['{names}']")
        for name in names or ():
            self._blobs[name]
        return list(names or ())

    @staticmethod
    def _require_names(given: Mapping[str, Any], wanted: Sequence[str], text: str) -> None:
        if {*given} != {*wanted}:
            raise CaffeValueError(
                f"{text}: given are {', '.join(given) or 'none'}, needed are {', '.join(wanted)}"
            )


_CALLBACKS = ("before_forward", "after_forward", "before_backward", "after_backward")


def _require_order(start: str, end: str, is_right: bool) -> None:
    """CaffeValueError unless a pass begins before it ends."""
    if not is_right:
        raise CaffeValueError(
            f"the pass would begin at '{start}', beyond its end '{end}'; swap start and end"
        )
