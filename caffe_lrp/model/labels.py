"""Labels of classes."""

from collections.abc import Sequence
from pathlib import Path

from caffe_lrp.errors import ConfigError, about
from caffe_lrp.files.reading import read_small_file


def label_of(labels: Sequence[str], class_index: int) -> str:
    """Label of a class; there may be fewer labels than classes."""
    return labels[class_index] if 0 <= class_index < len(labels) else "without a label"


def read_labels(path: Path) -> tuple[str, ...]:
    """Read class labels, one per line."""
    with about(ConfigError, file=path):
        content = read_small_file(path, "synset file", ConfigError, most_megabytes=16)
    return tuple(line.strip() for line in content.decode("utf-8-sig", errors="replace").splitlines())
