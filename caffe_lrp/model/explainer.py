"""A loaded net with the requested plans: everything that forward and backward passes need.

Everything is checked and loaded before the first image is read.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from caffe_lrp.errors import (
    ConfigError,
    ImageError,
    ModelError,
    Notice,
    PlanError,
    UsageError,
    about,
    noticing,
)
from caffe_lrp.formats.caffe.reader import StoredWeights, read_prototxt, scan_caffemodel
from caffe_lrp.imaging.preprocess import Preprocessor
from caffe_lrp.machine.resources import available_memory
from caffe_lrp.net.build import build_net
from caffe_lrp.net.deploy.deployed import DeployedNet, deploy, image_shape
from caffe_lrp.net.heads import are_probabilities, find_head, head_names
from caffe_lrp.net.net import Net
from caffe_lrp.relevance.composite import Composite, FormulaCode
from caffe_lrp.relevance.formulas import (
    FORMULAS,
    all_entries,
    composite_for,
    has_channel_norm,
    needs_switch_layer,
    written_out,
)
from caffe_lrp.relevance.plan import Plan, resolve_plan
from caffe_lrp.relevance.rules.base import RuleParameters
from caffe_lrp.relevance.start import Start, find_start, layer_index
from caffe_lrp.relevance.start_vector import StartVector, refuse_misfit

from .labels import label_of, read_labels
from .observation import Observation
from .preprocessing import describe_preprocessing, make_preprocessor
from .settings import ModelSettings
from .start_vectors import start_vector_of

#: Of composites, so many plans are kept; each holds what its rules derive from the weights.
_MOST_COMPOSITES = 4
#: Key and option of the switch layer.
_SWITCH = ("auxiliaryvariable_maxlayerindexforflatdistinconv", "--switch-layer")


@dataclass(frozen=True, eq=False)
class Explainer:
    """A net, plans for formulas, and the preprocessing of images.

    Attributes
    ----------
    settings
        The settings that it was opened from.
    deployed
        The net as it is in its files.
    net
        The net as it is computed.
    origin
        The start layer, the same in all plans.
    parameters
        Numbers of the rules.
    preprocessor
        Turns images into inputs.
    labels
        Class labels.
    class_count
        Number of classes that are ranked.
    plans
        Formula -> its plan; they start and end at the same layers.
    remarks
        Notices about decisions on preprocessing.
    observation
        What is recorded during backward passes.
    vector
        What relevance starts as; None: the scores of the classes that are explained.
    """

    settings: ModelSettings
    deployed: DeployedNet
    net: Net
    origin: Start
    parameters: RuleParameters
    preprocessor: Preprocessor
    labels: tuple[str, ...]
    class_count: int
    plans: dict[FormulaCode, Plan] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    observation: Observation = field(default_factory=Observation)
    vector: StartVector | None = None

    @property
    def formulas(self) -> tuple[FormulaCode, ...]:
        """Codes of the formulas, all different."""
        return tuple(self.plans)

    @property
    def plan(self) -> Plan:
        """The plan of the first formula."""
        return next(iter(self.plans.values()))

    def explaining(self, formulas: Sequence[FormulaCode]) -> "Explainer":
        """The explainer with plans for other formulas; existing plans are reused.

        Raises
        ------
        ConfigError
            There is no such formula, or it needs a switch layer.
        PlanError
            The formula has no rule for a layer.
        """
        return replace(self, plans={code: self.plans.get(code) or self._plan_for(code) for code in formulas})

    def without_old_composites(self) -> "Explainer":
        """The explainer with the plans of formulas, and of the last few composites."""
        composites = [code for code in self.formulas if isinstance(code, Composite)]
        old = {*composites[:-_MOST_COMPOSITES]}
        return replace(self, plans={code: plan for code, plan in self.plans.items() if code not in old})

    def starting_as(self, vector: StartVector | None) -> "Explainer":
        """The explainer with another start vector.

        Raises
        ------
        ConfigError
            No image can have it.
        """
        if vector is not None:
            with about(ConfigError, setting="start_vector"):
                refuse_misfit(vector, self.origin, self.net, self.class_count)
        return replace(self, vector=vector)

    def observed_by(self, observation: Observation) -> "Explainer":
        """The explainer with an observation.

        Raises
        ------
        UsageError
            There is something to observe, but maps are made from two backward passes.
        """
        is_active = observation.dumps or observation.constants is not None
        if is_active and self.vector is not None and self.vector.kind.contrast is not None:
            raise UsageError(
                f"the start vector '{self.vector.text}' takes two backward passes, which are combined at the "
                "image, so layers have no relevance and no conservation report of their own; use a start "
                "vector of one pass, such as difference:CLASS",
                setting="start_vector",
            )
        return replace(self, observation=observation)

    def _plan_for(self, code: FormulaCode) -> Plan:
        composite = composite_of(self.settings, code)
        first_layer = self.settings.first_layer
        place = code.label if isinstance(code, Composite) else f"formula {code}"
        with (
            about(ConfigError, setting="first_layer"),
            about(PlanError, setting="formula", place=place),
        ):
            return resolve_plan(self.net, composite, self.parameters, self.origin, first_layer)

    def label_of(self, class_index: int) -> str:
        """See `explanation.label_of`."""
        return label_of(self.labels, class_index)

    @property
    def output_size(self) -> int:
        """Number of the net's outputs; of classes, if a class has several positions."""
        return self.origin.output_count

    @property
    def ranked(self) -> str:
        """Whose outputs these are, in messages: the net's, or one of its heads'."""
        name = self.net.value_names[self.net.output_value]
        return "the net" if len(self.net.outputs) == 1 else f"the head '{name}'"

    @property
    def scores_are_probabilities(self) -> bool:
        """Whether the net's scores are probabilities; sums over several positions are not."""
        net = self.net
        has_one_position = math.prod(net.shape_of(net.output_value)) == self.output_size
        return has_one_position and are_probabilities(net, net.output_value)

    @property
    def is_bgr(self) -> bool:
        """Whether the net's input has colours in the order blue, green, red."""
        return self.net.input_shape[0] == 3 and self.settings.channel_order == "BGR"

    @property
    def described_preprocessing(self) -> dict[str, Any]:
        """See `describe_preprocessing`."""
        return describe_preprocessing(self.settings, self.deployed, self.preprocessor)

    def require_classes(self, classes: Sequence[int]) -> None:
        """Refuse classes that the net or the start layer does not have.

        Raises
        ------
        ImageError
            The largest of ``classes`` does not exist; negative numbers are codes and are not checked.
        """
        largest, start = max(classes), self.origin
        is_for_targets = self.vector is None or self.vector.kind.is_for_targets
        if largest >= self.output_size:
            raise ImageError(
                f"class {largest} does not exist: {self.ranked} has {self.output_size} outputs, which "
                f"count from 0 to {self.output_size - 1}"
            )
        if is_for_targets and largest >= start.class_count:
            raise ImageError(
                f"class {largest} is not an element of the start layer '{start.layer.name}', "
                f"which has {start.class_count}"
            )


