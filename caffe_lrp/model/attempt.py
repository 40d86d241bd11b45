"""A request to a model for one image, and its outcome."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Protocol

from caffe_lrp.errors import CaffeLrpError
from caffe_lrp.imaging.memory import ImageInput
from caffe_lrp.relevance.composite import FormulaCode
from caffe_lrp.relevance.target import Target

from .explanation import Explanation


class Request(Protocol):
    """One map to make.

    Attributes
    ----------
    image_key
        Hashable; requests with the same key are for the same image.
    source
        The image, see `Preprocessor`.
    target
        The class or classes to explain.
    formula
        Code of the formula.
    fault
        Why the image cannot be explained, if that is known in advance; else empty.
    row
        Which image it is about, from 0: the row of start vectors in a file.
    """

    @property
    def image_key(self) -> Hashable:
        """As above."""

    @property
    def source(self) -> ImageInput:
        """As above."""

    @property
    def target(self) -> Target:
        """As above."""

    @property
    def formula(self) -> FormulaCode:
        """As above."""

    @property
    def fault(self) -> str:
        """As above."""

    @property
    def row(self) -> int:
        """As above."""


@dataclass(frozen=True)
class StageTimes:
    """Seconds that a map took in each stage; its share if a stage served several maps at once."""

    decode: float = 0.0
    forward: float = 0.0
    relevance: float = 0.0
    write: float = 0.0

    @property
    def total(self) -> float:
        """Seconds in all stages."""
        return self.decode + self.forward + self.relevance + self.write


@dataclass(frozen=True, eq=False)
class Attempt:
    """The outcome of a request: an explanation, or the error.

    Attributes
    ----------
    explanation
        The explanation; None if there is an error.
    error
        The error; None if there is an explanation.
    times
        The time it took.
    """

    explanation: Explanation | None
    error: CaffeLrpError | None = None
    times: StageTimes = field(default_factory=StageTimes)

    def required(self) -> Explanation:
        """The explanation; raises the error if there is one."""
        if self.error is not None:
            raise self.error
        assert self.explanation is not None
        return self.explanation
