"""Heads: the outputs of a net, their order, and how to find one by name.

An output is a blob that no layer reads. The classes of one output are ranked.
"""

from collections.abc import Iterable, Mapping, Sequence

from caffe_lrp.errors import ConfigError
from caffe_lrp.layers.base import Layer
from caffe_lrp.messages import did_you_mean, enumerated

from .deploy.precedence import NO_VOTE, Precedence
from .net import Net

#: Heads named in messages; further ones are only counted.
_MOST_NAMED = 10


def in_order(
    outputs: Iterable[int],
    layers: Sequence[Layer],
    value_names: Sequence[str],
    precedence: Mapping[str, Precedence],
) -> tuple[int, ...]:
    """Outputs of a net, starting with the one to rank.

    They are sorted by the evidence of losses and measures, see `precedence_of`, then probabilities come
    first, then the deepest: those with the longest chain of computing layers. Outputs that are equal in all
    of this are sorted by name, as in Caffe.

    Parameters
    ----------
    outputs
        Values that no layer reads.
    layers
        All layers.
    value_names
        Blob name of every value id.
    precedence
        Name of an output -> evidence of losses and measures for it.
    """
    depths: dict[int, int] = {}
    probabilities: set[int] = set()
    for layer in layers:
        below = max((depths.get(value, 0) for value in layer.inputs), default=0)
        depths.update(dict.fromkeys(layer.outputs, below + (not layer.is_alias)))
        if layer.gives_probabilities or (layer.is_alias and layer.inputs[0] in probabilities):
            probabilities.update(layer.outputs)

    def key(value: int) -> tuple[Precedence, bool, int, str]:
        name = value_names[value]
        return precedence.get(name, NO_VOTE), value not in probabilities, -depths[value], name

    return tuple(sorted((value for value in outputs if value in depths), key=key))


def outputs_above(net: Net, values: Iterable[int]) -> tuple[int, ...]:
    """Outputs that depend on ``values``, starting with the one to rank."""
    reached = set(values)
    for layer in net.layers:
        if not reached.isdisjoint(layer.inputs):
            reached.update(layer.outputs)
    return tuple(output for output in net.outputs if output in reached)


def layers_below(net: Net, value: int) -> list[Layer]:
    """Layers that a value depends on, in order."""
    wanted, found = {value}, []
    for layer in reversed(net.layers):
        if not wanted.isdisjoint(layer.outputs):
            found.append(layer)
            wanted.update(layer.inputs)
    return found[::-1]


def are_probabilities(net: Net, value: int) -> bool:
    """Whether a value is the output of a Softmax, perhaps reshaped afterwards."""
    for layer in reversed(layers_below(net, value)):
        if value in layer.outputs:
            if not layer.is_alias:
                return layer.gives_probabilities
            value = layer.inputs[0]
    return False


def find_head(net: Net, name: str) -> int:
    """The output that ``name`` stands for.

    That is an output with this name, or of a layer with this name, or the only output that depends on a blob
    or layer with this name, such as the scores below a Softmax.

    Raises
    ------
    ConfigError
        There is none, or there are several.
    """
    by_name = [value for value in net.outputs if net.value_names[value] == name]
    named = {value for layer in net.layers if layer.name == name for value in layer.outputs}
    by_layer = [value for value in net.outputs if value in named]
    for found in (by_name, by_layer):
        if len(found) == 1:
            return found[0]
    named.update(value for value, other in enumerate(net.value_names) if other == name)
    above = outputs_above(net, named)
    if len(above) == 1:
        return above[0]
    said = f"head {name} (--head): {net.source}"
    if above:
        raise ConfigError(
            f"{said}: '{name}' leads to several heads; give one of them: {head_names(net, above)}"
        )
    known = [*(net.value_names[value] for value in net.outputs), *(layer.name for layer in net.layers)]
    meant, heads = did_you_mean(name, known), head_names(net, net.outputs)
    raise ConfigError(f"{said} has no head with this name{meant or '.'} Its heads are {heads}")


def head_names(net: Net, outputs: Sequence[int]) -> str:
    """Names of heads for messages."""
    return enumerated([f"'{net.value_names[value]}'" for value in outputs], _MOST_NAMED)


def head_notices(net: Net, ranked: int) -> tuple[str, ...]:
    """A notice on which of several heads is ``ranked``; none if there is only one."""
    others = [value for value in net.outputs if value != ranked]
    if not others:
        return ()
    return (
        f"{net.source}: has {len(net.outputs)} heads; classes are those of "
        f"'{net.value_names[ranked]}', not of {head_names(net, others)}; head (--head) chooses another",
    )
