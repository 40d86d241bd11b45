"""The chapters of the manual, which comes with the package as Markdown."""

from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).parents[1] / "manual"

#: The order of the list of topics; others come behind these.
_ORDER = (
    "start", "config", "nets", "lists", "formulas", "layers", "pictures", "options", "outputs", "runs",
    "conservation", "toolbox", "speed", "containers", "cluster", "errors", "python", "architecture",
    "contributing", "glossary",
)  # fmt: skip


@dataclass(frozen=True)
class Chapter:
    """A chapter of the manual.

    Attributes
    ----------
    topic
        The word that shows it.
    source
        Its text, in Markdown.
    """

    topic: str
    source: str

    @property
    def summary(self) -> str:
        """The paragraph below its title, in Markdown: a summary in one sentence."""
        return " ".join(self.source.partition("\n")[2].strip().partition("\n\n")[0].split())


def chapters() -> dict[str, Chapter]:
    """Topic -> chapter, in the order of the list of topics."""
    found = {path.stem: path for path in sorted(_FOLDER.glob("*.md"))}
    topics = [
        *(topic for topic in _ORDER if topic in found),
        *(topic for topic in found if topic not in _ORDER),
    ]
    return {topic: Chapter(topic, found[topic].read_text(encoding="utf-8")) for topic in topics}
