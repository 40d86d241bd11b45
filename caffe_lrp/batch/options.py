"""The options of a run over a list, apart from those of its model."""

from dataclasses import dataclass
from typing import Literal

from caffe_lrp.outputs.encoding import Dtype
from caffe_lrp.relevance.composite import FormulaCode
from caffe_lrp.relevance.target import Target
from caffe_lrp.rendering.style import DEFAULT_STYLE, PictureStyle

from .shards import Shard

_WHOLE_LIST = Shard()


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options of a run over a list, and its limits.

    Attributes
    ----------
    outputs
        What is written, relevance at layers aside: kinds of files, and ``h5`` for the database.
    picture
        How rendered pictures look.
    dtype
        Of relevance, in files and in a database that have a choice.
    input_dataset
        Whether pictures go beside the database, and a project file for ViRelAy.
    dump_layers
        Names or indices of the layers whose relevance is written.
    output_root
        Where output paths begin, below ``prepath``.
    path_root
        Output paths repeat the image path from this text on.
    prepath
        Written before the output root; in a demo run, before the paths of images.
    image_root
        Folder the listed paths are relative to.
    suffix_target
        Whether formula and target become part of the names of files.
    is_demo
        Whether paths are made, and files overwritten, as the reference's program does it.
    formulas
        Codes of the formulas; empty: that of the model.
    top
        Number of best classes that get a map each, instead of the classes of the list; None: use the list.
    target
        The target of all images; None: the targets of the list.
    shard
        Which part of the list; ``auto``: that of the Slurm array job whose task this is.
    threads, memory
        Threads that compute, and bytes that may be used; None: what the machine has, and half of it.
    batch_size
        Images per batch; None: chosen for speed.
    whole_batches
        Whether the net's own batch size is wanted where no other is.
    dask
        Where a Dask cluster is, see `run_on_cluster`; None: the run stays in this process.
    overwrite
        Whether files of other runs may be overwritten.
    retry_failed
        Whether maps that failed before are tried again.
    max_failures
        Number of failures after which the run stops; None: never.
    is_synced
        Whether files are on the disk, not only on their way, before the journal says so.
    dry_run
        Whether the list is only checked.
    """

    outputs: tuple[str, ...]
    output_root: str
    path_root: str
    picture: PictureStyle = DEFAULT_STYLE
    dtype: Dtype = "float32"
    input_dataset: bool = False
    dump_layers: tuple[str, ...] = ()
    prepath: str = "./"
    image_root: str = ""
    suffix_target: bool = False
    is_demo: bool = False
    formulas: tuple[FormulaCode, ...] = ()
    top: int | None = None
    target: Target | None = None
    shard: Shard | Literal["auto"] = _WHOLE_LIST
    threads: int | None = None
    memory: int | None = None
    batch_size: int | None = None
    whole_batches: bool = False
    dask: str | None = None
    overwrite: bool = False
    retry_failed: bool = False
    max_failures: int | None = None
    is_synced: bool = True
    dry_run: bool = False

    @property
    def may_overwrite(self) -> bool:
        """Whether files of other runs may be overwritten; the reference's program always does so."""
        return self.overwrite or self.is_demo
