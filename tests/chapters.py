"""Where the chapters of the manual are, and what is in them."""

from pathlib import Path

import caffe_lrp

MANUAL = Path(caffe_lrp.__file__).parent / "manual"


def chapter(topic: str) -> str:
    """The text of a chapter."""
    return (MANUAL / f"{topic}.md").read_text(encoding="utf-8")


def section(topic: str, heading: str) -> str:
    """The text below a heading of a chapter."""
    return chapter(topic).split(f"\n## {heading}\n")[1].split("\n## ")[0]
