"""Everything a run needs besides the images: checked and loaded before the first image is read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from caffe_lrp.config import COMMAND_LINE, HeatmapConfig
from caffe_lrp.errors import ConfigError, ModelError, PlanError, noticing
from caffe_lrp.files.reading import read_small_file
from caffe_lrp.formats.caffe.reader import Weights, read_prototxt, scan_caffemodel
from caffe_lrp.imaging.decode import MAX_PIXELS
from caffe_lrp.imaging.preprocess import Preprocessor
from caffe_lrp.machine.resources import available_memory
from caffe_lrp.net.build import build_net
from caffe_lrp.net.deploy.deployed import DeployedNet, deploy, image_shape
from caffe_lrp.net.heads import find_head, head_names
from caffe_lrp.net.net import Net
from caffe_lrp.quirks import QUIRK_MODES
from caffe_lrp.relevance.formulas import Formula, FormulaCode, RuleParameters, find_formula
from caffe_lrp.relevance.plan import Plan, resolve_plan
from caffe_lrp.relevance.start import Start, find_start, layer_index

from .inputs import make_preprocessor, mean_of_prototxt
from .naming import naming
from .observation import Observation, observe

#: Key and option of the switch layer.
_SWITCH = ("auxiliaryvariable_maxlayerindexforflatdistinconv", "--switch-layer")


@dataclass(frozen=True)
class Session:
    """A loaded net with its plans, and how images become its input.

    Attributes
    ----------
    net
        The net.
    formulas
        Codes of the formulas that images are explained by, all different.
    plans
        One for each formula; they start and end at the same layers.
    preprocessor
        Turns image files into inputs.
    labels
        Class labels of the synset file.
    class_count
        Number of ranked outputs.
    convolution
        How convolutions are computed: ``auto``, ``direct`` or ``winograd``.
    channel_order
        ``BGR`` or ``RGB``: order of the colours in the net's input.
    switch_layer
        Index up to which some formulas use their lower rule.
    remarks
        What was decided while the session was opened and is worth telling.
    observation
        What is noted while relevance passes the layers.
    mean_of_prototxt
        The mean image that the prototxt names, where the config says nothing of a mean.
    """

    net: Net
    formulas: tuple[FormulaCode, ...]
    plans: tuple[Plan, ...]
    preprocessor: Preprocessor
    labels: tuple[str, ...]
    class_count: int
    convolution: str = "auto"
    channel_order: str = "BGR"
    switch_layer: int = -1
    remarks: tuple[str, ...] = ()
    observation: Observation = field(default_factory=Observation)
    mean_of_prototxt: Path | None = None

    def observing(self, kinds: Sequence[str]) -> "Session":
        """The session, noting on the way what output of ``kinds`` needs."""
        return replace(self, observation=observe(self.plan, kinds))

    @property
    def plan(self) -> Plan:
        """The plan of the first formula."""
        return self.plans[0]

    def label_of(self, class_index: int) -> str:
        """Label of a class; a synset file may have fewer than the net has outputs."""
        return self.labels[class_index] if class_index < len(self.labels) else "without a label"

    @property
    def output_size(self) -> int:
        """Number of the net's outputs: of classes, where several positions are one class."""
        return self.plan.origin.output_count

    @property
    def ranked(self) -> str:
        """What has these outputs, for messages: the net, or one of its heads."""
        name = self.net.value_names[self.net.output_value]
        return "the net" if len(self.net.outputs) == 1 else f"the head '{name}'"

    @property
    def is_bgr(self) -> bool:
        """Whether the net's input are colours in the order blue, green, red."""
        return self.net.input_shape[0] == 3 and self.channel_order == "BGR"


def open_session(
    config: HeatmapConfig,
    formulas: Sequence[FormulaCode] | None = None,
    convolution: str = "auto",
    max_pixels: int = MAX_PIXELS,
    canonize: str = "auto",
) -> Session:
    """Load and check everything that ``config`` names.

    Parameters
    ----------
    config, formulas
        The config, and codes of formulas in place of its own.
    convolution, canonize
        How convolutions are computed, and whether batch normalization is merged: see `build_net`.
    max_pixels
        Images with more pixels are refused.

    Raises
    ------
    CaffeLrpError
        Of the kind that fits the first fault found.
    """
    codes = tuple(formulas) if formulas else (config.formula,)
    rows = {code: _find_formula(code, config) for code in codes}
    labels = read_labels(config.synset_file)
    deployed, weights = _deployed(config)
    preprocessor, remarks = make_preprocessor(config, deployed, max_pixels)
    net = _load_net(config, deployed, weights, convolution, canonize)
    with noticing((*net.notices, *remarks)):
        session = _session_of(net, config, rows, labels, preprocessor)
    mean = mean_of_prototxt(config, deployed)
    return replace(session, convolution=convolution, remarks=remarks, mean_of_prototxt=mean)


