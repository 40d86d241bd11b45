"""Turns the benchmark's measurements into rows, tables and JSON."""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench_machine import Machine
from bench_worker import Round

#: One line of a table: key -> value; missing measurements are absent or NaN.
Row = dict[str, Any]

#: Key of a row -> heading of its column and number of decimals, in the order of the columns. Distances are in
#: scientific notation with this number of decimals.
COLUMNS: dict[str, tuple[str, int]] = {
    "net": ("net", 0),
    "formula": ("formula", 0),
    "convolution": ("convolution", 0),
    "batch": ("batch", 0),
    "threads": ("threads", 0),
    "direct_gflop": ("GFLOP direct", 1),
    "decode_ms": ("decode ms", 1),
    "forward_ms": ("forward ms", 1),
    "relevance_ms": ("relevance ms", 1),
    "write_ms": ("write ms", 1),
    "total_ms": ("ms an image", 1),
    "rate": ("GF/s", 0),
    "direct_ms": ("D ms", 1),
    "to_direct": ("ratio to D", 2),
    "zennit_ms": ("zennit ms", 1),
    "to_zennit": ("zennit / ours", 2),
    "gradient_ms": ("PyTorch gradient ms", 1),
    "to_gradient": ("ours / gradient", 2),
    "end_to_end_ms": ("end to end ms", 1),
    "to_map_only": ("ratio to map only", 2),
    "explain_all_ms": ("explain_all ms", 1),
    "to_explain_all": ("end to end / explain_all", 2),
    "cold_s": ("first start s", 1),
    "warm_s": ("second start s", 1),
    "peak_memory": ("peak MB", 0),
    "zennit_peak_memory": ("zennit peak MB", 0),
    "rms": ("r.m.s.", 1),
    "worst_rms": ("worst", 1),
    "largest": ("largest", 1),
    "worst_largest": ("worst", 1),
    "winners": ("winners", 1),
    "signs": ("signs", 1),
}
DISTANCES = {"rms", "worst_rms", "largest", "worst_largest"}
"""Columns of numbers far below 1."""

QUIET = 0.05
"""Share of the machine that other programs may take."""


def speed_row(rounds: Mapping[str, Sequence[Round]]) -> Row:
    """Return the columns of a row for alternating rounds.

    Times are medians over the rounds. Ratios between programs are medians of the ratios within a round, since
    the machine's speed is most likely constant during a round.

    Parameters
    ----------
    rounds
        Name of a program -> its rounds: ``explain``, and if measured ``zennit``, ``gradient``, ``end_to_end``
        and ``explain_all``.
    """
    ours = rounds["explain"]
    row: Row = {
        "forward_ms": statistics.median(1e3 * each.forward_seconds / each.images for each in ours),
        "relevance_ms": statistics.median(1e3 * each.relevance_seconds / each.images for each in ours),
        "total_ms": _median_ms(ours),
        "least_ms": min(each.milliseconds for each in ours),
        "rounds": {what: [asdict(each) for each in runs] for what, runs in rounds.items()},
    }
    if rounds.get("zennit"):
        row["zennit_ms"] = _median_ms(rounds["zennit"])
        row["to_zennit"] = _median_ratio(rounds["zennit"], ours)
    if rounds.get("gradient"):
        row["gradient_ms"] = _median_ms(rounds["gradient"])
        row["to_gradient"] = _median_ratio(ours, rounds["gradient"])
    if rounds.get("end_to_end"):
        row["end_to_end_ms"] = _median_ms(rounds["end_to_end"])
        row["to_map_only"] = _median_ratio(rounds["end_to_end"], ours)
    if rounds.get("explain_all"):
        row["explain_all_ms"] = _median_ms(rounds["explain_all"])
        row["to_explain_all"] = _median_ratio(rounds["end_to_end"], rounds["explain_all"])
    return row


def add_direct_time(row: Row, machine: Machine) -> None:
    """Add the ratio of a row's time to the direct time for its number of threads."""
    row["rate"] = 1e3 * row["direct_gflop"] / row["total_ms"]
    row["direct_ms"] = 1e3 * row["direct_gflop"] / machine.product_rates[row["threads"]]
    row["to_direct"] = row["total_ms"] / row["direct_ms"]


def _median_ms(rounds: Sequence[Round]) -> float:
    return statistics.median(each.milliseconds for each in rounds)


def _median_ratio(above: Sequence[Round], below: Sequence[Round]) -> float:
    pairs = zip(above, below, strict=True)
    return statistics.median(one.milliseconds / other.milliseconds for one, other in pairs)


def table(rows: Sequence[Row]) -> str:
    """Return rows as a Markdown table with all columns that occur."""
    columns = [key for key in COLUMNS if any(_is_known(row.get(key)) for row in rows)]
    cells = [[COLUMNS[key][0] for key in columns]]
    cells += [[_cell(row.get(key), COLUMNS[key][1], _notation(key)) for key in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "| " + " | ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in cells
    ]
    rule = "| " + " | ".join("-" * (width - 1) + ":" for width in widths) + " |"
    return "\n".join([lines[0], rule, *lines[1:]])


def _is_known(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def _notation(key: str) -> str:
    return "e" if key in DISTANCES else "f"


def _cell(value: Any, digits: int, notation: str) -> str:
    if not _is_known(value):
        return ""
    return f"{value:,.{digits}{notation}}" if isinstance(value, float) else str(value)


def machine_lines(machine: Machine) -> str:
    """Return the measurements of the machine as text."""
    lines = [f"{machine.cpu}, {machine.cores} cores; memory {machine.bandwidth:.1f} GB/s (read and written)"]
    for threads, rate in sorted(machine.product_rates.items()):
        kernels = machine.product_kernels[threads] or "OpenBLAS's own choice"
        lines.append(f"matrix products, {threads} threads: {rate:.0f} GF/s (kernels: {kernels})")
    if machine.others > QUIET:
        lines.append(f"other programs took {machine.others:.0%} of the machine: do not trust these times")
    return "\n".join(lines)


def write_json(path: Path, machine: Machine | None, tables: Mapping[str, Sequence[Row]]) -> None:
    """Write all measurements; unknown values become null."""
    report = {"machine": machine and asdict(machine), "tables": tables}
    path.write_text(json.dumps(_without_nan(report), indent=1) + "\n", encoding="utf-8")


def _without_nan(value: Any) -> Any:
    """Return `value` with None for every NaN in it, as JSON has none."""
    if isinstance(value, Mapping):
        return {str(key): _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(inner) for inner in value]
    return value if _is_known(value) else None
