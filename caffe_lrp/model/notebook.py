"""The HTML of an explanation in a notebook: a picture, and the scores."""

import base64
import html
import io
from typing import TYPE_CHECKING

from caffe_lrp.errors import UsageError

if TYPE_CHECKING:
    from .explanation import Explanation

#: Smaller pictures are enlarged to this size, in pixels of the screen.
_LEAST_WIDTH = 320
_MOST_SHOWN = 5


def as_html(explanation: "Explanation") -> str:
    """The heatmap over the picture that the net saw, and the best classes next to it.

    If the backward pass ends above the image, the heatmap is shown alone; if the relevance is not a map, a
    text says so.
    """
    return (
        '<div style="display: flex; gap: 1.5em; align-items: center">'
        f"{_picture(explanation)}<div>{_sentence(explanation)}{_table(explanation)}</div></div>"
    )


def _picture(explanation: "Explanation") -> str:
    """The picture; if the relevance is not a map, the reason."""
    lies_on_picture = explanation.relevance.shape[1:] == explanation.input.shape[:2]
    try:
        picture = explanation.heatmap(size="net", mode="overlay" if lies_on_picture else "plain")
    except UsageError as fault:
        return f"<p>{html.escape(str(fault))}</p>"
    file = io.BytesIO()
    picture.save(file, "PNG")
    source = base64.b64encode(file.getvalue()).decode("ascii")
    width = max(picture.width, _LEAST_WIDTH)
    return (
        f'<img src="data:image/png;base64,{source}" alt="heatmap" '
        f'style="width: {width}px; image-rendering: pixelated">'
    )


def _sentence(explanation: "Explanation") -> str:
    """The caption of the picture."""
    noun = "class" if len(explanation.target) == 1 else "classes"
    classes = ", ".join(f"{index}{_label(explanation, index)}" for index in explanation.target)
    kind = "probability" if explanation.scores_are_probabilities else "score"
    score = f"{kind} {html.escape(explanation.score_text(explanation.score))}"
    return (
        f"<p><b>{html.escape(explanation.source)}</b><br>"
        f"evidence for {noun} {classes}, {score}, formula {explanation.formula}</p>"
    )


def _table(explanation: "Explanation") -> str:
    """The best classes."""
    rows = "".join(
        f"<tr><td>{each.class_index}</td><td>{html.escape(explanation.score_text(each.score))}</td>"
        f'<td style="text-align: left">{html.escape(each.label) if explanation.labels else ""}</td></tr>'
        for each in explanation.top(_MOST_SHOWN)
    )
    kind = "probability" if explanation.scores_are_probabilities else "score"
    return f"<table><tr><th>class</th><th>{kind}</th><th></th></tr>{rows}</table>"


def _label(explanation: "Explanation", index: int) -> str:
    return f" ({html.escape(explanation.label_of(index))})" if explanation.labels else ""
