"""The process of the check of composites that runs zennit's own composites on a net in PyTorch.

Each composite is run as zennit has it, and once more with what is known to differ done as caffe-lrp does it:
if the maps then agree, nothing else differs.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

import numpy as np
import torch
from bench_zennit import import_zennit
from zoo_torch import TINY, AveragePool, Tensor, TorchNet, merging, module_name, relevance_of
from zoo_worker import Answer, Job, serve

composites, core, layer, rules, types = (
    import_zennit(part) for part in ("composites", "core", "layer", "rules", "types")
)

USUAL = 1e-6
"""Stabiliser of all rules of zennit's composites, ε among them."""

GRADIENTS = ("zennit-beta-smooth", "zennit-deconvnet", "zennit-guided-backprop")
"""Composites that divide by nothing."""

ZERO_SUM = 1e-6
"""Sums below this have no meaningful shares; caffe-lrp shares relevance equally."""


def flat_with_padding() -> Any:
    """Return flat that counts padding, too, whose share is lost; some window must lie inside the image."""
    rule = rules.Flat()
    rule.gradient_mapper = lambda relevance, counts: relevance / counts[0].max()
    return rule


def gamma_with_zero(gamma: float) -> Any:
    """Return γ that counts sums of 0 as positive, where zennit passes nothing."""
    rule, stabilise = rules.Gamma(gamma), core.Stabilizer(TINY)

    def shares(relevance: Tensor, sums: Any) -> Any:
        up = (sums[4] >= 0) * relevance / stabilise(sum(sums[:2]))
        down = (sums[4] < 0) * relevance / stabilise(sum(sums[2:4]))
        return [up, up, down, down, torch.zeros_like(relevance)]

    rule.gradient_mapper = shares
    return rule


def shares_or_equal() -> Any:
    """Return shares by contribution that are equal where the sum is 0."""

    def quotients(relevance: Tensor, sums: Any) -> Any:
        is_zero = sums[0].abs() < ZERO_SUM
        return [~is_zero * relevance / core.stabilize(sums[0], TINY), is_zero * relevance / sums[1]]

    return core.BasicHook(
        input_modifiers=[lambda x: x, torch.ones_like],
        param_modifiers=[core.ParamMod(lambda numbers, _: numbers, param_keys=[])] * 2,
        output_modifiers=[lambda z: z] * 2,
        gradient_mapper=quotients,
        reducer=lambda x, gradients: x[0] * gradients[0] + gradients[1],
    )


@dataclass(frozen=True)
class Kit:
    """What composites are made of: zennit's rules as they are, or what caffe-lrp does instead.

    Attributes
    ----------
    job
        Has the bounds of pixels.
    net
        The net.
    is_ours
        Whether to do what caffe-lrp does.
    """

    job: Job
    net: TorchNet
    is_ours: bool

    @property
    def bounds(self) -> dict[str, Tensor]:
        """The bounds of pixels."""
        low, high = (torch.tensor(each).reshape(1, -1, 1, 1).double() for each in self.job.bounds)
        return {"low": low, "high": high}

    def layers(self, gamma: float | None = None) -> dict[str, Any]:
        """Arguments of all composites for LRP: the stabiliser, and entries that come before their own.

        Average pooling of Caffe is not a module that zennit knows.
        """
        if not self.is_ours:
            return {"stabilizer": USUAL, "layer_map": [((AveragePool,), rules.Norm(USUAL))]}
        entries: list[Any] = [((AveragePool, layer.Sum), shares_or_equal())]
        entries += [] if gamma is None else [((types.Convolution,), gamma_with_zero(gamma))]
        return {"stabilizer": TINY, "layer_map": entries}

    @property
    def first(self) -> dict[str, Any]:
        """Argument of composites with flat: entries for the first layer that come before their own."""
        return {"first_map": [((types.Linear,), flat_with_padding())]} if self.is_ours else {}

    def montavon(self, merged: list[Any]) -> Any:
        """Return the composite of the tutorial of Montavon et al. 2019 for VGG16."""
        names = [each.name for each in self.net.layers if each.type in ("Convolution", "InnerProduct")]
        gamma = gamma_with_zero(0.25) if self.is_ours else rules.Gamma(0.25)
        middle = rules.Epsilon(core.Stabilizer(0.25, norm_scale=True))
        stabiliser = TINY if self.is_ours else USUAL
        hooks = [rules.ZBox(**self.bounds, stabilizer=stabiliser)] + [gamma] * 6 + [middle] * 6
        hooks += [rules.Epsilon(TINY)] * (len(names) - len(hooks))
        named = [((module_name(name),), hook) for name, hook in zip(names, hooks, strict=True)]
        others = [*self.layers()["layer_map"], ((types.Activation,), rules.Pass())]
        return composites.NameLayerMapComposite(named, others, canonizers=merged)


def preset(name: str, kit: Kit, merged: list[Any]) -> Any:
    """Return the composite of zennit that an example file has the name of."""
    first, layers = kit.first, kit.layers()
    makers: Mapping[str, Callable[[], Any]] = {
        "excitation-backprop": lambda: composites.ExcitationBackprop(
            **layers, zero_params=["bias"], canonizers=merged
        ),
        "montavon-2019-vgg16": lambda: kit.montavon(merged),
        "zennit-beta-smooth": lambda: composites.BetaSmooth(canonizers=merged),
        "zennit-deconvnet": lambda: composites.DeconvNet(canonizers=merged),
        "zennit-epsilon-alpha2-beta1": lambda: composites.EpsilonAlpha2Beta1(**layers, canonizers=merged),
        "zennit-epsilon-alpha2-beta1-flat": lambda: composites.EpsilonAlpha2Beta1Flat(
            **layers, **first, canonizers=merged
        ),
        "zennit-epsilon-gamma-box": lambda: composites.EpsilonGammaBox(
            **kit.bounds, **kit.layers(gamma=0.25), canonizers=merged
        ),
        "zennit-epsilon-plus": lambda: composites.EpsilonPlus(**layers, canonizers=merged),
        "zennit-epsilon-plus-flat": lambda: composites.EpsilonPlusFlat(**layers, **first, canonizers=merged),
        "zennit-excitation-backprop": lambda: composites.ExcitationBackprop(**layers, canonizers=merged),
        "zennit-guided-backprop": lambda: composites.GuidedBackprop(canonizers=merged),
    }
    return makers[name]()


def maps(job: Job) -> Answer:
    """Save two maps of every composite in double precision: zennit's, and with what caffe-lrp does.

    Of composites in which nothing is done differently, the second is missing.
    """
    net = TorchNet(job, torch.float64)
    for name in job.composites:
        kits = {"theirs": Kit(job, net, is_ours=False)}
        if name not in GRADIENTS:
            kits["as-ours"] = Kit(job, net, is_ours=True)
        for ending, kit in kits.items():
            found = relevance_of(net, preset(name, kit, [merging(net)]), job)
            np.save(f"{job.output}/{name}.{ending}.npy", found)
    return {"version": torch.__version__}


if __name__ == "__main__":
    serve({"maps": maps})
