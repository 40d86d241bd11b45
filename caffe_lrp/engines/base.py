"""The interface of engines, which run plans on batches of images. How they compute is hidden behind it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType

from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.net.net import Net
from caffe_lrp.relevance.passage import ForwardPass, Observer
from caffe_lrp.relevance.plan import Plan


@dataclass(frozen=True)
class Footprint:
    """Bytes of memory.

    Attributes
    ----------
    fixed
        Taken once, however many images and workers there are: weights, and what rules derive from them.
    per_image
        Taken at most by every image of a batch, while it is in the engine.
    """

    fixed: int
    per_image: int


class Engine(ABC):
    """Runs plans, one batch at a time; a context manager, because its threads have to end.

    An engine belongs to one thread at a time. The blobs that it returns stay as they are, whatever it runs
    next.

    Parameters
    ----------
    threads
        How many threads share the work inside a layer.
    checkpoint
        Called again and again during a pass, or None; what it raises ends the pass.
    convolution
        How convolutions are computed: ``auto``, ``direct`` or ``winograd`` (wherever it applies).
    """

    @abstractmethod
    def __init__(
        self, threads: int = 1, checkpoint: Callable[[], None] | None = None, convolution: str = "auto"
    ) -> None: ...

    def __enter__(self) -> "Engine":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @staticmethod
    @abstractmethod
    def footprint(net: Net, plans: Sequence[Plan], convolution: str = "auto") -> Footprint:
        """The memory it takes to explain images by ``plans``, which share one forward pass."""

    @abstractmethod
    def forward(
        self, net: Net, plans: Sequence[Plan], batch: Blob, keep: frozenset[int] = frozenset()
    ) -> ForwardPass:
        """One forward pass for all ``plans``.

        Parameters
        ----------
        net
            The net.
        plans
            What the values that they look at are kept for.
        batch
            (N, C, H, W): inputs.
        keep
            Ids of values to keep besides.
        """

    @abstractmethod
    def explain(
        self,
        plan: Plan,
        forward: ForwardPass,
        classes: Sequence[Sequence[int]],
        observer: Observer | None = None,
    ) -> Blob:
        """Relevance of the plan's target.

        Parameters
        ----------
        plan
            The plan.
        forward
            The forward pass of N items, by `forward` with this plan among its plans.
        classes
            For each item, the classes whose scores relevance starts as; each below `Plan.start_size`.
        observer
            Called after every step, or None.

        Returns
        -------
        Blob
            (N, …) in the shape of the target value.
        """

    @abstractmethod
    def forget(self) -> None:
        """Hand the memory of past batches back; what blobs in use take follows when they are gone."""

    @abstractmethod
    def close(self) -> None:
        """Hand all memory back, and end all threads."""
