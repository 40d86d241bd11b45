"""Layer-wise Relevance Propagation for Caffe image classifiers, without Caffe.

`load` opens a model, which explains images:

>>> import caffe_lrp
>>> model = caffe_lrp.load("configs/demo.txt")
>>> explanation = model.explain("filelists/demo/1_cross_square_crescent.png")
>>> explanation.relevance.shape
(3, 128, 128)
>>> explanation.heatmap(cmap="seismic").size  # a PIL image, which its method save writes to a file
(256, 256)

In a notebook, an explanation is shown as a heatmap over the picture. There are introductory notebooks in the
package's folder ``manual/notebooks``.

Nothing heavy is imported before a model is loaded.
"""

from collections.abc import Sequence
from importlib import import_module
from os import PathLike
from typing import TYPE_CHECKING, Any

from .errors import (
    CaffeLrpError,
    ConfigError,
    ImageError,
    LimitError,
    ModelError,
    OutputError,
    PlanError,
    UsageError,
)

if TYPE_CHECKING:
    from .imaging.place import Place
    from .model.explanation import Explanation
    from .model.model import Model
    from .relevance.composite import Composite
    from .rendering.style import PictureStyle

__version__ = "0.2.0"

__all__ = [
    "CaffeLrpError",
    "Composite",
    "ConfigError",
    "Explanation",
    "ImageError",
    "LimitError",
    "Model",
    "ModelError",
    "OutputError",
    "PictureStyle",
    "Place",
    "PlanError",
    "UsageError",
    "__version__",
    "load",
    "read_composite",
]

#: Public names that are imported when they are first used: they load NumPy, Numba and OpenCV.
_LAZY = {
    "Model": "caffe_lrp.model.model",
    "Explanation": "caffe_lrp.model.explanation",
    "Composite": "caffe_lrp.relevance.composite",
    "PictureStyle": "caffe_lrp.rendering.style",
    "Place": "caffe_lrp.imaging.place",
    "read_composite": "caffe_lrp.config",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'caffe_lrp' has no attribute '{name}'")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return __all__


def load(
    source: str | PathLike[str],
    caffemodel: str | PathLike[str] | None = None,
    *,
    mean_file: str | PathLike[str] | None = None,
    mean_format: int | None = None,
    mean_values: float | Sequence[float] | None = None,
    input_scale: float | None = None,
    std_values: float | Sequence[float] | None = None,
    channel_order: str | None = None,
    resize: str | None = None,
    base_size: int | None = None,
    crop: str | None = None,
    input_size: tuple[int, int] | None = None,
    labels: str | PathLike[str] | Sequence[str] | None = None,
    start_layer: int | str | None = None,
    first_layer: int | str | None = None,
    start_vector: str | PathLike[str] | None = None,
    head: str | None = None,
    class_count: int | None = None,
    formula: "int | str | Composite | None" = None,
    epsilon: float | None = None,
    beta: float | None = None,
    gamma: float | None = None,
    switch_layer: int | str | None = None,
    quirks: str | None = None,
    convolution: str | None = None,
    canonize: str | None = None,
    max_pixels: int | None = None,
    threads: int | None = None,
    memory: int | str | None = None,
) -> "Model":
    """Return a model, opened from a config file, or from a prototxt and a caffemodel.

    Its explanations are drawn by `Explanation.heatmap`. ``caffe-lrp explain`` does both in one step.

    Parameters
    ----------
    source
        A config in YAML or in the toolbox's format, or a prototxt, with ``caffemodel``.
    caffemodel
        The weights: for a prototxt, or instead of those in the config.
    mean_file, mean_format
        Mean image, and its format: 0 text, 1 (unless given) BlobProto in BGR, 2 in RGB.
    mean_values
        Instead of a mean image: a number per channel, in the net's order; or one for all. One of the two
        must be given, here or in the config, unless the data layer of a training prototxt has it.
    input_scale
        Factor of the input, applied after the mean is subtracted; unless given, that of the prototxt, or 1.
    std_values
        Instead of a factor: what the input is divided by after the mean is subtracted; a number per channel,
        in the net's order and in grey levels (0 to 255), or one for all.
    channel_order
        ``BGR`` (default) or ``RGB``: order of the colours in the net's input.
    resize
        How images are resized to ``base_size``: ``reference`` (default), ``stretch``, ``short-side`` or
        ``none``.
    base_size
        Side that images are resized to, in pixels: the longer side, or the shorter one with ``short-side``;
        unless given, the longer side of the net's input.
    crop
        Which part of the resized image the net sees: only ``center`` is possible.
    input_size
        (height, width) of the net's input in pixels, instead of what the prototxt declares.
    labels
        File of class labels, one per line, or a list of labels; unless given, there are none.
    start_layer
        Layer where relevance starts, by index or name; default ``auto``: the layer of the class scores.
    first_layer
        Lowest layer of the backward pass, by index or name; unless given, 0: down to the image.
    start_vector
        What relevance starts as: a word such as ``one`` or ``contrast:runner-up``, or a NumPy file; unless
        given, the score of the class. ``caffe-lrp help start-vectors`` has all.
    head
        In a net with several outputs, the name of the one whose classes are ranked; unless given, the one
        that the start layer leads to.
    class_count
        How many of the classes are ranked; unless given, all.
    formula
        Default formula of explanations: number, name, or a composite; unless given, the one that
        ``caffe-lrp inspect`` recommends for the net.
    epsilon, beta, gamma
        Numbers of the ε, αβ (α = 1 + β) and γ rules; unless given, 0.01, 1 and 0.25.
    switch_layer
        Layer up to which some formulas use their lower rule, by index or name; unless given, these formulas
        are refused.
    quirks
        ``reference`` (default): the toolbox's peculiarities are reproduced; or ``corrected``.
    convolution
        How convolutions are computed: ``auto`` (default), ``direct`` or ``winograd``.
    canonize
        Whether batch normalization is merged into the layers next to it: ``auto`` (default) or ``off``.
    max_pixels
        Images with more pixels are refused; unless given, 180,000,000.
    threads
        Threads that compute; unless given, one for each processor that this process may use.
    memory
        Memory that explanations may take: bytes, or a text such as ``4G``; unless given, half of what is
        free.

    Arguments replace values of the config file. Kernels are compiled when they are first needed: the very
    first explanation on a machine takes some ten seconds longer. ``caffe-lrp warmup`` compiles them in
    advance.

    Raises
    ------
    CaffeLrpError
        A file cannot be used, or a value does not fit: `ConfigError`, `ModelError` or another subclass. Its
        ``setting``, ``layer`` or ``file`` names the source.
    """
    given = {name: value for name, value in locals().items() if value is not None and name != "source"}
    from .config import read_settings  # noqa: PLC0415 - as is needed, and no sooner
    from .errors import placing  # noqa: PLC0415
    from .model.model import Model  # noqa: PLC0415
    from .model.settings import ModelSettings  # noqa: PLC0415

    settings = read_settings(source, given)
    with placing(settings.places):
        return Model(ModelSettings(**settings.of_model), threads=settings.threads, memory=settings.memory)
