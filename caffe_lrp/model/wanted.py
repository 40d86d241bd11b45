"""What is asked of a model besides images and targets, and the explainer for it."""

from dataclasses import dataclass

from caffe_lrp.errors import ConfigError, ImageError, about
from caffe_lrp.relevance.composite import FormulaCode
from caffe_lrp.relevance.target import Target

from .explainer import Explainer
from .observation import dumps_of, names_of_dumps, noting
from .start_vectors import StartVectorInput, is_word, start_vector_of


@dataclass(frozen=True)
class Wanted:
    """What explanations are to be made by, and to come with.

    Attributes
    ----------
    formulas
        Codes of formulas, all different.
    layers
        Names or indices of layers whose relevance is kept.
    conservation
        Whether to record the relevance that enters and leaves every layer.
    start_vector
        What relevance starts as; None: what the model's settings say.
    """

    formulas: tuple[FormulaCode, ...]
    layers: tuple[str, ...] = ()
    conservation: bool = False
    start_vector: StartVectorInput | None = None

    @property
    def is_lasting(self) -> bool:
        """Whether it means the same next time: files and arrays may change."""
        return self.start_vector is None or is_word(self.start_vector)

    def of(self, explainer: Explainer) -> Explainer:
        """The explainer, which has plans for the formulas, with all else that is wanted.

        Raises
        ------
        ConfigError
            No image can have the start vector.
        UsageError
            There is no such layer, or nothing can be kept of the passes.
        """
        if self.start_vector is not None:
            with about(ConfigError, setting="start_vector"):
                explainer = explainer.starting_as(start_vector_of(self.start_vector))
        if not self.layers and not self.conservation:
            return explainer
        dumps = dumps_of(explainer.plan, self.layers, names_of_dumps(explainer.net))
        return explainer.observed_by(noting(dumps, sums=self.conservation))


def existing(explainer: Explainer, target: Target, setting: str) -> Target:
    """A target for all images; ImageError if the net does not have the class."""
    with about(ImageError, setting=setting):
        explainer.require_classes((target.code,))
    return target
