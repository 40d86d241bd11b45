"""The settings of a model, as a value that can be compared, stored and sent to another process."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from caffe_lrp.imaging.decode import MAX_PIXELS
from caffe_lrp.quirks import QUIRK_MODES, Quirks
from caffe_lrp.relevance.composite import FormulaCode
from caffe_lrp.relevance.start import LayerReference


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """Files and numbers of a model; the names are those of the keys in YAML configs.

    Attributes
    ----------
    prototxt, caffemodel
        The net and its weights.
    mean_file, mean_format
        Mean image, and its format: 0 text, 1 BlobProto in BGR, 2 in RGB.
    mean_values
        Instead of a mean image: a number for each channel, in the net's order; or one for all.
    input_scale
        Factor of the input, applied after the mean is subtracted; None: that of the prototxt, or 1.
    std_values
        Instead of a factor: what the input is divided by, a number for each channel; or one for all.
    channel_order
        ``BGR`` or ``RGB``: order of the colours in the net's input.
    resize
        How images are resized to ``base_size``: ``reference``, ``stretch``, ``short-side`` or ``none``.
    base_size
        Side that images are resized to, in pixels; None: the longer side of the net's input.
    crop
        Which part of the resized image the net sees: ``center``.
    input_size
        (height, width) of the input in pixels, instead of the size in the prototxt.
    labels
        File of class labels, one per line, or a tuple of labels.
    start_layer, first_layer
        Start layer and lowest layer of the backward pass: index, name, or ``auto``, -1 or -2.
    start_vector
        What relevance starts as, see `relevance.start_vector`; None: the score of the class, or 1 under
        gradients with corrected quirks.
    head
        In a net with several outputs, the name of the one whose classes are ranked.
    class_count
        How many of the classes are ranked; None: all.
    formula
        Default formula; None: the one that suits the net.
    epsilon, beta, gamma
        Numbers of the ε, αβ (α = 1 + β) and γ rules.
    switch_layer
        Layer up to which some formulas use their lower rule; -1: none is set.
    quirks
        ``reference`` or ``corrected``.
    convolution
        How convolutions are computed: ``auto``, ``direct`` or ``winograd``.
    canonize
        Whether batch normalization is merged into the layers next to it: ``auto`` or ``off``.
    max_pixels
        Images with more pixels are refused.
    """

    prototxt: Path
    caffemodel: Path
    mean_file: Path | None = None
    mean_format: int = 1
    mean_values: tuple[float, ...] | None = None
    input_scale: float | None = None
    std_values: tuple[float, ...] | None = None
    channel_order: str = "BGR"
    resize: str = "reference"
    base_size: int | None = None
    crop: str = "center"
    input_size: tuple[int, int] | None = None
    labels: Path | tuple[str, ...] = ()
    start_layer: LayerReference = "auto"
    first_layer: LayerReference = 0
    start_vector: str | Path | None = None
    head: str | None = None
    class_count: int | None = None
    formula: FormulaCode | None = None
    epsilon: float = 0.01
    beta: float = 1.0
    gamma: float = 0.25
    switch_layer: LayerReference = -1
    quirks: str = "reference"
    convolution: str = "auto"
    canonize: str = "auto"
    max_pixels: int = MAX_PIXELS

    @property
    def quirk_flags(self) -> Quirks:
        """The quirks of the reference that are reproduced."""
        return QUIRK_MODES[self.quirks]

    def with_absolute_paths(self) -> "ModelSettings":
        """The same settings for a process in another folder."""
        return replace(
            self,
            prototxt=self.prototxt.absolute(),
            caffemodel=self.caffemodel.absolute(),
            mean_file=self.mean_file and self.mean_file.absolute(),
            start_vector=_absolute(self.start_vector),
            labels=_absolute(self.labels),
        )


def _absolute(value: Any) -> Any:
    """A path as seen from any folder; other values as they are."""
    return value.absolute() if isinstance(value, Path) else value
