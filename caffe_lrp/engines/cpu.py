"""The CPU engine: the forward pass layer by layer, and relevance from the start layer down to the target."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.kernels.blobs import Blob, as_blob, pixels
from caffe_lrp.layers.base import Blobs
from caffe_lrp.layers.linear import Linear
from caffe_lrp.net.net import Net
from caffe_lrp.relevance.passage import ForwardPass, Observer, Passage
from caffe_lrp.relevance.plan import Plan, Step
from caffe_lrp.relevance.rules.base import Seen
from caffe_lrp.relevance.rules.signed import SignedRule

from .base import Engine, Footprint
from .footprint import footprint_of

#: Reused blocks are often larger than needed: the factor this costs, measured on VGG16 and GoogLeNet.
_REUSE_LOSS = 1.15


class CpuEngine(Engine):
    """The reference engine; see `Engine`."""

    def __init__(
        self, threads: int = 1, checkpoint: Callable[[], None] | None = None, convolution: str = "auto"
    ) -> None:
        self._workspace = Workspace(threads, checkpoint, convolution)

    @staticmethod
    def footprint(net: Net, plans: Sequence[Plan], convolution: str = "auto") -> Footprint:
        computed = footprint_of(net, plans, convolution)
        return Footprint(computed.fixed, int(_REUSE_LOSS * computed.per_image))

    def forward(
        self, net: Net, plans: Sequence[Plan], batch: Blob, keep: frozenset[int] = frozenset()
    ) -> ForwardPass:
        kept = keep.union(*(plan.kept_values for plan in plans))
        sums: dict[int, Blob] = {}
        substitutes = {
            step.layer.index: partial(_forward_with_sums, step, step.rule, sums)
            for plan in plans
            for step in plan.steps
            if isinstance(step.rule, SignedRule)
        }
        # Convert the memory layout once for all readers: identities, the first layer, and its rule.
        batch = as_blob(pixels(batch), batch.shape)
        return ForwardPass(net.forward(batch, kept, self._workspace, substitutes), sums)

    def explain(
        self,
        plan: Plan,
        forward: ForwardPass,
        start: Mapping[int, Blob],
        observer: Observer | None = None,
    ) -> Blob:
        relevance = {value: start[value] for value in plan.seeds}
        for step in plan.steps:
            propagated = _propagate(step, forward, relevance, self._workspace, observer)
            relevance.update(zip(step.layer.inputs, propagated, strict=True))
        result = relevance[plan.target]
        return plan.finish(result) if plan.finish else result

    def forget(self) -> None:
        self._workspace.forget()

    def close(self) -> None:
        self._workspace.close()


def _forward_with_sums(
    step: Step, rule: SignedRule, sums: dict[int, Blob], inputs: Blobs, workspace: Workspace
) -> tuple[Blob, ...]:
    """The forward pass of a layer, from sums that are kept for its rule."""
    layer, prepared = step.layer, step.prepared
    assert isinstance(layer, Linear)
    sums[layer.index], output = rule.forward(layer, prepared, inputs[0], workspace)
    if step.conditions.is_compared:
        prepared.map.restore_ties(inputs[0], output, workspace)
    return (output,)


def _propagate(
    step: Step,
    forward: ForwardPass,
    relevance: dict[int, Blob],
    workspace: Workspace,
    observer: Observer | None,
) -> tuple[Blob, ...]:
    """Relevance of a step's inputs; that of its outputs is removed, and counts as 0 if there is none."""
    layer, rule = step.layer, step.rule
    items = len(next(iter(relevance.values())))
    received = []
    for value, shape in zip(layer.outputs, layer.output_shapes, strict=True):
        blob = relevance.pop(value, None)
        received.append(workspace.zeros((items, *shape)) if blob is None else blob)
    values = forward.activations
    seen = Seen(
        [values[value] for value in layer.inputs] if rule.uses_inputs(layer) else (),
        [values[value] for value in layer.outputs] if rule.uses_outputs(layer) else (),
        forward.sums[layer.index] if isinstance(rule, SignedRule) else None,
    )
    propagated = rule.propagate(layer, step.prepared, seen, received, workspace)
    if observer is not None:
        observer(Passage(step, seen, received, propagated, workspace))
    return propagated
