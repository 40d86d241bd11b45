"""The options of a run over a list, from what argparse read."""

import argparse

from caffe_lrp.batch.options import RunOptions
from caffe_lrp.batch.shards import Shard
from caffe_lrp.model.observation import CONSERVATION
from caffe_lrp.outputs.writers import OutputKind

from .options import KINDS

_ALL_FILES: tuple[OutputKind, ...] = ("heatmap", "input", "top10", "rawhm")
_TEXT_FILES: tuple[OutputKind, ...] = ("top10", "rawhm")
#: ``-b`` -> (files written, whole batches).
_PROGRAMS = {
    "default": (_ALL_FILES, False),
    "default_minimal": (_TEXT_FILES, False),
    "parallel": (_ALL_FILES, True),
    "parallel_minimal": (_TEXT_FILES, True),
}


def run_options(given: argparse.Namespace) -> RunOptions:
    """The options of the run; how much is printed of it is not among them."""
    files, whole_batches = _PROGRAMS[given.binary]
    return RunOptions(
        outputs=_ordered(given.outputs or files, with_conservation=given.conservation),
        dtype=given.dtype,
        input_dataset=given.input_dataset,
        dump_layers=given.dump_layers,
        prepath=given.prepath,
        image_root=given.image_root,
        suffix_target=given.suffix_target,
        is_demo=given.is_demo,
        formulas=given.formulas or (),
        top=given.top,
        target=given.target,
        convolution=given.convolution,
        canonize=given.canonize,
        max_pixels=given.max_pixels,
        shard=given.shard or Shard(),
        threads=given.threads,
        memory=given.memory,
        batch_size=given.batch,
        whole_batches=whole_batches,
        dask=given.dask,
        overwrite=given.overwrite,
        retry_failed=given.retry_failed,
        max_failures=given.max_failures,
        is_synced=not given.no_sync,
        dry_run=given.dry_run,
    )


def _ordered(kinds: tuple[str, ...], *, with_conservation: bool) -> tuple[str, ...]:
    """What is to be written, in the order of writing."""
    wanted = {*kinds, CONSERVATION} if with_conservation else {*kinds}
    return tuple(kind for kind in KINDS if kind in wanted)
