"""The table of supported layers in the README: ``python tests/supported_layers.py`` brings it up to date."""

import re
from pathlib import Path

from caffe_lrp.relevance.catalogue import KINDS_OF_FORMULAS, LayerRow, catalogue

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- layers: begin -->\n", "<!-- layers: end -->\n"
KINDS = [f"{kind} ({code})" for kind, code in KINDS_OF_FORMULAS.items()]


def rendered() -> str:
    """The table as it stands in the README between the two marks."""
    head = ["type", "what it does", *KINDS, "source of the rule"]
    rows = [head, ["---"] * len(head), *map(_cells, catalogue())]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _cells(entry: LayerRow) -> list[str]:
    cells = [f"`{entry.type}`", re.sub("`+", "`", entry.what), *entry.rules.values(), entry.source or "-"]
    return [cell.replace("|", "\\|") for cell in cells]


def part_of_readme() -> str:
    """What stands in the README between the two marks."""
    return README.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]


def main() -> None:
    """Bring the README up to date."""
    before, rest = README.read_text(encoding="utf-8").split(BEGIN)
    README.write_text(before + BEGIN + rendered() + END + rest.split(END)[1], encoding="utf-8")


if __name__ == "__main__":
    main()
