#!/usr/bin/env python3
"""Checks caffe-lrp on every net of the zoo, with random weights, and prints tables in Markdown.

Parts: `forward`, the scores against PyTorch's and OpenCV's; `formulas`, maps under several formulas, with
both kinds of quirks; `conservation`, sums at every layer with corrected quirks and without biases; `zennit`,
relevance of ResNet-50 against zennit's; `command`, the command with the net's config. A net that cannot be
run counts as a failure.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent / "bench"))
sys.path.insert(0, str(Path(__file__).resolve().parent / "zoo"))

import numpy as np
from bench_nets import photo
from make_random_weights import replacing, write_net
from make_zoo import FOLDER, config, prototxt_path
from numpy.typing import NDArray
from zoo_command import run_command
from zoo_entry import ZooNet
from zoo_shapes import read_sized
from zoo_table import ZOO
from zoo_worker import Answer, Job, JobError, ask

from caffe_lrp.formats.caffe.reader import read_prototxt

FORMULAS = (0, 2, 11, 100, 102, 104)
USUAL = 100
QUIRKS = ("reference", "corrected")
CONSERVING = (0, 2, 100)
DEPENDENT = (2, 100)
"""Formulas that should conserve, and those of them that depend on β."""

BETAS = (0.0, 1.0)
COMPARED = (0, 100)
"""Formulas that are compared with zennit."""

SAME_SCORES = 1e-4
SAME_RELEVANCE = 1e-3
SAME_SUMS = 1e-3

Row = dict[str, str]

#: Difference between OpenCV (4.14) and Caffe -> whether it affects a layer. Both differences were confirmed
#: on nets of a few layers; nets with such layers are compared only with PyTorch.
FAULTS_OF_OPENCV: dict[str, Callable[[Any], bool]] = {
    "takes LRN's k for 1": lambda layer: layer.type == "LRN" and layer.lrn_param.k != 1,
    "scales wrongly in Axpy": lambda layer: layer.type == "Axpy",
}


class Setting:
    """A net of the zoo with random weights and an image, in a folder of its own."""

    def __init__(self, name: str, options: argparse.Namespace, *, has_biases: bool = True) -> None:
        self.name, self.entry, self.options = name, ZOO[name], options
        self.folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=options.folder))
        self.prototxt = (FOLDER / prototxt_path(name, self.entry)).resolve()
        image = image_for(self.entry)
        np.save(self.path("image.npy"), image)
        shapes = {layer.message.name: layer.blobs for layer in read_sized(self.prototxt).layers}
        with replacing(self.path("net.caffemodel")) as file:
            write_net(
                file,
                read_prototxt(self.prototxt),
                np.random.default_rng(0),
                input_rms=float(np.sqrt(np.mean(np.square(image)))),
                has_biases=has_biases,
                shapes_of=shapes,
            )

    def path(self, name: str) -> Path:
        """Return the path of a file in the folder."""
        return self.folder / name

    @property
    def job(self) -> Job:
        """A job for this net."""
        return Job(
            prototxt=str(self.prototxt),
            caffemodel=str(self.path("net.caffemodel")),
            image=str(self.path("image.npy")),
            switch=self.entry.switch,
        )

    def ours(self, what: str, job: Job) -> Answer:
        """Return the answer of caffe-lrp."""
        return ask(sys.executable, "zoo_engine.py", what, job)

    def array(self, ask_whom: Callable[[Job], Answer], name: str, job: Job) -> NDArray[np.float64] | str:
        """Return the array that another process writes, or why there is none."""
        try:
            ask_whom(replace(job, output=str(self.path(name))))
        except JobError as failure:
            return str(failure)
        return numbers(self.path(name))


def numbers(path: Path) -> NDArray[np.float64]:
    """Return all numbers of an array in a file, in order."""
    found: NDArray[np.float64] = np.load(path).astype(np.float64).ravel()
    return found


def image_for(entry: ZooNet) -> NDArray[np.float32]:
    """Return an image as the net sees it: (1, C, H, W)."""
    channels = photo(1, entry.side, entry.side)[..., ::-1].astype(np.float32).transpose(2, 0, 1)
    if entry.channels == 1:
        channels = channels.mean(axis=0, keepdims=True)
    mean = np.array(entry.preprocessing.mean, np.float32).reshape(-1, 1, 1)
    return np.ascontiguousarray((channels - mean)[np.newaxis] * np.float32(entry.preprocessing.scale))


@dataclass(frozen=True)
class Result:
    """The result of a part for a net.

    Attributes
    ----------
    rows
        Rows of the table.
    failures
        What went wrong.
    """

    rows: list[Row]
    failures: tuple[str, ...] = ()


def difference(found: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    """Return the largest difference, relative to the largest number."""
    if found.shape != expected.shape:
        return float("inf")
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def ask_opencv(setting: Setting, job: Job) -> Answer:
    """Return the answer of OpenCV; JobError for nets that OpenCV is known to compute differently."""
    layers = [layer.message for layer in read_sized(setting.prototxt).layers]
    for fault, concerns in FAULTS_OF_OPENCV.items():
        if any(map(concerns, layers)):
            raise JobError(fault)
    return ask(setting.options.opencv, "zoo_opencv.py", "forward", job)


def check_forward(setting: Setting) -> Result:
    """Compare scores: ours with those of the two others, and theirs with each other."""
    options, job = setting.options, setting.job
    scores = {
        "caffe-lrp": setting.array(lambda job: setting.ours("forward", job), "ours.npy", job),
        "PyTorch": setting.array(
            lambda job: ask(options.torch, "zoo_torch.py", "forward", job), "torch.npy", job
        ),
        "OpenCV": setting.array(lambda job: ask_opencv(setting, job), "opencv.npy", job),
    }
    row, failures, agreeing = {"net": setting.name}, [], 0
    for one, other in (("caffe-lrp", "PyTorch"), ("caffe-lrp", "OpenCV"), ("OpenCV", "PyTorch")):
        found, expected = scores[one], scores[other]
        if isinstance(found, str) or isinstance(expected, str):
            row[f"{one} / {other}"] = ""
            continue
        far = difference(found, expected)
        row[f"{one} / {other}"] = f"{far:.1e}"
        if not far <= SAME_SCORES:
            failures.append(f"{setting.name}: scores of {one} and {other} differ by {far:.1e}")
        agreeing += one == "caffe-lrp"
    row["remarks"] = "; ".join(f"{who}: {text}" for who, text in scores.items() if isinstance(text, str))
    if not agreeing:
        failures.append(f"{setting.name}: scores were not compared: {row['remarks']}")
    return Result([row], tuple(failures))


def check_formulas(setting: Setting) -> Result:
    """Run all formulas with both kinds of quirks; the memory is that of a run of the usual one alone."""
    job = replace(setting.job, formulas=FORMULAS)
    answer = setting.ours("formulas", job)
    peak = setting.ours("formulas", replace(job, formulas=(USUAL,), quirks=QUIRKS[:1]))["peak_memory"]
    seconds = {(found["formula"], found["quirks"]): found["seconds"] for found in answer["rows"]}
    row = {"net": setting.name}
    for formula in FORMULAS:
        row[f"{formula}"] = " / ".join(f"{seconds[formula, quirks]:.2f}" for quirks in QUIRKS)
    row["memory"] = f"{peak / 1e6:,.0f} MB"
    failures = [
        f"{setting.name}: formula {found['formula']}, {found['quirks']}: the map is zero or not finite"
        for found in answer["rows"]
        if not found["is_finite"]
    ]
    return Result([row], tuple(failures))


def check_conservation(setting: Setting) -> Result:
    """Compare sums at all layers, with corrected quirks and without biases.

    Once for β = 0, where nothing is lost if all products are positive, and once for β = 1.
    """
    rows, failures = [], []
    for beta in BETAS:
        formulas = tuple(formula for formula in CONSERVING if formula in DEPENDENT or beta == BETAS[0])
        job = replace(setting.job, formulas=formulas, quirks=("corrected",), epsilon=1e-9, beta=beta)
        for found in setting.ours("conservation", job)["rows"]:
            rows.append(
                {
                    "net": setting.name,
                    "formula": f"{found['formula']}, β = {beta:g}" if found["formula"] in DEPENDENT else "0",
                    "starts": f"{found['starts']:.4g}",
                    "arrives": f"{found['arrives']:.4g}",
                    "one-sided": f"{found['one_sided']:.2g}",
                    "else": f"{found['unexplained']:.1e} at {found['layer']}",
                    "absolute": f"{found['absolute']:.1e}",
                }
            )
            if not found["unexplained"] <= SAME_SUMS:
                failures.append(f"{setting.name}: sums change: {rows[-1]}")
    return Result(rows, tuple(failures))


def check_zennit(setting: Setting) -> Result:
    """Compare relevance with zennit's: the same rules, normalization merged, sums shared by contribution.

    The root of the mean square counts. Where a shortcut and its branch cancel to less than 1e-6, we share
    equally, and zennit by contributions that are a million times as large as the shared relevance. A net with
    a million sums has one or two such points, and they alone determine the largest difference.
    """
    rows, failures = [], []
    for formula in COMPARED:
        job = replace(setting.job, formulas=(formula,), quirks=("corrected",))
        answer = setting.ours("relevance", replace(job, output=str(setting.path("ours.npy"))))
        job = replace(job, elements=tuple(answer["elements"]), output=str(setting.path("zennit.npy")))
        ask(setting.options.torch, "zoo_torch.py", "relevance", job)
        ours, theirs = numbers(setting.path("ours.npy")), numbers(setting.path("zennit.npy"))
        far = float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))
        rows.append(
            {
                "net": setting.name,
                "formula": str(formula),
                "difference": f"{far:.1e}",
                "largest": f"{difference(ours, theirs):.1e}",
            }
        )
        if not far <= SAME_RELEVANCE:
            failures.append(f"{setting.name}: formula {formula} differs from zennit by {far:.1e}")
    return Result(rows, tuple(failures))


def check_command(setting: Setting) -> Result:
    """Run the command with the net's own config."""
    text = config(setting.name, setting.entry)
    seconds = run_command(setting.folder, text, setting.prototxt, setting.entry, FORMULAS, QUIRKS)
    return Result([{"net": setting.name, "seconds": f"{seconds:.1f}"}])


