"""The note about maps that show nothing, one per run; nothing is printed here."""

from dataclasses import dataclass, field

from caffe_lrp.batch.events import Ended
from caffe_lrp.batch.job import HeatmapJob
from caffe_lrp.messages import listed
from caffe_lrp.model.darkness import DARK, Cause, Darkness, percent
from caffe_lrp.model.explainer import Explainer
from caffe_lrp.relevance.advice import suitable_formula
from caffe_lrp.relevance.composite import FormulaCode

from .wording import sum_text

#: Number of maps named in the note.
_MOST_NAMED = 5

#: Advice by cause; that for too few pixels depends on the net.
_ADVICE = {
    Cause.STARTS_AT_ZERO: "relevance that starts at 0: explain another class, or start at another layer "
    "(--start-layer)",
    Cause.LOST: "relevance that is lost: find the layer with --conservation, and try another formula",
    Cause.NOTHING_POSITIVE: "no positive relevance: _heatmap.png is scaled by the largest positive value, "
    "and there is none, so it is black; explain another class, or draw both signs (--outputs render)",
}


def _scored_by(explainer: Explainer) -> str:
    """Return the layer with the output where relevance starts: the last in-place layer on the start layer."""
    scores = set(explainer.plan.seeds.values())
    return next(layer.label for layer in explainer.net.layers if not scores.isdisjoint(layer.outputs))


def why_dark(darkness: Darkness, explainer: Explainer, formula: FormulaCode) -> str:
    """Return the reason why a map of ``formula`` shows nothing."""
    if darkness.cause is Cause.STARTS_AT_ZERO and explainer.vector:
        text = f"relevance starts at 0: {explainer.vector.text} is 0 at {_scored_by(explainer)}"
    elif darkness.cause is Cause.STARTS_AT_ZERO:
        subject = "the score of class" if len(darkness.classes) == 1 else "all scores of classes"
        classes = ", ".join(map(str, darkness.classes))
        verb = "is" if len(darkness.classes) == 1 else "are"
        text = f"relevance starts at 0: {subject} {classes} {verb} 0 at {_scored_by(explainer)}"
    elif darkness.cause is Cause.LOST:
        starts = sum_text(darkness.starts, darkness.amount)
        text = f"relevance is lost on the way: it starts at {starts}, but the whole map is 0"
    elif darkness.cause is Cause.NOTHING_POSITIVE:
        starts = sum_text(darkness.starts, darkness.amount)
        text = f"no pixel has positive relevance; relevance starts at {starts}"
    else:
        text = f"{percent(darkness.visible)} of the pixels are visible"
    return f"{text} (formula {formula})" if len(explainer.formulas) > 1 else text


@dataclass
class DarkMaps:
    """Collects the maps of a run that show nothing.

    Attributes
    ----------
    first
        Lines about the first of them.
    pale_formulas
        Formulas of maps with too few visible pixels.
    """

    first: list[str] = field(default_factory=list)
    pale_formulas: set[FormulaCode] = field(default_factory=set)

    def add(self, job: HeatmapJob, darkness: Darkness, line: str) -> None:
        """Add a map; ``line`` names it and the reason."""
        if len(self.first) < _MOST_NAMED:
            self.first.append(line)
        if darkness.cause is Cause.FEW_PIXELS:
            self.pale_formulas.add(job.formula)

    def note(self, ended: Ended, explainer: Explainer) -> str:
        """Return the note about all of them; empty if there are none."""
        count = sum(ended.dark.values())
        if not count:
            return ""
        advice = dict(_ADVICE)
        if self.pale_formulas:
            advice[Cause.FEW_PIXELS] = f"few visible pixels: {self._for_few_pixels(explainer)}"
        others = count - len(self.first)
        more = [f'… and {others:,} more (marked "dark" in the journal)'] if others else []
        lines = listed([*self.first, *more])
        ways = listed([text for cause, text in advice.items() if ended.dark.get(cause)])
        return (
            f"maps that show little or nothing: {count:,} of {ended.made:,} ({DARK})\n{lines}\n"
            f"what to try:\n{ways}"
        )

    def _for_few_pixels(self, explainer: Explainer) -> str:
        suitable = suitable_formula(explainer.net, explainer.net.output_value)
        if suitable.formula not in self.pale_formulas:
            return f"--formula {suitable.formula}: {suitable.reason}"
        return "look at the map of a higher layer (--first-layer), or read the numbers instead of the picture"
