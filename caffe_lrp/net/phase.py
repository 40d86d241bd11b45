"""Which layers of a prototxt take part at test time (Caffe's include and exclude rules)."""

from collections.abc import Iterable

from caffe_lrp.errors import ModelError
from caffe_lrp.proto.caffe_pb2 import TEST, NetState, NetStateRule
from caffe_lrp.proto.spec import LayerSpec, NetSpec


def layers_at_test_time(spec: NetSpec) -> list[LayerSpec]:
    """Layers of ``spec`` that run at test time, in file order.

    Raises
    ------
    ModelError
        A layer has both include and exclude rules.
    """
    state = NetState()
    state.CopyFrom(spec.state)
    state.phase = TEST
    return [layer for layer in spec.layers if _takes_part(layer, state, spec.source)]


def _takes_part(layer: LayerSpec, state: NetState, source: str) -> bool:
    include, exclude = layer.parameters.include, layer.parameters.exclude
    if include and exclude:
        raise ModelError(f"{source}: layer '{layer.name}' has both include and exclude rules; keep one kind")
    if include:
        return _any_holds(include, state)
    return not _any_holds(exclude, state)


def _any_holds(rules: Iterable[NetStateRule], state: NetState) -> bool:
    return any(_holds(rule, state) for rule in rules)


def _holds(rule: NetStateRule, state: NetState) -> bool:
    """Whether every condition of one rule is met."""
    if rule.HasField("phase") and rule.phase != state.phase:
        return False
    if rule.HasField("min_level") and state.level < rule.min_level:
        return False
    if rule.HasField("max_level") and state.level > rule.max_level:
        return False
    stages = set(state.stage)
    return stages.issuperset(rule.stage) and stages.isdisjoint(rule.not_stage)
