"""The order of a net's outputs, by the losses and measures of any phase in the prototxt.

Most losses run only in training, and most measures only in testing, so all layers of the file are searched.
This does not affect what a net computes, only the order of its outputs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from caffe_lrp.formats.caffe.wiring import Value, Wiring
from caffe_lrp.formats.spec import LayerSpec, NetSpec
from caffe_lrp.layers import REGISTRY

from .training import ENDS_OF_LOSSES, TrainingNet, Vote

#: Types of layers that turn scores into probabilities.
_ENDS = frozenset((*ENDS_OF_LOSSES, *ENDS_OF_LOSSES.values()))
#: The evidence of losses and measures for an output, see `precedence_of`; the smallest one is ranked.
Precedence = tuple[float, float, float, float]
#: The precedence of an output without losses and measures.
NO_VOTE: Precedence = (0, inf, inf, inf)


@dataclass(frozen=True)
class OutputFacts:
    """What the prototxt says about blobs that no layer reads.

    Attributes
    ----------
    silenced
        Blobs that are not outputs because a Silence layer reads them.
    precedence
        Name of an output -> evidence of losses and measures for it, if any.
    """

    silenced: frozenset[str]
    precedence: Mapping[str, Precedence]


def votes_elsewhere(spec: NetSpec, present: Sequence[LayerSpec]) -> tuple[Vote, ...]:
    """Votes of layers of ``spec`` that are not ``present`` at test time, for values of those that are."""
    numbers = {id(layer): number for number, layer in enumerate(present)}
    if all(id(layer) in numbers for layer in spec.layers):
        return ()
    whole = TrainingNet(tuple(declared.name for declared in spec.inputs), spec.layers)
    last_writers = {
        top: (number, place) for number, layer in enumerate(present) for place, top in enumerate(layer.tops)
    }
    found = []
    for vote in whole.votes:
        scores = _at_test_time(vote.scores, whole, numbers, last_writers)
        if id(whole.layers[vote.number]) not in numbers and scores is not None:
            found.append(Vote(-1, scores, vote.weight))
    return tuple(found)


def _at_test_time(
    value: Value | None, whole: TrainingNet, numbers: dict[int, int], last_writers: dict[str, Value]
) -> Value | None:
    """The value at test time that corresponds to one of the whole file; None if there is none.

    Parameters
    ----------
    value
        A value of ``whole``.
    whole
        All layers of the file.
    numbers
        Identity of a layer -> its number at test time.
    last_writers
        Name of a blob -> its last value at test time.
    """
    while value is not None and value[0] >= 0:
        layer = whole.layers[value[0]]
        if id(layer) in numbers:
            return numbers[id(layer)], value[1]
        if layer.tops[value[1]] in last_writers:
            return last_writers[layer.tops[value[1]]]
        value = whole.wiring.read[value[0]][0] if layer.bottoms and _keeps_classes(layer) else None
    return None


def _keeps_classes(layer: LayerSpec) -> bool:
    """Whether the layer passes scores on, or turns them into probabilities."""
    if layer.type in _ENDS:
        return True
    known = REGISTRY.get(layer.type)
    return known is not None and any(each.is_alias for each in (known, *known.variants))


def precedence_of(
    inputs: Sequence[str], layers: Sequence[LayerSpec], votes: Sequence[Vote]
) -> dict[str, Precedence]:
    """Name of an output -> the evidence in ``votes`` for it, if any.

    The nearest loss decides: the one with the fewest layers between its scores and the output, not counting
    layers that only pass scores on. Losses come before measures, and a loss that nothing reads is last.

    Parameters
    ----------
    inputs
        Names of the inputs.
    layers
        The layers that remain.
    votes
        Votes on values of these layers.
    """
    wiring = Wiring(tuple(inputs), tuple(layers))
    losses = _nearest([(vote.scores, -vote.weight) for vote in votes if vote.weight is not None], wiring)
    measures = _nearest([(vote.scores, 0.0) for vote in votes if vote.weight is None], wiring)
    found = {}
    for number, layer in enumerate(layers):
        for value in wiring.unread(number):
            steps, weight = losses.get(value, (inf, inf))
            is_loss = float(layer.type not in _ENDS and any(layer.parameters.loss_weight))
            precedence = (is_loss, weight, steps, measures.get(value, (inf, inf))[0])
            if precedence != NO_VOTE:
                found[layer.tops[value[1]]] = precedence
    return found


def _nearest(votes: Sequence[tuple[Value, float]], wiring: Wiring) -> dict[Value, tuple[float, float]]:
    """Value that depends on one with a vote -> the smallest vote, and the number of layers between.

    ``votes`` are values with a number each; of several at the same distance, the smallest counts.
    """
    nearest: dict[Value, tuple[float, float]] = {}
    for value, number in votes:
        nearest[value] = min((0.0, number), nearest.get(value, (inf, inf)))
    for place, layer in enumerate(wiring.layers):
        below = [nearest[value] for value in wiring.read[place] if value in nearest]
        if below:
            steps, number = min(below)
            passed = (steps + (not _keeps_classes(layer)), number)
            for value in wiring.written(place):
                nearest[value] = min(passed, nearest.get(value, passed))
    return nearest
