"""The stages of a batch, from images to maps. An image that fails does not affect the others.

There are no threads here; `pipeline` decides when and where the stages run.
"""

import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from caffe_lrp.engines.base import Engine
from caffe_lrp.errors import CaffeLrpError, ImageError, LimitError, about
from caffe_lrp.imaging.memory import name_of
from caffe_lrp.imaging.preprocess import PreparedImage
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.machine.environment import environment_fault, limit_behind
from caffe_lrp.machine.resources import memory_is_limited
from caffe_lrp.relevance.beginning import Beginning, begin, contrasted
from caffe_lrp.relevance.composite import name_of as name_of_formula
from caffe_lrp.relevance.passage import ForwardPass
from caffe_lrp.relevance.plan import Plan
from caffe_lrp.relevance.ranking import Ranking, class_scores, rank
from caffe_lrp.relevance.start_amounts import Subject
from caffe_lrp.relevance.target import Target

from .attempt import Attempt, Request, StageTimes
from .batches import Batch
from .darkness import darkness_of
from .explainer import Explainer
from .explanation import Explanation


@dataclass(frozen=True, eq=False)
class LoadedImage:
    """A loaded image: a prepared image, or the error."""

    image: PreparedImage | None
    error: CaffeLrpError | None = None
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class _Slot:
    """An image of a batch, its open requests by their position in the batch, and seconds for each."""

    loaded: LoadedImage
    requests: dict[int, Request]
    decode: float


@dataclass(frozen=True, eq=False)
class _Choice:
    """A request in the engine, with its position in the batch and the classes to explain."""

    place: int
    request: Request
    slot: _Slot
    ranking: Ranking
    scores: Blob
    classes: tuple[int, ...]
    times: StageTimes

    @property
    def subject(self) -> Subject:
        """What relevance starts for."""
        return Subject(self.classes, self.ranking, self.request.row)


def load_image(explainer: Explainer, requests: Sequence[Request]) -> LoadedImage:
    """The net's input for the image of ``requests``; not loaded if none of them can succeed."""
    faults = [request.fault for request in requests]
    if all(faults):
        return LoadedImage(None, ImageError(faults[0]))
    started, source = time.perf_counter(), requests[0].source
    try:
        with about(ImageError, file=source if isinstance(source, Path) else None):
            image = explainer.preprocessor(source)
    except Exception as error:  # noqa: BLE001 - a fault in one image must not end the others' run
        return LoadedImage(None, as_error(error), time.perf_counter() - started)
    return LoadedImage(image, seconds=time.perf_counter() - started)


def explain_batch(
    explainer: Explainer, batch: Batch[Any], loaded: Sequence[LoadedImage], engine: Engine
) -> Iterator[tuple[int, Attempt]]:
    """Yield each request's position in the batch and its result, as results become available.

    An image that could not be loaded is replaced by a blank. If several images fail together, mostly for lack
    of memory, each is tried again alone.

    Parameters
    ----------
    explainer
        Net and plans.
    batch
        The requests.
    loaded
        One for each image of the batch.
    engine
        Runs the plans.
    """
    slots = []
    for image, places in zip(loaded, batch.requests_of, strict=True):
        slot = _Slot(image, {}, image.seconds / len(places))
        for place in places:
            request = batch.requests[place]
            error = ImageError(request.fault) if request.fault else image.error
            if error:
                yield place, Attempt(None, error, StageTimes(decode=slot.decode))
            else:
                slot.requests[place] = request
        slots.append(slot)
    yield from _explain_or_retry(explainer, slots, engine)


def choose_classes(explainer: Explainer, target: Target, ranking: Ranking) -> tuple[int, ...]:
    """The classes to explain for one image.

    Raises
    ------
    ImageError
        The net has no such class, or the start layer has no such element.
    """
    classes: tuple[int, ...] = (target.code,)
    if target.rank:
        classes = (int(ranking.classes[target.rank - 1]),)
    elif target.best_count:
        classes = tuple(int(best) for best in ranking.classes[: target.best_count])
    explainer.require_classes(classes)
    return classes


