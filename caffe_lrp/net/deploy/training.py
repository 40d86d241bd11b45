"""Which parts of a training net are needed for the scores of an image, and which only for training."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from functools import cached_property

from caffe_lrp.formats.caffe.data_layers import LABELLED_TYPES, reads_data
from caffe_lrp.formats.caffe.wiring import Value, Wiring
from caffe_lrp.formats.spec import LayerSpec
from caffe_lrp.layers import REGISTRY
from caffe_lrp.layers.unsupported import is_slip

#: Losses that turn scores into probabilities, and the layer that does the same at test time.
ENDS_OF_LOSSES = {"SoftmaxWithLoss": "Softmax", "SigmoidCrossEntropyLoss": "Sigmoid"}
#: Layers that turn scores into something that cannot be explained: the number of the best class, a file.
_DECISIONS = ("ArgMax", "HDF5Output")


class Role(Enum):
    """The purpose of a layer."""

    INPUT = auto()
    DATA = auto()
    COMPUTATION = auto()
    UNKNOWN = auto()
    LOSS = auto()
    MEASURE = auto()
    DECISION = auto()
    SILENCE = auto()


#: The first test that is true of a layer gives its role.
_TESTS: tuple[tuple[Role, Callable[[LayerSpec], bool]], ...] = (
    (Role.DECISION, lambda layer: layer.type in _DECISIONS),
    (Role.SILENCE, lambda layer: layer.type == "Silence"),
    (Role.COMPUTATION, lambda layer: layer.type in REGISTRY),
    (Role.INPUT, lambda layer: layer.type == "Input"),
    (Role.DATA, reads_data),
    (Role.LOSS, lambda layer: "Loss" in layer.type or any(layer.parameters.loss_weight)),
    (Role.MEASURE, lambda layer: layer.type.endswith("Accuracy") or "Evaluat" in layer.type),
    (Role.UNKNOWN, lambda layer: True),
)


def _role_of(layer: LayerSpec) -> Role:
    return next(role for role, is_true in _TESTS if is_true(layer))


@dataclass(frozen=True)
class Taker:
    """A layer that takes scores: its number, and the value that holds them."""

    number: int
    scores: Value | None
    weight: float = 1.0


@dataclass(frozen=True)
class Vote:
    """A loss or measure that reads a value as scores: evidence for the output that depends on it.

    Attributes
    ----------
    number
        Number of the layer; -1 if it does not run at test time.
    scores
        The value.
    weight
        Weight of the loss; None for layers that are not losses.
    """

    number: int
    scores: Value
    weight: float | None


@dataclass(frozen=True)
class TrainingNet:
    """A net for training, and the part of it that is needed for the scores of an image.

    Attributes
    ----------
    declared
        Names of the inputs that the file declares.
    layers
        Layers that run at test time.
    elsewhere
        Votes of layers that do not, on values of those that do.
    head
        Name of the requested head, auxiliary or not; None: no particular one.
    """

    declared: tuple[str, ...]
    layers: tuple[LayerSpec, ...]
    elsewhere: tuple[Vote, ...] = ()
    head: str | None = None

    @cached_property
    def wiring(self) -> Wiring:
        """Which layer reads which value."""
        return Wiring(self.declared, self.layers)

    @cached_property
    def roles(self) -> tuple[Role, ...]:
        """The purpose of each layer."""
        return tuple(map(_role_of, self.layers))

    def numbers(self, *roles: Role) -> Iterator[int]:
        """Numbers of the layers with one of ``roles``."""
        return (number for number, role in enumerate(self.roles) if role in roles)

    # --- What cannot be explained ---------------------------------------------------------------------------

    @cached_property
    def from_labels(self) -> frozenset[Value | None]:
        """Values that depend on labels, on losses, or on decisions made from scores."""
        found: set[Value | None] = set()
        for number, (layer, role) in enumerate(zip(self.layers, self.roles, strict=True)):
            written = self.wiring.written(number)
            read = self.wiring.read[number]
            if layer.type in ENDS_OF_LOSSES and not found.issuperset(read):
                found.update((*written[:1], *written[2:]))  # the second top has the probabilities
            elif role in (Role.LOSS, Role.MEASURE, Role.DECISION) or not found.isdisjoint(read):
                found.update(written)
            elif layer.type in LABELLED_TYPES and role is Role.DATA:
                found.update(written[1:])
        return frozenset(found)

    @cached_property
    def unsupported(self) -> frozenset[Value | None]:
        """Values that depend on layers of unknown types."""
        found: set[Value | None] = set()
        for number, role in enumerate(self.roles):
            if role is Role.UNKNOWN or not found.isdisjoint(self.wiring.read[number]):
                found.update(self.wiring.written(number))
        return frozenset(found)

    # --- Where the scores are -------------------------------------------------------------------------------

    def takers(self, *roles: Role) -> list[Taker]:
        """Layers that take scores: the first of their bottoms that does not depend on labels."""
        found = []
        for number in self.numbers(*roles):
            scores = [value for value in self.wiring.read[number] if value not in self.from_labels]
            weights = self.layers[number].parameters.loss_weight
            if scores:
                found.append(Taker(number, scores[0], weights[0] if weights else 1.0))
        return found

    @cached_property
    def losses(self) -> list[Taker]:
        """The losses of the scores; those with less weight belong to auxiliary heads, unless requested."""
        takers = self.takers(Role.LOSS)
        most = max((taker.weight for taker in takers), default=0.0)
        return [taker for taker in takers if taker.weight == most or self._is_wanted(taker)]

    def _is_wanted(self, taker: Taker) -> bool:
        """Whether the requested name is that of the head or of its scores."""
        layer = self.layers[taker.number]
        names = {layer.name, *layer.tops}
        if taker.scores is not None and taker.scores[0] >= 0:
            writer = self.layers[taker.scores[0]]
            names.update((writer.name, writer.tops[taker.scores[1]]))
        return self.head in names

    @cached_property
    def votes(self) -> tuple[Vote, ...]:
        """The values that layers of any phase read as scores: losses, measures, layers that pick a class."""
        takers = self.takers(Role.LOSS, Role.MEASURE, Role.DECISION)
        weights = [taker.weight if self.roles[taker.number] is Role.LOSS else None for taker in takers]
        here = [
            Vote(taker.number, taker.scores, weight)
            for taker, weight in zip(takers, weights, strict=True)
            if taker.scores is not None
        ]
        return (*here, *self.elsewhere)

    @cached_property
    def trained_elsewhere(self) -> list[Value]:
        """Scores with a loss that does not run at test time but has the largest weight."""
        most = max((vote.weight for vote in self.votes if vote.weight is not None), default=0.0)
        return [vote.scores for vote in self.elsewhere if vote.weight == most]

    @cached_property
    def auxiliary_losses(self) -> list[Taker]:
        """The losses of heads that help only in training."""
        main = set(self.losses)
        return [taker for taker in self.takers(Role.LOSS) if taker not in main]

    @cached_property
    def ends(self) -> list[Value]:
        """Values that layers compute and no layer reads, in file order."""
        computed = self.numbers(Role.COMPUTATION, Role.UNKNOWN)
        unread = (value for number in computed for value in self.wiring.unread(number))
        return [value for value in unread if value not in self.from_labels]

    @cached_property
    def roots(self) -> list[Value | None]:
        """Values that may be scores, with the most probable ones last."""
        measures = self.takers(Role.MEASURE)
        taken: list[Value | None] = [taker.scores for taker in self.losses or measures]
        taken += [taker.scores for taker in measures if self._is_wanted(taker)]
        trained: list[Value | None] = [*self.trained_elsewhere]
        decided = [taker.scores for taker in self.takers(Role.DECISION)]
        ends = sorted(self.ends, key=lambda value: self.layers[value[0]].type in ENDS_OF_LOSSES.values())
        return [*decided, *ends, *(trained + taken if self.losses else taken + trained)]

    @cached_property
    def needed(self) -> frozenset[int]:
        """Numbers of the layers that scores depend on.

        If the most probable scores depend on a layer of an unknown type, there is no net without it; it is
        kept so that the net builder reports it. So is a layer with a type that is probably misspelt.
        """
        roots = [value for value in self.roots if value not in self.unsupported]
        roots += self.roots[-1:]
        always = [number for number in self.numbers(Role.COMPUTATION) if not self.layers[number].tops]
        always += [number for number in self.numbers(Role.UNKNOWN) if is_slip(self.layers[number].type)]
        roots += [value for number in always for value in self.wiring.read[number]]
        return frozenset(self.layers_behind(roots)).union(always)

    def layers_behind(self, values: Iterable[Value | None]) -> set[int]:
        """Numbers of all layers that ``values`` depend on; of a loss's inputs only the scores count."""
        found: set[int] = set()
        waiting = [value for value in values if value is not None]
        while waiting:
            number = waiting.pop()[0]
            if number >= 0 and number not in found:
                found.add(number)
                is_loss = self.roles[number] is Role.LOSS
                read = [self.scores_of(number)] if is_loss else self.wiring.read[number]
                waiting.extend(value for value in read if value is not None)
        return found

    # --- What remains ---------------------------------------------------------------------------------------

    @cached_property
    def conversions(self) -> dict[int, str]:
        """Number of a loss -> type of the layer that replaces it."""
        computing = [number for number in self.needed if self.roles[number] is Role.COMPUTATION]
        there = {
            (self.layers[number].type, value) for number in computing for value in self.wiring.read[number]
        }
        found, main = {}, set(self.losses)
        for taker in self.takers(Role.LOSS):
            new_type = ENDS_OF_LOSSES.get(self.layers[taker.number].type)
            is_new = taker in main and (new_type, taker.scores) not in there and self._is_sound(taker)
            if new_type and (is_new or taker.number in self.needed):
                found[taker.number] = new_type
        return found

    def _is_sound(self, taker: Taker) -> bool:
        return taker.scores == self.roots[-1] or taker.scores not in self.unsupported

    @cached_property
    def kept(self) -> list[int]:
        """Numbers of the layers that remain, in file order."""
        computing = self.numbers(Role.COMPUTATION, Role.UNKNOWN)
        remaining = (number for number in computing if number in self.needed)
        return sorted([*self.conversions, *remaining])

    @cached_property
    def silenced(self) -> frozenset[Value | None]:
        """Values that only Silence layers read, and that are therefore not outputs of the net."""
        silent = {value for number in self.numbers(Role.SILENCE) for value in self.wiring.read[number]}
        return frozenset(silent.difference(self.read_values, self.roots))

    def scores_of(self, number: int) -> Value | None:
        """The scores that a loss takes."""
        return self._scores_of_losses[number]

    @cached_property
    def _scores_of_losses(self) -> dict[int, Value | None]:
        return {taker.number: taker.scores for taker in self.takers(Role.LOSS)}

    @cached_property
    def read_values(self) -> frozenset[Value | None]:
        """Values that the remaining layers read."""
        return frozenset(value for number in self.kept for value in self.remaining_reads(number))

    @cached_property
    def consulted_values(self) -> frozenset[Value | None]:
        """Values whose numbers matter to the remaining layers; of the others only the shape matters."""
        found: set[Value | None] = set()
        for number in reversed(self.kept):
            written = self.wiring.written(number)
            if self.read_values.issuperset(written) and found.isdisjoint(written) and written:
                continue
            layer_class = REGISTRY.get(self.layers[number].type)
            of_shape = layer_class.shape_inputs if layer_class else frozenset()
            reads = self.remaining_reads(number)
            found.update(value for place, value in enumerate(reads) if place not in of_shape)
        return frozenset(found)

    def remaining_reads(self, number: int) -> tuple[Value | None, ...]:
        """The inputs of a layer that remain."""
        if number in self.conversions:
            return (self.scores_of(number),)
        return self.wiring.read[number]
