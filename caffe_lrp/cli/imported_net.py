"""The work of ``caffe-lrp import``: new Caffe files, a config and a report."""

import argparse
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from caffe_lrp.errors import ExitCode, ModelError, PlanError, placing, presentable
from caffe_lrp.files.together import refuse_existing, staged
from caffe_lrp.formats.importers.caffe_files import caffemodel_of, prototxt_of
from caffe_lrp.formats.importers.imported import ImportedNet, Setting
from caffe_lrp.formats.importers.table import Format, ImportOptions, format_of, read_net
from caffe_lrp.messages import counted
from caffe_lrp.model.opening import OpenedNet, open_net

from .assumptions import option_of
from .commands.import_net import PIXEL_RANGES
from .compared import Comparison, compared
from .import_report import report_of
from .new_config import config_of_import
from .terminal import remark, say

_PROTOTXT, _CONFIG, _REPORT = "deploy.prototxt", "config.yaml", "report.md"
_OPTIONS = ("input_size", "mean_values", "std_values", "channel_order", "labels", "flatten_order")
#: Size of an image that is a vector.
_ONE_PIXEL = (1, 1)
_UNKNOWN_MEAN = (
    "FILL IN: the file does not have the preprocessing of the net. Write the mean that is subtracted, in "
    "grey levels from 0 to 255: one number per channel, or one for all; 0 subtracts nothing. For nets of "
    "torchvision it is [123.675, 116.28, 103.53], and std_values is [58.395, 57.12, 57.375]"
)


@dataclass(frozen=True, eq=False)
class _Made:
    """What an import has made of a net.

    Attributes
    ----------
    opened
        The net of the new files.
    comparison
        With the source.
    config
        Text of the config.
    notices
        Notes on it.
    """

    opened: OpenedNet
    comparison: Comparison
    config: str
    notices: tuple[str, ...]


def import_net(options: argparse.Namespace) -> ExitCode:
    """Write the files, and print what became of the net and the next steps; return the exit code."""
    model, folder = options.model, Path(options.folder)
    names = (_PROTOTXT, f"{model.stem}.caffemodel", _CONFIG, _REPORT)
    refuse_existing(folder, names)
    with placing({name: option_of(name) for name in _OPTIONS}):
        form = format_of(model)
        choices = ImportOptions(input_size=options.input_size, flatten_order=options.flatten_order)
        net = read_net(model, form, choices)
        settings = _settings(options, net)
        with staged(folder) as stage:
            prototxt, caffemodel, config, report = (stage / name for name in names)
            _write_net(net, prototxt, caffemodel)
            with _blaming(model, stage):
                made = _made(form, choices, net, settings, options, prototxt, caffemodel)
            config.write_text(made.config, encoding="utf-8")
            report.write_text(
                report_of(net, made.opened.outline, made.comparison, made.notices), encoding="utf-8"
            )
    for note in (*net.notes, *made.notices):
        remark(f"note: {note}")
    if made.comparison.warning:
        remark(f"warning: {made.comparison.warning}")
    for line in _lines(net, made, settings, folder, names):
        say(presentable(line), sys.stdout)
    return ExitCode.DONE


def _write_net(net: ImportedNet, prototxt: Path, caffemodel: Path) -> None:
    prototxt.write_text(prototxt_of(net), encoding="utf-8")
    with caffemodel.open("xb") as file:
        file.writelines(caffemodel_of(net))


@contextmanager
def _blaming(model: Path, stage: Path) -> Iterator[None]:
    """Name the source in errors of the new files, which are not there any more when they are read."""
    try:
        yield
    except (ModelError, PlanError) as fault:
        text = str(fault).replace(f"{stage}{os.sep}", "")
        raise ModelError(f"{model}: was read, but its net cannot be explained: {text}") from fault


def _made(
    form: Format,
    choices: ImportOptions,
    net: ImportedNet,
    settings: Mapping[str, Setting],
    options: argparse.Namespace,
    prototxt: Path,
    caffemodel: Path,
) -> _Made:
    """Open the new files, compare them with the source, and write the config."""
    opened = open_net(prototxt, caffemodel)
    comparison = compared(form, options.model, net, choices, prototxt, caffemodel)
    known = {name: each.value for name, each in settings.items() if each.value is not None}
    given = argparse.Namespace(
        prototxt=prototxt,
        caffemodel=caffemodel,
        labels=options.labels,
        input_size=None,
        mean_file=None,
        channel_order=None,
        mean_values=known.get("mean_values", (0.0,)),
        std_values=known.get("std_values"),
    )
    config, notices = config_of_import(given, opened, prototxt.parent, settings)
    return _Made(opened, comparison, config, tuple(notices))


def _settings(options: argparse.Namespace, net: ImportedNet) -> Mapping[str, Setting]:
    """What is known of the preprocessing, from options or the format; None is left to fill in."""
    found = dict(net.settings)
    channels, *size = net.input_shape[1:]
    unit = PIXEL_RANGES[options.pixel_range or "255"]
    times = f", × {unit:g}, as pixels are from 0 to 1" if unit != 1 else ""
    if channels == 3:
        found.setdefault("channel_order", Setting("RGB", "the order of most frameworks"))
    if tuple(size) == _ONE_PIXEL:
        found = {
            "mean_values": _ZERO,
            "resize": Setting("none", "the images are NumPy files (.npy)"),
            **found,
        }
    for name in ("mean_values", "std_values"):
        values = getattr(options, name)
        if values is not None:
            found[name] = Setting(_scaled(values, unit), f"from {option_of(name)}{times}")
    if options.pixel_range == "1" and options.std_values is None:
        found["std_values"] = Setting((unit,), "the net expects pixels from 0 to 1")
    if options.pixel_range is not None and options.mean_values is None:
        found["mean_values"] = _ZERO
    if options.channel_order is not None:
        found["channel_order"] = Setting(options.channel_order, f"from {option_of('channel_order')}")
    return {"mean_values": Setting(None, _UNKNOWN_MEAN), **found}


_ZERO = Setting((0.0,), "nothing is subtracted")


def _scaled(values: Sequence[float], unit: float) -> tuple[float, ...]:
    """Numbers in grey levels, without the noise of the product."""
    return tuple(float(f"{value * unit:.9g}") for value in values)


def _lines(
    net: ImportedNet, made: _Made, settings: Mapping[str, Setting], folder: Path, names: Sequence[str]
) -> Iterator[str]:
    """Yield what was made, what is left to fill in, and the next steps."""
    shape = "×".join(map(str, net.input_shape[1:]))
    yield f"{net.source}: {net.format}; {counted(len(net.layers), 'layer')}, input {shape}"
    yield f"compared: {made.comparison.text}"
    yield f"{folder}: {', '.join(names)}"
    empty = [name for name, each in settings.items() if each.value is None]
    for name in empty:
        lines = made.config.split("\n")
        line = next(number for number, text in enumerate(lines, 1) if text.strip() == f"{name}:")
        instruction = settings[name].reason.removeprefix("FILL IN: ")
        yield f"to fill in: {folder / _CONFIG} line {line}: {name}: {instruction}"
    yield "next, once that is filled in:" if empty else "next:"
    command = f"caffe-lrp -c {shlex.quote(str(folder / _CONFIG))}"
    yield f"  {command} --dry-run"
    images = "-f LIST" if net.input_shape[2:] == _ONE_PIXEL else "--images FOLDER"
    yield f"  {command} {images} -p out"
