"""Shared by all commands: a parser with suggestions, options for keys of the config, parsers of values.

Other arguments are in the module of their command.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from caffe_lrp.batch.shards import Shard, parse_shard
from caffe_lrp.config import CANONIZATIONS, KEYS, Key, read_composite
from caffe_lrp.config.keys import exists
from caffe_lrp.errors import UsageError
from caffe_lrp.machine.resources import parse_memory
from caffe_lrp.messages import did_you_mean
from caffe_lrp.outputs.kinds import OUTPUTS, in_order
from caffe_lrp.relevance.composite import FormulaCode

from .pager import page
from .suggestions import near_option
from .terminal import text_width

_Value = TypeVar("_Value")

#: Keys with a second, older and shorter option: attribute -> that option.
_SHORT_OPTIONS = {"epsilon": "--eps"}

#: Names of the reference's four programs, the values of ``-b``.
BINARIES = ("default", "default_minimal", "parallel", "parallel_minimal")

#: Types of relevance, the values of ``--dtype``.
DTYPES = ("float32", "float16")

#: More threads than any machine has processors; larger numbers must be typos.
MOST_THREADS = 1024
#: Each rank is a job for every image, before the number of the net's classes is known.
MOST_RANKS = 10_000

#: Maximum number of digits of a count, which then fits in 64 bits.
_MOST_DIGITS = 18

#: OpenCV does not decode larger images.
_MOST_PIXELS = 10**9
_PIXEL_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
_PIXELS = re.compile(r"([0-9]{1,12}\.?[0-9]{0,12}|\.[0-9]{1,12})\s*([KMG]?)", re.IGNORECASE)


#: Options for which the value ``help`` prints a list of all values.
LISTING = ("--formula", "--composite", "--outputs", "--cmap")


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Formats options with their help on one line, in 80 columns; running text as wide as the terminal."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26, width=text_width())

    def _format_action_invocation(self, action: argparse.Action) -> str:
        """Return all names of an option, followed once by the name of its value."""
        if not action.option_strings:
            return super()._format_action_invocation(action)
        value = (
            "" if action.nargs == 0 else f" {self._format_args(action, str(action.metavar or action.dest))}"
        )
        return ", ".join(action.option_strings) + value

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Return wrapped paragraphs; those with indented lines keep their lines."""
        fill = super(argparse.RawDescriptionHelpFormatter, self)._fill_text
        parts = text.strip("\n").split("\n\n")
        return "\n\n".join(part if "\n " in part else fill(part, width, indent) for part in parts)


class Parser(argparse.ArgumentParser):
    """An argument parser that suggests corrections for unknown options.

    Attributes
    ----------
    fault_of
        Checks options against each other: returns an error message, or an empty text.
    words_go_anywhere
        Whether positional arguments may come before, between and after options, if they end with a list.
    options_elsewhere
        The options of all commands, and the name of each of these commands.
    """

    def __init__(
        self,
        prog: str,
        description: str,
        formatter_class: type[argparse.HelpFormatter] = HelpFormatter,
        **settings: Any,
    ) -> None:
        super().__init__(
            prog=prog,
            description=description,
            formatter_class=formatter_class,
            allow_abbrev=False,
            add_help=False,
            **settings,
        )
        self._positionals.title = "arguments"
        self.fault_of: Callable[[argparse.Namespace], str] = lambda _: ""
        self.words_go_anywhere = False
        self.options_elsewhere: Callable[[], Iterable[tuple[str, str]]] = tuple
        self.set_defaults(listing="")

    @property
    def options(self) -> list[str]:
        """The names of its options."""
        return list(self._option_string_actions)

    def parse(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        """Return the options; wrong ones end the program with a message and the code for wrong usage.

        Unknown options are reported before missing ones, as an unknown option is often a misspelt required
        one. If the value of an option is ``help``, nothing else matters: ``listing`` names that option.
        """
        given = list(sys.argv[1:] if arguments is None else arguments)
        own = given[: given.index("--")] if "--" in given else given
        for argument in own:
            option = argument.partition("=")[0]
            if option.startswith("--") and option not in self._option_string_actions:
                self.error(f"there is no option {option}{near_option(option, self)}")
        for option in LISTING:
            is_asked = f"{option}=help" in own or (option, "help") in pairwise(own)
            if is_asked and option in self._option_string_actions:
                return argparse.Namespace(listing=option, verbose=False)
        options = self.parse_intermixed_args(given) if self.words_go_anywhere else self.parse_args(given)
        fault = self.fault_of(options)
        if fault:
            self.error(fault)
        return options

    def print_help(self, file: Any = None) -> None:
        """Show the help; on a terminal, through a pager if it is longer than the screen."""
        page(self.format_help())


def add_canonize(parser: argparse._ActionsContainer, help_text: str) -> None:
    """Add the option for merging batch normalization."""
    parser.add_argument(
        "--canonize", type=one_of(*CANONIZATIONS), default=CANONIZATIONS[0], metavar="MODE", help=help_text
    )


def add_override(
    parser: argparse._ActionsContainer,
    attribute: str,
    help_text: str,
    metavar: str = "VALUE",
) -> None:
    """Add the option for a key of the config to a parser or a group, and its shorter name if it has one.

    Its metavar is the name of the value in the config.
    """
    parse = checked(_key(attribute).parse)
    own = "--" + attribute.replace("_", "-")
    shown = _SHORT_OPTIONS.get(attribute, own)
    parser.add_argument(shown, dest=attribute, type=parse, metavar=metavar, help=help_text)
    if own != shown:  # a separate action, so that messages name the option as given
        parser.add_argument(own, dest=attribute, type=parse, metavar=metavar, help=f"the same as {shown}")


def _key(attribute: str) -> Key:
    return next(key for key in KEYS if key.attribute == attribute)


def one_of(*choices: str) -> Callable[[str], str]:
    """Return a parser of a value from a few words."""

    def parse(text: str) -> str:
        if text not in choices:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not one of {', '.join(choices)}{did_you_mean(text, choices)}"
            )
        return text

    return parse


