"""The two files that ViRelAy needs to open a database: ``project.yaml`` and the label map."""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from caffe_lrp.errors import ConfigError, OutputError
from caffe_lrp.files.atomic import replace_file, why_unwritable

from .database import describe_layout, input_path_of
from .structure import MARK
from .table import Table

AttributionStrategy = Literal["true_label", "predicted_label"]

#: More classes than any net has; their label map takes 300 MB of memory.
_MOST_CLASSES = 2**18

#: A label in ImageNet's synset files: its WordNet number, then its names.
_SYNSET = re.compile(r"(n\d{8}) (.+)")


def project_files(folder: Path) -> tuple[Path, Path]:
    """Return the paths at which `write_project` writes the file for ViRelAy and the label map."""
    return folder / "project.yaml", folder / "label-map.json"


def write_project(
    folder: Path,
    database: Path,
    labels: Sequence[str],
    *,
    name: str,
    model: str,
    method: str,
    strategy: AttributionStrategy = "true_label",
) -> Path:
    """Write the label map of a database with an input dataset, and the file for ViRelAy; return the latter.

    Parameters
    ----------
    folder
        Folder to write them to; made if missing.
    database
        The database, of the whole run: shards are merged first.
    labels
        Class labels, lines of a synset file; there may be fewer than the net has outputs.
    name, model, method
        Names of the project, of the net, and of the formula, for display.
    strategy
        Whether the explained classes are the true or the predicted ones; for display, too.

    Raises
    ------
    ConfigError
        The database or its input dataset cannot be read, or the two do not match.
    OutputError
        A file cannot be written.
    """
    name, model = _in_utf8(name), _in_utf8(model)
    inputs = input_path_of(database)
    with Table(database) as maps, Table(inputs) as pictures:
        require_presentable(maps, pictures)
        _require_pictures_at_index(maps, pictures)
        classes = maps.columns["prediction"].shape[0]
        dataset = _dataset(name, os.path.relpath(inputs, folder), *pictures.columns["data"].shape[1:])
    path, labels_path = project_files(folder)
    project = {
        "name": name,
        "model": model,
        "label_map": labels_path.name,
        "dataset": dataset,
        "attributions": _attributions(method, strategy, os.path.relpath(database, folder)),
    }
    _write_json(labels_path, label_map(labels, classes))
    _write_json(path, {"project": project})  # JSON is valid YAML, and quoting is simpler
    return path


def require_presentable(maps: Table, pictures: Table) -> None:
    """Raise ConfigError unless they have what ViRelAy needs: pictures, and scores of not too many classes."""
    for table, name, dimensions in ((maps, "prediction", 1), (pictures, "data", 3)):
        if name not in table.columns or len(table.columns[name].shape) != dimensions:
            raise ConfigError(
                f"{table.path}: lacks the dataset '{name}' of caffe-lrp's databases; it has "
                f"{describe_layout(table)}; is it another file?"
            )
    classes = maps.columns["prediction"].shape[0]
    if classes > _MOST_CLASSES:
        raise ConfigError(
            f"{maps.path}: has scores of {classes:,} classes, but a label map has at most {_MOST_CLASSES:,}; "
            "to merge it without one, move the input datasets elsewhere"
        )


def _in_utf8(name: str) -> str:
    """Return a name for display, which may come from a file name in another encoding."""
    return os.fsencode(name).decode(errors="replace")


def _dataset(name: str, path: str, height: int, width: int) -> dict[str, Any]:
    """Return the project's entry for pictures; ViRelAy shows them in their own size."""
    return {
        "name": name,
        "type": "hdf5",
        "path": path,
        "input_width": width,
        "input_height": height,
        "down_sampling_method": "none",
        "up_sampling_method": "none",
    }


def _attributions(method: str, strategy: AttributionStrategy, path: str) -> dict[str, Any]:
    """Return the project's entry for maps."""
    return {"attribution_method": method, "attribution_strategy": strategy, "sources": [path]}


def label_map(labels: Sequence[str], classes: int) -> list[dict[str, Any]]:
    """Return what ViRelAy shows for every class: a label, split into WordNet number, if any, and names.

    ViRelAy also looks up classes by this number; a class without one gets its index, in eight digits.
    """
    entries = []
    for index in range(classes):
        label = labels[index] if index < len(labels) else ""
        synset = _SYNSET.fullmatch(label)
        number, text = synset.groups() if synset else (f"{index:08d}", label)
        entries.append({"index": index, "word_net_id": number, "name": text or f"class {index}"})
    return entries


def _require_pictures_at_index(maps: Table, pictures: Table) -> None:
    """Raise ConfigError unless the picture of every map is in the row where ViRelAy looks for it."""
    index = maps.read(MARK)[maps.is_marked()]
    marks = pictures.read(MARK)
    if not (index < pictures.rows).all() or not np.array_equal(marks[index], index):
        raise ConfigError(
            f"{pictures.path}: does not have the picture of every map of {maps.path} in the row given by its "
            "index; merge all shards (caffe-lrp merge) and open the result"
        )


def _write_json(path: Path, content: Any) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, text.encode())
    except (OSError, UnicodeEncodeError) as error:  # the latter for paths that are not in UTF-8
        raise OutputError(f"{path}: cannot be written: {why_unwritable(error)}") from error
