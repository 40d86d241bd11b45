#!/usr/bin/env python3
"""Measures the speed of caffe-lrp, compared with the machine's peak and with other programs.

D, the direct time, is the time of all matrix products of an explanation at the machine's best rate, if
everything else took no time; `bench_flops` counts the products. Every program runs in its own process, and
they alternate. With CAFFE_LRP_CPU none of them uses features that this CPU lacks.

Modes: `throughput`, batches on all threads; `latency`, all threads on one image; `end-to-end`, from files
to files with the command; `start`, the command on one image with nothing compiled, and then again; `count`,
the operations of a direct evaluation, without measurements.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "bench"))

from bench_cli import decode_milliseconds, end_to_end, explain_all, run_cli, starts, write_milliseconds
from bench_flops import direct_flops, forward_flops
from bench_machine import Machine, cpu_flags, denials, measure_machine, others_share, read_clocks
from bench_nets import MORE_NETS, NETS, prepare_net, prepare_photos, unloaded_plan
from bench_report import Row, add_direct_time, machine_lines, speed_row, table, write_json
from bench_worker import Case, Round, Worker

import caffe_lrp
from caffe_lrp.config import CONVOLUTIONS
from caffe_lrp.errors import CaffeLrpError
from caffe_lrp.kernels._jit import target_features
from caffe_lrp.machine.resources import allowed_processors

FORWARD = "forward"
"""Instead of a formula: the forward pass alone."""

FOLDER = Path(__file__).resolve().parents[1] / "build" / "bench"
NEEDED_FOR_ZENNIT = ("torch", "zennit")


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    add = parser.add_argument
    add("--mode", nargs="+", choices=list(MODES), default=["throughput"], help="what to measure")
    add("--nets", nargs="+", choices=[*NETS, *MORE_NETS], default=list(NETS),
        help=f"default: {' '.join(NETS)}")  # fmt: skip
    add("--formulas", nargs="+", type=formula, default=[None, 100], metavar="CODE",
        help="formulas, and 'forward' for the forward pass alone; default: forward 100")  # fmt: skip
    add("--batch", nargs="+", type=int, default=[8], metavar="N", help="images in a batch; default: 8")
    cores = allowed_processors()
    add("--threads", nargs="+", type=int, default=[cores], metavar="N", help=f"default: all {cores}")
    add("--convolution", choices=CONVOLUTIONS, default=CONVOLUTIONS[0], help="as of caffe-lrp")
    add("--repeat", type=int, default=5, metavar="N", help="rounds of each; default: 5")
    add("--round-seconds", type=float, default=1.0, metavar="S", help="length of a round; default: 1")
    add("--against", choices=["zennit"], help="also measure zennit and PyTorch's gradient, alternating")
    add("--images", nargs=2, type=int, default=[160, 32], metavar=("N", "APART"),
        help="end-to-end: images, and how many at either end do not count; default: 160 32")  # fmt: skip
    add("--cli-options", type=str.split, default=[], metavar="TEXT",
        help="end-to-end, start: options for caffe-lrp, as --cli-options='--memory 2G'")  # fmt: skip
    add("--json", type=Path, metavar="FILE", help="also write all measurements")
    add("--folder", type=Path, default=FOLDER, metavar="DIR", help="for weights and photos; made once")
    return parser.parse_args(arguments)


def formula(text: str) -> int | str | None:
    """Return a formula from the command line, None for the forward pass alone."""
    return None if text == FORWARD else int(text) if text.isdecimal() else text


def count(options: argparse.Namespace) -> list[Row]:
    """Return the operations of direct evaluations."""
    return [
        {"net": net, "formula": FORWARD if code is None else code, "direct_gflop": flops_of(net, code) / 1e9}
        for net in options.nets
        for code in options.formulas
    ]


def flops_of(net: str, code: int | str | None) -> int:
    """Return the operations of a direct evaluation of one image."""
    plan = unloaded_plan(net, 0 if code is None else code)
    return forward_flops(plan.net) if code is None else direct_flops(plan)


def throughput(options: argparse.Namespace) -> list[Row]:
    """Return the speed of explaining batches, with every thread on its own batch."""
    return [
        speed(options, net, code, batch, threads, together=False)
        for net in options.nets
        for code in options.formulas
        for batch in options.batch
        for threads in options.threads
    ]


def latency(options: argparse.Namespace) -> list[Row]:
    """Return the speed of explaining one image, with one thread and with all threads."""
    return [
        speed(options, net, code, 1, threads, together=True)
        for net in options.nets
        for code in options.formulas
        for threads in sorted({1, *options.threads})
    ]


def speed(
    options: argparse.Namespace, net: str, code: int | str | None, batch: int, threads: int, *, together: bool
) -> Row:
    """Return the speed of explaining images in memory."""
    case = case_of(options, net, code, batch, threads, together=together)
    rounds, peaks = take_turns(case, options.repeat, against=options.against is not None and code is not None)
    return told(head_of(net, case) | speed_row(rounds) | peaks)


def case_of(
    options: argparse.Namespace, net: str, code: int | str | None, batch: int, threads: int, *, together: bool
) -> Case:
    """Return a case to measure, with all its files."""
    return Case(
        config=str(prepare_net(net, options.folder)),
        photos=tuple(map(str, prepare_photos(options.folder, batch))),
        formula=code,
        batch=batch,
        threads=threads,
        together=together,
        convolution=options.convolution,
        round_seconds=options.round_seconds,
    )


def head_of(net: str, case: Case) -> Row:
    """Return the columns of a row that are known before measuring."""
    return {
        "net": net,
        "formula": FORWARD if case.formula is None else case.formula,
        "batch": case.batch,
        "threads": case.threads,
        "direct_gflop": flops_of(net, case.formula) / 1e9,
    }


def told(row: Row) -> Row:
    """Return a row, after printing a line of progress."""
    print("  {net} {formula}, batch {batch}: {total_ms:.1f} ms".format_map(row), file=sys.stderr)
    return row


def take_turns(case: Case, repeat: int, *, against: bool) -> tuple[dict[str, list[Round]], Row]:
    """Return rounds of all programs in alternation, and the largest memory of each."""
    rounds: dict[str, list[Round]] = {"explain": []}
    with ExitStack() as stack:
        ours = stack.enter_context(Worker("bench_engine.py", case))
        workers = {"explain": ours}
        if against:
            environment = os.environ | denials(cpu_flags(), target_features())
            theirs = stack.enter_context(Worker("bench_zennit.py", case, environment))
            workers |= {"zennit": theirs, "gradient": theirs}
            rounds |= {"zennit": [], "gradient": []}
        for _ in range(repeat):
            for what, worker in workers.items():
                rounds[what].append(worker.run(what))
    peaks: Row = {"peak_memory": ours.peak_memory}
    return rounds, peaks | ({"zennit_peak_memory": theirs.peak_memory} if against else {})


def whole_runs(options: argparse.Namespace) -> list[Row]:
    """Return how fast the command makes all four files of an image.

    It alternates with the map alone, and with the Python interface, which writes no files. All use the same
    batch size.
    """
    return [
        whole_run(options, net, code) for net in options.nets for code in options.formulas if code is not None
    ]


def whole_run(options: argparse.Namespace, net: str, code: int | str) -> Row:
    """Return how fast the command is with one net and formula."""
    images, apart = options.images
    case = case_of(options, net, code, options.batch[0], options.threads[0], together=False)
    config, photos = Path(case.config), prepare_photos(options.folder, images)
    cli_options = ["--formula", str(code), "--threads", str(case.threads), "--batch", str(case.batch)]
    cli_options += ["--convolution", case.convolution]
    rounds: dict[str, list[Round]] = {"explain": [], "end_to_end": [], "explain_all": []}
    peak = 0.0
    with (
        Worker("bench_engine.py", case) as ours,
        caffe_lrp.load(config, convolution=case.convolution, threads=case.threads) as model,
    ):
        # Does everything that happens only once, such as compiling.
        model.explain(photos[0], formula=code)
        run_cli(config, photos[:1], [*cli_options, *options.cli_options])
        for _ in range(options.repeat):
            rounds["explain"].append(ours.run("explain"))
            steady, run = end_to_end(config, photos, apart, [*cli_options, *options.cli_options])
            rounds["end_to_end"].append(steady)
            peak = max(peak, run.peak_memory)
            rounds["explain_all"].append(explain_all(model, photos, apart, code, case.batch))
        row = head_of(net, case) | speed_row(rounds) | {"peak_memory": peak}
        row["decode_ms"] = decode_milliseconds(model, photos[: case.batch])
        row["write_ms"] = write_milliseconds(model, photos[: case.batch], code)
    return told(row)


def first_starts(options: argparse.Namespace) -> list[Row]:
    """Return how long the command takes for one image, the first time and the second time."""
    (photo,) = prepare_photos(options.folder, 1)
    rows: list[Row] = []
    for net in options.nets:
        for code in (code for code in options.formulas if code is not None):
            config = prepare_net(net, options.folder)
            cold, warm = starts(config, photo, ["--formula", str(code), *options.cli_options])
            rows.append({"net": net, "formula": code, "cold_s": cold.seconds, "warm_s": warm.seconds})
    return rows


#: Name of a mode -> function that gives its rows.
MODES: dict[str, Callable[[argparse.Namespace], list[Row]]] = {
    "throughput": throughput,
    "latency": latency,
    "end-to-end": whole_runs,
    "start": first_starts,
    "count": count,
}
COMPARED = {"throughput", "latency", "end-to-end"}
"""Modes whose times are compared with the direct time."""


def measured(options: argparse.Namespace) -> tuple[Machine | None, dict[str, list[Row]]]:
    """Return the machine's peak, if it is needed, and the rows of every mode.

    The machine is measured before and after everything else, and the better result counts.
    """
    if COMPARED.isdisjoint(options.mode):
        return None, {mode: MODES[mode](options) for mode in options.mode}
    thread_counts = sorted({1, *options.threads} if "latency" in options.mode else set(options.threads))
    clocks, machine = read_clocks(), measure_machine(thread_counts, target_features())
    tables = {mode: MODES[mode](options) for mode in options.mode}
    machine = machine.better(measure_machine(thread_counts, target_features()))
    machine = replace(machine, others=others_share(clocks, read_clocks()))
    for row in (row for mode in COMPARED.intersection(tables) for row in tables[mode]):
        add_direct_time(row, machine)
    return machine, tables


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the requested measurements and return the exit code."""
    options = parse_options(arguments)
    missing = [name for name in NEEDED_FOR_ZENNIT if options.against and find_spec(name) is None]
    if missing:
        print(
            f"bench.py: --against zennit needs {' and '.join(missing)}: pip install '.[bench]'",
            file=sys.stderr,
        )
        return 2
    try:
        machine, tables = measured(options)
    except (CaffeLrpError, RuntimeError) as error:
        print(f"bench.py: {error}", file=sys.stderr)
        return 1
    if machine is not None:
        print(machine_lines(machine))
    for mode, rows in tables.items():
        print(f"\n{mode}\n\n{table(rows)}")
    if options.json:
        write_json(options.json, machine, tables)
    return 0


if __name__ == "__main__":
    sys.exit(main())
