"""The database of a run (``--outputs h5``): where it lies, and what it holds."""

from pathlib import Path

from caffe_lrp.batch.resume import Task
from caffe_lrp.model.explainer import Explainer
from caffe_lrp.outputs.database import AttributionDatabase, DatabaseShape
from caffe_lrp.outputs.encoding import Dtype
from caffe_lrp.outputs.project import project_files, write_project


def database_path(task: Task) -> Path:
    """Where the maps of this part of the list go."""
    name = "maps.h5" if task.shard.count == 1 else f"maps-{task.shard.label}.h5"
    return task.root / name


def open_database(
    task: Task, session: Explainer, dtype: Dtype, *, with_input: bool, overwrite: bool
) -> AttributionDatabase:
    """The database of this part of the list, see `AttributionDatabase`."""
    net = session.net
    channels, height, width = (*net.shape_of(session.plan.target), 1, 1)[:3]
    picture = (net.input_shape[1], net.input_shape[2])
    shape = DatabaseShape(task.size, channels, height, width, session.output_size, picture)
    return AttributionDatabase(
        database_path(task), shape, dtype, with_input, task.description_text, overwrite=overwrite
    )


def write_project_of(task: Task, session: Explainer) -> Path:
    """Write what ViRelAy opens, once the whole database is there; the file to open.

    One that is there remains: CoRelAy adds its analyses to it.
    """
    path, _ = project_files(task.root)
    if path.is_file():
        return path
    return write_project(
        task.root,
        database_path(task),
        session.labels,
        name=Path(session.net.source).stem,
        model=Path(session.net.source).name,
        method=f"LRP, formula {session.formulas[0]}",
    )
