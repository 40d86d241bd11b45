"""What a run depends on, in a few letters: runs of one fingerprint make the same files."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from caffe_lrp.config import HeatmapConfig
from caffe_lrp.errors import ConfigError
from caffe_lrp.files.reading import MEGABYTE, open_input, pieces_of, user_cache_folder, why_unreadable

from .hash_memory import HashMemory, state_of

_DIGITS = 12
#: Smaller files are read sooner than remembered.
_LEAST_REMEMBERED = 16 * MEGABYTE

#: What decides on the net and its input besides the files: attributes of the config.
_SETTINGS = (
    "mean_format", "mean_values", "input_scale", "channel_order", "resize", "base_size", "crop", "input_size",
    "start_layer", "first_layer", "class_count", "path_root", "epsilon", "beta", "gamma", "switch_layer",
    "quirks", "head",
)  # fmt: skip
#: Those that came later and are left out where they are None: such runs keep the fingerprint they had before.
_LEFT_OUT = {"head"}


class ContentHashes:
    """Hashes of files by content, those of large files remembered.

    Parameters
    ----------
    folder
        Where they are remembered from run to run; None: nowhere, and every run reads its model once more.
    """

    def __init__(self, folder: Path | None) -> None:
        self._memory = HashMemory(folder)

    def of(self, path: Path) -> str:
        """64 hexadecimal digits.

        Raises
        ------
        ConfigError
            The file cannot be read, or changes while it is.
        """
        try:
            with open_input(path) as file:
                state = state_of(path, file.fileno())
                found = self._memory.find(state) or _digest(file)
                is_same = state_of(path, file.fileno()) == state
        except (OSError, ValueError) as fault:
            raise ConfigError(f"{path}: cannot be read: {why_unreadable(fault, path)}") from fault
        if not is_same:
            raise ConfigError(f"{path}: changed while it was read; start again when it is complete")
        if state.size >= _LEAST_REMEMBERED and not self._memory.find(state):
            self._memory.remember(state, found)
        return found


def _digest(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    for piece in pieces_of(file):
        digest.update(piece)
    return digest.hexdigest()


def cache_folder(environment: Mapping[str, str]) -> Path | None:
    """Where hashes are remembered; None for a user without a home who names no other place."""
    wish = environment.get("CAFFE_LRP_CACHE_DIR")
    return Path(wish) if wish else user_cache_folder(environment)


def describe_run(
    config: HeatmapConfig,
    hashes: ContentHashes,
    choices: Mapping[str, Any],
    mean_of_prototxt: Path | None,
) -> dict[str, Any]:
    """Everything that decides on the files of a run, ready for JSON.

    Parameters
    ----------
    config
        The config.
    hashes
        Where to ask for the content of files.
    choices
        What the command line adds: version, formulas, list, kinds of files, …
    mean_of_prototxt
        The mean image that the prototxt names, where that counts: see `inputs.mean_of_prototxt`.
    """
    files = {
        "prototxt": config.prototxt,
        "caffemodel": config.caffemodel,
        "mean_file": config.mean_file,
    }
    # A mean file that is not needed need not be there.
    contents = {name: hashes.of(path) for name, path in files.items() if path and path.is_file()}
    if mean_of_prototxt is not None:
        contents["mean_file_of_prototxt"] = hashes.of(mean_of_prototxt)
    settings = {name: getattr(config, name) for name in _SETTINGS}
    given = {name: value for name, value in settings.items() if value is not None or name not in _LEFT_OUT}
    return {**contents, **given, **choices}


def fingerprint_of(description: Mapping[str, Any]) -> str:
    """The fingerprint of what `describe_run` returned."""
    text = json.dumps(description, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
