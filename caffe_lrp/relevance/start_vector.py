"""Start vectors: what relevance starts as, over the classes of the start layer, and the words for them.

A table with a row for each kind. Relevance depends linearly on where it starts, so a start
vector may have either sign. Kinds with a contrast take two backward passes, whose maps are combined at the
image. Nothing here knows how relevance is propagated.
"""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from caffe_lrp.errors import ConfigError
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.messages import did_you_mean
from caffe_lrp.net.heads import are_probabilities
from caffe_lrp.net.net import Net

from . import start_amounts as amounts
from .rule_names import LARGEST_NUMBER, NUMBER
from .start import Start
from .start_amounts import OTHERS, RUNNER_UP, Scored

#: The kind whose numbers are given as an array.
GIVEN = "FILE.npy"

_WEIGHT = re.compile(r"\s*([0-9]{1,9})\s*=\s*(\S+)\s*")


#: Relevance (C, P) of an item at the start layer, from its scores and the argument of the kind.
Amounts = Callable[[Scored, Any], Blob]


@dataclass(frozen=True)
class Kind:
    """One row of the table.

    Attributes
    ----------
    form
        How it is written: ``difference:CLASS``.
    help
        What relevance starts as, in a few words.
    start
        The start vector.
    contrast
        The start vector of a second pass, whose map is scaled to the same sum and subtracted; None: there is
        one pass.
    parse
        The argument from its text; a ValueError tells what is wrong with it. None: there is no argument.
    classes
        The classes that an argument names.
    is_for_targets
        Whether it depends on the classes that an item is explained for.
    is_of_probabilities
        Whether it needs scores that are no probabilities yet.
    has_others
        Whether it needs a class that is not explained.
    is_clamped
        Whether negative relevance is set to 0 in the end.
    """

    form: str
    help: str
    start: Amounts
    contrast: Amounts | None = None
    parse: Callable[[str], Any] | None = None
    classes: Callable[[Any], Iterable[int]] = lambda argument: ()
    is_for_targets: bool = True
    is_of_probabilities: bool = False
    has_others: bool = False
    is_clamped: bool = False

    @property
    def name(self) -> str:
        """The word that it begins with."""
        return self.form.partition(":")[0]


@dataclass(frozen=True, eq=False)
class StartVector:
    """A start vector as somebody asked for it.

    Attributes
    ----------
    text
        How it was written.
    kind
        Row of the table.
    argument
        What stands after the colon; of arrays the numbers: (classes,) or (lines, classes) float32.
    """

    text: str
    kind: Kind
    argument: Any = None

    @property
    def is_given(self) -> bool:
        """Whether its numbers were given as an array."""
        return self.kind.form == GIVEN

    @property
    def rows(self) -> int | None:
        """Number of rows of an array that has one for each image; None if it is the same for all."""
        return len(self.argument) if self.is_given and self.argument.ndim == 2 else None


# --- Their arguments ----------------------------------------------------------------------------------------


def _index(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text):
        raise ValueError("must be a whole number, at least 0")
    return int(text)


def _class_or_word(text: str) -> int | str:
    if text in (OTHERS, RUNNER_UP):
        return text
    try:
        return _index(text)
    except ValueError:
        words = (OTHERS, RUNNER_UP)
        raise ValueError(f"must be {', '.join(words)} or a class number{did_you_mean(text, words)}") from None


def _weights_of(text: str) -> tuple[tuple[int, float], ...]:
    weights: dict[int, float] = {}
    for part in text.split(","):
        match = _WEIGHT.fullmatch(part)
        if not match or not NUMBER.fullmatch(match[2]):
            raise ValueError("must be classes and their weights, such as 281=1,285=-0.5")
        index, weight = int(match[1]), float(match[2])
        if index in weights:
            raise ValueError(f"has a weight for class {index} twice")
        if abs(weight) > LARGEST_NUMBER:
            raise ValueError(f"must have weights of at most {LARGEST_NUMBER:g}")
        weights[index] = weight
    return tuple(weights.items())


SCORE = Kind("score", "the score of the class; the default", amounts.score)
ONE = Kind("one", "1 at the class", amounts.one)
ARRAY = Kind(GIVEN, "numbers from a file, one per class", amounts.given, is_for_targets=False)

