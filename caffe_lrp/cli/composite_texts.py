"""The composites that ``caffe-lrp composite`` prints: formulas, and examples that come with the manual."""

from collections.abc import Iterator
from pathlib import Path

from caffe_lrp.config import composite_as_yaml
from caffe_lrp.errors import UsageError
from caffe_lrp.messages import did_you_mean
from caffe_lrp.relevance.formulas import FORMULAS, composite_for, needs_switch_layer, written_out

_EXAMPLES = Path(__file__).parents[1] / "manual" / "composites"


def examples() -> dict[str, Path]:
    """Name -> file of every example."""
    return {path.stem: path for path in sorted(_EXAMPLES.glob("*.yaml"))}


def composite_text(name: str) -> str:
    """The file of a formula, by number or name, or of an example.

    Raises
    ------
    UsageError
        There is none of this name.
    """
    if name in examples():
        return examples()[name].read_text(encoding="utf-8")
    code = int(name) if name.isdecimal() else name
    if code not in FORMULAS:
        known = [*map(str, FORMULAS), *examples()]
        raise UsageError(
            f"there is no formula or example '{name}'{did_you_mean(name, known)}; caffe-lrp composite help "
            "lists all"
        )
    return composite_as_yaml(written_out(code), _comments(code))


def listed_composites() -> Iterator[tuple[str, str]]:
    """Name and content of every formula and example."""
    for code, formula in FORMULAS.items():
        yield str(code), formula.rules
    for name, path in examples().items():
        first = path.read_text(encoding="utf-8").partition("\n")[0]
        yield name, first.removeprefix("# ").rstrip(".")


def _comments(code: int | str) -> tuple[str, ...]:
    """What stands above the rules of a formula."""
    formula = FORMULAS[code]
    lines = [
        f"Formula {code}: {formula.rules}.",
        "The last entry that matches a layer wins. Numbers that are not here are those of the run.",
    ]
    if needs_switch_layer(composite_for(code)):
        lines.append(
            "The switch layer is that of the run (--switch-layer), or a key here: switch_layer: NAME."
        )
    return tuple(lines)
