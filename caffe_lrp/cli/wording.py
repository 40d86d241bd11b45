"""Lines about a run, as text for people; nothing is printed here."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from caffe_lrp.batch.events import Advanced, Ended, Resumed, Waiting
from caffe_lrp.batch.job import JobOutcome
from caffe_lrp.batch.options import RunOptions
from caffe_lrp.batch.preparation import PreparedRun
from caffe_lrp.batch.run_files import database_path
from caffe_lrp.inspection.layer_table import LAYER_COLUMNS, aligned, rule_columns
from caffe_lrp.messages import counted, duration
from caffe_lrp.model.explainer import Explainer
from caffe_lrp.net.canonize import Merge
from caffe_lrp.outputs.kinds import suffix_of

#: A sum below this share of its terms, signs aside, says nothing about how much relevance there is.
_LEAST_SHARE = 0.01


def is_balanced(total: float, amount: float) -> bool:
    """Whether terms of both signs, ``amount`` with signs aside, nearly cancel in their sum ``total``."""
    return abs(total) < _LEAST_SHARE * amount


def sum_text(total: float, amount: float) -> str:
    """A sum, with the terms that nearly cancel in it if they do."""
    text = f"{total:.3g}"
    return f"{text} (the sum of {amount:.3g} of both signs)" if is_balanced(total, amount) else text


#: Stage of a job -> what it does.
_STAGES = {
    "decode": "reading images",
    "forward": "the forward pass",
    "relevance": "the backward pass",
    "write": "writing files",
}


def plan_table(explainer: Explainer) -> Iterator[str]:
    """Yield one line per layer: index, name, type, output shape, and the rule of every formula."""
    rows = [[*LAYER_COLUMNS, *rule_columns(explainer.formulas)]]
    for layer in explainer.net.layers:
        shape = "×".join(map(str, (explainer.net.batch_size, *layer.output_shapes[0])))
        rules = [plan.text_of(layer) for plan in explainer.plans.values()]
        rows.append([str(layer.index), layer.name, layer.type, shape, *rules])
    yield from aligned(rows)


def merges_line(merges: Sequence[Merge]) -> str:
    """Return a line with the number of layers that scale and shift, and of those merged into others."""
    merged = sum(merge.into is not None for merge in merges)
    count = counted(len(merges), "layer")
    return f"canonized: {merged:,} of {count} that scale and shift merged into others"


def success_line(outcome: JobOutcome, explainer: Explainer, has_files: bool) -> str:
    """Return the best class of an image, the time for its map, and the names of its files, if any."""
    job, best = outcome.job, ""
    if outcome.best_class is not None:
        best = f"best class {outcome.best_class} ({explainer.label_of(outcome.best_class)}), "
    files = f", files {job.stem}_*" if has_files else ""
    return f"{job.image}: {best}{outcome.times.total:.2f} s{files}"


def resumption_line(resumed: Resumed) -> str:
    """Return the note for a run that continues an earlier one."""
    text = f"note: continuing an earlier run: {resumed.done:,} of {resumed.total:,} maps are done"
    if resumed.failed:
        text += f", {resumed.failed:,} failed (--retry-failed tries them again)"
    if resumed.vanished:
        text += f", the files of {resumed.vanished:,} are gone"
    if resumed.passed_over:
        text += f", {counted(resumed.passed_over, 'damaged line')} of its journal skipped"
    return text + f"; {resumed.left:,} left"


def waiting_line(root: Path, waiting: Waiting) -> str:
    """Return the note about a run on another machine that may have died, writing to ``root``."""
    seconds = f"{waiting.seconds:.0f} s"
    return (
        f"note: {root}: {waiting.holder} was writing the same files less than {seconds} ago; waiting up to "
        f"{seconds} to see whether it still is"
    )


def progress_line(advanced: Advanced) -> str:
    """Return the progress of a run, for a log."""
    share = 100 * advanced.finished / advanced.total
    text = f"{advanced.finished:,} of {advanced.total:,} maps ({share:.0f} %)"
    if advanced.failed:
        text += f", {advanced.failed:,} failed"
    return f"{text}, {advanced.per_second:.3g} a second, {duration(advanced.seconds_left)} left"


def prefix_line(options: RunOptions) -> str:
    """Return the note on what is put before the paths of the list; empty if that is nothing."""
    if not options.is_demo or Path(options.prepath) == Path():
        return ""
    return (
        f"note: PREPATH, here '{options.prepath}', is put before every path in the list; give ./ to use the "
        "paths as they are, or / if they are absolute"
    )


def summary_lines(run: PreparedRun, ended: Ended, made: str) -> Iterator[str]:
    """Yield the summary: ``made`` (the number of maps), times, and where files were written."""
    if not ended.made and not ended.failures and not ended.left:
        yield _nothing_left_line(run, ended)
        return
    text = f"{made} in {ended.seconds:.1f} s"
    before = ended.done - ended.made
    if before:
        text += f", {before} of them in earlier runs"
    if ended.failed:
        text += f", {ended.failed} failed (reasons above)"
    if ended.made + ended.failures > 1 and ended.slowest_stage:
        text += f"; {ended.per_second:.3g} a second, most time spent in {_STAGES[ended.slowest_stage]}"
        text += f", quirks {run.explainer.settings.quirks}"
    yield f"{text}; after {_before_line(ended)}" if ended.made + ended.failures else text
    if ended.done:
        suffixes = ", ".join(suffix_of(kind) for kind in run.task.kinds)
        if suffixes:
            yield f"files {f'in {ended.folder}' if ended.folder else f'below {run.task.root}'}: {suffixes}"
        if run.has_database:
            yield f"maps in {database_path(run.task)}"


def _before_line(ended: Ended) -> str:
    """Return the time before the first map."""
    text = f"{ended.seconds_loading:.1f} s of loading"
    return f"{text} and {ended.seconds_compiling:.1f} s of compiling" if ended.seconds_compiling else text


def _nothing_left_line(run: PreparedRun, ended: Ended) -> str:
    """Return the line for a run with nothing left to do."""
    there = f"{ended.done} of {ended.total} heatmaps are already in {run.task.root}"
    failed = f"{ended.failed} failed (--retry-failed tries them again)"
    return "nothing left to do: " + ", ".join([there] * bool(ended.done) + [failed] * bool(ended.failed))


def ending_line(ended: Ended) -> str:
    """Return the text that follows the word for how the run ended, if maps are left."""
    if ended.was_interrupted:
        return f": {ended.left} left; run the same command again to continue"
    return (
        f" after {counted(ended.failures, 'failure')} (--max-failures), {ended.left} left; run the same "
        "command again to continue; --retry-failed tries the failed ones again"
    )
