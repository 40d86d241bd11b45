"""Where images and outputs of a run are."""

import argparse

from caffe_lrp.batch.job import OutputLayout
from caffe_lrp.config import HeatmapConfig


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
