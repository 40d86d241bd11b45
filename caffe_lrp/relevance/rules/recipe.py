"""The plain recipe of rules for linear layers: modify, apply, divide, propagate.

A rule defines the parts of its products: modified inputs, modified weights, and a bias. Every part is
applied, relevance is divided by the sum of the parts, and the quotients are propagated along the weights and
multiplied by the inputs of the part. The losses and the memory of a rule follow from its parts. A rule with
its own kernels is also defined by its parts, and has to give the same numbers.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from caffe_lrp.compute.linear_map import LinearMap
from caffe_lrp.compute.quotients import undivided
from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.layers.base import Blobs
from caffe_lrp.layers.linear import Linear

from .accounts import Loss, doubles, ratio
from .base import Conditions, PassedItem, PreparedT, Rule, Seen

#: A function of inputs or weights that returns others of the same shape, and does not change its argument.
Modifier = Callable[[Blob], Blob]


def unchanged(numbers: Blob) -> Blob:
    """The numbers, unchanged."""
    return numbers


def positive(numbers: Blob) -> Blob:
    """Their positive parts."""
    return np.maximum(numbers, 0)


def negative(numbers: Blob) -> Blob:
    """Their negative parts."""
    return np.minimum(numbers, 0)


@dataclass(frozen=True, eq=False)
class Part:
    """Products of modified inputs and modified weights.

    Attributes
    ----------
    weight, input
        How they are modified.
    bias
        (C,): added to the sum of products of every output channel, or None.
    """

    weight: Modifier = unchanged
    input: Modifier = unchanged
    bias: Blob | None = None


@dataclass(frozen=True)
class LinearRule(Rule[Linear, PreparedT]):
    """A rule for linear layers that is defined by its parts, however it is computed."""

    def uses_inputs(self, layer: Linear) -> bool:
        return True

    @abstractmethod
    def parts(self, layer: Linear) -> tuple[Part, ...]:
        """The parts into which the products of ``layer`` are split."""

    def quotients(self, relevance: Blob, sums: Iterator[Blob]) -> Sequence[Blob]:
        """Relevance per unit of a product, for each part in the order of `parts`.

        It is propagated along the part's weights and multiplied by the part's inputs. By default it is
        relevance over the sum of all parts, the same for each, so that only biases take relevance. A rule
        that divides differently, and loses relevance by it, needs its own `losses`, because those of the
        recipe leave such losses unexplained.

        Parameters
        ----------
        relevance
            Relevance of the output.
        sums
            For every part in turn the sum of its products and its bias, in the shape of the output. They can
            be iterated once, and may be overwritten.
        """
        total, count = next(sums), 1
        for more in sums:
            total += more
            count += 1
        return [ratio(relevance, total, out=total)] * count


@dataclass(frozen=True, eq=False)
class AppliedPart:
    """A part, and the map along its weights.

    ``is_compared`` is whether max pooling compares the layer's outputs; sums of equal windows are then made
    exactly equal.
    """

    part: Part
    map: LinearMap
    is_compared: bool

    def modified(self, x: Blob) -> Blob:
        """The layer's inputs, modified for the part."""
        return _modified(x, self.part.input)

    def sums(self, x: Blob, workspace: Workspace) -> Blob:
        """The products with modified inputs, plus the bias."""
        out = self.map.apply(x, self.part.bias, workspace)
        if self.is_compared:
            self.map.restore_ties(x, out, workspace)
        return out


class PlainRule(LinearRule[tuple[AppliedPart, ...]]):
    """A rule that is computed by the plain recipe: apart from a title it needs only `parts`."""

    def prepare(self, layer: Linear, conditions: Conditions) -> tuple[AppliedPart, ...]:
        parts = self.parts(layer)
        if not parts:
            raise ValueError(f"{self.title} has no parts for {layer.label}")
        return tuple(AppliedPart(part, _map_of(part, layer), conditions.is_compared) for part in parts)

    def propagate(
        self,
        layer: Linear,
        prepared: tuple[AppliedPart, ...],
        seen: Seen,
        relevances: Blobs,
        workspace: Workspace,
    ) -> tuple[Blob, ...]:
        inputs = [each.modified(seen.inputs[0]) for each in prepared]
        sums = (each.sums(x, workspace) for each, x in zip(prepared, inputs, strict=True))
        quotients = self.quotients(relevances[0], sums)
        handed = (
            each.map.adjoint(undivided(quotient), x, workspace)
            for each, quotient, x in zip(prepared, quotients, inputs, strict=True)
        )
        shared = next(handed)
        for more in handed:
            shared += more
        return (shared,)

    def losses(self, passed: PassedItem[Linear, tuple[AppliedPart, ...]]) -> Iterator[Loss]:
        """The relevance taken by biases, and lost where the divisor is 0."""
        sums = [each.sums(each.modified(passed.seen.inputs[0]), passed.workspace) for each in passed.prepared]
        quotients = self.quotients(passed.relevances[0], (each.copy() for each in sums))
        unshared, is_zero = doubles(passed.relevances[0]), np.ones(passed.relevances[0].shape, bool)
        for each, total, quotient in zip(passed.prepared, sums, quotients, strict=True):
            unshared = unshared - doubles(quotient) * total
            is_zero &= quotient == 0
            if each.part.bias is not None:
                yield "bias", float(np.sum(each.map.rows(quotient).astype(np.float64) * each.part.bias))
        yield "zero_sum", float(np.sum(unshared, where=is_zero))

    def derived_floats(self, layer: Linear, conditions: Conditions, growth: float) -> Mapping[str, int]:
        others = sum(part.weight is not unchanged for part in self.parts(layer))
        # Equal rules of two plans do not share their parts.
        found = {f"{self.title}, parts {id(self)}": math.ceil(others * layer.weight.size * (1 + 2 * growth))}
        if others < len(self.parts(layer)):
            found |= own_adjoint_floats(layer, growth)
        return found

    def passing_floats(self, layer: Linear) -> int:
        """Modified inputs, the total, and one more sum or the relevance from a further part."""
        parts = self.parts(layer)
        modified = sum(part.input is not unchanged for part in parts)
        inputs, outputs = math.prod(layer.input_shapes[0]), math.prod(layer.output_shapes[0])
        return modified * inputs + outputs + max(outputs, inputs if len(parts) > 1 else 0)


def own_adjoint_floats(layer: Linear, growth: float) -> Mapping[str, int]:
    """The floats needed to propagate relevance along a layer's own weights."""
    return {"own, backwards": math.ceil(layer.weight.size * growth)}


def _map_of(part: Part, layer: Linear) -> LinearMap:
    outputs = layer.groups * layer.group_outputs
    if part.bias is not None and part.bias.shape != (outputs,):
        raise ValueError(f"the bias of a part has the shape {part.bias.shape}, not {(outputs,)}")
    if part.weight is unchanged:
        return layer.own_map
    return layer.map_of(layer.lifted(_modified(layer.weight, part.weight)))


def _modified(numbers: Blob, modifier: Modifier) -> Blob:
    """Inputs or weights after ``modifier``, in single precision.

    Raises
    ------
    ValueError
        The result has another shape, or the modifier changes its argument.
    """
    if modifier is unchanged:
        return numbers
    given = numbers.view()
    given.flags.writeable = False
    found = np.asarray(modifier(given), np.float32)
    if found.shape != numbers.shape:
        raise ValueError(f"a modifier of a part returns the shape {found.shape} for {numbers.shape}")
    return found if found.flags.writeable else found.copy(order="K")  # else kernels are compiled again
