"""Where images and outputs of a run are, which outputs there are, and what decides on them."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from caffe_lrp import __version__
from caffe_lrp.batch.fingerprint import ContentHashes, cache_folder, describe_run
from caffe_lrp.batch.job import OutputLayout
from caffe_lrp.config import HeatmapConfig
from caffe_lrp.outputs.kinds import CONSERVATION, default_kinds, in_order
from caffe_lrp.sources.filelist import EntryList

_ALL_FILES, _TEXT_FILES = default_kinds(text_only=False), default_kinds(text_only=True)
#: ``-b`` -> (files written, whole batches).
PROGRAMS = {
    "default": (_ALL_FILES, False),
    "default_minimal": (_TEXT_FILES, False),
    "parallel": (_ALL_FILES, True),
    "parallel_minimal": (_TEXT_FILES, True),
}


def outputs_of(options: argparse.Namespace) -> tuple[str, ...]:
    """What is to be written, relevance at layers aside."""
    wanted = {*(options.outputs or PROGRAMS[options.binary][0])}
    if options.conservation:
        wanted.add(CONSERVATION)
    return in_order(wanted)


def layout_of(options: argparse.Namespace, config: HeatmapConfig) -> OutputLayout:
    """Where images and outputs are; several maps of an image have names of their own without being asked."""
    if options.is_demo:
        return OutputLayout(options.prepath, config.output_root, config.path_root, whole_path=True)
    several = options.top is not None or len(options.formulas or ()) > 1
    return OutputLayout(
        options.image_root,
        f"{options.prepath}/{config.output_root}",
        config.path_root,
        names_have_targets=options.suffix_target or several,
    )


def description_of(
    options: argparse.Namespace,
    config: HeatmapConfig,
    layout: OutputLayout,
    formulas: Sequence[int | str],
    outputs: Sequence[str],
    entries: EntryList | None,
    mean_of_prototxt: Path | None,
) -> dict[str, object]:
    """What decides on the files of the run."""
    choices = {
        "version": __version__,
        "formulas": list(formulas),
        "top": options.top,
        "convolution": options.convolution,
        "canonize": options.canonize,
        "image_root": layout.image_root,
        "names_have_targets": layout.names_have_targets,
        "outputs": list(outputs),
        "dtype": options.dtype,
        "input_dataset": options.input_dataset,
        "list": entries.digest if entries else "",
    }
    return describe_run(config, ContentHashes(cache_folder(os.environ)), choices, mean_of_prototxt)
