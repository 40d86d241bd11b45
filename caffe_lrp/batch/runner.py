"""One batch through the stages: images in, maps out. An image that fails costs no other its result.

Nothing here knows of threads; `pipeline` decides when and where the stages run.
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest

import numpy as np

from caffe_lrp.compute.workspace import Workspace
from caffe_lrp.errors import CaffeLrpError, ImageError, LimitError, OutputError
from caffe_lrp.imaging.preprocess import PreparedImage
from caffe_lrp.kernels.gemm import Blob
from caffe_lrp.machine.environment import environment_fault, limit_behind
from caffe_lrp.machine.resources import memory_is_limited
from caffe_lrp.model.darkness import Darkness, darkness_of
from caffe_lrp.outputs.result import HeatmapResult
from caffe_lrp.relevance.conservation import Conservation
from caffe_lrp.relevance.engine import ForwardPass, explain, run_forward
from caffe_lrp.relevance.plan import Plan
from caffe_lrp.relevance.ranking import Ranking, class_scores, rank
from caffe_lrp.sources.filelist import Target

from .batches import Batch
from .check import require_classes
from .delivery import Delivery
from .job import BEST_COUNT, HeatmapJob, JobOutcome, Prediction, StageTimes
from .observation import Record
from .session import Session

#: Lines of the file with the best scores.
LIST_LENGTH = 10


@dataclass(frozen=True, eq=False)
class LoadedImage:
    """What became of an image file: an input of the net, or the reason why not."""

    image: PreparedImage | None
    error: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class Explanation:
    """What became of a job before its files are written: a result, or the reason why not."""

    result: HeatmapResult | None
    error: str = ""
    times: StageTimes = field(default_factory=StageTimes)
    conservation: Conservation | None = None
    darkness: Darkness | None = None
    prediction: Prediction | None = None


@dataclass(frozen=True, eq=False)
class _Slot:
    """One image of a batch, the jobs still to do by their place in the batch, and seconds for each."""

    loaded: LoadedImage
    jobs: dict[int, HeatmapJob]
    decode: float


@dataclass(frozen=True, eq=False)
class _Choice:
    """One job in the engine, with its place in the batch, and the classes it is explained for."""

    place: int
    job: HeatmapJob
    slot: _Slot
    ranking: Ranking
    scores: Blob
    classes: tuple[int, ...]
    times: StageTimes


def load_image(session: Session, jobs: Sequence[HeatmapJob]) -> LoadedImage:
    """The input of the net for the image of ``jobs``; it is not looked for if none of them can succeed."""
    faults = [job.fault for job in jobs]
    if all(faults):
        return LoadedImage(None, faults[0])
    started = time.perf_counter()
    try:
        image = session.preprocessor(jobs[0].source)
    except Exception as error:  # noqa: BLE001 - a fault in one image must not end the others' run
        return LoadedImage(None, _reason(error), time.perf_counter() - started)
    return LoadedImage(image, seconds=time.perf_counter() - started)


def explain_batch(
    session: Session, batch: Batch, loaded: Sequence[LoadedImage], workspace: Workspace
) -> Iterator[tuple[int, Explanation]]:
    """Each job's place in the batch and its explanation, as they come about.

    A blank takes the place of an image that could not be loaded. What goes wrong with several images
    together, a lack of memory above all, is tried again with each of them alone.

    Parameters
    ----------
    session
        Net and plans.
    batch
        The jobs.
    loaded
        One for each image of the batch.
    workspace
        Memory and threads to use.
    """
    slots = []
    for image, places in zip(loaded, batch.jobs_of, strict=True):
        slot = _Slot(image, {}, image.seconds / len(places))
        for place in places:
            job = batch.jobs[place]
            if job.fault or image.error:
                yield place, Explanation(None, job.fault or image.error, StageTimes(decode=slot.decode))
            else:
                slot.jobs[place] = job
        slots.append(slot)
    yield from _explain_or_retry(session, slots, workspace)


def deliver(job: HeatmapJob, explanation: Explanation, delivery: Delivery) -> JobOutcome:
    """Write the result of a job that was explained; what became of the job."""
    result = explanation.result
    if result is None or job.stem is None:
        return JobOutcome(job, explanation.times, explanation.error)
    started, error = time.perf_counter(), ""
    try:
        delivery.deliver(job, result)
    except OutputError:  # no file after this one would fare better
        raise
    except Exception as fault:  # noqa: BLE001 - as in load_image
        error = _reason(fault)
    times = replace(explanation.times, write=time.perf_counter() - started)
    found = explanation.prediction, explanation.conservation, explanation.darkness
    return JobOutcome(job, times, error, *found)


def choose_classes(session: Session, target: Target, ranking: Ranking) -> tuple[int, ...]:
    """Classes of one image whose scores relevance starts as.

    Raises
    ------
    ImageError
        The class asked for is none of the net's, or the start layer has no such element.
    """
    classes: tuple[int, ...] = (target.code,)
    if target.rank:
        classes = (int(ranking.classes[target.rank - 1]),)
    elif target.best_count:
        classes = tuple(int(best) for best in ranking.classes[: target.best_count])
    require_classes(session, classes)
    return classes


def _reason(error: Exception) -> str:
    """What is said of a failure.

    Raises
    ------
    LimitError
        It comes from a limit of the process: the image may do well without, and others will fail as it did.
    """
    if isinstance(error, LimitError):
        raise error
    limit = limit_behind(error, memory_is_limited=memory_is_limited())
    if limit:
        raise LimitError(limit) from error
    if isinstance(error, CaffeLrpError):
        return str(error)
    return environment_fault(error) or f"internal error, please report it: {type(error).__name__}: {error}"


def _explain_or_retry(
    session: Session, slots: Sequence[_Slot], workspace: Workspace
) -> Iterator[tuple[int, Explanation]]:
    """Explanations of all jobs of ``slots``, after a failure of several images those of each alone."""
    missing = {place for slot in slots for place in slot.jobs}
    if not missing:
        return
    reason = ""
    try:
        for place, explanation in _explain(session, slots, workspace):
            missing.discard(place)
            yield place, explanation
    except LimitError:
        raise
    except Exception as error:  # noqa: BLE001 - as in load_image
        reason = _reason(error) if len(slots) == 1 else ""
    if len(slots) == 1:
        for place in sorted(missing):
            yield place, Explanation(None, reason)
    elif missing:
        workspace.forget()  # blocks for many images are of no use to one
        for slot in slots:
            left = {place: job for place, job in slot.jobs.items() if place in missing}
            yield from _explain_or_retry(session, [replace(slot, jobs=left)], workspace)


def _explain(
    session: Session, slots: Sequence[_Slot], workspace: Workspace
) -> Iterator[tuple[int, Explanation]]:
    """Explanations by one forward pass, and a walk for every formula and every further target."""
    started = time.perf_counter()
    forward, scores_of_items = _forward(session, slots, workspace)
    seconds = (time.perf_counter() - started) / sum(len(slot.jobs) for slot in slots)
    chosen = []
    for slot, shared in zip(slots, scores_of_items, strict=True):
        scores = np.array(shared)  # a copy: the batch's memory is used again
        ranking = rank(scores, session.class_count)
        times = StageTimes(decode=slot.decode, forward=seconds)
        for place, job in slot.jobs.items():
            try:
                classes = choose_classes(session, job.target, ranking)
            except ImageError as error:
                yield place, Explanation(None, str(error), times)
            else:
                chosen.append(_Choice(place, job, slot, ranking, scores, classes, times))
    for formula, plan in zip(session.formulas, session.plans, strict=True):
        columns = [
            [choice for choice in chosen if choice.slot is slot and choice.job.formula == formula]
            for slot in slots
        ]
        for choices in zip_longest(*columns):
            yield from _walk(session, plan, forward, choices, workspace)


def _forward(session: Session, slots: Sequence[_Slot], workspace: Workspace) -> tuple[ForwardPass, Blob]:
    """One forward pass of all images, and their scores (N, classes)."""
    net = session.net
    blank = np.zeros(net.input_shape, np.float32)
    images = [slot.loaded.image for slot in slots]
    blobs = np.stack([blank if image is None else image.blob for image in images])
    with np.errstate(all="ignore"):  # what is not finite is found in the results
        forward = run_forward(net, session.plans, blobs, workspace)
        return forward, class_scores(forward.activations[net.output_value], session.output_size)


def _walk(
    session: Session,
    plan: Plan,
    forward: ForwardPass,
    choices: Sequence[_Choice | None],
    workspace: Workspace,
) -> Iterator[tuple[int, Explanation]]:
    """Explanations of at most one job of every image by one formula."""
    started = time.perf_counter()
    classes = [choice.classes if choice else () for choice in choices]
    record = session.observation.record(plan)
    with np.errstate(all="ignore"):  # as in _forward
        maps = explain(plan, forward, classes, workspace, record)
    share = (time.perf_counter() - started) / sum(map(bool, choices))
    for item, (choice, relevance) in enumerate(zip(choices, maps, strict=True)):
        if choice:
            times = replace(choice.times, relevance=share)
            try:
                result = _result(session, plan, choice, relevance)
            except ImageError as error:
                explanation = Explanation(None, str(error), times)
            else:
                darkness = darkness_of(plan, forward, item, choice.classes, result.relevance)
                explanation = Explanation(
                    result, times=times, darkness=darkness, prediction=_prediction(choice)
                )
                if record is not None:
                    explanation = _with_notes(explanation, choice, record, item)
            yield choice.place, explanation


def _prediction(choice: _Choice) -> Prediction:
    """What the net says of the image of a job."""
    ranking, first = choice.ranking, choice.classes[0]
    places = np.flatnonzero(ranking.classes == first).tolist()
    best = zip(ranking.classes[:BEST_COUNT].tolist(), ranking.scores[:BEST_COUNT].tolist(), strict=True)
    return Prediction(
        choice.classes, float(choice.scores[first]), places[0] + 1 if places else None, tuple(best)
    )


def _with_notes(explanation: Explanation, choice: _Choice, record: Record, item: int) -> Explanation:
    """An explanation with what was noted of its walk."""
    assert explanation.result is not None
    account, text = record.conservation(item), ""
    if account is not None:
        what = {"formula": choice.job.formula, "classes": list(choice.classes)}
        text = json.dumps(what | account.as_json(), indent=1, ensure_ascii=False) + "\n"
    result = replace(explanation.result, layers=record.layers(item), conservation=text)
    return replace(explanation, result=result, conservation=account)


def _result(session: Session, plan: Plan, choice: _Choice, relevance: Blob) -> HeatmapResult:
    """What is written for one job.

    Raises
    ------
    ImageError
        Scores or relevance are not finite.
    """
    image, ranking = choice.slot.loaded.image, choice.ranking
    assert image is not None  # jobs without an image have failed before
    if not np.isfinite(ranking.scores).all():
        raise ImageError("the net's scores are not finite; the image or the weights overflow float32")
    if not np.isfinite(relevance).all():
        what = "the relevance"
        if len(session.plans) > 1:
            what += f" by formula {choice.job.formula}"
        raise ImageError(
            f"{what} is not finite: a division by nearly 0; try a larger epsstab (--eps) "
            "or a smaller alphabeta_beta (--beta)"
        )
    return HeatmapResult(
        relevance=_as_image(relevance),
        is_image=plan.is_image and session.is_bgr,
        picture=image.picture,
        ranked_classes=ranking.classes[:LIST_LENGTH],
        ranked_scores=ranking.scores[:LIST_LENGTH],
        target_classes=choice.classes,
        scores_of_all=choice.scores,
    )


def _as_image(relevance: Blob) -> Blob:
    """(C, H, W) from the relevance of one item, copied out of its batch; vectors become (K, 1, 1)."""
    whole = relevance.reshape((*relevance.shape, 1, 1)[:3]) if relevance.ndim < 3 else relevance
    return np.array(whole, order="C")
