"""Lines about the sums of relevance (``--conservation``), as text for people; nothing is printed here."""

from collections.abc import Iterator

from caffe_lrp.batch.job import JobOutcome
from caffe_lrp.errors import presentable
from caffe_lrp.inspection.layer_table import aligned
from caffe_lrp.relevance.conservation import Conservation, LayerAccount
from caffe_lrp.relevance.rules.accounts import CAUSES

from .wording import is_balanced

#: Shorter names of causes, for tables.
_TITLES = {
    "epsilon": "ε",
    "zero_sum": "z = 0",
    "no_positive": "no +",
    "no_negative": "no −",
    "zero_weights": "w = 0",
}

#: Losses below this share of a layer's absolute relevance are rounding errors, and are not shown.
_LEAST_SHARE = 1e-6


def conservation_lines(outcome: JobOutcome, *, in_full: bool) -> Iterator[str]:
    """Return lines about how much relevance of one map arrives; with a table of all layers if ``in_full``."""
    account = outcome.conservation
    if account is None:
        return
    job = outcome.job
    if in_full:
        yield presentable(f"{job.image}, formula {job.formula}: sums of relevance, and where it is lost")
        yield from account_table(account)
    yield presentable(f"{job.image}, formula {job.formula}: {_in_a_line(account)}")


def account_table(account: Conservation) -> Iterator[str]:
    """Return a table with a line per layer: relevance in and out, and losses by cause (negative: gains)."""
    shown = [_shown(layer) for layer in account.layers]
    causes = [cause for cause in CAUSES if any(cause in lost for lost in shown)]
    rows = [["index", "name", "type", "rule", "enters", "leaves"]]
    rows[0] += [f"to {_TITLES.get(cause, cause)}" for cause in causes]
    for layer, lost in zip(account.layers, shown, strict=True):
        sums = [_number(layer.enters), _number(layer.leaves)]
        amounts = [_number(lost[cause]) if cause in lost else "-" for cause in causes]
        rows.append([str(layer.index), layer.name, layer.type, layer.rule, *sums, *amounts])
    totals = account.lost
    rows.append(["all", "", "", "", _number(account.starts), _number(account.arrives)])
    rows[-1] += [_number(totals[cause]) for cause in causes]
    return aligned(rows, right=range(4, len(rows[0])))


def _shown(layer: LayerAccount) -> dict[str, float]:
    """Return the losses of a layer by cause, without rounding errors."""
    least = _LEAST_SHARE * layer.absolute
    return {cause: amount for cause, amount in layer.lost.items() if abs(amount) > least}


def _in_a_line(account: Conservation) -> str:
    """Return the sum that arrives, the sum left at other branches, and the layer that changes it most."""
    text = f"{_number(account.arrives)} of {_number(account.starts)} arrives"
    if is_balanced(account.starts, account.amount):
        text = (
            f"relevance of both signs starts, {_number(account.amount)} in all, which sums to "
            f"{_number(account.starts)}; {_number(account.arrives)} arrives: a sum near 0 is no loss"
        )
    if account.aside:
        text += f", {_number(account.aside)} stays at other branches"
    worst = account.worst
    if not _shown(worst):
        return f"{text}, nothing is lost"
    label = f"layer {worst.index} '{worst.name}' ({worst.type}, {worst.rule})"
    cause = _TITLES.get(worst.main_cause, worst.main_cause)
    return f"{text}; the sum changes most at {label}: by {-worst.difference:+.4g}, mainly {cause}"


def _number(value: float) -> str:
    return f"{value:.4g}"
