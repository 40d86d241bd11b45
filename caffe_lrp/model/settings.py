"""The settings of a model, as one value that can be compared, stored and sent to another process."""

from dataclasses import dataclass, replace
from pathlib import Path

from caffe_lrp.imaging.decode import MAX_PIXELS
from caffe_lrp.quirks import QUIRK_MODES, Quirks
from caffe_lrp.relevance.composite import FormulaCode
from caffe_lrp.relevance.start import LayerReference


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """Files and numbers of a model; the names are those of the keys of a config in YAML.

    Attributes
    ----------
    prototxt, caffemodel
        The net and its weights.
    mean_file, mean_format
        Mean image, and its format: 0 text, 1 BlobProto in BGR, 2 in RGB.
    mean_values
        In place of a mean image: a number for each channel, in the net's order; or one for all.
    input_scale
        Factor of the input, applied after the mean was subtracted; None: the prototxt's, or 1.
    channel_order
        ``BGR`` or ``RGB``: order of the colours in the net's input.
    resize
        How images are resized to ``base_size``: ``reference``, ``stretch``, ``short-side`` or ``none``.
    base_size
        Side that images are resized to, in pixels; None: the longer side of the net's input.
    crop
        Which part of the resized image the net sees: ``center``.
    input_size
        (height, width) of the input in pixels, in place of what the prototxt declares.
    labels
        File of class labels, one a line, or the labels themselves.
    start_layer, first_layer
        Where relevance starts and the lowest layer that it passes: index, name, or ``auto``, -1 or -2.
    head
        Of a net with several outputs the one whose classes are ranked, by name.
    class_count
        How many of the classes are ranked; None: all.
    formula
        What images are explained by unless something else is asked for; None: what suits the net.
    epsilon, beta, gamma
        Numbers of the ε, αβ (α = 1 + β) and γ rules.
    switch_layer
        Up to this layer some formulas use their lower rule; -1: none is set.
    quirks
        ``reference`` or ``corrected``.
    convolution
        How convolutions are computed: ``auto``, ``direct`` or ``winograd``.
    canonize
        Whether batch normalization becomes part of the layers beside it: ``auto`` or ``off``.
    max_pixels
        Images with more pixels are refused.
    """

    prototxt: Path
    caffemodel: Path
    mean_file: Path | None = None
    mean_format: int = 1
    mean_values: tuple[float, ...] | None = None
    input_scale: float | None = None
    channel_order: str = "BGR"
    resize: str = "reference"
    base_size: int | None = None
    crop: str = "center"
    input_size: tuple[int, int] | None = None
    labels: Path | tuple[str, ...] = ()
    start_layer: LayerReference = "auto"
    first_layer: LayerReference = 0
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
            labels=self.labels.absolute() if isinstance(self.labels, Path) else self.labels,
        )