def as_error(error: Exception) -> CaffeLrpError:
    """Convert any exception for an image to one of our own errors.

    Raises
    ------
    LimitError
        A limit of the process was reached: the image is not at fault, and others would fail in the same way.
    """
    if isinstance(error, LimitError):
        raise error
    limit = limit_behind(error, memory_is_limited=memory_is_limited())
    if limit:
        raise LimitError(limit) from error
    if error.__traceback__ is not None:
        traceback.clear_frames(error.__traceback__)  # they would keep the batch's arrays in memory
    if isinstance(error, CaffeLrpError):
        return error
    reason = f"internal error, please report it: {type(error).__name__}: {error}"
    fault = ImageError(environment_fault(error) or reason)
    fault.__cause__ = error
    return fault


def _explain_or_retry(
    explainer: Explainer, slots: Sequence[_Slot], engine: Engine
) -> Iterator[tuple[int, Attempt]]:
    """The outcomes of all requests of ``slots``; if a batch fails, each image is tried alone."""
    missing = {place for slot in slots for place in slot.requests}
    if not missing:
        return
    reason: CaffeLrpError | None = None
    try:
        for place, attempt in _explain(explainer, slots, engine):
            missing.discard(place)
            yield place, attempt
    except LimitError:
        raise
    except Exception as error:  # noqa: BLE001 - as in load_image
        reason = as_error(error) if len(slots) == 1 else None
    if len(slots) == 1:
        for place in sorted(missing):
            yield place, Attempt(None, reason)
    elif missing:
        engine.forget()  # memory blocks for many images are of no use for one
        for slot in slots:
            left = {place: request for place, request in slot.requests.items() if place in missing}
            yield from _explain_or_retry(explainer, [replace(slot, requests=left)], engine)


def _explain(explainer: Explainer, slots: Sequence[_Slot], engine: Engine) -> Iterator[tuple[int, Attempt]]:
    """The outcomes of one forward pass, with a backward pass per formula and per further target."""
    started = time.perf_counter()
    forward, scores_of_items = _forward(explainer, slots, engine)
    seconds = (time.perf_counter() - started) / sum(len(slot.requests) for slot in slots)
    chosen = []
    for slot, shared in zip(slots, scores_of_items, strict=True):
        scores = np.array(shared)  # a copy: the batch's memory is reused
        ranking = rank(scores, explainer.class_count)
        times = StageTimes(decode=slot.decode, forward=seconds)
        for place, request in slot.requests.items():
            try:
                classes = choose_classes(explainer, request.target, ranking)
            except ImageError as error:
                yield place, Attempt(None, error, times)
            else:
                chosen.append(_Choice(place, request, slot, ranking, scores, classes, times))
    for formula, plan in explainer.plans.items():
        columns = [
            [choice for choice in chosen if choice.slot is slot and choice.request.formula == formula]
            for slot in slots
        ]
        for choices in zip_longest(*columns):
            yield from _explain_by(explainer, plan, forward, choices, engine)


def _forward(explainer: Explainer, slots: Sequence[_Slot], engine: Engine) -> tuple[ForwardPass, Blob]:
    """One forward pass of all images, and their scores (N, classes)."""
    net = explainer.net
    blank = np.zeros(net.input_shape, np.float32)
    images = [slot.loaded.image for slot in slots]
    blobs = np.stack([blank if image is None else image.blob for image in images])
    with np.errstate(all="ignore"):  # numbers that are not finite are found in the results
        forward = engine.forward(net, tuple(explainer.plans.values()), blobs)
        return forward, class_scores(forward.activations[net.output_value], explainer.output_size)


