"""What people read of a run: lines, without printing them."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.batch.job import JobOutcome
from caffe_lrp.batch.journal import Journal
from caffe_lrp.batch.records import DONE, FAILED
from caffe_lrp.inspection.table import LAYER_COLUMNS, aligned, rule_columns
from caffe_lrp.messages import counted
from caffe_lrp.model.explainer import Explainer
from caffe_lrp.net.canonize import Merge


def plan_table(session: Explainer) -> Iterator[str]:
    """One line a layer: index, name, type, output shape, and the rule of every formula."""
    rows = [[*LAYER_COLUMNS, *rule_columns(session.formulas)]]
    for layer in session.net.layers:
        shape = "×".join(map(str, (session.net.batch_size, *layer.output_shapes[0])))
        rules = [plan.rule_of(layer) for plan in session.plans.values()]
        titles = [rule.title if rule else "-" for rule in rules]
        rows.append([str(layer.index), layer.name, layer.type, shape, *titles])
    yield from aligned(rows)


def merges_line(merges: Sequence[Merge]) -> str:
    """How many of the layers that scale and shift were merged into others."""
    merged = sum(merge.into is not None for merge in merges)
    count = counted(len(merges), "layer")
    return f"canonized: {merged:,} of {count} that scale and shift merged into others"


def success_line(outcome: JobOutcome, session: Explainer, has_files: bool) -> str:
    """The best class of an image, how long its map took, and where its files are, if it has any."""
    job, best = outcome.job, ""
    if outcome.best_class is not None:
        best = f"best class {outcome.best_class} ({session.label_of(outcome.best_class)}), "
    files = f", files {job.stem}_*" if has_files else ""
    return f"{job.image}: {best}{outcome.times.total:.2f} s{files}"


def resumption_line(journal: Journal, missing: NDArray[np.bool_], vanished: int) -> str:
    """What is said when a run goes on.

    Parameters
    ----------
    journal
        The journal as it was found.
    missing
        What `find_missing` found.
    vanished
        How many maps the journal called done, and whose files are gone.
    """
    text = f"note: going on with an earlier run: {journal.count(DONE):,} of {len(missing):,} maps are there"
    failed = int(np.count_nonzero(journal.states[~missing] == FAILED))
    if failed:
        text += f", {failed:,} failed (--retry-failed tries those again)"
    if vanished:
        text += f", the files of {vanished:,} are gone"
    if journal.passed_over:
        text += f", {counted(journal.passed_over, 'damaged line')} of its journal passed over"
    return text + f"; {np.count_nonzero(missing):,} left"
