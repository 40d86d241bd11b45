"""Fields that only forks of Caffe have: those that change nothing at test time, and those that change scores.

Sources: the schemas of BVLC's, Intel's, NVIDIA's, SegNet's and SSD's Caffe and of caffe-windows, and
netron's collection of fields that others have added.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from caffe_lrp.formats.spec import UnknownField

from .scan import fields_of

#: The most fields that are checked; forks have added a few dozen, and deep nets repeat them in every layer.
_MOST_FIELDS = 20_000
#: Blocks of the net that describe a layer.
LAYER_BLOCKS = ("layer", "layers")

#: Fields that change nothing at test time in any block: training, losses, statistics, the source of images,
#: and the hardware, library, precision and memory used for computing.
_HARMLESS = re.compile(
    r"""(.*_)?engine | cudnn_.* | winograd | .*conv_algo.* | .*workspace.* | compile_net_state
    | mn_.* | multinode | quantization_param | (.*_)?mem(ory)?_shar(ing|e) | share_in_parallel
    | reshape_every_iter | force_backward
    | (default_)?(forward|backward)_(type|math|precision) | global_grad_scale.*
    | (bn_)?stats_batch_size | moving_average(_.*)? | momentum | (.*_)?filler
    | (.*_)?lr(_mult|_policy)? | (.*_)?decay(_mult)? | blobs_lr | loss_weight | blob_share_mode
    | freeze.* | need_backward | debug.* | .*data_param | (?=.*_param\Z).*(loss|accuracy|evaluate).*
    | hdf5_output_param | parameter_param""",
    re.VERBOSE,
)
#: Blocks that change nothing at test time, whatever they contain.
_HARMLESS_BLOCKS = re.compile("transform_param|resize_param|param|.*_filler|.*data_param")
#: Fields that change nothing in one kind of block. The blobs of batch normalization show whether it scales
#: and shifts, and dropout does nothing at test time, whatever it drops in training.
_HARMLESS_PLACES = re.compile(
    r"""batch_norm_param/(use_weight_bias|bias_term|frozen) | bn_param/(bn_)?type
    | dropout_param/(drop_.*|a|b|mu|sigma)""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Effect:
    """How a fork's field changes scores.

    Attributes
    ----------
    place
        Pattern of its block and name.
    harmless
        Pattern of the values with which it does nothing.
    text
        What it does with other values, and what to do about it.
    """

    place: re.Pattern[str]
    harmless: re.Pattern[str]
    text: str


_FALSE = re.compile("false|f|0", re.IGNORECASE)

#: Fields that change the forward pass, which is not reproduced here.
EFFECTS = (
    Effect(
        re.compile(r".*_param/(combine_|fuse_|fused_|with_)?relu"),
        _FALSE,
        "applies a ReLU to the output of the layer; write the ReLU as a separate layer",
    ),
    Effect(
        re.compile(r"dropout_param/sample_weights_test"),
        _FALSE,
        "drops units at random at test time; here their mean is used",
    ),
    Effect(
        re.compile(r"inner_product_param/normalize"),
        _FALSE,
        "normalizes the weights; store normalized weights in the caffemodel, and remove the field",
    ),
    Effect(
        re.compile(r"eltwise_param/coeff_blob"),
        _FALSE,
        "reads the coefficients from the last bottom; here that bottom is added",
    ),
    Effect(
        re.compile(r"(convolution|pooling)_param/(pad_type|pad_mode|padding_type|auto_pad)"),
        re.compile("EXPLICIT|CAFFE|NOTSET|NONE|0", re.IGNORECASE),
        "decides on the padding; write the padding as numbers",
    ),
    Effect(
        re.compile(r"crop_param/(offset_(h|w|height|width)|crop_[hw])"),
        re.compile("(?!)"),
        "says where to crop; write 'offset' instead",
    ),
    Effect(
        re.compile(r"transform_param/bgr2rgb"),
        _FALSE,
        "swaps the colours of images; set channel_order to RGB in the config",
    ),
)


def effect_of(field: UnknownField) -> Effect | None:
    """The known effect of a field on scores; None if there is none."""
    return next((effect for effect in EFFECTS if effect.place.fullmatch(f"{field.block}/{field.name}")), None)


def unknown_fields(text: str) -> Mapping[int, tuple[UnknownField, ...]]:
    """The unknown fields of a valid prototxt that may matter at test time.

    Returns
    -------
    Mapping
        Number of the net's block that they are in -> fields; −1 is the net itself.
    """
    found: dict[int, list[UnknownField]] = {}
    for count, (entry, field) in enumerate(_fields_that_matter(text)):
        if count == _MOST_FIELDS:
            break
        found.setdefault(entry, []).append(field)
    return {entry: tuple(fields) for entry, fields in found.items()}


def _fields_that_matter(text: str) -> Iterator[tuple[int, UnknownField]]:
    """Number of the net's block, and the field in it."""
    line, position = 1, 0
    for use in fields_of(text):
        if use.is_known:
            continue
        line, position = line + text.count("\n", position, use.start), use.start
        field = UnknownField(use.name, use.plain_value(text), use.block, line)
        if _matters(field):
            yield use.entry, field


def _matters(field: UnknownField) -> bool:
    effect = effect_of(field)
    if effect is not None:
        return not effect.harmless.fullmatch(field.value)
    is_harmless = (
        _HARMLESS.fullmatch(field.name)
        or _HARMLESS_BLOCKS.fullmatch(field.block)
        or _HARMLESS_PLACES.fullmatch(f"{field.block}/{field.name}")
    )
    return not is_harmless


def place_of(field: UnknownField) -> str:
    """The name of the block for messages; empty for a field of the layer itself."""
    return f" in '{field.block}'" if field.block and field.block not in LAYER_BLOCKS else ""
