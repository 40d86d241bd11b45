"""The chapters of the manual, Markdown files in the package."""

from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).parents[1] / "manual"

#: Order of the list of topics; others follow.
_ORDER = (
    "start", "config", "nets", "import", "lists", "formulas", "composites", "start-vectors", "layers",
    "pictures", "options", "outputs", "runs", "conservation", "toolbox", "speed", "containers", "cluster",
    "errors", "python", "pycaffe", "teaching", "architecture", "contributing", "glossary",
)  # fmt: skip

#: Topic -> words that a reader may look up instead: its text has them, and none is a topic or a command.
SYNONYMS = {
    "start": "install installation demo zoo drawing",
    "config": "yaml key keys mean resize resizing size crop head",
    "nets": "net model caffemodel prototxt weights safetensors training",
    "import": "onnx pytorch keras tensorflow torchvision pickle",
    "lists": "list image images class classes target folder tar exif orientation",
    "formulas": "formula rule rules lrp epsilon gamma gradient cite",
    "start-vectors": "contrast clrp sglrp vector unit channel",
    "layers": "layer convolution pooling lrn",
    "pictures": "picture heatmap photo photos colour colours cmap overlay sheet",
    "options": "option labels",
    "outputs": "output npy hdf5 database virelay",
    "runs": "resuming interrupting journal",
    "conservation": "conserve",
    "toolbox": "quirk quirks differences",
    "speed": "gpu threads memory precision batch",
    "containers": "container docker singularity apptainer cache numba",
    "cluster": "clusters slurm dask shard shards",
    "errors": "error message exit",
    "python": "notebook notebooks jupyter",
    "pycaffe": "script scripts relpropopts transformer classifier",
    "contributing": "test tests",
    "teaching": "sequential modules digits lenet mlp",
    "glossary": "word words",
}
#: Words of readers -> the synonym that the manual has for them.
OTHER_WORDS = {
    "citation": "cite", "color": "colour", "colors": "colours", "colormap": "cmap", "heatmaps": "heatmap",
    "cuda": "gpu", "preprocessing": "resizing", "resume": "resuming", "interrupt": "interrupting",
    "h5": "hdf5", "pip": "install", "torch": "pytorch", "nn": "pickle",
}  # fmt: skip


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


def topic_of(word: str) -> str:
    """The topic whose chapter a word is looked up in; the word itself if it is no synonym."""
    wanted = OTHER_WORDS.get(word.lower(), word.lower())
    return next((topic for topic, words in SYNONYMS.items() if wanted in words.split()), word)
