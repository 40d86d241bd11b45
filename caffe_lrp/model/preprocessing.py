"""The preprocessing of images: from the settings, or else from a training prototxt."""

from pathlib import Path
from typing import Any

from caffe_lrp.errors import ConfigError, ModelError, Notice, about
from caffe_lrp.formats.spec import Shape
from caffe_lrp.imaging.mean import BLOB_BGR, Mean, constant_mean, load_mean
from caffe_lrp.imaging.preprocess import Preprocessor
from caffe_lrp.net.deploy.deployed import DeployedNet, image_shape
from caffe_lrp.quirks import Quirks

from .settings import ModelSettings


def make_preprocessor(settings: ModelSettings, deployed: DeployedNet) -> tuple[Preprocessor, tuple[str, ...]]:
    """Return the preprocessor of a net, and notices about settings from the prototxt.

    Raises
    ------
    ConfigError
        Settings do not fit the net, or there is no mean.
    ModelError
        The input is not an image, or the mean cannot be read or does not fit.
    """
    shape = channels, height, width = image_shape(deployed)
    mean, taken = _mean(settings, deployed, shape)
    scale = _scale(settings, deployed, taken)
    given = {"place": deployed.source} if settings.base_size is None else {"setting": "base_size"}
    with about(ConfigError, **given), about(ModelError, place=settings.mean_file or deployed.source):
        preprocessor = Preprocessor(
            base_size=settings.base_size or max(height, width),
            input_height=height,
            input_width=width,
            mean=mean,
            quirks=settings.quirk_flags,
            max_pixels=settings.max_pixels,
            channels=channels,
            channel_order=settings.channel_order,
            resize_mode=settings.resize,
            scale=scale,
            std=_std(settings, shape),
        )
    if not taken:
        return preprocessor, ()
    remark = "settings missing from the config are taken from its transform_param"
    return preprocessor, (f"{deployed.source}: {remark}: {', '.join(taken)}",)


def _scale(settings: ModelSettings, deployed: DeployedNet, taken: list[str]) -> float:
    """The factor of the input; if it comes from the prototxt, it is added to ``taken``."""
    if settings.std_values is not None:
        return 1.0
    if settings.input_scale is not None:
        return settings.input_scale
    transform = deployed.transform
    if transform is None or transform.scale == 1:
        return 1.0
    taken.append(f"scale {transform.scale:g}")
    return transform.scale


def _std(settings: ModelSettings, shape: Shape) -> tuple[float, ...] | None:
    """What each channel is divided by, in the net's order."""
    if settings.std_values is None:
        return None
    with about(ConfigError, setting="std_values"):
        return _by_channel(settings.std_values, shape, "std_values")


def _mean(settings: ModelSettings, deployed: DeployedNet, shape: Shape) -> tuple[Mean, list[str]]:
    """The mean, channels in the net's order, and the values taken from the prototxt for it."""
    quirks, transform = settings.quirk_flags, deployed.transform
    if settings.mean_values is not None:
        with about(ConfigError, setting="mean_values"):
            return _constant(settings.mean_values, shape, "mean_values"), []
    if settings.mean_file is not None:
        mean = _mean_image_of(settings.mean_file, settings.mean_format, quirks, shape)
        return (mean[::-1] if settings.channel_order == "RGB" and shape[0] == 3 else mean), []
    if transform is None:
        with about(ConfigError, setting="mean_values", place=deployed.source):
            raise ConfigError(
                "neither the config nor the prototxt says which mean to subtract; set mean_file or "
                "mean_values (0 for none)"
            )
    if path := mean_of_prototxt(settings, deployed):
        try:
            return _mean_image_of(path, BLOB_BGR, quirks, shape), [f"mean image {path}"]
        except ModelError as error:
            text = (
                f"{deployed.source} names this mean image; set mean_file to another file, or set mean_values"
            )
            error.hint = Notice(text, "mean_file")
            raise
    with about(ConfigError, place=deployed.source):
        values = transform.mean_values or (0.0,)
        return _constant(values, shape, "mean_value"), [f"mean {', '.join(f'{value:g}' for value in values)}"]


def mean_of_prototxt(settings: ModelSettings, deployed: DeployedNet) -> Path | None:
    """The mean image that a prototxt names; None if the config has a mean, or there is none."""
    is_said = settings.mean_file is not None or settings.mean_values is not None
    if is_said or deployed.transform is None or not deployed.transform.mean_file:
        return None
    return _find(deployed.transform.mean_file, Path(deployed.source).parent)


def _mean_image_of(path: Path, mean_format: int, quirks: Quirks, shape: Shape) -> Mean:
    """The mean in a file; a mean of one pixel is expanded to the size of the net's input."""
    with about(ModelError, file=path):
        mean = load_mean(path, mean_format, quirks, shape[0])
    return constant_mean(mean.reshape(-1).tolist(), *shape) if mean.shape[1:] == (1, 1) else mean


def _constant(values: tuple[float, ...], shape: Shape, what: str) -> Mean:
    return constant_mean(_by_channel(values, shape, what), *shape)


def _by_channel(values: tuple[float, ...], shape: Shape, what: str) -> tuple[float, ...]:
    """One number for each channel.

    Raises
    ------
    ConfigError
        There is another number of them.
    """
    if len(values) not in (1, shape[0]):
        raise ConfigError(
            f"{what} has {len(values)} numbers, but the net's input has {shape[0]} channel(s); give one "
            "number for each, or one for all"
        )
    return values if len(values) == shape[0] else values * shape[0]


def _find(name: str, folder: Path) -> Path:
    """A file that a prototxt names: where Caffe would find it, or else in the prototxt's folder."""
    places = (Path(name), folder / name, folder / Path(name).name)
    return next((place for place in places if place.is_file()), places[0])


def describe_preprocessing(
    settings: ModelSettings, deployed: DeployedNet, preprocessor: Preprocessor
) -> dict[str, Any]:
    """Describe the preprocessing of pictures, ready for JSON.

    It has the names of the settings and the values that are used, including those from the prototxt, which
    ``from_prototxt`` lists. Paths are absolute: when a journal is read, the folder in which the run was
    started is no longer known, and other machines of a cluster have the same paths.

    Parameters
    ----------
    settings, deployed
        The arguments that the preprocessor was made from.
    preprocessor
        The preprocessor.
    """
    mean, taken = _mean_in_force(settings, deployed)
    if settings.input_scale is None and preprocessor.scale != 1:
        taken.append("input_scale")
    std, scale = preprocessor.std, preprocessor.scale
    return {
        **mean,
        **({"input_scale": scale} if std is None else {"std_values": list(std)}),
        "channel_order": preprocessor.channel_order,
        "resize": preprocessor.resize_mode,
        "base_size": preprocessor.base_size,
        "crop": settings.crop,
        "input_size": list(preprocessor.input_size),
        "from_prototxt": taken,
    }


def _mean_in_force(settings: ModelSettings, deployed: DeployedNet) -> tuple[dict[str, Any], list[str]]:
    """The settings of the mean, and which of them come from the prototxt."""
    if settings.mean_values is not None:
        return {"mean_values": list(settings.mean_values)}, []
    if settings.mean_file is not None:
        return _mean_image(settings.mean_file, settings.mean_format), []
    if path := mean_of_prototxt(settings, deployed):
        return _mean_image(path, BLOB_BGR), ["mean_file"]
    values = deployed.transform.mean_values if deployed.transform else ()
    return {"mean_values": list(values or (0.0,))}, ["mean_values"]


def _mean_image(path: Path, mean_format: int) -> dict[str, Any]:
    return {"mean_file": str(path.absolute()), "mean_format": mean_format}
