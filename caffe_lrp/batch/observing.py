"""Observers of the backward pass, for the outputs that need them."""

from collections.abc import Callable, Sequence

from caffe_lrp.model.explainer import Explainer
from caffe_lrp.model.observation import dumps_of, noting, possible_dumps
from caffe_lrp.outputs.kinds import need_sums
from caffe_lrp.outputs.layers import layer_kind, layer_labels


def layer_kinds(explainer: Explainer, wanted: Sequence[str]) -> tuple[str, ...]:
    """The kinds of output for relevance at layers, in the order of the net.

    Parameters
    ----------
    explainer
        The net, with a plan.
    wanted
        Names or indices of layers.

    Raises
    ------
    UsageError
        There is no such layer, or no relevance reaches it.
    """
    return tuple(dump.name for dump in dumps_of(explainer.plan, wanted, _kind_of(explainer)))


def observing(explainer: Explainer, kinds: Sequence[str]) -> Explainer:
    """Return the explainer with the observers that outputs of ``kinds`` need."""
    possible = possible_dumps(explainer.plan, _kind_of(explainer))
    dumps = [dump for dump in possible if dump.name in kinds]
    return explainer.observed_by(noting(dumps, sums=need_sums(kinds)))


def _kind_of(explainer: Explainer) -> Callable[[int, int | None], str]:
    labels = layer_labels([layer.name for layer in explainer.net.layers])
    return lambda layer, output: layer_kind(labels[layer], output)
