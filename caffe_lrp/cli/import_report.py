"""The report of ``caffe-lrp import``: what each node or module became, in Markdown."""

from collections.abc import Iterable, Iterator, Sequence

from caffe_lrp.errors import presentable
from caffe_lrp.formats.importers.imported import ImportedNet
from caffe_lrp.net.net import Net

from .compared import Comparison

_ADDED = "added"


def report_of(net: ImportedNet, outline: Net, comparison: Comparison, notices: Sequence[str]) -> str:
    """The text of the report.

    Parameters
    ----------
    net
        What was read.
    outline
        The net of the new files.
    comparison
        Of both.
    notices
        Notes on the config.
    """
    shape = "×".join(map(str, net.input_shape[1:]))
    lines = [
        f"# {net.name}: imported",
        "",
        f"- source: {net.source}",
        f"- format: {net.format}",
        f"- input: `{net.input_name}`, {shape}",
        f"- comparison: {comparison.text}",
    ]
    if comparison.warning:
        lines.append(f"- **warning**: {comparison.warning}")
    notes = [*net.notes, *notices]
    if notes:
        lines += ["", "## Notes", "", *(f"- {note}" for note in notes)]
    head = ["layer", "type", "output", "made from"]
    lines += ["", "## Layers", "", *_table(head, _rows(net, outline))]
    return "\n".join(map(presentable, lines)) + "\n"


def _rows(net: ImportedNet, outline: Net) -> Iterator[Sequence[str]]:
    shapes = {layer.name: layer.output_shapes for layer in outline.layers}
    for layer in net.layers:
        sizes = ", ".join("×".join(map(str, shape)) for shape in shapes.get(layer.name, ()))
        yield layer.name, layer.type, sizes, layer.source or _ADDED


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    for cells in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