def _explain_by(
    explainer: Explainer,
    plan: Plan,
    forward: ForwardPass,
    choices: Sequence[_Choice | None],
    engine: Engine,
) -> Iterator[tuple[int, Attempt]]:
    """The outcomes of at most one request per image for one formula."""
    started = time.perf_counter()
    subjects = [choice.subject if choice else None for choice in choices]
    observed = explainer.observation.observer(plan)
    with np.errstate(all="ignore"):  # as in _forward
        beginning = begin(plan, forward, subjects, explainer.vector)
        maps = engine.explain(plan, forward, beginning.relevance, observed)
        others = None
        if beginning.contrast is not None:
            others = engine.explain(plan, forward, beginning.contrast)
    share = (time.perf_counter() - started) / sum(map(bool, choices))
    for item, choice in enumerate(choices):
        if choice:
            times = replace(choice.times, relevance=share)
            try:
                relevance = _map_of(explainer, beginning, item, maps, others)
                _require_finite(explainer, choice, relevance)
            except ImageError as error:
                yield choice.place, Attempt(None, error, times)
            else:
                explanation = replace(
                    _explanation(explainer, plan, choice, relevance),
                    layers={} if observed is None else observed.layers(item),
                    conservation=None if observed is None else observed.conservation(item),
                    darkness=darkness_of(beginning, item, choice.classes, relevance),
                )
                yield choice.place, Attempt(explanation, times=times)


def _map_of(explainer: Explainer, beginning: Beginning, item: int, maps: Blob, others: Blob | None) -> Blob:
    """(C, H, W): the map of one item, combined from two passes where there are two; its own memory.

    Raises
    ------
    ImageError
        The item has no start vector, or its two maps cannot be combined.
    """
    if item in beginning.faults:
        raise beginning.faults[item]
    relevance = as_image(maps[item])
    if others is None or explainer.vector is None:
        return relevance
    with np.errstate(all="ignore"):  # as in _forward
        return contrasted(relevance, as_image(others[item]), is_clamped=explainer.vector.kind.is_clamped)


def _explanation(explainer: Explainer, plan: Plan, choice: _Choice, relevance: Blob) -> Explanation:
    """Build the explanation of a map; it owns its arrays."""
    image, ranking = choice.slot.loaded.image, choice.ranking
    is_reversed = plan.is_image and explainer.is_bgr
    assert image is not None  # requests without an image failed earlier
    return Explanation(
        relevance=np.ascontiguousarray(relevance[::-1]) if is_reversed else relevance,
        input=image.picture.copy(),
        scores=choice.scores.copy(),
        target=choice.classes,
        formula=name_of_formula(choice.request.formula),
        source=str(name_of(choice.request.source)),
        place=image.place,
        original=image.original,
        ranking=Ranking(ranking.classes.copy(), ranking.scores.copy()),
        labels=explainer.labels,
        is_reversed=is_reversed,
        scores_are_probabilities=explainer.scores_are_probabilities,
        start_vector=explainer.vector.text if explainer.vector else "",
        is_turned=image.is_turned,
    )


def _require_finite(explainer: Explainer, choice: _Choice, relevance: Blob) -> None:
    """Raise ImageError if scores or relevance are not finite."""
    if not np.isfinite(choice.ranking.scores).all():
        raise ImageError("the net's scores are not finite; the image or the weights overflow float32")
    if not np.isfinite(relevance).all():
        what = "the relevance"
        if len(explainer.plans) > 1:
            what += f" by formula {choice.request.formula}"
        raise ImageError(
            f"{what} is not finite: a division by nearly 0; try a larger epsstab (--eps) "
            "or a smaller alphabeta_beta (--beta)"
        )


def as_image(relevance: Blob) -> Blob:
    """(C, H, W) from the relevance of one item, copied from its batch; vectors become (K, 1, 1)."""
    whole = relevance.reshape((*relevance.shape, 1, 1)[:3]) if relevance.ndim < 3 else relevance
    return np.array(whole, order="C")
