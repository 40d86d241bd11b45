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
        Kinds of files, and ``h5`` for the database; relevance at layers is in ``dump_layers``.
    picture
        The style of rendered pictures.
    dtype
        Of relevance, in files and databases that support several types.
    input_dataset
        Whether to write, with the database, the net's input as pictures, and a project for ViRelAy.
    dump_layers
        Names or indices of the layers whose relevance is written.
    output_root
        Start of output paths, below ``prepath``.
    path_root
        Output paths repeat the image path from this text on.
    prepath
        Prefix of the output root; in a demo run, of the paths of images.
    image_root
        Folder the listed paths are relative to.
    suffix_target
        Whether formula and target become part of the names of files.
    is_demo
        Whether paths are made and files overwritten as by the reference's program.
    formulas
        Codes of the formulas; empty: that of the model.
    top
        Number of best classes to explain, one map each, instead of the list's targets; None: use the list.
    target
        The target of all images; None: the targets of the list.
    shard
        The part of the list; ``auto``: the part of this task of a Slurm array job.
    threads, memory
        Threads for computing, and bytes that may be used; None: all threads of the machine, and half of its
        memory.
    batch_size
        Images per batch; None: chosen for speed.
    whole_batches
        Whether to use the net's own batch size if no other is given.
    dask
        Address of a Dask cluster, see `run_on_cluster`; None: the run stays in this process.
    overwrite
        Whether files of other runs may be overwritten.
    retry_failed
        Whether maps that failed before are tried again.
    max_failures
        Number of failures after which the run stops; None: never.
    is_synced
        Whether files are synced to the disk before the journal records them.
    dry_run
        Whether to check the list only.
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