#: All kinds, as the manual lists them. y is the softmax of the scores, f a score, t the explained class.
KINDS: tuple[Kind, ...] = (
    SCORE,
    ONE,
    Kind(
        "difference:CLASS",
        "the score of the class, less that of another",
        amounts.difference,
        parse=_index,
        classes=lambda other: [other],
    ),
    Kind(
        "softmax-gradient",
        "the gradient of the class's probability: yₜ (1 − yₜ) at class t, −yₜ yᵢ elsewhere",
        amounts.softmax_gradient,
        is_of_probabilities=True,
        has_others=True,
    ),
    Kind(
        "contrast:others|runner-up|CLASS",
        "the score of the class, against those of all others, the best other, or one",
        amounts.score,
        amounts.contrast,
        parse=_class_or_word,
        classes=lambda other: [other] if isinstance(other, int) else [],
        has_others=True,
    ),
    Kind(
        "clrp",
        "the score fₜ of the class, against fₜ / (C − 1) at each other; only positive relevance",
        amounts.score,
        amounts.shared_score,
        has_others=True,
        is_clamped=True,
    ),
    Kind(
        "sglrp",
        "yₜ (1 − yₜ) at class t, against yₜ yᵢ elsewhere",
        amounts.probable,
        amounts.improbable,
        is_of_probabilities=True,
        has_others=True,
    ),
    Kind(
        "weights:CLASS=W,…",
        "weighted scores of classes",
        amounts.weighted,
        parse=_weights_of,
        classes=lambda weights: [index for index, _ in weights],
        is_for_targets=False,
    ),
    Kind(
        "unit:N",
        "the activation of element N of the start layer",
        amounts.unit,
        parse=_index,
        is_for_targets=False,
    ),
    Kind(
        "channel:N",
        "the activations of channel N of the start layer",
        amounts.channel,
        parse=_index,
        is_for_targets=False,
    ),
    ARRAY,
)

_BY_NAME = {kind.name: kind for kind in KINDS if kind is not ARRAY}


def parse_start_vector(text: str) -> StartVector:
    """The start vector that a text means; files are not among them.

    Raises
    ------
    ConfigError
        It means none, or its argument is missing or wrong.
    """
    name, colon, argument = text.strip().partition(":")
    kind = _BY_NAME.get(name)
    if kind is None:
        forms = ", ".join(each.form for each in KINDS)
        raise ConfigError(f"there is no start vector '{text}'{did_you_mean(name, _BY_NAME)}; give {forms}")
    if kind.parse is None:
        if colon:
            raise ConfigError(f"the start vector '{text}' must have nothing after '{name}'")
        return StartVector(text, kind)
    if not argument:
        raise ConfigError(f"the start vector '{text}' is incomplete; write {kind.form}")
    try:
        return StartVector(text, kind, kind.parse(argument.strip()))
    except ValueError as error:
        raise ConfigError(f"the start vector '{text}': {argument!r} {error}; write {kind.form}") from None


def refuse_misfit(vector: StartVector, origin: Start, net: Net, class_count: int) -> None:
    """Refuse a start vector that cannot be had of any image.

    Parameters
    ----------
    vector
        The start vector.
    origin
        Where relevance starts.
    net
        The net.
    class_count
        Number of classes that are ranked.

    Raises
    ------
    ConfigError
        It names a class or element that the start layer does not have, or needs what the net has not.
    """
    label, count = origin.layer.label, origin.class_count
    shape, argument = net.shape_of(next(iter(origin.seeds))), vector.argument
    if vector.is_given and argument.shape[-1] != count:
        shown = "×".join(map(str, argument.shape))
        raise ConfigError(
            f"{vector.text}: holds {shown} numbers, but relevance starts at {label}, which has {count} "
            "classes; give an array (classes,), or (lines, classes) with a row for each image"
        )
    most = {"unit": math.prod(shape), "channel": shape[0]}.get(vector.kind.name)
    if most is not None and argument >= most:
        raise ConfigError(
            f"the start vector '{vector.text}': {label} has {most} {vector.kind.name}s, 0 to {most - 1}"
        )
    absent = next((each for each in vector.kind.classes(argument) if each >= count), None)
    if absent is not None:
        raise ConfigError(
            f"the start vector '{vector.text}': class {absent} does not exist; {label} has {count} classes, "
            f"0 to {count - 1}"
        )
    if vector.kind.has_others and min(class_count, count) < 2:
        raise ConfigError(
            f"the start vector '{vector.text}' compares classes, but there is only one; use score"
        )
    if vector.kind.is_of_probabilities and any(
        are_probabilities(net, each) for each in origin.seeds.values()
    ):
        raise ConfigError(
            f"the start vector '{vector.text}' takes the softmax of the scores, but {label} gives "
            "probabilities already; start below it (--start-layer)"
        )
