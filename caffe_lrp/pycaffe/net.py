"""``caffe.Net`` with the toolbox's extension for relevance."""

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._caffe import DoubleVec, DoubleVecVec
from .blob import Floats
from .core import CoreNet
from .faults import CaffeError, CaffeValueError
from .options import OPTIONS, Propagation, RelPropOpts, propagation_of
from .relevance import plan_of, propagate, require_classes

Doubles = NDArray[np.float64]

_GRADIENT = 11


class Net(CoreNet):
    """A net that is computed at test time, and that explains; the parameters are those of `CoreNet`.

    The methods for relevance run the net on what its input blob holds; no forward pass needs to come before.
    """

    def lrp(self, class_inds: Any, lrp_opts: RelPropOpts | None = None) -> Doubles:
        """Relevance of a batch for one class per item: (N, …) float64, in the blob's channel order.

        The ``diff`` of every blob on the way holds its relevance afterwards.

        Parameters
        ----------
        class_inds
            (N,) whole numbers. Items without one start from 0, and surplus ones are ignored.
        lrp_opts
            How relevance is propagated.

        Raises
        ------
        CaffeValueError
            Options or classes are wrong; Caffe ends the process.
        """
        classes = np.asarray(class_inds)
        if classes.ndim != 1 or classes.dtype.kind not in "iu":
            raise CaffeValueError(
                f"net.lrp needs whole numbers, one class for each item: an array of the shape (N,), not "
                f"{classes.dtype} of the shape {classes.shape}"
            )
        return self._explain([[int(index)] for index in classes], propagation_of(lrp_opts))

    def lrp_single(self, class_ind: int, lrp_opts: RelPropOpts | None = None) -> Doubles:
        """Relevance of every item for the same class; otherwise as `lrp`."""
        try:
            index = operator.index(class_ind)
        except TypeError as error:
            raise CaffeValueError(f"net.lrp_single needs one class, not {class_ind!r}") from error
        return self._explain([[index]] * self._items, propagation_of(lrp_opts))

    def _backward_relevance(
        self, classes: Sequence[int], relevance: DoubleVecVec, lrp_opts: RelPropOpts
    ) -> None:
        """Append the relevance of the only item to ``relevance``: for each channel, numbers column by column.

        Channels are reversed, so that red comes first. Relevance starts from all ``classes`` together.
        """
        if self._items != 1:
            raise CaffeError(
                f"_backward_relevance is for one item, but the batch has {self._items}; use "
                "_backward_relevance_multi, or net.lrp"
            )
        self._append(self._explain([classes], propagation_of(lrp_opts))[0], relevance)

    def _backward_relevance_multi(
        self, classes: Sequence[Sequence[int]], relevance: list[DoubleVecVec], lrp_opts: RelPropOpts
    ) -> None:
        """As `_backward_relevance`, with a list of classes for each item; appends one entry for each."""
        for item in self._explain(classes, propagation_of(lrp_opts)):
            relevance.append(DoubleVecVec())
            self._append(item, relevance[-1])

    def _backward_gradient(
        self, classes: Sequence[int], relevance: DoubleVecVec, lrp_opts: RelPropOpts
    ) -> None:
        """As `_backward_relevance`, of the gradient, whatever formula the options have."""
        options = RelPropOpts()
        if not isinstance(lrp_opts, RelPropOpts):
            raise CaffeValueError(f"options must be of caffe.RelPropOpts, not {lrp_opts!r}")
        for name in OPTIONS:
            setattr(options, name, getattr(lrp_opts, name))
        options.quirks, options.relpropformulatype = lrp_opts.quirks, _GRADIENT
        self._backward_relevance(classes, relevance, options)

    @staticmethod
    def _append(item: Doubles, relevance: DoubleVecVec) -> None:
        """Add one map (C, H, W), its last channel first."""
        planes = item if item.ndim == 3 else item.reshape(len(item), 1, -1)
        relevance.extend(DoubleVec(plane.T.reshape(-1).tolist()) for plane in planes[::-1])

    @property
    def _items(self) -> int:
        return self.blobs[self._input_name].shape[0]

    def _explain(self, classes: Sequence[Sequence[int]], wanted: Propagation) -> Doubles:
        """Relevance of all items; that of blobs is left in their diffs."""
        self._refresh()
        plan = plan_of(self._structure.explained, wanted)
        items = self._items
        chosen = [list(map(operator.index, each)) for each in classes[:items]]
        require_classes(plan, chosen)
        inputs = self.blobs[self._input_name].data
        chosen += [[]] * (items - len(chosen))

        def store(name: str, part: slice, numbers: Floats) -> None:
            blob = self.blobs[name]
            shape = (items, *numbers.shape[1:])
            if blob.shape != shape:
                blob.reshape(*shape)
            blob.diff[part] = numbers

        propagate(plan, inputs, chosen, self._engine, store)
        return self.blobs[plan.net.value_names[plan.target]].diff.astype(np.float64)
