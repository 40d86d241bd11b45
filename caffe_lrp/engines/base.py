"""The interface of engines, which run plans on batches of images."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
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
        Needed once, for any number of images and workers: weights, and data that rules derive from them.
    per_image
        Needed at most for every image of a batch, while it is in the engine.
    """

    fixed: int
    per_image: int


class Engine(ABC):
    """Runs plans, one batch at a time; a context manager, because its threads have to end.

    Only one thread at a time may use an engine. Later runs do not change the blobs that it has returned.

    Parameters
    ----------
    threads
        How many threads share the work inside a layer.
    checkpoint
        Called repeatedly during a pass, or None; an exception ends the pass.
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
        """The memory needed to explain images by ``plans``, which share one forward pass."""

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
            The values that they need are kept.
        batch
            (N, C, H, W): inputs.
        keep
            Ids of further values to keep.
        """

    @abstractmethod
    def explain(
        self,
        plan: Plan,
        forward: ForwardPass,
        start: Mapping[int, Blob],
        observer: Observer | None = None,
    ) -> Blob:
        """Relevance of the plan's target.

        Parameters
        ----------
        plan
            The plan.
        forward
            The forward pass of N items, by `forward` with this plan among its plans.
        start
            Each value of `Plan.seeds` -> (N, …): the start vectors.
        observer
            Called after every step, or None.

        Returns
        -------
        Blob
            (N, …) in the shape of the target value.
        """

    @abstractmethod
    def forget(self) -> None:
        """Release the memory of past batches; that of blobs in use is released when they are gone."""

    @abstractmethod
    def close(self) -> None:
        """Release all memory, and end all threads."""
