"""The fingerprint of a run: a short text that identifies everything its files depend on."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from caffe_lrp.errors import ConfigError
from caffe_lrp.files.reading import MEGABYTE, open_input, pieces_of, user_cache_folder, why_unreadable
from caffe_lrp.model.settings import ModelSettings

from .hash_memory import HashMemory, state_of

_DIGITS = 12
#: Hashes of smaller files are not cached; reading the file is faster.
_LEAST_REMEMBERED = 16 * MEGABYTE

#: Settings of model and run that affect the net or its input, besides the files.
_SETTINGS = (
    "mean_format", "mean_values", "input_scale", "channel_order", "resize", "base_size", "crop", "input_size",
    "start_layer", "first_layer", "class_count", "path_root", "epsilon", "beta", "gamma", "switch_layer",
    "quirks", "head", "start_vector", "std_values",
)  # fmt: skip
#: Settings added later; left out if None, so that the fingerprints of older runs stay the same.
_LEFT_OUT = {"head", "start_vector", "std_values"}


class ContentHashes:
    """Hashes of the contents of files, cached for large files.

    Parameters
    ----------
    folder
        Folder of the cache; None: no cache, and every run reads its model once more.
    """

    def __init__(self, folder: Path | None) -> None:
        self._memory = HashMemory(folder)

    def of(self, path: Path) -> str:
        """64 hexadecimal digits.

        Raises
        ------
        ConfigError
            The file cannot be read, or changes while it is being read.
        """
        try:
            with open_input(path) as file:
                state = state_of(path, file.fileno())
                found = self._memory.find(state) or _digest(file)
                is_same = state_of(path, file.fileno()) == state
        except (OSError, ValueError) as fault:
            raise ConfigError(f"{path}: cannot be read: {why_unreadable(fault, path)}") from fault
        if not is_same:
            raise ConfigError(f"{path}: changed while being read; start again when it is complete")
        if state.size >= _LEAST_REMEMBERED and not self._memory.find(state):
            self._memory.remember(state, found)
        return found


def _digest(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    for piece in pieces_of(file):
        digest.update(piece)
    return digest.hexdigest()


def cache_folder(environment: Mapping[str, str]) -> Path | None:
    """Return the folder of the cache of hashes; None if the user has no home and names no other folder."""
    wish = environment.get("CAFFE_LRP_CACHE_DIR")
    return Path(wish) if wish else user_cache_folder(environment)


def describe_run(
    settings: ModelSettings,
    hashes: ContentHashes,
    choices: Mapping[str, Any],
    mean_of_prototxt: Path | None,
) -> dict[str, Any]:
    """Return everything the files of a run depend on, ready for JSON.

    Parameters
    ----------
    settings
        The settings of the model.
    hashes
        Gives the hashes of files.
    choices
        The choices of the run: version, formulas, list, start of output paths, kinds of files, …
    mean_of_prototxt
        The mean image named in the prototxt, if it is used: see `preprocessing.mean_of_prototxt`.
    """
    files = {
        "prototxt": settings.prototxt,
        "caffemodel": settings.caffemodel,
        "mean_file": settings.mean_file,
    }
    # A mean file that is not used need not exist.
    contents = {name: hashes.of(path) for name, path in files.items() if path and path.is_file()}
    if mean_of_prototxt is not None:
        contents["mean_file_of_prototxt"] = hashes.of(mean_of_prototxt)
    values = {**vars(settings), **choices}
    if isinstance(settings.start_vector, Path):
        contents["start_vector_file"] = hashes.of(settings.start_vector)
        values["start_vector"] = None
    wanted = {name: values[name] for name in _SETTINGS}
    given = {name: value for name, value in wanted.items() if value is not None or name not in _LEFT_OUT}
    return {**contents, **given, **choices}


def fingerprint_of(description: Mapping[str, Any]) -> str:
    """The fingerprint of what `describe_run` returned."""
    text = json.dumps(description, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
