"""Comparison of an imported net with its source: both compute the same random inputs."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

import caffe_lrp
from caffe_lrp.formats.importers.imported import ImportedNet, NotRunError
from caffe_lrp.formats.importers.table import Format, ImportOptions, Numbers
from caffe_lrp.messages import counted

_SEED, _INPUTS = 0, 4
#: Differences beyond this are no rounding.
_MOST = 1e-3
#: Scores that differ less between inputs hide differences.
_LEAST = 1e-4


@dataclass(frozen=True)
class Comparison:
    """The result.

    Attributes
    ----------
    text
        A sentence about it.
    warning
        What to do about a difference that is too large; empty if there is none.
    """

    text: str
    warning: str = ""


def compared(
    form: Format, model: Path, net: ImportedNet, options: ImportOptions, prototxt: Path, caffemodel: Path
) -> Comparison:
    """Compare the scores of the new files with those of the source."""
    inputs = np.random.default_rng(_SEED).standard_normal((_INPUTS, *net.input_shape[1:])).astype(np.float32)
    try:
        expected = form.run(model, net, options, inputs)
    except NotRunError as reason:
        return Comparison(f"nothing was compared: {reason}")
    with caffe_lrp.load(prototxt, caffemodel, mean_values=0) as opened:
        found = opened.forward(inputs, list(expected))
    for blob, scores in expected.items():
        if scores.size != found[blob].size:
            sizes = f"{scores.size // _INPUTS} and {found[blob].size // _INPUTS} numbers"
            return Comparison(f"'{blob}' was not compared: {sizes}", _warning("the sizes"))
        if not np.isfinite(scores).all():
            return Comparison(f"nothing was compared: '{blob}' is not finite for random inputs")
    blind = all(_is_constant(scores) for scores in expected.values())
    differences = [_difference(scores, found[blob]) for blob, scores in expected.items()]
    text = (
        f"the scores of {counted(_INPUTS, 'random input')} differ from those of {form.runner} by at most "
        f"{max(differences):.1e} of the largest"
    )
    if blind:
        text += "; but they hardly depend on the input, so that says little: is the net trained?"
    return Comparison(text, _warning("the scores") if not max(differences) <= _MOST else "")


def _difference(expected: Numbers, found: Numbers) -> float:
    """The largest difference, as a part of the largest score."""
    flat = np.asarray(found, np.float64).reshape(expected.shape)
    return float(np.abs(flat - expected).max() / max(np.abs(expected).max(), np.finfo(np.float32).tiny))


def _is_constant(scores: Numbers) -> bool:
    """Whether all inputs give nearly the same scores."""
    return _difference(scores[:1].repeat(len(scores), 0), scores) < _LEAST


def _warning(what: str) -> str:
    return f"{what} are not those of the source; please report it, with the file, and do not use the result"
