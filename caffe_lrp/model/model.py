"""A model: a net, an engine that runs it, the preprocessing of images, and labels."""

import threading
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, overload

import numpy as np

from caffe_lrp.errors import CaffeLrpError, UsageError
from caffe_lrp.imaging.memory import ImageInput
from caffe_lrp.inspection.facts import LayerFacts, NetFacts, facts_of, with_parameters_of
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.messages import counted
from caffe_lrp.net.build import build_outline
from caffe_lrp.relevance.advice import suitable_formula
from caffe_lrp.relevance.composite import FormulaCode
from caffe_lrp.relevance.target import Target

from .attempt import Attempt
from .batches import Batch
from .capacity import Capacity
from .explainer import Explainer, composite_of, open_explainer
from .explanation import Explanation
from .forward import checked_inputs, input_of, run_forward, values_by_name
from .notices import notices_on
from .pipeline import run_requests
from .requests import (
    ImageRequest,
    code_of,
    codes_of,
    references_of,
    refuse_odd_arguments,
    requests_for,
    source_of,
    target_of,
    targets_for,
)
from .schedule import Schedule
from .settings import ModelSettings
from .stages import explain_batch, load_image
from .start_vectors import StartVectorInput, refuse_too_few_rows
from .wanted import Wanted, existing

#: Resources for single explanations that are kept for reuse.
_MOST_KEPT = 64
OnError = Literal["raise", "return"]


