"""Labels of classes."""

from collections.abc import Sequence
from pathlib import Path

from caffe_lrp.errors import ConfigError, about
from caffe_lrp.files.reading import read_small_file
from caffe_lrp.files.recognition import why_no_text

_WHAT = "synset file"


def label_of(labels: Sequence[str], class_index: int) -> str:
    """Label of a class; there may be fewer labels than classes."""
    return labels[class_index] if 0 <= class_index < len(labels) else "without a label"


def read_labels(path: Path) -> tuple[str, ...]:
    """Read class labels, one per line; ConfigError if the file cannot be read or is no text."""
    with about(ConfigError, file=path):
        content = read_small_file(path, _WHAT, ConfigError, most_megabytes=16)
        if reason := why_no_text(content, _WHAT, "give a text with one label per line"):
            raise ConfigError(f"{path}: {reason}")
    return tuple(line.strip() for line in content.decode("utf-8-sig", errors="replace").splitlines())
