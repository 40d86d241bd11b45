"""The work of ``caffe-lrp explain``: a picture of each image, and its classes."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

from caffe_lrp.errors import (
    CaffeLrpError,
    ExitCode,
    ImageError,
    OutputError,
    UsageError,
    about,
    placing,
    presentable,
)
from caffe_lrp.files.atomic import make_folder, why_unwritable, write_atomically
from caffe_lrp.inspection.layer_table import aligned
from caffe_lrp.kernels._jit import CACHE_FOLDER
from caffe_lrp.machine.resources import allowed_processors
from caffe_lrp.messages import listed
from caffe_lrp.model.assumptions import assumed_settings
from caffe_lrp.model.compiling import compiling
from caffe_lrp.model.explainer import Explainer, deployed_of
from caffe_lrp.model.explanation import Explanation
from caffe_lrp.model.model import Model
from caffe_lrp.model.notices import notices_on
from caffe_lrp.model.settings import ModelSettings
from caffe_lrp.model.start_vectors import refuse_ranks
from caffe_lrp.outputs.encoding import Encoding
from caffe_lrp.outputs.kinds import suffix_of
from caffe_lrp.outputs.pictures import render_file
from caffe_lrp.relevance.composite import FormulaCode
from caffe_lrp.relevance.target import Target
from caffe_lrp.rendering.style import PictureStyle, picture_style

from .assumptions import assumption_lines, assumptions_of, guess_of_mean, option_of
from .commands.explain import SETTINGS
from .compiler_reporter import CompilerReporter
from .dark_maps import why_dark
from .explained_sheet import ExplainedSheet
from .picture_options import picture_options_of
from .sheet_file import require_room, write_sheet
from .terminal import coloured, remark, remarking_logs, say, table_width
from .turned_images import TurnedImages

#: Number of classes shown for every image.
_MOST_SHOWN = 5
_BEST = Target(-1)


@dataclass(frozen=True)
class _Map:
    """One picture to make.

    Attributes
    ----------
    image
        Path of the image.
    formula
        Code of the formula.
    target
        Target to explain.
    path
        The picture.
    """

    image: Path
    formula: FormulaCode
    target: Target
    path: Path


@dataclass(frozen=True)
class _Plan:
    """The pictures to make of some images.

    Attributes
    ----------
    images
        Paths of the images, all different.
    formulas
        Codes of the formulas; the same number of pictures for each.
    targets
        The targets of every image: one target, or ranks counted from 1.
    folder
        Folder for the pictures.
    """

    images: tuple[Path, ...]
    formulas: tuple[FormulaCode, ...]
    targets: tuple[Target, ...]
    folder: Path

    @cached_property
    def maps(self) -> tuple[_Map, ...]:
        """All pictures: for every image each formula, for every formula each target."""
        return tuple(
            _Map(image, formula, target, self.folder / f"{image.name}{ending}{suffix_of('render')}")
            for image in self.images
            for formula, target, ending in self._endings
        )

    @property
    def _endings(self) -> list[tuple[FormulaCode, Target, str]]:
        kinds = [(formula, target) for formula in self.formulas for target in self.targets]
        if len(kinds) == 1:
            return [(*kinds[0], "")]
        return [(formula, target, f"_f{formula}_{target.label}") for formula, target in kinds]

    def require_names(self, *, overwrite: bool) -> None:
        """Refuse pictures that would overwrite others.

        Raises
        ------
        UsageError
            Two images have the same name.
        OutputError
            A picture exists and must not be replaced.
        """
        images: dict[Path, Path] = {}
        for each in self.maps:
            other = images.setdefault(each.path, each.image)
            if other != each.image:
                raise UsageError(
                    f"{other} and {each.image} would both be written to {each.path}; explain them "
                    "separately, into different folders (-p)"
                )
        present = [str(path) for path in images if path.exists()]
        if present and not overwrite:
            raise OutputError(
                "these pictures already exist; add --overwrite to replace them, or choose another "
                f"folder (-p):\n{listed(present, 5)}"
            )


def show_images(options: argparse.Namespace) -> ExitCode:
    """Write the pictures, and print the classes of the images."""
    said = {name: value for name in SETTINGS if (value := getattr(options, name)) is not None}
    if options.labels is not None:
        said["labels"] = options.labels
    if options.start_vector is not None:
        said["start_vector"] = options.start_vector
    if options.formulas:
        said["formula"] = options.formulas[0]
    if options.sheet:
        require_room(options.sheet, overwrite=options.overwrite)
    pictures = picture_options_of(options)
    settable = (*SETTINGS, "labels", "start_vector", "formula", "target", *pictures)
    with placing({name: option_of(name) for name in settable}):
        style = picture_style(pictures)
        settings = ModelSettings(prototxt=options.prototxt, caffemodel=options.caffemodel, **said)
        deployed, _ = deployed_of(settings)
        assumed = assumed_settings(deployed, settings, said)
        with remarking_logs(), Model(replace(settings, **assumed)) as model:
            plan = _plan_of(options, model)
            view = _View(model, plan, style, ExplainedSheet(plan.images, style) if options.sheet else None)
            view.show_net(said, assumed)
            view.compile(options)
            code = view.show_maps()
            if view.sheet:
                write_sheet(options.sheet, view.sheet.drawn(), style)
            return code


def _plan_of(options: argparse.Namespace, model: Model) -> _Plan:
    """Return the plan, or raise an error if it cannot be carried out."""
    targets: tuple[Target, ...] = (options.target or _BEST,)
    with about(ImageError, setting="target"):
        model.explainer(()).require_classes((targets[0].code,))
    if options.top is not None:
        if options.top > model.output_count:
            raise UsageError(f"--top: {options.top} is more than the {model.output_count} classes of the net")
        refuse_ranks(model.explainer(()).vector)
        targets = tuple(Target(_BEST.code, rank) for rank in range(1, options.top + 1))
    formulas = options.formulas or (model.formula,)
    plan = _Plan(tuple(dict.fromkeys(options.images)), formulas, targets, Path(options.prepath))
    plan.require_names(overwrite=options.overwrite)
    try:
        make_folder(plan.folder, is_synced=False)
    except OSError as fault:
        raise OutputError(f"{plan.folder}: cannot be made: {why_unwritable(fault)}") from fault
    return plan


@dataclass(frozen=True)
class _View:
    """Explaining images one after the other: prints their classes and draws their maps."""

    model: Model
    plan: _Plan
    style: PictureStyle
    sheet: ExplainedSheet | None = None

    @cached_property
    def explainer(self) -> Explainer:
        """The explainer of the net, with plans for all formulas."""
        return self.model.explainer(self.plan.formulas)

    def show_net(self, said: dict[str, Any], assumed: dict[str, Any]) -> None:
        """Print the assumed settings of the net, and notes about it."""
        options = {name: option_of(name) for name in (*SETTINGS, "start_vector")}
        notices = [notice.placed(options) for notice in notices_on(self.explainer)]
        for text in (*CACHE_FOLDER.notices, *notices):
            if text not in self.explainer.remarks:  # remarks about images in the prototxt are printed below
                remark(f"note: {text}")
        width = table_width() if sys.stdout.isatty() else None
        for line in assumption_lines([*assumptions_of(self.explainer, said, assumed)], width):
            say(line, sys.stdout)
        if guess := guess_of_mean(assumed, self.explainer.deployed.source):
            remark(f"note: {guess}")

    def compile(self, options: argparse.Namespace) -> None:
        """Compile everything that explanations need, and show progress; pictures need nothing else."""
        steps = compiling(self.explainer, lambda explanation: None, "", allowed_processors())
        with closing(CompilerReporter()) as reporter, closing(steps), options.halt.finishing():
            for step in steps:
                reporter.show(step)
                if options.halt.requested:
                    raise KeyboardInterrupt

    def show_maps(self) -> ExitCode:
        """Make all pictures; return the exit code."""
        failed, turned = 0, TurnedImages()
        for image, pairs in groupby(self._explained(), lambda pair: pair[0].image):
            maps = [*pairs]
            failed += not self._show_image(image, maps)
            if any(isinstance(found, Explanation) and found.is_turned for _, found in maps):
                turned.add(str(image))
        if note := turned.note():
            remark(f"note: {note}")
        if failed and len(self.plan.images) > 1:
            how = coloured(f"{failed} of {len(self.plan.images)} images failed", "bad", sys.stderr)
            remark(f"{how} (reasons above)")
        return ExitCode.IMAGES_FAILED if failed else ExitCode.DONE

    def _explained(self) -> Iterator[tuple[_Map, Explanation | CaffeLrpError]]:
        """Yield every map with its explanation, or the error."""
        plan, model = self.plan, self.model
        each = len(plan.targets)
        found = model.explain_all(plan.images, plan.targets[0].code, plan.formulas, on_error="return")
        with closing(found):
            for number, first in enumerate(found):
                maps = plan.maps[number * each : (number + 1) * each]
                yield maps[0], first
                if isinstance(first, Explanation):
                    yield from zip(maps[1:], self._of_lower_ranks(maps, first), strict=True)

    def _of_lower_ranks(
        self, maps: Sequence[_Map], first: Explanation
    ) -> Iterator[Explanation | CaffeLrpError]:
        """Yield maps and explanations of the classes after the best one, each explained separately."""
        for each, scored in zip(maps[1:], first.top(len(maps))[1:], strict=True):
            try:
                yield self.model.explain(each.image, scored.class_index, each.formula)
            except ImageError as fault:
                yield fault

    def _show_image(self, image: Path, maps: Sequence[tuple[_Map, Explanation | CaffeLrpError]]) -> bool:
        """Print the classes of an image, and draw its maps; return whether all of it succeeded."""
        explanations = [found for _, found in maps if isinstance(found, Explanation)]
        if explanations:
            say(presentable(str(image)), sys.stdout)
            for line in _class_lines(explanations):
                say(line, sys.stdout)
        faults: dict[str, None] = {}  # maps of one image usually fail for the same reason
        drawn = []
        for each, found in maps:
            try:
                drawn.append(self._paint(each, found))
            except ImageError as fault:
                name = f"{image}: "
                faults[presentable(name) + str(fault).removeprefix(name)] = None
        if self.sheet:
            self.sheet.add(image, drawn)
        for text in faults:
            remark(f"{coloured('failed', 'bad', sys.stderr)}: {text}")
        return not faults

    def _paint(self, wanted: _Map, found: Explanation | CaffeLrpError) -> tuple[Explanation, bytes]:
        """Write a picture, print its path, and return both; raise ImageError without an explanation."""
        if not isinstance(found, Explanation):
            raise found
        content = render_file(found, Encoding(picture=self.style))
        write_atomically(wanted.path, content)
        say(presentable(f"  {self._about(found)}: {wanted.path}"), sys.stdout)
        if found.darkness:
            why = why_dark(found.darkness, self.explainer, found.formula)
            remark(f"note: {presentable(str(wanted.path))}: {why}")
        return found, content

    def _about(self, explanation: Explanation) -> str:
        """Return the target of a picture, and its formula if there are several."""
        vector = self.explainer.vector
        noun = "class" if len(explanation.target) == 1 else "classes"
        text = f"{noun} {', '.join(map(str, explanation.target))} explained"
        if vector:
            text = f"{text} with {vector.text}" if vector.kind.is_for_targets else f"{vector.text} explained"
        return f"{text} by formula {explanation.formula}" if len(self.plan.formulas) > 1 else text


def _class_lines(maps: Sequence[Explanation]) -> Iterator[str]:
    """Return a table of the best classes and of the explained ones."""
    first = maps[0]
    best = first.top(_MOST_SHOWN)
    ranks: dict[int, str] = {each.class_index: str(rank) for rank, each in enumerate(best, 1)}
    for each in maps:
        rank = "-" if each.rank is None else str(each.rank)
        for index in each.target:
            ranks.setdefault(index, rank)
    header = "probability" if first.scores_are_probabilities else "score"
    rows = [("  rank", "class", header, "label" if first.labels else "")]
    for index, rank in ranks.items():
        label = first.label_of(index) if first.labels else ""
        rows.append((f"  {rank}", str(index), first.score_text(float(first.scores[index])), label))
    yield from aligned(rows, right={1, 2})
