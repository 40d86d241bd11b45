"""The work of ``caffe-lrp import``: Caffe files from another format, a comparison of both nets, a report."""

import argparse
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_lrp import __version__
from caffe_lrp.errors import ExitCode, ModelError, OutputError, about
from caffe_lrp.files.atomic import make_folder, why_unwritable, write_new
from caffe_lrp.formats.importers.caffe_files import caffemodel_of, prototxt_of
from caffe_lrp.formats.importers.imported import ImportedNet
from caffe_lrp.formats.importers.table import Format, format_of
from caffe_lrp.inspection.layer_table import aligned
from caffe_lrp.messages import counted
from caffe_lrp.model.model import Model
from caffe_lrp.model.settings import ModelSettings

from .new_config import make_config
from .terminal import remark, say

#: Inputs that both nets are run on, and the seed of their numbers.
_SAMPLES, _SEED = 2, 0
#: Larger differences of scores, compared with the largest score, are worth a look.
_LARGEST_DIFFERENCE = 1e-4
_WHITE = 255.0


@dataclass(frozen=True)
class _Files:
    """The new files."""

    prototxt: Path
    caffemodel: Path
    config: Path
    report: Path

    @classmethod
    def of(cls, folder: Path, model: Path) -> "_Files":
        """The files of a model in a folder."""
        return cls(
            folder / "deploy.prototxt",
            folder / f"{model.stem or 'net'}.caffemodel",
            folder / "config.yaml",
            folder / "report.txt",
        )

    @property
    def all(self) -> tuple[Path, ...]:
        """All of them."""
        return self.prototxt, self.caffemodel, self.config, self.report


def import_model(options: argparse.Namespace) -> ExitCode:
    """Write the files, and say what was made and how well it agrees."""
    kind = format_of(options.model)
    files = _Files.of(options.folder, options.model)
    present = next((path for path in files.all if path.exists()), None)
    if present is not None:
        raise OutputError(f"{present}: already exists; choose another folder, or remove it first")
    say(f"{options.model}: {kind.name}; reading its layers", sys.stdout)
    net = kind.read(options.model, options.input_size)
    with _nothing_left_behind(options.folder, files):
        write_new(files.prototxt, prototxt_of(net))
        _write_weights(files.caffemodel, net)
        say(_written_line(net, files), sys.stdout)
        verdict = _compared(options.model, net, files)
        write_new(files.report, "\n".join(_report(net, verdict)) + "\n")
        code = make_config(_options_of_config(options, kind, files))
    say(f"{files.report}: what each layer was made from, and {verdict}", sys.stdout)
    return code


@contextmanager
def _nothing_left_behind(folder: Path, files: _Files) -> Iterator[None]:
    """Make the folder, and remove the new files, and the folder if it is new, if anything goes wrong."""
    is_new = not folder.exists()
    try:
        make_folder(folder, is_synced=False)
    except (OSError, ValueError) as fault:
        raise OutputError(f"{folder}: cannot be made: {why_unwritable(fault)}") from fault
    try:
        yield
    except BaseException:
        for path in files.all:
            path.unlink(missing_ok=True)
        if is_new:
            folder.rmdir()
        raise


def _write_weights(path: Path, net: ImportedNet) -> None:
    try:
        with path.open("xb") as file:
            file.writelines(caffemodel_of(net))
    except OSError as fault:
        raise OutputError(f"{path}: cannot be written: {why_unwritable(fault)}") from fault


def _written_line(net: ImportedNet, files: _Files) -> str:
    numbers = sum(blob.size for layer in net.layers for blob in layer.blobs)
    return (
        f"{files.prototxt}, {files.caffemodel.name}: {counted(len(net.layers), 'layer')}, {numbers:,} "
        f"parameters, input {'×'.join(map(str, net.input_shape))}"
    )


def _options_of_config(options: argparse.Namespace, kind: Format, files: _Files) -> argparse.Namespace:
    """The options by which ``caffe-lrp init`` would write the config."""
    scale = 1.0 if options.pixel_range == "255" else _WHITE
    mean, deviation = options.mean_values, options.std_values
    if scale != 1 and mean is None:
        mean = (0.0,)
    if scale != 1 and deviation is None:
        deviation = (1.0,)
    return argparse.Namespace(
        prototxt=files.prototxt,
        caffemodel=files.caffemodel,
        config=files.config,
        mean_values=_scaled(mean, scale),
        mean_file=None,
        std_values=_scaled(deviation, scale),
        channel_order=options.channel_order or ("RGB" if kind.is_rgb else None),
        input_size=None,
        labels=options.labels,
    )


def _scaled(numbers: tuple[float, ...] | None, scale: float) -> tuple[float, ...] | None:
    return None if numbers is None else tuple(round(number * scale, 6) for number in numbers)


def _compared(path: Path, net: ImportedNet, files: _Files) -> str:
    """How well the scores of both nets agree, in words."""
    settings = ModelSettings(prototxt=files.prototxt, caffemodel=files.caffemodel, mean_values=(0.0,))
    inputs = np.random.default_rng(_SEED).standard_normal((_SAMPLES, *net.input_shape[1:])).astype(np.float32)
    with about(ModelError, place=path), Model(settings) as model:
        ours = model.forward(inputs)
    theirs = _by_onnxruntime(path, inputs)
    if theirs is None:
        return 'the nets were not compared: that takes onnxruntime (pip install "caffe-lrp[onnx]")'
    difference = _difference(ours, theirs)
    if difference > _LARGEST_DIFFERENCE:
        remark(f"note: scores differ by {difference:.2g} of the largest one; look before you trust the net")
    return f"scores differ from onnxruntime's by at most {difference:.2g} of the largest one"


def _by_onnxruntime(path: Path, inputs: NDArray[np.float32]) -> list[NDArray[Any]] | None:
    """The outputs of the original net, for each input one after the other; None without onnxruntime."""
    try:
        import onnxruntime  # noqa: PLC0415 - an extra
    except ImportError:
        return None
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (name,) = (each.name for each in session.get_inputs())
    runs = [session.run(None, {name: one[np.newaxis]}) for one in inputs]
    return [np.concatenate(outputs) for outputs in zip(*runs, strict=True)]


def _difference(ours: Mapping[str, NDArray[np.float32]], theirs: list[NDArray[Any]]) -> float:
    """The largest difference of the scores, compared with the largest score."""
    (scores,) = ours.values()
    wanted = next(output for output in theirs if output.size == scores.size)
    return float(np.abs(scores.ravel() - wanted.ravel()).max() / max(np.abs(wanted).max(), 1e-30))


def _report(net: ImportedNet, verdict: str) -> Iterator[str]:
    """The lines of the report."""
    yield f"{net.source}: {net.format}"
    yield f"turned into Caffe files by caffe-lrp {__version__}; {verdict}"
    yield ""
    yield from aligned([["layer", "type", "made from"], *_rows(net)])
    if net.notes:
        yield ""
        yield from net.notes


def _rows(net: ImportedNet) -> Iterator[list[str]]:
    for layer in net.layers:
        yield [layer.name, layer.type, layer.source or "added"]
