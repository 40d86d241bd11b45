"""The chapters of the manual, Markdown files in the package."""

from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).parents[1] / "manual"

#: Order of the list of topics; others follow.
_ORDER = (
    "start", "config", "nets", "lists", "formulas", "start-vectors", "layers", "pictures", "options",
    "outputs", "runs", "conservation", "toolbox", "speed", "containers", "cluster", "errors", "python",
    "architecture", "contributing", "glossary",
)  # fmt: skip


@dataclass(frozen=True)
class Chapter:
    """A chapter of the manual.

    Attributes
    ----------
    topic
        The word for ``caffe-lrp help``.
    source
        Its text, in Markdown.
    """

    topic: str
    source: str

    @property
    def summary(self) -> str:
        """The paragraph after its title, in Markdown: a one-sentence summary."""
        return " ".join(self.source.partition("\n")[2].strip().partition("\n\n")[0].split())


def chapters() -> dict[str, Chapter]:
    """Return topic -> chapter, in the order of the list of topics."""
    found = {path.stem: path for path in sorted(_FOLDER.glob("*.md"))}
    topics = [
        *(topic for topic in _ORDER if topic in found),
        *(topic for topic in found if topic not in _ORDER),
    ]
    return {topic: Chapter(topic, found[topic].read_text(encoding="utf-8")) for topic in topics}
