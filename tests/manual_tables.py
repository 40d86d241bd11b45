"""The parts of the manual that are made from the code: ``python tests/manual_tables.py`` writes them anew.

In a chapter such a part stands between two comments, ``<!-- keys: begin -->`` and ``<!-- keys: end -->``.
"""

import argparse
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING

from bad_input import CATALOGUE, Group, Kind
from chapters import MANUAL, chapter

from caffe_lrp.cli.commands import COMMANDS, parser_of
from caffe_lrp.cli.commands.run_list import list_parser
from caffe_lrp.config import KEYS, Key
from caffe_lrp.errors import ExitCode
from caffe_lrp.quirks import REFERENCE
from caffe_lrp.relevance import composite
from caffe_lrp.relevance.catalogue import KINDS_OF_FORMULAS, catalogue
from caffe_lrp.relevance.composite import POSITIONS, UP_TO_SWITCH, FormulaCode
from caffe_lrp.relevance.formulas import FORMULAS, Formula
from caffe_lrp.relevance.rule_names import BIASES, RULES
from caffe_lrp.relevance.rules.accounts import CAUSES
from caffe_lrp.relevance.rules.base import RuleParameters
from caffe_lrp.relevance.rules.makers import MAKERS
from caffe_lrp.relevance.start_vector import KINDS

#: How the catalogue of errors calls the ways in which a run ends, in the order of the chapter.
ENDS = {
    2: "Exit code 2: wrong usage",
    3: "Exit code 3: bad config, model or list",
    4: "Exit code 4: some images failed",
    5: "Exit code 5: the output folder cannot be used",
    0: "Exit code 0: it only looks wrong",
}

#: Kinds of linear layers, and whether their rule is for some of them by their place.
LOWEST_KIND, CONVOLUTION_KIND, LINEAR_KIND = (
    (("linear",), True),
    (("linear", "convolution"), False),
    (("linear",), False),
)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; bars in cells are escaped."""
    cells = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n" for row in cells)


def keys() -> str:
    """All keys of a config file."""
    rows = ((f"`{key.attribute}`", f"`{key.name}`", _default(key), key.help) for key in KEYS)
    return table(["YAML", "text file", "default", "meaning"], rows)


def _default(key: Key) -> str:
    if key.default is MISSING:
        return "required"
    default = "none" if key.default in (None, "") else f"`{key.default}`"
    return f"{default} (text: required)" if key.required else default


def formulas() -> str:
    """All formulas, a line each."""
    rows = ((f"`{code}`", formula.rules, formula.use) for code, formula in _sorted_formulas())
    return table(["formula", "rules", "when to use it"], rows)


def rules() -> str:
    """Which rule linear layers get under each formula that is no gradient."""
    rows = (
        [f"`{code}`", *(_title(formula, *kind) for kind in (LOWEST_KIND, CONVOLUTION_KIND, LINEAR_KIND))]
        for code, formula in _sorted_formulas()
        if formula.entries[0].kinds
    )
    return table(["formula", "lowest", "convolution", "fully connected"], rows)


def _sorted_formulas() -> Iterable[tuple[FormulaCode, Formula]]:
    """Those with names first."""
    return sorted(FORMULAS.items(), key=lambda item: isinstance(item[0], int))


def _title(formula: Formula, kinds: Sequence[str], is_placed: bool) -> str:
    """What the rule of such layers is called, with its β if that is the formula's own."""
    found = [
        entry for entry in formula.entries if {*entry.kinds} & {*kinds} and bool(entry.position) == is_placed
    ]
    if not found:
        return "-"
    entry = found[-1]
    maker = MAKERS[entry.rule][0]
    rule = maker.make(entry, RuleParameters(epsilon=0, beta=7, switch_layer=-1, quirks=REFERENCE))
    title = f"{rule.title}, β = 1" if entry.parameters else rule.title
    return f"up to S: {title}" if entry.position == UP_TO_SWITCH else title


def kinds() -> str:
    """All kinds of start vectors."""
    return table(["start vector", "relevance starts as"], ((f"`{kind.form}`", kind.help) for kind in KINDS))


def options() -> str:
    """Options of a run over a list by groups, then arguments and options of all commands."""
    groups = (group for group in list_parser()._action_groups if _shown(group._group_actions))
    of_run = "\n".join(f"**{group.title}**\n\n{_arguments(group._group_actions)}" for group in groups)
    purposes = {name: command.load().HELP for name, command in COMMANDS.items()}
    of_commands = (
        f"## caffe-lrp {name}\n{purpose}\n\n{_arguments(parser_of(name)._actions)}"
        for name, purpose in purposes.items()
    )
    return "\n".join([of_run, *of_commands])


