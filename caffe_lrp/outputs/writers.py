"""Writes those files of one map that are wanted; what there is to want is in `kinds`."""

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from caffe_lrp.files.atomic import write_atomically

from .arrays import Dtype, layer_file
from .kinds import OUTPUTS, Output, file_kinds, suffix_of
from .layers import is_layer_kind
from .result import HeatmapResult

Encoder = Callable[[HeatmapResult, Dtype], bytes]


def _encoder_of(output: Output) -> Encoder:
    module, function = output.encoder.split(".")
    encoder: Encoder = getattr(import_module(f".{module}", __package__), function)
    return encoder


#: All are loaded with this module, not in the middle of a run.
_ENCODERS = {kind: _encoder_of(OUTPUTS[kind]) for kind in file_kinds(OUTPUTS)}


def write_outputs(
    stem: str,
    result: HeatmapResult,
    kinds: Sequence[str],
    dtype: Dtype = "float32",
    root: Path | None = None,
) -> None:
    """Write the files of ``kinds`` for one image, folders included, each one atomically.

    Parameters
    ----------
    stem
        Output path up to the suffix: folder and file name of the image.
    result
        What to write.
    kinds
        Which files, in any order; they are written in that of `file_kinds`.
    dtype
        Of the relevance in ``npy``, ``npz`` and at layers.
    root
        Folder that no file may lie outside of; None: that does not matter.

    Raises
    ------
    ImageError
        A file cannot be written (disk full, no permission, a file where a folder should be, a link that
        leads out of ``root``), or a number is too large for ``dtype``. Files written before remain.
    """
    for kind in file_kinds(kinds):
        content = layer_file(kind, result, dtype) if is_layer_kind(kind) else _ENCODERS[kind](result, dtype)
        write_atomically(Path(stem + suffix_of(kind)), content, root)