PARTS: dict[str, Callable[[Setting], Result]] = {
    "forward": check_forward,
    "formulas": check_formulas,
    "conservation": check_conservation,
    "zennit": check_zennit,
    "command": check_command,
}
ONLY = {"zennit": ("resnet50",)}
"""Parts that are about some nets only."""


def checked(part: str, name: str, options: argparse.Namespace) -> Result:
    """Return the result of a part for a net; a failure if it cannot be run."""
    setting = Setting(name, options, has_biases=part != "conservation")
    try:
        return PARTS[part](setting)
    except JobError as failure:
        return Result([{"net": name, "remarks": f"FAILED: {failure}"}], (f"{name}: {failure}",))
    finally:
        shutil.rmtree(setting.folder)


def table(rows: Sequence[Row]) -> str:
    """Return rows as a Markdown table with all columns that occur."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    cells = [columns, ["---"] * len(columns), *([row.get(column, "") for column in columns] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def parse_options() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    add = parser.add_argument
    add("--nets", nargs="+", choices=list(ZOO), default=list(ZOO), help="default: all")
    add("--parts", nargs="+", choices=list(PARTS), default=list(PARTS), help="default: all")
    add("--torch", default=sys.executable, metavar="PYTHON", help="a Python with PyTorch and zennit")
    add("--opencv", default=sys.executable, metavar="PYTHON", help="a Python with OpenCV 4")
    add("--folder", type=Path, metavar="DIR", help="for weights, up to 600 MB at a time")
    return parser.parse_args()


def main() -> int:
    """Run the requested checks and return the exit code."""
    options = parse_options()
    failures: list[str] = []
    for part in options.parts:
        rows: list[Row] = []
        for name in options.nets:
            if name not in ONLY.get(part, (name,)):
                continue
            result = checked(part, name, options)
            rows += result.rows
            failures += [f"{part}: {failure}" for failure in result.failures]
            print(f"  {part} {name}: {'; '.join(result.failures) or 'ok'}", file=sys.stderr, flush=True)
        if rows:
            print(f"\n{part}\n\n{table(rows)}", flush=True)
    print(f"{len(failures)} failure(s)")
    for failure in failures:
        print(f"- {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