def _shown(actions: Iterable[argparse.Action]) -> list[argparse.Action]:
    return [action for action in actions if action.help is not argparse.SUPPRESS]


def _arguments(actions: Iterable[argparse.Action]) -> str:
    return table(
        ["option", "meaning"], ((_spelling(action), action.help or "") for action in _shown(actions))
    )


def _spelling(action: argparse.Action) -> str:
    names = ", ".join(f"`{name}`" for name in action.option_strings)
    value = "" if action.nargs == 0 else str(action.metavar or (action.dest if not names else ""))
    return f"{names} {value}".strip()


def layer_kinds() -> str:
    """Kinds of layers that entries of composites can choose."""
    return table(["kind", "layers"], ((f"`{name}`", text) for name, text in composite.KINDS.items()))


def positions() -> str:
    """Positions that entries of composites can choose."""
    return table(["position", "layers"], ((f"`{name}`", text) for name, text in POSITIONS.items()))


def composite_rules() -> str:
    """Rules as composites name them."""
    rows = (
        (f"`{name}`", ", ".join(f"`{kind}`" for kind in rule.layers) or "all", rule.help)
        for name, rule in RULES.items()
    )
    return table(["rule", "kinds of layers", "what it does"], rows)


def parameters() -> str:
    """Parameters of rules in composites."""
    rows = (
        (f"`{name}`", f"`{key}`", parameter.help, parameter.default)
        for name, rule in RULES.items()
        for key, parameter in rule.parameters.items()
    )
    return table(["rule", "parameter", "meaning", "unless given"], rows)


def biases() -> str:
    """Treatments of the bias."""
    return table(["bias", "meaning"], ((f"`{name}`", text) for name, text in BIASES.items()))


def layers() -> str:
    """Layer types, and how relevance is propagated there."""
    head = [
        "type",
        "what it does",
        *(f"{kind} ({code})" for kind, code in KINDS_OF_FORMULAS.items()),
        "source",
    ]
    rows = (
        [f"`{row.type}`", re.sub("`+", "`", row.what), *row.rules.values(), row.source or "-"]
        for row in catalogue()
    )
    return table(head, rows)


def causes() -> str:
    """Why a layer passes on less relevance than it receives, or more."""
    return table(["cause", "what happens"], ((f"`{name}`", text) for name, text in CAUSES.items()))


def errors() -> str:
    """The catalogue of bad input, by exit code: a list for every place where something can be wrong."""
    return "\n".join(f"### {title}\n\n{_of_code(code)}" for code, title in ENDS.items())


def _of_code(code: int) -> str:
    found = ((group.title, _entries(group, code)) for group in CATALOGUE)
    return "\n".join(f"**{title}**\n\n{entries}" for title, entries in found if entries)


def _entries(group: Group, code: int) -> str:
    return "".join(_entry(kind) for kind in group.kinds if kind.exit_code == code)


def _entry(kind: Kind) -> str:
    """What is wrong and what is printed, without what all messages begin with."""
    lines = [line.strip().removeprefix("caffe-lrp: error: ") for line in kind.stderr.split("\n")]
    said = [f"`{line}`" for line in lines if line not in ("", "usage: …")] or ["nothing is printed"]
    said += ["nothing is written"] if kind.exit_code == ExitCode.IMAGES_FAILED and not kind.survivors else []
    more = "".join(f"  - {line}\n" for line in said)
    return f"- {kind.title}: {said[0]}\n" if len(said) == 1 else f"- {kind.title}:\n{more}"


#: Chapter and name of a part -> what makes it.
PARTS: dict[tuple[str, str], Callable[[], str]] = {
    ("config", "keys"): keys,
    ("options", "options"): options,
    ("formulas", "formulas"): formulas,
    ("formulas", "rules"): rules,
    ("composites", "layer-kinds"): layer_kinds,
    ("composites", "positions"): positions,
    ("composites", "composite-rules"): composite_rules,
    ("composites", "parameters"): parameters,
    ("composites", "biases"): biases,
    ("conservation", "causes"): causes,
    ("start-vectors", "kinds"): kinds,
    ("layers", "layers"): layers,
    ("errors", "errors"): errors,
}


def split(topic: str, name: str) -> tuple[str, str, str]:
    """What a chapter has before a part, the part, and what follows."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    before, rest = chapter(topic).split(begin)
    part, after = rest.split(end)
    return before + begin, part, end + after


def main() -> None:
    """Bring the chapters up to date."""
    for (topic, name), make in PARTS.items():
        before, _, after = split(topic, name)
        (MANUAL / f"{topic}.md").write_text(f"{before}\n{make()}\n{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
