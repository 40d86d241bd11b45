"""Files that a run writes once: its database, its summary, and the project for ViRelAy."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from caffe_lrp.errors import OutputError
from caffe_lrp.files.atomic import replace_file, why_unwritable
from caffe_lrp.model.explainer import Explainer
from caffe_lrp.outputs.database import AttributionDatabase, DatabaseShape
from caffe_lrp.outputs.encoding import Dtype
from caffe_lrp.outputs.project import project_files, write_project

from .journal import Journal
from .progress import Progress
from .records import DONE, FAILED, MISSING
from .resume import Task


def database_path(task: Task) -> Path:
    """Return the path of the database for this part of the list (``--outputs h5``)."""
    return task.root / task.shard.database_name


def open_database(
    task: Task, explainer: Explainer, dtype: Dtype, *, with_input: bool, overwrite: bool
) -> AttributionDatabase:
    """Return the database for this part of the list, see `AttributionDatabase`."""
    net = explainer.net
    channels, height, width = (*net.shape_of(explainer.plan.target), 1, 1)[:3]
    picture = (net.input_shape[1], net.input_shape[2])
    shape = DatabaseShape(task.size, channels, height, width, explainer.output_size, picture)
    return AttributionDatabase(
        database_path(task), shape, dtype, with_input, task.description_text, overwrite=overwrite
    )


def write_project_of(task: Task, explainer: Explainer) -> Path:
    """Write the project for ViRelAy once the database is complete; return the file to open.

    An existing project is kept: CoRelAy adds its analyses to it.
    """
    path, _ = project_files(task.root)
    if path.is_file():
        return path
    vector = explainer.vector
    start = f", start vector {vector.text}" if vector else ""
    return write_project(
        task.root,
        database_path(task),
        explainer.labels,
        name=Path(explainer.net.source).stem,
        model=Path(explainer.net.source).name,
        method=f"LRP, formula {explainer.formulas[0]}{start}",
    )


def write_summary(task: Task, journal: Journal, progress: Progress, extra: Mapping[str, Any]) -> Path:
    """Write a summary of the run into the output root; return its path.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    name = "summary.json" if task.shard.count == 1 else f"summary-{task.shard.label}.json"
    path = task.root / name
    content = {
        "fingerprint": journal.header.fingerprint,
        "shard": [task.shard.index, task.shard.count],
        "maps": len(journal.states),
        "done": journal.count(DONE),
        "failed": journal.count(FAILED),
        "missing": journal.count(MISSING),
        "this_run": {
            "done": progress.done,
            "failed": progress.failed,
            "seconds_loading": round(progress.seconds_loading, 3),
            "seconds_compiling": round(progress.seconds_compiling, 3),
            "seconds": round(progress.seconds, 3),
            "maps_per_second": round(progress.per_second, 3),
            "seconds_in_stages": {stage: round(value, 3) for stage, value in progress.stages.items()},
            "slowest_stage": progress.slowest_stage,
            "dark": {cause.value: count for cause, count in progress.dark.items()},
        },
        **extra,
        "description": dict(task.description),
    }
    try:
        replace_file(path, (json.dumps(content, indent=2) + "\n").encode())
    except OSError as fault:
        raise OutputError(f"{path}: cannot be written: {why_unwritable(fault)}") from fault
    return path
