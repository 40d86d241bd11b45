"""What a run depends on, in a few letters: runs of one fingerprint make the same files."""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from caffe_lrp.config import HeatmapConfig
from caffe_lrp.errors import ConfigError
from caffe_lrp.files import MEGABYTE, open_input, pieces_of, user_cache_folder, why_unreadable
from caffe_lrp.outputs.atomic import replace_file

_DIGITS = 12
_NAME_OF_CACHE = "content-hashes.json"
_MOST_CACHED = 1000
#: Smaller files are read sooner than remembered.
_LEAST_REMEMBERED = 16 * MEGABYTE

#: What decides on the net and its input besides the files: attributes of the config.
_SETTINGS = (
    "mean_format", "mean_values", "input_scale", "channel_order", "resize", "base_size", "crop", "input_size",
    "start_layer", "first_layer", "class_count", "path_root", "epsilon", "beta", "gamma", "switch_layer",
    "quirks",
)  # fmt: skip
#: The same, where they are given: a run without them is described as before there were any.
_OPTIONAL_SETTINGS = ("head",)


class ContentHashes:
    """Hashes of files by content, remembered by path, size and time of the last change.

    Parameters
    ----------
    folder
        Where they are remembered from run to run; None: nowhere, and every run reads its model once more.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / _NAME_OF_CACHE if folder else None
        self._known = _read_cache(self._path) if self._path else {}

    def of(self, path: Path) -> str:
        """64 hexadecimal digits.

        Raises
        ------
        ConfigError
            The file cannot be read.
        """
        try:
            state, name = path.stat(), str(path.resolve())
            mark = [state.st_size, state.st_mtime_ns]
            known = self._known.get(name)
            if known and known[:2] == mark:
                return str(known[2])
            found = _digest(path)
        except OSError as fault:
            raise ConfigError(f"{path}: cannot be read: {why_unreadable(fault, path)}") from fault
        if state.st_size >= _LEAST_REMEMBERED:
            self._remember(name, [*mark, found])
        return found

    def _remember(self, name: str, entry: list[Any]) -> None:
        self._known.pop(name, None)
        self._known[name] = entry
        for oldest in list(self._known)[:-_MOST_CACHED]:
            del self._known[oldest]
        if self._path:
            # Without the file the next run hashes again: slower, and nothing else.
            with contextlib.suppress(OSError):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                replace_file(self._path, json.dumps(self._known).encode())


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with open_input(path) as file:
        for piece in pieces_of(file):
            digest.update(piece)
    return digest.hexdigest()


def _read_cache(path: Path) -> dict[str, list[Any]]:
    """What is remembered in ``path``; nothing if it cannot be read or is not ours."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: entry for name, entry in found.items() if isinstance(entry, list) and len(entry) == 3}


def cache_folder(environment: Mapping[str, str]) -> Path | None:
    """Where hashes are remembered; None for a user without a home who names no other place."""
    wish = environment.get("CAFFE_LRP_CACHE_DIR")
    return Path(wish) if wish else user_cache_folder(environment)


def describe_run(config: HeatmapConfig, hashes: ContentHashes, choices: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that decides on the files of a run, ready for JSON.

    Parameters
    ----------
    config
        The config.
    hashes
        Where to ask for the content of files.
    choices
        What the command line adds: version, formulas, list, kinds of files, …
    """
    files = {
        "prototxt": config.prototxt,
        "caffemodel": config.caffemodel,
        "mean_file": config.mean_file,
    }
    # A mean file that is not needed need not be there.
    contents = {name: hashes.of(path) for name, path in files.items() if path and path.is_file()}
    settings = {name: getattr(config, name) for name in _SETTINGS}
    given = {name: getattr(config, name) for name in _OPTIONAL_SETTINGS}
    settings |= {name: value for name, value in given.items() if value is not None}
    return {**contents, **settings, **choices}


def fingerprint_of(description: Mapping[str, Any]) -> str:
    """The fingerprint of what `describe_run` returned."""
    text = json.dumps(description, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
