"""Options that layers recognize but do not follow, although they change scores in Caffe.

Options that do not change scores are not listed: engines, fillers, learning rates,
``propagate_down``, ``moving_average_fraction`` and the like.
"""

from collections.abc import Callable
from dataclasses import dataclass

from caffe_lrp.formats.caffe.caffe_pb2 import PoolingParameter
from caffe_lrp.formats.spec import LayerSpec


@dataclass(frozen=True)
class Unfollowed:
    """An option that is not followed.

    Attributes
    ----------
    type
        The layer type that has it.
    option
        The option, with the value that is not followed.
    is_set
        Whether a layer sets it.
    text
        What is done instead.
    """

    type: str
    option: str
    is_set: Callable[[LayerSpec], bool]
    text: str


def _uses_batch_statistics(layer: LayerSpec) -> bool:
    parameters = layer.parameters.batch_norm_param
    return parameters.HasField("use_global_stats") and not parameters.use_global_stats


def _trains_statistics(layer: LayerSpec) -> bool:
    has_choice = layer.parameters.batch_norm_param.HasField("use_global_stats")
    return layer.is_always_training and not has_choice


def _trains_scales(layer: LayerSpec) -> bool:
    return layer.is_always_training and not layer.parameters.bn_param.frozen


def _is_always_training(layer: LayerSpec) -> bool:
    return layer.is_always_training


def _chooses_at_random(layer: LayerSpec) -> bool:
    is_stochastic = layer.parameters.pooling_param.pool == PoolingParameter.STOCHASTIC
    return layer.is_always_training and is_stochastic


_TRAINING = "phase: TRAIN"
_STATISTICS = (
    "the stored mean and variance are used, so that the map of an image does not depend on the rest of its "
    "batch; Caffe uses those of the batch, so its scores differ"
)

UNFOLLOWED = (
    Unfollowed("BatchNorm", "use_global_stats: false", _uses_batch_statistics, _STATISTICS),
    Unfollowed("BatchNorm", _TRAINING, _trains_statistics, _STATISTICS),
    Unfollowed("BN", _TRAINING, _trains_scales, _STATISTICS),
    Unfollowed(
        "Dropout",
        _TRAINING,
        _is_always_training,
        "nothing is dropped; Caffe drops units at random, even at test time",
    ),
    Unfollowed(
        "RReLU",
        _TRAINING,
        _is_always_training,
        "the mean of its bounds is used; Caffe draws a random number between them, even at test time",
    ),
    Unfollowed(
        "Pooling",
        _TRAINING,
        _chooses_at_random,
        "STOCHASTIC pooling gives its expected value; Caffe chooses at random, even at test time",
    ),
)


def not_followed(layer: LayerSpec) -> tuple[Unfollowed, ...]:
    """The options of a layer that are not followed."""
    return tuple(row for row in UNFOLLOWED if row.type == layer.type and row.is_set(layer))
