"""The lists printed by ``--formula help`` and the like: all values of an option, one per line."""

from collections.abc import Callable, Iterator

from caffe_lrp.errors import ExitCode

from .inline import inline, laid_out, wrapped
from .pager import page, shows_styles
from .tables import table
from .terminal import table_width, text_width

_Row = tuple[str, ...]


def show_listing(option: str) -> ExitCode:
    """Print all values of an option; return the exit code."""
    listing = _LISTINGS[option]()
    head, *rows = listing
    columns = [[inline(cell) for cell in row] for row in rows]
    text = "\n".join([*table([head, *columns], table_width()), "", *wrapped(_MORE[option], text_width())])
    page(laid_out(text, is_styled=shows_styles()))
    return ExitCode.DONE


def _formulas() -> Iterator[_Row]:
    from caffe_lrp.relevance.formulas import (  # noqa: PLC0415 - loads Numba, which is slow
        FORMULAS,
        composite_for,
        needs_switch_layer,
    )

    yield "formula", "rules", "when to use it"
    for code, formula in FORMULAS.items():
        mark = " *" if needs_switch_layer(composite_for(code)) else ""
        yield f"{code}{mark}", formula.rules, formula.use


def _composites() -> Iterator[_Row]:
    from .composite_texts import listed_composites  # noqa: PLC0415 - like the others

    yield "composite", "rules, those of the lowest layers first"
    yield from listed_composites()


def _outputs() -> Iterator[_Row]:
    from caffe_lrp.outputs.kinds import OUTPUTS, file_kinds, suffix_of  # noqa: PLC0415 - like the others

    yield "kind", "files", "what is in them"
    for name, output in OUTPUTS.items():
        yield name, suffix_of(name) if file_kinds((name,)) else "maps.h5", output.help


def _colour_maps() -> Iterator[_Row]:
    from caffe_lrp.rendering.colour_maps import COLOUR_MAPS  # noqa: PLC0415 - loads NumPy, which is slow

    yield "colour map", "middle", "good for"
    for name, colour_map in COLOUR_MAPS.items():
        yield (name, "0", "both signs") if colour_map.has_middle else (name, "none", "positive relevance")


#: Option -> the rows of its list, the header first.
_LISTINGS: dict[str, Callable[[], Iterator[_Row]]] = {
    "--formula": _formulas,
    "--composite": _composites,
    "--outputs": _outputs,
    "--cmap": _colour_maps,
}
#: Option -> text printed below its list.
_MORE = {
    "--formula": "* the first rule holds up to --switch-layer. More: caffe-lrp help formulas",
    "--composite": "caffe-lrp composite NAME prints one. More: caffe-lrp help composites",
    "--outputs": "More: caffe-lrp help outputs",
    "--cmap": "NAME_r reverses a map; 00f,80:fff,f00 makes one from colours. More: caffe-lrp help pictures",
}