def open_explainer(settings: ModelSettings) -> Explainer:
    """Load and check everything in ``settings``; the explainer has no plans yet.

    Raises
    ------
    CaffeLrpError
        The class depends on the first fault found.
    """
    with about(ConfigError, setting="start_vector"):
        vector = start_vector_of(settings.start_vector)
    labels = settings.labels if isinstance(settings.labels, tuple) else read_labels(settings.labels)
    deployed, weights = deployed_of(settings)
    preprocessor, remarks = make_preprocessor(settings, deployed)
    net = _load_net(settings, deployed, weights)
    with noticing((*net.notices, *remarks)):
        parameters = _rule_parameters(net, settings, preprocessor)
        origin = _find_start(net, settings)
        explainer = Explainer(
            settings=settings,
            deployed=deployed,
            net=replace(net, output_value=origin.output),
            origin=origin,
            parameters=parameters,
            preprocessor=preprocessor,
            labels=labels,
            class_count=origin.output_count if settings.class_count is None else settings.class_count,
            remarks=remarks,
        )
        _refuse_too_many_classes(explainer)
        return explainer.starting_as(vector)


def _rule_parameters(net: Net, settings: ModelSettings, preprocessor: Preprocessor) -> RuleParameters:
    """The rules' parameters and the switch layer; ConfigError if there is no such layer."""
    with about(ConfigError, setting="switch_layer"):
        switch_layer = layer_index(net, settings.switch_layer, *_SWITCH)
    return RuleParameters(
        settings.epsilon,
        settings.beta,
        switch_layer,
        settings.quirk_flags,
        settings.gamma,
        *preprocessor.bounds,
    )


