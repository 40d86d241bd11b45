"""The options of a run over a list, from parsed arguments."""

import argparse

from caffe_lrp.batch.options import RunOptions
from caffe_lrp.batch.shards import Shard
from caffe_lrp.config import HeatmapConfig
from caffe_lrp.model.settings import ModelSettings
from caffe_lrp.outputs.kinds import CONSERVATION, default_kinds, in_order
from caffe_lrp.rendering.style import picture_style

from .picture_options import picture_options_of

#: ``-b`` -> (whether only text is written, whether batches are whole).
_PROGRAMS = {
    "default": (False, False),
    "default_minimal": (True, False),
    "parallel": (False, True),
    "parallel_minimal": (True, True),
}


def run_options(given: argparse.Namespace, config: HeatmapConfig) -> RunOptions:
    """Return the options of the run, except those for printing."""
    text_only, whole_batches = _PROGRAMS[given.binary]
    kinds = given.outputs or default_kinds(text_only=text_only)
    return RunOptions(
        outputs=in_order((*kinds, CONSERVATION) if given.conservation else kinds),
        output_root=config.output_root,
        path_root=config.path_root,
        picture=picture_style(picture_options_of(given), picture_style(config.picture)),
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


def model_settings(given: argparse.Namespace, config: HeatmapConfig) -> ModelSettings:
    """Return the settings for opening the model of a run."""
    return ModelSettings(
        **config.model_arguments(),
        convolution=given.convolution,
        canonize=given.canonize,
        max_pixels=given.max_pixels,
    )
