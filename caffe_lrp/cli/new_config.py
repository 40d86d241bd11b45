"""The work of ``caffe-lrp init``: writing a config for a net, and reporting it."""

import argparse
import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from caffe_lrp.config import KEYS, as_yaml, locate, require_yaml_name
from caffe_lrp.errors import ExitCode, OutputError, placing, presentable
from caffe_lrp.files.atomic import write_new
from caffe_lrp.inspection.layer_table import aligned
from caffe_lrp.messages import counted
from caffe_lrp.model.assumptions import assumed_settings
from caffe_lrp.model.labels import read_labels
from caffe_lrp.model.opening import OpenedNet, open_net
from caffe_lrp.model.preprocessing import describe_preprocessing, make_preprocessor, mean_of_prototxt
from caffe_lrp.model.settings import ModelSettings
from caffe_lrp.net.heads import head_names, head_notices
from caffe_lrp.relevance.advice import suitable_formula
from caffe_lrp.relevance.start import AUTO, Start, find_start

from .assumptions import (
    Assumption,
    assumptions_of_input,
    assumptions_of_relevance,
    option_of,
    why_no_mean,
)
from .terminal import remark, say

#: Common names of prototxts; for these, the config is named after the folder.
_COMMON_NAMES = frozenset(
    ("deploy", "inference", "model", "net", "solver", "test", "train", "train_test", "train_val", "trainval")
)
_RESIZE = "short-side"
#: Output root in new configs, below the folder of ``-p``.
_OUTPUT_ROOT = "heatmaps"
#: A key without a value.
_EMPTY = re.compile(r"\s*(\w+):")
#: Keys that are paths.
_PATHS = ("prototxt", "caffemodel", "synset_file", "mean_file")
#: Settings that only the user can give, which are not reported.
_FROM_USER = ("prototxt", "caffemodel", "synset_file", "input_size")
#: Attribute -> key in the new file.
_NAMES = {key.attribute: key.name_in_yaml for key in KEYS}
#: Settings that have an option of their own.
_OPTIONS = ("mean_values", "mean_file", "std_values", "input_size", "labels")
#: Settings of the input that are copied into the config.
_OF_INPUT = ("input_scale", "channel_order", "resize", "base_size")


@dataclass(frozen=True)
class _Draft:
    """The content of a config.

    Attributes
    ----------
    values
        Attribute -> value, in the order of the report; None: left to fill in.
    reasons
        Reasons for some of the values.
    """

    values: Mapping[str, Any]
    reasons: Mapping[str, str]


def make_config(options: argparse.Namespace) -> ExitCode:
    """Write the config, and print its settings, the values left to fill in, and the next steps."""
    path = options.config or Path(f"{_name_for(options.prototxt)}.yaml")
    require_yaml_name(path)
    if path.exists():
        raise OutputError(f"{path}: already exists; give another name with -c, or remove it first")
    with placing({name: option_of(name) for name in _OPTIONS}):
        opened = open_net(options.prototxt, options.caffemodel, input_size=options.input_size)
        origin = find_start(opened.net, AUTO)
        draft = _draft(options, opened, origin)
    paths = {name: _seen_from(path.parent, draft.values[name]) for name in _PATHS if draft.values.get(name)}
    text = as_yaml({**draft.values, **paths}, draft.reasons)
    heads = head_notices(opened.net, origin.output)
    notices = [*opened.net.notices, *heads, *_label_notices(options.labels, origin)]
    write_new(path, text)
    for notice in notices:
        remark(f"note: {notice}")
    for line in _lines(path, text, draft, opened):
        say(presentable(line), sys.stdout)
    return ExitCode.DONE


def _label_notices(labels: Path | None, origin: Start) -> Iterator[str]:
    """Yield a note if the number of labels does not match the net."""
    if labels is None:
        return
    count, classes = len(read_labels(labels)), origin.output_count
    if count != classes:
        yield f"{labels}: has {counted(count, 'line')}, but the net has {counted(classes, 'class')}"


def _name_for(prototxt: Path) -> str:
    """Return a name for the config: the prototxt's, or its folder's if the prototxt has a common name."""
    name = prototxt.name.removesuffix(".txt").removesuffix(".prototxt")
    folder = prototxt.absolute().parent.name
    return folder if folder and name.lower() in _COMMON_NAMES else name


def _draft(options: argparse.Namespace, opened: OpenedNet, origin: Start) -> _Draft:
    """Return the content of the config."""
    caffemodel, labels = options.caffemodel, options.labels
    values: dict[str, Any] = {"prototxt": options.prototxt, "caffemodel": caffemodel}
    if options.input_size is not None:
        values["input_size"] = options.input_size
    reasons: dict[str, str] = {}
    if caffemodel is None:
        reasons["caffemodel"] = (
            "FILL IN: no caffemodel was given. Write its path, relative to the folder of this file"
        )
    if labels is not None:
        values["synset_file"] = labels
    else:
        reasons["synset_file"] = "without a file, classes are shown by number"
    for part in (_of_relevance(opened, origin), _of_input(options, opened)):
        values |= part.values
        reasons |= part.reasons
    return _Draft(values, reasons)


