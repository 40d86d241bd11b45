"""What a journal says of a run for those who read its maps later, besides what decides on the files."""

from pathlib import Path
from typing import Any

from caffe_lrp.config import HeatmapConfig
from caffe_lrp.formats.caffe.reader import read_prototxt
from caffe_lrp.imaging.mean import BLOB_BGR
from caffe_lrp.imaging.preprocess import Preprocessor

from .inputs import mean_of_prototxt


def describe_preprocessing(config: HeatmapConfig, preprocessor: Preprocessor) -> dict[str, Any]:
    """How pictures became the input of the net, ready for JSON.

    Names are those of the config's keys in YAML, and values are those in force: a config that has them all
    leaves nothing to the prototxt. ``from_prototxt`` lists those that were taken from there. Paths are
    absolute: the folder that a run was started in is not known any more when its journal is read, and other
    machines of a cluster have the same paths.

    Parameters
    ----------
    config
        What the preprocessor was made from.
    preprocessor
        The preprocessor.

    Raises
    ------
    ConfigError, ModelError
        The prototxt cannot be read any more; it is read only where the config says nothing of a mean.
    """
    mean, taken = _mean(config)
    if config.input_scale is None and preprocessor.scale != 1:
        taken.append("input_scale")
    return {
        **mean,
        "input_scale": preprocessor.scale,
        "channel_order": preprocessor.channel_order,
        "resize": preprocessor.resize_mode,
        "base_size": preprocessor.base_size,
        "crop": config.crop,
        "input_size": list(preprocessor.input_size),
        "from_prototxt": taken,
    }


def _mean(config: HeatmapConfig) -> tuple[dict[str, Any], list[str]]:
    """The mean, and which of its names come from the prototxt."""
    if config.mean_values is not None:
        return {"mean_values": list(config.mean_values)}, []
    if config.mean_file is not None:
        return _mean_image(config.mean_file, config.mean_format), []
    spec = read_prototxt(config.prototxt)
    if path := mean_of_prototxt(spec):
        return _mean_image(path, BLOB_BGR), ["mean_file"]
    values = spec.transform.mean_values if spec.transform else ()
    return {"mean_values": list(values or (0.0,))}, ["mean_values"]


def _mean_image(path: Path, mean_format: int) -> dict[str, Any]:
    return {"mean_file": str(path.absolute()), "mean_format": mean_format}
