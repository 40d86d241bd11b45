"""Everything a run needs besides the images: checked and loaded before the first image is read."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from caffe_lrp.config import HeatmapConfig
from caffe_lrp.errors import CaffeLrpError, ConfigError, ModelError, PlanError
from caffe_lrp.files import read_small_file
from caffe_lrp.imaging.decode import MAX_PIXELS
from caffe_lrp.imaging.mean import load_mean
from caffe_lrp.imaging.preprocess import Preprocessor
from caffe_lrp.net.build import build_net
from caffe_lrp.net.net import Net
from caffe_lrp.proto.reader import read_prototxt, scan_caffemodel
from caffe_lrp.quirks import QUIRK_MODES
from caffe_lrp.relevance.formulas import Formula, RuleParameters, find_formula
from caffe_lrp.relevance.plan import Plan, find_start, resolve_plan

from .observation import Observation, observe
from .resources import available_memory


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
    observation
        What is noted while relevance passes the layers.
    """

    net: Net
    formulas: tuple[int, ...]
    plans: tuple[Plan, ...]
    preprocessor: Preprocessor
    labels: tuple[str, ...]
    class_count: int
    convolution: str = "auto"
    observation: Observation = field(default_factory=Observation)

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
        """Number of the net's outputs."""
        return math.prod(self.net.shape_of(self.net.output_value))


def open_session(
    config: HeatmapConfig,
    formulas: Sequence[int] | None = None,
    convolution: str = "auto",
    max_pixels: int = MAX_PIXELS,
) -> Session:
    """Load and check everything that ``config`` names.

    Parameters
    ----------
    config
        The config.
    formulas
        Codes of the formulas in place of the config's.
    convolution
        How convolutions are computed: ``auto``, ``direct`` or ``winograd``.
    max_pixels
        Images with more pixels are refused.

    Raises
    ------
    CaffeLrpError
        Of the kind that fits the first fault found.
    """
    quirks = QUIRK_MODES[config.quirks]
    codes = tuple(formulas) if formulas else (config.formula,)
    rows = [_find_formula(code, config) for code in codes]
    labels = read_labels(config.synset_file)
    mean = load_mean(config.mean_file, config.mean_mode, quirks)
    spec, weights = read_prototxt(config.prototxt), scan_caffemodel(config.caffemodel)
    net = build_net(spec, weights, convolution, available_memory())
    height, width = _image_size(net)
    parameters = RuleParameters(config.epsilon, config.beta, config.switch_layer, quirks)
    with _naming(config.place_of("start_layer"), ConfigError):
        start = find_start(net, config.start_layer)
    plans = []
    for code, row in zip(codes, rows, strict=True):
        with _naming(config.place_of("first_layer"), ConfigError), _naming(f"formula {code}", PlanError):
            plans.append(resolve_plan(net, row, parameters, start.index, config.first_layer))
    with _naming(config.place_of("base_size"), ConfigError), _naming(config.mean_file, ModelError):
        preprocessor = Preprocessor(config.base_size, height, width, mean, quirks, max_pixels)
    session = Session(net, codes, tuple(plans), preprocessor, labels, config.class_count, convolution)
    if config.class_count > session.output_size:
        raise ConfigError(
            f"{config.place_of('class_count')}: numclasses {config.class_count} is more than the "
            f"{session.output_size} outputs of {net.source}; set it to {session.output_size} or fewer"
        )
    return session


def _find_formula(code: int, config: HeatmapConfig) -> Formula:
    """The row of a formula; ConfigError if there is none, or if it needs a switch layer that is not set."""
    with _naming(config.place_of("formula"), ConfigError):
        formula = find_formula(code)
    if formula.needs_switch_layer and config.switch_layer < 0:
        raise ConfigError(
            f"{config.place_of('switch_layer')}: formula {code} needs a switch layer; set "
            "auxiliaryvariable_maxlayerindexforflatdistinconv (--switch-layer) to the index of a layer, not "
            f"{config.switch_layer}"
        )
    return formula


@contextmanager
def _naming(place: Path | str, kind: type[CaffeLrpError]) -> Iterator[None]:
    """Name the place of a fault, a file or a line of one, in errors of class ``kind`` that do not know it."""
    try:
        yield
    except kind as error:
        raise kind(f"{place}: {error}") from error


def _image_size(net: Net) -> tuple[int, int]:
    """(H, W) of the net's input; ModelError unless it has 3 channels and is square."""
    shape = net.input_shape
    if len(shape) != 3 or shape[0] != 3 or shape[1] != shape[2]:
        sizes = "×".join(map(str, (net.batch_size, *shape)))
        raise ModelError(
            f"{net.source}: the input must have 3 channels and be square (N×3×S×S), but it is {sizes}; only "
            "nets for such images can be explained"
        )
    return shape[1], shape[2]


def read_labels(path: Path) -> tuple[str, ...]:
    """Class labels, one a line."""
    content = read_small_file(path, "synset file", ConfigError, most_megabytes=16)
    return tuple(line.strip() for line in content.decode("utf-8-sig", errors="replace").splitlines())
