"""Which layers of a prototxt take part at test time (Caffe's include and exclude rules)."""

from collections.abc import Iterable

from caffe_lrp.errors import ModelError
from caffe_lrp.formats.spec import LayerSpec, NetSpec

from .caffe_pb2 import TEST, TRAIN, NetState, NetStateRule

#: The stage of the deployed net in NVIDIA's DIGITS, whose files also hold the net for training.
DEPLOY_STAGE = "deploy"


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
    if takes_deploy_stage(spec):
        state.stage.append(DEPLOY_STAGE)
    stages = frozenset(state.stage)
    return [layer for layer in spec.layers if _takes_part(layer, state, stages, spec.source)]


def takes_deploy_stage(spec: NetSpec) -> bool:
    """Whether rules name the stage ``deploy``, and the file itself asks for no stage."""
    rules = (rule for layer in spec.layers for rule in _rules(layer))
    return not spec.state.stage and any(DEPLOY_STAGE in (*rule.stage, *rule.not_stage) for rule in rules)


def _rules(layer: LayerSpec) -> tuple[NetStateRule, ...]:
    return (*layer.parameters.include, *layer.parameters.exclude)


def _takes_part(layer: LayerSpec, state: NetState, stages: frozenset[str], source: str) -> bool:
    include, exclude = layer.parameters.include, layer.parameters.exclude
    if include and exclude:
        raise ModelError(f"{source}: layer '{layer.name}' has both include and exclude rules; keep one kind")
    if include:
        return _any_holds(include, state, stages)
    if _any_holds(exclude, state, stages):
        return False
    # Caffe keeps such a layer, and then two layers write one blob; include { phase: TRAIN } was meant.
    is_source_for_training = layer.parameters.HasField("phase") and layer.parameters.phase == TRAIN
    return bool(layer.bottoms) or not is_source_for_training


def _any_holds(rules: Iterable[NetStateRule], state: NetState, stages: frozenset[str]) -> bool:
    return any(_holds(rule, state, stages) for rule in rules)


def _holds(rule: NetStateRule, state: NetState, stages: frozenset[str]) -> bool:
    """Whether every condition of a rule is met; ``stages`` are the stages of the net's state."""
    if rule.HasField("phase") and rule.phase != state.phase:
        return False
    if rule.HasField("min_level") and state.level < rule.min_level:
        return False
    if rule.HasField("max_level") and state.level > rule.max_level:
        return False
    return stages.issuperset(rule.stage) and stages.isdisjoint(rule.not_stage)
