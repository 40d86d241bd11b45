"""The requests of the Python interface: images of all kinds, and the target of each."""

import itertools
import os
from collections.abc import Hashable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from caffe_lrp.errors import UsageError
from caffe_lrp.imaging.memory import ImageInput
from caffe_lrp.messages import counted
from caffe_lrp.relevance.composite import Composite, FormulaCode
from caffe_lrp.relevance.target import BEST_FIVE, Target

from .schedule import MANY_IMAGES

#: Fills the shorter of the lists of images and targets.
_NOTHING: Any = object()


@dataclass(frozen=True, eq=False)
class ImageRequest:
    """A request of the Python interface for one map; see `attempt.Request`."""

    number: int
    source: ImageInput
    target: Target
    formula: FormulaCode
    fault: str = ""

    @property
    def image_key(self) -> Hashable:
        """The path of a file, or else the number of the image."""
        return self.source if isinstance(self.source, Path) else self.number

    @property
    def row(self) -> int:
        """Which of the images it is about."""
        return self.number


def target_of(value: Any, setting: str) -> Target:
    """The target that a number stands for.

    Raises
    ------
    UsageError
        It is not a target; ``setting`` names the argument at fault.
    """
    is_number = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not is_number or value < BEST_FIVE:
        raise UsageError(
            f"{value!r} must be a class number, -1 for the best class, or -2 for the five best",
            setting=setting,
        )
    return Target(int(value))


def targets_for(
    images: Iterable[ImageInput], targets: int | Iterable[int], setting: str
) -> tuple[Target | Iterable[Target], int]:
    """The targets of images, one for all or one for each, and the number of images at most.

    Raises
    ------
    UsageError
        There are not as many targets as images, or the one for all is invalid.
    """
    count = len(images) if isinstance(images, Sized) else MANY_IMAGES
    if not isinstance(targets, Iterable):
        return target_of(targets, setting), count
    if isinstance(images, Sized) and isinstance(targets, Sized) and len(targets) != count:
        raise UsageError(
            f"{len(targets)} were given for {counted(count, 'image')}; give one for each", setting=setting
        )
    return (target_of(target, setting) for target in targets), count


def requests_for(
    images: Iterable[ImageInput], targets: Target | Iterable[Target], formulas: Sequence[FormulaCode]
) -> Iterator[ImageRequest]:
    """Yield one request for every image and formula.

    Raises
    ------
    UsageError
        There are not as many targets as images.
    """
    pairs: Iterable[tuple[ImageInput, Any]] = (
        zip(images, itertools.repeat(targets))
        if isinstance(targets, Target)
        else itertools.zip_longest(images, targets, fillvalue=_NOTHING)
    )
    for number, (image, target) in enumerate(pairs):
        if image is _NOTHING or target is _NOTHING:
            raise UsageError("must have one entry per image", setting="targets")
        for formula in formulas:
            yield ImageRequest(number, source_of(image), target, formula)


def source_of(image: ImageInput) -> ImageInput:
    """The image; strings and path-like objects become a path."""
    return Path(os.fsdecode(image)) if isinstance(image, (str, os.PathLike)) else image


def refuse_odd_arguments(images: Any, batch: Any, on_error: Any) -> None:
    """UsageError for arguments that mean nothing, and for a single image: it is no list of images."""
    if on_error not in ("raise", "return"):
        raise UsageError(f"{on_error!r} is neither 'raise' nor 'return'", setting="on_error")
    if batch is not None and (not isinstance(batch, int) or batch < 1):
        raise UsageError(f"{batch!r} must be a whole number, at least 1", setting="batch")
    is_array = isinstance(images, np.ndarray) and images.ndim < 4
    if isinstance(images, (str, Path)) or is_array or not isinstance(images, Iterable):
        raise UsageError("one image was given; give a list of images, or use explain", setting="images")


def codes_of(formulas: Any) -> tuple[FormulaCode, ...]:
    """Formulas given by number or name; UsageError unless they are a list without duplicates."""
    if isinstance(formulas, str) or not isinstance(formulas, Iterable):
        raise UsageError(f"{formulas!r} is not a list; give a list of numbers and names", setting="formulas")
    codes = tuple(map(code_of, formulas))
    if not codes or len({str(code) for code in codes}) < len(codes):
        raise UsageError("must name at least one formula, and none twice", setting="formulas")
    return codes


def code_of(formula: Any) -> FormulaCode:
    """A composite, or a formula by number or name; UsageError if it is none of these."""
    if isinstance(formula, (str, Composite)):
        return formula
    if isinstance(formula, bool) or not isinstance(formula, (int, np.integer)):
        raise UsageError(
            f"{formula!r} must be the number or the name of a formula, or a composite", setting="formula"
        )
    return int(formula)


def references_of(layers: Any) -> tuple[str, ...]:
    """Layers given by name or index; UsageError unless they are a list."""
    if isinstance(layers, str) or not isinstance(layers, Iterable):
        raise UsageError(f"{layers!r} is not a list; give a list of names or indices", setting="layers")
    return tuple(map(str, layers))
