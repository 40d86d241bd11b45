"""The commands of the command line: a table, and a module for each.

A module has a purpose (``HELP``), arguments (``add_arguments``) and the work (``run``). It is
imported even just for its help, so slow imports are made inside ``run``.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast

from caffe_lrp.cli.options import Parser
from caffe_lrp.machine.environment import ADDRESS_SPACE_TO_COMPILE


class CommandModule(Protocol):
    """The interface of a command's module."""

    #: Its purpose: one short sentence for the list of commands, and further sentences if needed.
    HELP: str

    def add_arguments(self, parser: Parser) -> None:
        """Add its arguments, and the epilog of its help if it has one."""

    def run(self, options: argparse.Namespace) -> int:
        """Do the work; return the exit code. A signal ends the process unless ``options.halt`` is changed."""


@dataclass(frozen=True)
class Command:
    """The module of a command, and its requirements.

    Attributes
    ----------
    module
        Name of its module, in this package.
    address_space
        Bytes of address space that it needs in addition to the libraries; None: no requirements.
    """

    module: str
    address_space: int | None = None

    def load(self) -> CommandModule:
        """Its module."""
        return cast("CommandModule", import_module(f"{__name__}.{self.module}"))


#: The command that runs without a subcommand.
RUN_LIST = Command("run_list", address_space=0)

#: Subcommand -> its module and requirements, in the order of the help.
COMMANDS = {
    "explain": Command("explain", address_space=0),
    "init": Command("init", address_space=0),
    "import": Command("import_net", address_space=0),
    "inspect": Command("inspect", address_space=0),
    "composite": Command("composite", address_space=0),
    "render": Command("render", address_space=0),
    "status": Command("status"),
    "merge": Command("merge"),
    "convert-config": Command("convert_config"),
    "classroom": Command("classroom", address_space=0),
    "warmup": Command("warmup", address_space=ADDRESS_SPACE_TO_COMPILE),
    "help": Command("help"),
}


def parser_of(name: str) -> Parser:
    """The parser of a subcommand."""
    module = COMMANDS[name].load()
    parser = Parser(f"caffe-lrp {name}", module.HELP)
    parser.options_elsewhere = options_of_all
    module.add_arguments(parser)
    group = parser.add_argument_group("messages")
    group.add_argument("-v", "--verbose", action="store_true", help="show more about internal errors")
    group.add_argument("-h", "--help", action="help", help="show this help")
    return parser


def summaries() -> dict[str, str]:
    """Subcommand -> the first sentence of its help."""
    return {name: command.load().HELP.partition(". ")[0].rstrip(".") for name, command in COMMANDS.items()}


def overview() -> str:
    """Return a line for every subcommand."""
    longest = max(map(len, COMMANDS))
    return "\n".join(f"  {name:<{longest}}  {text}" for name, text in summaries().items())


def options_of_all() -> Iterator[tuple[str, str]]:
    """Yield every option of every command, with the name of the command."""
    list_parser = import_module(f"{__name__}.{RUN_LIST.module}").list_parser
    for parser in map(parser_of, COMMANDS):
        for option in parser.options:
            yield option, parser.prog
    for option in list_parser().options:
        yield option, "caffe-lrp -c"