def _session_of(
    net: Net,
    config: HeatmapConfig,
    rows: Mapping[FormulaCode, Formula],
    labels: tuple[str, ...],
    preprocessor: Preprocessor,
) -> Session:
    """A session with plans for a net that is loaded."""
    numbers = _rule_parameters(net, config, preprocessor)
    start = _find_start(net, config)
    net = replace(net, output_value=start.output)
    session = Session(
        net=net,
        formulas=tuple(rows),
        plans=_resolve_plans(net, config, rows, numbers, start),
        preprocessor=preprocessor,
        labels=labels,
        class_count=_ranked_count(config, start),
        channel_order=config.channel_order,
        switch_layer=numbers.switch_layer,
    )
    _refuse_too_many_classes(session, config)
    return session


def _rule_parameters(net: Net, config: HeatmapConfig, preprocessor: Preprocessor) -> RuleParameters:
    """The numbers of rules, the switch layer among them; ConfigError if there is no such layer."""
    with naming(config.place_of("switch_layer"), ConfigError):
        switch_layer = layer_index(net, config.switch_layer, *_SWITCH)
    quirks = QUIRK_MODES[config.quirks]
    return RuleParameters(
        config.epsilon, config.beta, switch_layer, quirks, config.gamma, *preprocessor.bounds
    )


def _ranked_count(config: HeatmapConfig, start: Start) -> int:
    """How many classes are ranked; what a config says is not meant for a head that the command line names."""
    is_named = config.head is not None and config.place_of("head") == COMMAND_LINE
    return start.output_count if is_named else config.class_count


def _refuse_too_many_classes(session: Session, config: HeatmapConfig) -> None:
    """ConfigError if more classes are to be ranked than there are."""
    if session.class_count > session.output_size:
        net, advice = session.net, f"set it to {session.output_size} or fewer"
        others = [value for value in net.outputs if value != net.output_value]
        head = ""
        if others:
            head = f"the head '{net.value_names[net.output_value]}' of "
            advice += f", or choose another head (--head): {head_names(net, others)}"
        raise ConfigError(
            f"{config.place_of('class_count')}: numclasses {config.class_count} is more than the "
            f"{session.output_size} outputs of {head}{net.source}; {advice}"
        )


def _deployed(config: HeatmapConfig) -> tuple[DeployedNet, Weights]:
    """The net, with the head and the size of the input that are asked for; where the weights are."""
    spec = read_prototxt(config.prototxt)
    weights = scan_caffemodel(config.caffemodel)
    if config.input_size is None:
        return deploy(spec, weights, config.head), weights
    with naming(config.place_of("input_size"), ModelError):
        deployed = deploy(spec, weights, config.head, config.input_size)
        image_shape(deployed)  # a size can be too large
        return deployed, weights


def _find_start(net: Net, config: HeatmapConfig) -> Start:
    """Where relevance starts, on the way to the head that is asked for, if any is."""
    head = None
    if config.head is not None:
        with naming(config.place_of("head"), ConfigError):
            head = find_head(net, config.head)
    with naming(config.place_of("start_layer"), ConfigError):
        return find_start(net, config.start_layer, head)


def _resolve_plans(
    net: Net,
    config: HeatmapConfig,
    formulas: Mapping[FormulaCode, Formula],
    parameters: RuleParameters,
    start: Start,
) -> tuple[Plan, ...]:
    """The plans of all formulas, which start and end at the same layers."""
    plans = []
    for code, row in formulas.items():
        with naming(config.place_of("first_layer"), ConfigError), naming(f"formula {code}", PlanError):
            plans.append(resolve_plan(net, row, parameters, start, config.first_layer))
    return tuple(plans)


def _load_net(
    config: HeatmapConfig, deployed: DeployedNet, weights: Weights, convolution: str, canonize: str
) -> Net:
    """The net with its weights; says so where a size of the input that was asked for is what does not fit."""
    try:
        return build_net(deployed, weights, convolution, available_memory(), canonize)
    except ModelError as error:
        if config.input_size is None:
            raise
        size = "x".join(map(str, config.input_size))
        raise ModelError(
            f"{error}\n{config.place_of('input_size')}: the input was made {size} (input_size); only nets "
            "without inner products over positions, and without constants of a fixed size, take any size"
        ) from error


def _find_formula(code: FormulaCode, config: HeatmapConfig) -> Formula:
    """The row of a formula; ConfigError if there is none, or if it needs a switch layer that is not set."""
    with naming(config.place_of("formula"), ConfigError):
        formula = find_formula(code)
    if formula.needs_switch_layer and isinstance(config.switch_layer, int) and config.switch_layer < 0:
        raise ConfigError(
            f"{config.place_of('switch_layer')}: formula {code} needs a switch layer; set "
            f"{_SWITCH[0]} ({_SWITCH[1]}) to the index of a layer, not {config.switch_layer}"
        )
    return formula


def read_labels(path: Path) -> tuple[str, ...]:
    """Class labels, one a line."""
    content = read_small_file(path, "synset file", ConfigError, most_megabytes=16)
    return tuple(line.strip() for line in content.decode("utf-8-sig", errors="replace").splitlines())
