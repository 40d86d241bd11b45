"""Tables of layers as text."""

from collections.abc import Container, Iterator, Sequence

from caffe_lrp.errors import presentable

#: The first columns of every table of layers.
LAYER_COLUMNS = ("index", "name", "type", "output")


def rule_columns(formulas: Sequence[object]) -> list[str]:
    """The columns of rules in a table of layers: one for every formula."""
    return [f"rule of {code}" for code in formulas] if len(formulas) > 1 else ["rule"]


def aligned(rows: Sequence[Sequence[str]], right: Container[int] = ()) -> Iterator[str]:
    """The rows of a table, one line each; columns in ``right`` are aligned to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield presentable("  ".join(cells).rstrip())


def shape_text(shape: tuple[int, ...]) -> str:
    """``1×3×224×224``."""
    return "×".join(map(str, shape))