class Model:
    """A loaded net that explains images. It can be shared by threads, and pickled for other processes.

    Usually made by `caffe_lrp.load`. Also a context manager: its threads end with the block.

    Parameters
    ----------
    settings
        The settings to open it from.
    threads
        Threads that compute; None: one for each processor that this process may use.
    memory
        Bytes that explanations may take; None: half of what is free.

    Attributes
    ----------
    settings
        As given.
    notices
        Notices about weights and settings that are valid but rarely intended.

    Raises
    ------
    CaffeLrpError
        A file cannot be used, or a setting does not fit the net. The subclass depends on the fault; the error
        names the setting, layer or file.
    """

    def __init__(
        self, settings: ModelSettings, *, threads: int | None = None, memory: int | None = None
    ) -> None:
        self.settings = settings
        self._opened_by = settings.with_absolute_paths(), threads, memory
        self._capacity = Capacity(threads, memory)  # before weights take some of the memory
        if settings.formula is not None:
            composite_of(settings, settings.formula)
        self._explainer = open_explainer(settings)
        self._lock = threading.Lock()
        self._for_one: dict[Wanted, Explainer] = {}
        self._is_closed = False
        self.notices = tuple(map(str, notices_on(self._explainer)))

    # Properties

    @property
    def formula(self) -> FormulaCode:
        """The formula that images are explained with unless another is given."""
        if self.settings.formula is not None:
            return self.settings.formula
        return suitable_formula(self._explainer.net, self._explainer.net.output_value).formula

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(C, H, W) of the net's input."""
        return self._explainer.net.input_shape

    @property
    def output_count(self) -> int:
        """Number of the net's classes, even if fewer are ranked (setting ``class_count``)."""
        return self._explainer.output_size

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the classes; there may be fewer."""
        return self._explainer.labels

    @property
    def layers(self) -> tuple[LayerFacts, ...]:
        """The layers as ``caffe-lrp inspect`` shows them: indices, names, types, shapes, sizes."""
        return self.plan().layers

    def plan(self, formula: FormulaCode | None = None) -> NetFacts:
        """Return the rule of each layer under a formula, as ``caffe-lrp inspect`` shows them.

        It is printed as a table. A layer without a rule is not an error here.

        Raises
        ------
        ConfigError
            There is no such formula, or it needs a switch layer.
        """
        code = self.formula if formula is None else code_of(formula)
        settings, explainer = self.settings, self._explainer
        composite_of(settings, code)
        facts = facts_of(
            explainer.net,
            (code,),
            explainer.parameters,
            settings.start_layer,
            settings.first_layer,
            None if settings.head is None else explainer.origin.output,
        )
        return with_parameters_of(facts, build_outline(explainer.deployed))

    # Computation

    def explain(
        self,
        image: ImageInput,
        target: int = -1,
        formula: FormulaCode | None = None,
        *,
        layers: Sequence[str | int] = (),
        conservation: bool = False,
        start_vector: StartVectorInput | None = None,
    ) -> Explanation:
        """The explanation of one image: why the net scores it as it does.

        Parameters
        ----------
        image
            A path, a PIL image, (H, W, 3) uint8 in RGB, or the net's own input: (C, H, W) float32, its
            channels in the net's order, mean and scale applied.
        target
            The class to explain; -1: the best class, -2: the five best classes in one map.
        formula
            Its number or name; None: `Model.formula`.
        layers
            Names or indices of layers whose relevance is kept.
        conservation
            Whether to record the relevance that enters and leaves every layer.
        start_vector
            What relevance starts as: a word such as ``one`` or ``contrast:runner-up``, a NumPy file, or an
            array, (classes,) or (images, classes); None: the model's. ``caffe-lrp help start-vectors`` has
            all.

        Raises
        ------
        ImageError
            The image cannot be explained.
        ConfigError, PlanError
            There is no such formula, or it has no rule for a layer.
        UsageError
            There is no such layer, the target is invalid, or the model is closed.
        """
        code = self.formula if formula is None else code_of(formula)
        explainer = self._explaining_one(Wanted((code,), references_of(layers), conservation, start_vector))
        checked = existing(explainer, target_of(target, "target"), "target")
        request = ImageRequest(0, source_of(image), checked, explainer.formulas[0])
        return self._attempt(explainer, request).required()

    @overload
    def explain_all(
        self,
        images: Iterable[ImageInput],
        targets: int | Iterable[int] = -1,
        formulas: Sequence[FormulaCode] | None = None,
        *,
        batch: int | None = None,
        layers: Sequence[str | int] = (),
        conservation: bool = False,
        start_vector: StartVectorInput | None = None,
        on_error: Literal["raise"] = "raise",
    ) -> Generator[Explanation, None, None]: ...

    @overload
    def explain_all(
        self,
        images: Iterable[ImageInput],
        targets: int | Iterable[int] = -1,
        formulas: Sequence[FormulaCode] | None = None,
        *,
        batch: int | None = None,
        layers: Sequence[str | int] = (),
        conservation: bool = False,
        start_vector: StartVectorInput | None = None,
        on_error: OnError,
    ) -> Generator[Explanation | CaffeLrpError, None, None]: ...

    def explain_all(
        self,
        images: Iterable[ImageInput],
        targets: int | Iterable[int] = -1,
        formulas: Sequence[FormulaCode] | None = None,
        *,
        batch: int | None = None,
        layers: Sequence[str | int] = (),
        conservation: bool = False,
        start_vector: StartVectorInput | None = None,
        on_error: OnError = "raise",
    ) -> Generator[Explanation | CaffeLrpError, None, None]:
        """Explanations of many images in order: for each image, one per formula.

        Images are loaded ahead and explained in batches by all threads, within the memory of the model.
        Closing the generator stops the work.

        Parameters
        ----------
        images
            Images as for `explain`; any number, also from a generator.
        targets
            One target for all images, or one for each.
        formulas
            Numbers or names; None: `Model.formula`.
        batch
            Images per batch; None: chosen automatically.
        layers, conservation, start_vector
            As for `explain`.
        on_error
            For an image that cannot be explained, or not for its target: ``raise`` raises its error,
            ``return`` yields the error instead of each of its explanations and continues.

        Raises
        ------
        CaffeLrpError
            As for `explain`; errors that affect all images are raised immediately, before the first one.
        """
        refuse_odd_arguments(images, batch, on_error)
        codes = (self.formula,) if formulas is None else codes_of(formulas)
        explainer = self._explaining(Wanted(codes, references_of(layers), conservation, start_vector))
        checked, count = targets_for(images, targets, "targets")
        if isinstance(checked, Target):
            checked = existing(explainer, checked, "targets")
        refuse_too_few_rows(explainer.vector, images)
        explainer, planned = self._capacity.scheduled(explainer, count, batch)
        requests = requests_for(images, checked, explainer.formulas)
        return self._explain_all(explainer, requests, planned, on_error)

    def _explain_all(
        self,
        explainer: Explainer,
        requests: Iterable[ImageRequest],
        planned: Schedule,
        on_error: OnError,
    ) -> Generator[Explanation | CaffeLrpError, None, None]:
        self._capacity.compile(explainer)
        most = planned.batch_size * len(explainer.plans)  # also if many requests are for one image
        found = run_requests(explainer, requests, lambda _, attempt: attempt, planned, most_of_batch=most)
        with closing(found) as attempts:
            for attempt in attempts:
                error = attempt.error if on_error == "return" else None
                yield attempt.required() if error is None else error

    def forward(self, x: ImageInput, blobs: Sequence[str] | None = None) -> dict[str, Blob]:
        """Values of the forward pass by blob name.

        Parameters
        ----------
        x
            An image as for `explain`, or several inputs: (N, C, H, W) float32.
        blobs
            Names of blobs, which are the tops of layers; None: the net's output. If layers work in place, the
            value is that after the last of them.

        Returns
        -------
        dict
            (N, …) float32 for each name; without the first axis for a single image.

        Raises
        ------
        ImageError
            The image cannot be used.
        UsageError
            There is no such blob, or the model is closed.
        """
        self._require_open()
        wanted = values_by_name(self._explainer.net, blobs)
        is_batch = isinstance(x, np.ndarray) and x.ndim == 4
        inputs = checked_inputs(self._explainer, x) if is_batch else input_of(self._explainer, x)[np.newaxis]
        self._capacity.compile(replace(self._explainer, plans={}))
        with self._capacity.engine(self._explainer) as engine:
            found = run_forward(self._explainer.net, inputs, wanted, engine)
        return found if is_batch else {name: blob[0] for name, blob in found.items()}

    def close(self) -> None:
        """End the threads and free all memory; the model cannot be used afterwards."""
        self._is_closed = True
        self._capacity.close()

    def __enter__(self) -> "Model":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Only paths and settings are pickled, not weights: the other process opens the model again."""
        return _open, self._opened_by

    def __repr__(self) -> str:
        """A short summary."""
        net = self._explainer.net
        shape = "×".join(map(str, net.input_shape))
        state = ", closed" if self._is_closed else ""
        notes = f", {counted(len(self.notices), 'notice')}" if self.notices else ""
        return (
            f"<Model of {net.source}: {len(net.layers)} layers, input {shape}, {self.output_count} classes, "
            f"formula {self.formula}{notes}{state}>"
        )

    # Internals

    def explainer(self, formulas: Sequence[FormulaCode]) -> Explainer:
        """The explainer with plans for formulas; plans are made once.

        Raises
        ------
        ConfigError, PlanError
            As for `explain`.
        """
        with self._lock:
            known = self._explainer.explaining([*self._explainer.formulas, *formulas])
            self._explainer = known.without_old_composites()
            kept = {*self._explainer.formulas}
            self._for_one = {asked: one for asked, one in self._for_one.items() if kept >= {*asked.formulas}}
        return known.explaining(formulas)

    def _explaining(self, wanted: Wanted) -> Explainer:
        """The resources for explanations."""
        self._require_open()
        return wanted.of(self.explainer(wanted.formulas))

    def _explaining_one(self, wanted: Wanted) -> Explainer:
        """The resources for explaining one image, made once for equal requests."""
        known = self._for_one.get(wanted) if wanted.is_lasting and not self._is_closed else None
        if known is None:
            known, _ = self._capacity.scheduled(self._explaining(wanted), 1, 1)
            if wanted.is_lasting:
                if len(self._for_one) == _MOST_KEPT:
                    self._for_one.clear()
                self._for_one[wanted] = known
        return known

    def _attempt(self, explainer: Explainer, request: ImageRequest) -> Attempt:
        self._capacity.compile(explainer)
        loaded = load_image(explainer, [request])
        with self._capacity.engine(explainer) as engine:
            ((_, attempt),) = explain_batch(explainer, Batch((request,), ((0,),)), [loaded], engine)
        return attempt

    def _require_open(self) -> None:
        if self._is_closed:
            raise UsageError("the model is closed; load it again")


def _open(settings: ModelSettings, threads: int | None, memory: int | None) -> Model:
    """Open an unpickled model."""
    return Model(settings, threads=threads, memory=memory)