def _refuse_too_many_classes(explainer: Explainer) -> None:
    """Raise ConfigError if more classes should be ranked than there are."""
    if explainer.class_count <= explainer.output_size:
        return
    net, advice = explainer.net, f"set it to {explainer.output_size} or fewer"
    others = [value for value in net.outputs if value != net.output_value]
    head = ""
    if others:
        head = f"the head '{net.value_names[net.output_value]}' of "
        advice += f", or choose another head (--head): {head_names(net, others)}"
    raise ConfigError(
        f"numclasses {explainer.class_count} is more than the {explainer.output_size} outputs of "
        f"{head}{net.source}; {advice}",
        setting="class_count",
    )


def deployed_of(settings: ModelSettings) -> tuple[DeployedNet, StoredWeights]:
    """Return the net with the requested head and input size, and its weights as positions in the file."""
    with about(file=settings.prototxt):
        spec = read_prototxt(settings.prototxt)
    with about(file=settings.caffemodel):
        weights = scan_caffemodel(settings.caffemodel)
    size = settings.input_size
    with about(ModelError, setting="" if size is None else "input_size", file=settings.prototxt):
        deployed = deploy(spec, weights, settings.head, size)
        if size is not None:
            image_shape(deployed)  # the size may be too large
        return deployed, weights


def _find_start(net: Net, settings: ModelSettings) -> Start:
    """The start layer, below the requested head if there is one."""
    head = None
    if settings.head is not None:
        with about(ConfigError, setting="head"):
            head = find_head(net, settings.head)
    with about(ConfigError, setting="start_layer"):
        return find_start(net, settings.start_layer, head)


def _load_net(settings: ModelSettings, deployed: DeployedNet, weights: StoredWeights) -> Net:
    """Return the net with its weights; if the requested input size does not fit, the error says so."""
    try:
        return build_net(deployed, weights, available_memory(), settings.canonize)
    except ModelError as error:
        if settings.input_size is not None:
            size = "x".join(map(str, settings.input_size))
            error.hint = Notice(
                f"the input was made {size} (input_size); only nets without fully connected layers over "
                "positions, and without constants of a fixed size, accept any size",
                setting="input_size",
            )
        raise


def composite_of(settings: ModelSettings, code: FormulaCode) -> Composite:
    """The composite that a formula is.

    Raises
    ------
    ConfigError
        There is no such formula, a composite has the name of another, or it needs a switch layer that is not
        set.
    """
    kind = "composite" if isinstance(code, Composite) else "formula"
    with about(ConfigError, setting="" if kind == "composite" else "formula"):
        composite = composite_for(code)
        is_switching = needs_switch_layer(composite)
        _refuse_name_of_formula(composite)
    switch_layer = dict(composite.settings).get("switch_layer", settings.switch_layer)
    if is_switching and isinstance(switch_layer, int) and switch_layer < 0:
        if "switch_layer" in dict(composite.settings):
            raise ConfigError(
                f"{composite.label}: 'switch_layer' must be the name or the index of a layer, not "
                f"{switch_layer}"
            )
        raise ConfigError(
            f"{kind} {code} needs a switch layer; set {_SWITCH[0]} ({_SWITCH[1]}) to the index of a layer, "
            f"not {switch_layer}",
            setting="switch_layer",
        )
    return composite


def _refuse_name_of_formula(composite: Composite) -> None:
    """Raise ConfigError if a composite has the name of a different formula: results are called by it."""
    named = next((code for code in FORMULAS if str(code) == composite.name), None)
    if named is None:
        return
    formula = written_out(named)
    is_same = all_entries(composite) == formula.entries and not composite.settings
    if not is_same or has_channel_norm(composite) != formula.channel_norm:
        raise ConfigError(
            f"{composite.label}: '{composite.name}' is the name of a formula; rename the file, or add a "
            "'name' to it"
        )