def _of_relevance(opened: OpenedNet, origin: Start) -> _Draft:
    """Return the settings of start layer, head and formula."""
    net = opened.net
    told = {each.setting: each.reason for each in assumptions_of_relevance(net, origin)}
    values: dict[str, Any] = {"start_layer": AUTO}
    reasons = {"start_layer": told["start_layer"], "formula": told["formula"]}
    if len(net.outputs) > 1:
        values["head"] = net.value_names[origin.output]
        reasons["head"] = f"the heads of this net: {head_names(net, net.outputs)}"
    values |= {
        "class_count": origin.output_count,
        "output_root": _OUTPUT_ROOT,
        "formula": suitable_formula(net, origin.output).formula,
    }
    reasons["output_root"] = "below the folder given with -p"
    reasons["path_root"] = "unless given, the whole path; with --images, the path inside that folder"
    return _Draft(values, reasons)


def _of_input(options: argparse.Namespace, opened: OpenedNet) -> _Draft:
    """Return the settings of preprocessing."""
    deployed = opened.deployed
    said = {name: getattr(options, name) for name in ("mean_values", "mean_file", "std_values")}
    said = {"resize": _RESIZE} | {name: value for name, value in said.items() if value is not None}
    settings = ModelSettings(prototxt=options.prototxt, caffemodel=options.caffemodel or Path(), **said)
    assumed = assumed_settings(deployed, settings, said)
    unknown = _unknown_mean(settings, opened, said)
    if unknown:
        guess = assumed.setdefault("mean_values", (0.0,))  # until the user fills it in
        unknown += (
            " Write one number per channel, in the order the net expects, or one for all, such as "
            f"[{_shown(guess)}], which caffe-lrp explain guesses; 0 subtracts nothing. Or write mean_file"
        )
    settings = replace(settings, **assumed)
    preprocessor, _ = make_preprocessor(settings, deployed)
    described = describe_preprocessing(settings, deployed, preprocessor)
    told = [*assumptions_of_input(described, opened.net.input_shape, assumed)]
    values, reasons = _mean(described, said, told)
    if unknown:
        values, reasons = {"mean_values": None}, {"mean_values": unknown}
    if "std_values" in said:
        values["std_values"], reasons["std_values"] = said["std_values"], f"from {option_of('std_values')}"
    kept = {each.setting for each in told}.intersection(_OF_INPUT)
    values |= {name: described[name] for name in _OF_INPUT if name in kept}
    return _Draft(values, {each.setting: each.reason for each in told if each.setting in kept} | reasons)


def _unknown_mean(settings: ModelSettings, opened: OpenedNet, said: Mapping[str, Any]) -> str:
    """Return the instruction for filling in the mean; empty if it is known."""
    if {"mean_values", "mean_file"}.intersection(said):
        return ""
    source, named = opened.deployed.source, mean_of_prototxt(settings, opened.deployed)
    if named is not None and not named.is_file():
        return f"FILL IN: {source} names the mean image {named}, which does not exist."
    if opened.deployed.transform is None:
        return f"FILL IN: {why_no_mean(source)}."
    return ""


def _mean(
    described: Mapping[str, Any], said: Mapping[str, Any], told: list[Assumption]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the known mean, and its source."""
    reasons = {each.setting: each.reason for each in told if each.setting.startswith("mean_")}
    if "mean_file" in described:
        found = {"mean_file": Path(described["mean_file"]), "mean_format": described["mean_format"]}
    else:
        found = {"mean_values": tuple(described["mean_values"])}
    return found, {name: f"from {option_of(name)}" if name in said else why for name, why in reasons.items()}


def _seen_from(folder: Path, path: Path) -> Path:
    """Return a path as written in a config in ``folder``: relative, unless that leads to another file."""
    whole, above = path.absolute(), folder.absolute()
    relative = Path(os.path.relpath(whole, above))
    found = locate(relative, folder)
    is_near = os.path.commonpath((whole, above)) != "/"
    return relative if is_near and found.exists() and found.samefile(whole) else whole


def _lines(path: Path, text: str, draft: _Draft, opened: OpenedNet) -> Iterator[str]:
    """Yield the settings and their reasons, the values left to fill in, and the next steps."""
    channels, height, width = opened.net.input_shape
    yield f"{path}: a config for {opened.net.source}, whose input is {channels}×{height}×{width}"
    yield from aligned(
        [
            (f"  {_NAMES[name]}", " ".join(_shown(value).split()), draft.reasons.get(name, ""))
            for name, value in draft.values.items()
            if value is not None and name not in _FROM_USER
        ]
    )
    empty = [name for name, value in draft.values.items() if value is None]
    for name in empty:
        line = next(n for n, found in enumerate(text.split("\n"), 1) if _is_empty(found, name))
        yield f"to fill in: {path} line {line}: {name}: {draft.reasons[name].removeprefix('FILL IN: ')}"
    yield "next, once that is filled in:" if empty else "next:"
    command = f"caffe-lrp -c {shlex.quote(str(path))}"
    yield f"  {command} --dry-run"
    yield f"  {command} --images FOLDER -p out"


def _is_empty(line: str, name: str) -> bool:
    found = _EMPTY.fullmatch(line)
    return found is not None and found[1] == name


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(f"{number:g}" for number in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
