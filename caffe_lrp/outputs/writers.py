"""Writing the requested files of one map; `kinds` lists them."""

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path

from caffe_lrp.files.atomic import write_atomically
from caffe_lrp.model.explanation import Explanation

from .arrays import layer_file
from .encoding import Encoding
from .kinds import OUTPUTS, Output, file_kinds, suffix_of
from .layers import is_layer_kind

Encoder = Callable[[Explanation, Encoding], bytes]


def _encoder_of(output: Output) -> Encoder:
    module, function = output.encoder.split(".")
    encoder: Encoder = getattr(import_module(f".{module}", __package__), function)
    return encoder


#: Encoders are loaded with this module, not in the middle of a run.
_ENCODERS = {kind: _encoder_of(OUTPUTS[kind]) for kind in file_kinds(OUTPUTS)}


def write_outputs(
    stem: str,
    explanation: Explanation,
    kinds: Sequence[str],
    encoding: Encoding,
    root: Path | None = None,
) -> None:
    """Write the files of ``kinds`` for one map, each one atomically; folders are made if missing.

    Parameters
    ----------
    stem
        Output path without the suffix: folder and file name of the image.
    explanation
        The explanation to write.
    kinds
        Kinds of files, in any order; they are written in the order of `file_kinds`.
    encoding
        Settings of the encoding.
    root
        Folder that files must stay in; None: no limit.

    Raises
    ------
    ImageError
        A file cannot be written (disk full, no permission, a file where a folder should be, a link that
        leads out of ``root``), or a number is too large for its type. Files written before remain.
    """
    for number, (kind, content) in enumerate(encoded(explanation, kinds, encoding)):
        write_atomically(Path(stem + suffix_of(kind)), content, root, has_neighbour=number > 0)


def encoded(
    explanation: Explanation, kinds: Sequence[str], encoding: Encoding
) -> Iterator[tuple[str, bytes]]:
    """Yield those of ``kinds`` that are files, in the order of writing, and their content."""
    for kind in file_kinds(kinds):
        if is_layer_kind(kind):
            yield kind, layer_file(kind, explanation, encoding)
        else:
            yield kind, _ENCODERS[kind](explanation, encoding)
