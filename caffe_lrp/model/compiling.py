"""Finding the kernels that explanations need, and compiling them in advance."""

import hashlib
from collections.abc import Callable, Generator
from contextlib import suppress

import numpy as np

from caffe_lrp.engines.cpu import CpuEngine
from caffe_lrp.errors import CaffeLrpError
from caffe_lrp.imaging.original import Original
from caffe_lrp.imaging.place import Place
from caffe_lrp.imaging.preprocess import PreparedImage
from caffe_lrp.kernels.ahead import (
    Compilation,
    Compiled,
    all_kernels,
    load,
    recall,
    remember,
    tracing,
    uncompiled,
)
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.relevance.beginning import at_scores
from caffe_lrp.relevance.composite import FormulaCode, name_of
from caffe_lrp.relevance.ranking import rank
from caffe_lrp.rendering.heatmap import visible_share

from .explainer import Explainer
from .explanation import Explanation
from .observation import noting
from .stages import as_image

__all__ = ["Compiled", "compiling"]


def compiling(
    explainer: Explainer,
    use: Callable[[Explanation], object],
    purpose: str,
    processes: int,
) -> Generator[Compiled, None, None]:
    """Compile and load all kernels that explanations need, and yield the progress.

    Nothing is yielded if nothing has to be compiled. Kernels that were missed, such as those for unusual
    images, are compiled when they are called.

    Parameters
    ----------
    explainer
        Net, plans and preprocessing.
    use
        Uses an explanation as the run will, so that the kernels for it are found.
    purpose
        A text that identifies ``use``.
    processes
        The most processes that compile in parallel.
    """
    key = _description(explainer, purpose)
    needed = dict.fromkeys(recall(key) or ())
    with Compilation(processes) as compilation:

        def note(name: str) -> None:
            if name not in needed:
                needed[name] = None
                compilation.add([name])

        def search() -> None:
            if _trace(explainer, use, note, compilation.require_open):
                remember(key, needed)

        compilation.add(needed)
        if not needed and uncompiled(all_kernels()):
            compilation.search(search)
        yield from compilation.steps()
    for name in needed:
        load(name)


def _description(explainer: Explainer, purpose: str) -> str:
    """A hash of the settings that roughly determine the kernels; a missed kernel is compiled when called."""
    settings, noted = explainer.settings, explainer.observation
    layers = [(type(each).__name__, each.input_shapes, each.output_shapes) for each in explainer.net.layers]
    steps = [
        (code, step.layer.index, type(step.rule).__name__, step.conditions)
        for code, plan in explainer.plans.items()
        for step in plan.steps
    ]
    choices = settings.convolution, settings.quirks, noted.constants is not None, purpose
    return hashlib.sha256(repr((layers, steps, choices)).encode()).hexdigest()


def _trace(
    explainer: Explainer,
    use: Callable[[Explanation], object],
    note: Callable[[str], None],
    checkpoint: Callable[[], None] | None = None,
) -> bool:
    """Follow an image through both passes without running kernels; return whether the end was reached.

    Numbers are uninitialised memory.
    """
    net, plans, noted = explainer.net, explainer.plans, explainer.observation
    with tracing(note), np.errstate(all="ignore"):
        try:
            image = _image(explainer)
            with CpuEngine(1, checkpoint, explainer.settings.convolution) as engine:
                forward = engine.forward(net, tuple(plans.values()), image.blob[np.newaxis])
                for code, plan in plans.items():
                    observer = noting(noted.dumps, sums=noted.constants is not None).observer(plan)
                    (relevance,) = engine.explain(plan, forward, at_scores(plan, forward, [[0]]), observer)
                    explanation = _explanation(explainer, code, image, as_image(relevance))
                    visible_share(explanation.relevance)
                    use(explanation)
        except Exception:  # noqa: BLE001 - of numbers that mean nothing, or told with the image that has it
            return False
    return True


def _image(explainer: Explainer) -> PreparedImage:
    """A picture that needs resizing, as most do; only an input for nets that take no pictures."""
    blank = np.zeros(explainer.net.input_shape, np.float32)
    height, width = (*blank.shape, 1, 1)[1:3]
    with suppress(CaffeLrpError):
        return explainer.preprocessor(np.zeros((2 * height, 3 * width, 3), np.uint8))
    whole = Place(height, width, 0, 0, height, width)
    picture = np.zeros((height, width, 3), np.uint8)
    return PreparedImage(blank, picture, whole, Original(picture))


def _explanation(
    explainer: Explainer, code: FormulaCode, image: PreparedImage, relevance: Blob
) -> Explanation:
    """An explanation around the map."""
    scores = np.zeros(explainer.output_size, np.float32)
    return Explanation(
        relevance=relevance,
        input=image.picture,
        scores=scores,
        target=(0,),
        formula=name_of(code),
        source="",
        place=image.place,
        original=image.original,
        ranking=rank(scores, explainer.class_count),
        labels=explainer.labels,
    )