def formulas_of(text: str) -> tuple[int | str, ...]:
    """Return numbers and names of formulas, separated by commas."""
    key = _key("formula")
    try:
        codes = tuple(key.parse(part.strip()) for part in text.split(","))
    except ValueError as error:
        advice = "; write several, separated by commas, such as 0,100" if "," in text else ""
        if text.endswith((".yaml", ".yml")):
            advice = "; for a file, use --composite"
        raise argparse.ArgumentTypeError(f"{text!r} {error}{advice}") from None
    for code in codes:
        if codes.count(code) > 1:
            raise argparse.ArgumentTypeError(f"{text!r} lists formula {code} twice")
    return codes


def composites_of(text: str) -> tuple[Path, ...]:
    """Files of composites, separated by commas."""
    if not all(text.split(",")):
        raise argparse.ArgumentTypeError(
            f"{text!r} must be files, separated by commas, such as a.yaml,b.yaml"
        )
    return tuple(map(Path, text.split(",")))


def add_composite(group: argparse._ActionsContainer) -> None:
    """Add the option that names composites; `formulas_given` reads them."""
    group.add_argument(
        "--composite", dest="composites", type=composites_of, default=(), metavar="FILES",
        help="rules layer by layer, see: caffe-lrp help composites",
    )  # fmt: skip


def formulas_given(options: argparse.Namespace) -> tuple[FormulaCode, ...]:
    """The formulas and composites that are given on the command line.

    Raises
    ------
    ConfigError
        A composite cannot be read.
    UsageError
        Two have the same name, or one is no file but may be a formula.
    """
    for path in options.composites:
        if not path.suffix and not exists(path):
            raise UsageError(
                f"--composite: there is no file {path}; a formula is given with --formula, and caffe-lrp "
                f"composite {path} prints one as a file"
            )
    codes = [*(options.formulas or ()), *map(read_composite, options.composites)]
    names = [str(code) for code in codes]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(
            f"--composite: '{twice}' is the name of two formulas or composites; rename a file, or add a "
            "'name' to it"
        )
    return tuple(codes)


def at_least_one(text: str) -> int:
    """Return a whole number of at least 1."""
    if len(text) > _MOST_DIGITS:  # Python refuses to parse thousands of digits
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of at most {_MOST_DIGITS} digits")
    if not re.fullmatch("[+]?[0-9]+", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number, at least 1")
    return int(text)


def at_most(most: int) -> Callable[[str], int]:
    """Return a parser of a whole number from 1 to ``most``."""

    def parse(text: str) -> int:
        count = at_least_one(text)
        if count > most:
            raise argparse.ArgumentTypeError(f"{text!r} must be at most {most}")
        return count

    return parse


def memory_of(text: str) -> int:
    """Return the bytes given by a number and a unit."""
    try:
        return parse_memory(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} {error}") from None


def kinds_of(text: str) -> tuple[str, ...]:
    """Return kinds of output, separated by commas, in the order of writing."""
    return in_order(one_of(*OUTPUTS)(part.strip()) for part in text.split(","))


def layers_of(text: str) -> tuple[str, ...]:
    """Return names or indices of layers, separated by commas."""
    names = tuple(part.strip() for part in text.split(","))
    if not all(names):
        raise argparse.ArgumentTypeError(f"{text!r} must be names or indices of layers, such as conv5,12")
    return names


def shard_of(text: str) -> Shard | str:
    """Return a part of the list, or ``auto``."""
    return text if text == "auto" else checked(parse_shard)(text)


def pixels_of(text: str) -> int:
    """Return a number of pixels; units are powers of 1000, as for megapixels."""
    match = _PIXELS.fullmatch(text.strip())
    count = float(match[1]) * _PIXEL_UNITS[match[2].upper()] if match else 0
    if not 1 <= count <= _MOST_PIXELS:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number from 1 to 1G, such as 180M")
    return round(count)


def not_empty(text: str) -> str:
    """Return a folder; refuse an empty text: it may be an unset variable, and would mean the root."""
    if not text:
        raise argparse.ArgumentTypeError("is empty; give a folder, ./ for the current one")
    return text


def checked(parse: Callable[[str], _Value]) -> Callable[[str], _Value]:
    """Return a parser that turns the ValueError of ``parse`` into a message."""

    def parse_value(text: str) -> _Value:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} {error}") from None

    return parse_value
