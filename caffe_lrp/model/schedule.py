"""The schedule of a run: batch size, number of workers, and memory."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from caffe_lrp.engines.base import Footprint
from caffe_lrp.engines.cpu import CpuEngine
from caffe_lrp.errors import LimitError
from caffe_lrp.files.imagefile import ImageSource
from caffe_lrp.imaging.budget import MemoryBudget
from caffe_lrp.machine.environment import stack_of_thread
from caffe_lrp.machine.resources import address_space_left
from caffe_lrp.messages import counted

from .explainer import Explainer

#: Assumed number of images where it is not known; more than any list has.
MANY_IMAGES = 10**9
#: Images per batch if memory allows: larger batches are not faster.
LARGEST_BATCH = 16
#: Smaller batches read the weights of inner products too often; fewer workers are used instead.
_SMALLEST_BATCH = 4
#: With at least this many rounds it does not matter whether the last one occupies all workers.
_MANY_ROUNDS = 4
#: Batches in the pipeline per worker: one being computed, and one being loaded or written.
BATCHES_PER_WORKER = 2
#: Batches that take more memory than this are not faster: weights are then read rarely enough.
_ENOUGH_BYTES = 2 * 2**30
#: Memory of the interpreter, the libraries and compiled kernels.
_PROCESS_BYTES = 250 * 2**20
#: Images may always take this much together while they are loaded: about 8 photos of half a megapixel.
_LEAST_FOR_IMAGES = 128 * 2**20
#: Each loader may hold a large photo in memory.
_MOST_LOADERS = 8
#: Address space that a thread takes besides its stack: its heap in the C library, most of it never used.
_ADDRESS_SPACE_OF_HEAP = 64 * 2**20
#: Threads that keep the journal and renew the lease.
_THREADS_BESIDES = 2
#: Address space of everything else, measured on the demo with 1, 2 and 4 threads.
_ADDRESS_SPACE_BESIDES = 85 * 2**20


@dataclass(frozen=True)
class Schedule:
    """The plan of a run: batch size, workers and threads.

    Attributes
    ----------
    batch_size
        Images in a batch.
    workers
        Batches that are computed in parallel.
    threads
        Threads of all workers together, at least one per worker.
    memory
        Bytes that the process is expected to take; 0: not estimated.
    keeps_order
        Whether files are written strictly in the order of the list because some are written twice.
    notes
        Notes about differences from what was requested.
    """

    batch_size: int = 1
    workers: int = 1
    threads: int = 1
    memory: int = 0
    keeps_order: bool = False
    notes: tuple[str, ...] = ()

    @property
    def threads_of_workers(self) -> tuple[int, ...]:
        """Threads inside the layers for each worker; the numbers differ by at most one."""
        share, rest = divmod(self.threads, self.workers)
        return tuple(share + (worker < rest) for worker in range(self.workers))

    @property
    def loaders(self) -> int:
        """Threads that load images: at most one for each image that can be loading."""
        return min(self.threads, _MOST_LOADERS, self.most_results)

    @property
    def writers(self) -> int:
        """Threads that write files: at most one for each map that can be waiting."""
        return 1 if self.keeps_order else min(self.threads, self.most_results)

    @property
    def description(self) -> str:
        """A readable line with the schedule."""
        threads = "thread" if self.threads == 1 else "threads"
        return (
            f"batches of {self.batch_size}, {self.workers} at a time on {self.threads} {threads}, about "
            f"{readable(self.memory)} of memory"
        )

    @property
    def most_batches(self) -> int:
        """Batches in the pipeline at a time, from loading the first image to writing the last map."""
        return BATCHES_PER_WORKER * self.workers

    @property
    def most_results(self) -> int:
        """The maximum number of maps waiting to be written."""
        return self.most_batches * self.batch_size


@dataclass(frozen=True)
class Limits:
    """The limits of a run: memory, threads and batch size.

    Attributes
    ----------
    threads
        Threads that compute.
    memory
        Bytes that the process may take.
    batch_size
        Requested images per batch; None: chosen automatically.
    """

    threads: int
    memory: int
    batch_size: int | None = None


def plan_schedule(
    footprint: Footprint, images: int, limits: Limits, *, keeps_order: bool = False
) -> Schedule:
    """The fastest schedule of a run within its limits, by estimate.

    A requested batch size is used if memory allows, else the largest that fits. Without one, the size is
    `LARGEST_BATCH`, halved until memory is enough for one batch per thread, but not below 4: then fewer
    workers use several threads each. Short lists are split evenly. If not even one image fits, one is tried.

    Parameters
    ----------
    footprint
        Memory of one image, in the engine and around it (`whole_footprint`).
    images
        Images in the list.
    limits
        Memory, threads and batch size.
    keeps_order
        Whether images must be done one after the other, with all threads inside the layers.
    """
    size, workers = 1, 1
    if not keeps_order:
        room = max(1, (limits.memory - footprint.fixed) // footprint.per_image)
        best = min(room, max(1, limits.threads * _ENOUGH_BYTES // footprint.per_image))
        size = min(limits.batch_size or _size_for(best, limits.threads), room)
        workers = max(1, min(limits.threads, room // size))
        if limits.batch_size is None:
            size = _even_size(images, workers, size)
        workers = max(1, min(workers, math.ceil(images / size)))
    return Schedule(
        batch_size=size,
        workers=workers,
        threads=limits.threads,
        memory=footprint.fixed + workers * size * footprint.per_image,
        keeps_order=keeps_order,
    )


def schedule_here(
    footprint: Footprint, images: int, limits: Limits, *, keeps_order: bool = False
) -> Schedule:
    """The result of `plan_schedule`, within the address space that is left to this process.

    Raises
    ------
    LimitError
        There is too little address space for one thread.
    """
    planned = plan_schedule(footprint, images, limits, keeps_order=keeps_order)
    return within_address_space(planned, address_space_left(), stack_of_thread())


def _size_for(room: int, threads: int) -> int:
    """Batch size if ``room`` images fit into memory; in large steps, so that it rarely changes."""
    size = LARGEST_BATCH
    while size > _SMALLEST_BATCH and room // size < threads:
        size //= 2
    return size if size <= room else 1


def _even_size(images: int, workers: int, size: int) -> int:
    """At most ``size``, so that all ``workers`` get the same number of batches of a short list."""
    rounds = math.ceil(images / (workers * size))
    if images == 0 or rounds > _MANY_ROUNDS:
        return size
    return math.ceil(images / (workers * rounds))


def whole_footprint(explainer: Explainer, maps: int = 1) -> Footprint:
    """Memory of the whole process: the engine, and the images and maps in its queues.

    Parameters
    ----------
    explainer
        Net, plans and preprocessing.
    maps
        Maps of each image that are queued at a time.
    """
    net, plans = explainer.net, tuple(explainer.plans.values())
    engine = CpuEngine.footprint(net, plans, explainer.settings.convolution)
    decoded = 5 * math.prod(net.input_shape)  # a blob of float32 and a picture of bytes
    result = 4 * max((math.prod(net.shape_of(plan.target)) for plan in plans), default=0)
    noted = explainer.observation.memory(net, BATCHES_PER_WORKER * maps)
    if explainer.vector is not None and explainer.vector.kind.contrast is not None:
        noted += result + 4 * sum(math.prod(net.shape_of(value)) for value in explainer.origin.seeds)
    return Footprint(
        fixed=_PROCESS_BYTES + engine.fixed,
        per_image=engine.per_image + BATCHES_PER_WORKER * (decoded + maps * result) + noted,
    )


def remarks_on(schedule: Schedule, footprint: Footprint, limits: Limits) -> list[str]:
    """Notes about a schedule that differs from what was requested."""
    allowed = f"the {readable(limits.memory)} that may be used (--memory)"
    notes = list(schedule.notes)
    if schedule.memory > limits.memory:
        return [
            *notes,
            f"a single image takes about {readable(schedule.memory)}, more than {allowed}; trying it anyway",
        ]
    wanted = limits.batch_size or 0
    if schedule.batch_size < wanted and not schedule.keeps_order:
        needed = readable(footprint.fixed + wanted * footprint.per_image)
        return [
            *notes,
            f"batches of {wanted} images take about {needed}, more than {allowed}; using batches "
            f"of {schedule.batch_size}",
        ]
    return notes


def loading_within(
    explainer: Explainer, schedule: Schedule, limits: Limits, tell: Callable[[str], None]
) -> Explainer:
    """The explainer with a budget for loading images: the memory that the schedule leaves of the limit.

    ``tell`` is called with a note about an image that takes more, before it is decoded.
    """
    room = memory_for_images(schedule, limits)

    def tell_of(source: ImageSource, needed: int) -> None:
        tell(
            f"{source}: loading it takes about {readable(needed)}, more than the {readable(room)} that the "
            f"net leaves of the {readable(limits.memory)} that may be used (--memory); trying it anyway, "
            "alone"
        )

    budget = MemoryBudget(room, tell_of)
    return replace(explainer, preprocessor=replace(explainer.preprocessor, budget=budget))


def memory_for_images(schedule: Schedule, limits: Limits) -> int:
    """Bytes for loading images: what the schedule leaves, but at least enough for ordinary photos."""
    return max(_LEAST_FOR_IMAGES, limits.memory - schedule.memory)


def within_address_space(schedule: Schedule, left: int | None, stack: int) -> Schedule:
    """The schedule, with fewer threads if there is too little address space: the process would crash.

    Parameters
    ----------
    schedule
        The schedule.
    left
        Bytes of address space that the process may still take; None: no limit.
    stack
        Bytes of address space for the stack of a thread.

    Raises
    ------
    LimitError
        There is too little for one thread; the message names the limit.
    """
    if left is None:
        return schedule
    limit = _what_is_left(left)
    fewer = schedule
    while (needed := _address_space_of(fewer, stack)) > left:
        if fewer.threads == 1:
            raise LimitError(f"{limit}, but about {readable(needed)} are needed; raise that limit")
        threads = fewer.threads - 1
        note = f"{limit}, so the run uses {counted(threads, 'thread')}, not {schedule.threads}"
        workers = min(schedule.workers, threads)
        fewer = replace(schedule, threads=threads, workers=workers, notes=(*schedule.notes, note))
    return fewer


def _address_space_of(schedule: Schedule, stack: int) -> int:
    """Bytes that the process will take, in addition to those after the net is loaded."""
    threads = schedule.loaders + schedule.threads + schedule.writers + _THREADS_BESIDES
    return schedule.memory - _PROCESS_BYTES + _address_space_of_threads(threads, stack)


def _address_space_of_threads(count: int, stack: int) -> int:
    return _ADDRESS_SPACE_BESIDES + count * (_ADDRESS_SPACE_OF_HEAP + stack)


def require_address_space_for(count: int, left: int | None, stack: int) -> None:
    """Raise LimitError if there is too little address space for ``count`` threads."""
    needed = _address_space_of_threads(count, stack)
    if left is not None and needed > left:
        raise LimitError(f"{_what_is_left(left)}, but about {readable(needed)} are needed; raise that limit")


def _what_is_left(left: int) -> str:
    return f"the limit on the address space of this process (ulimit -v) leaves {readable(max(left, 0))}"


def readable(size: int) -> str:
    """A readable number of bytes: ``800 MB``, ``1.5 GB``."""
    megabytes = size / 2**20
    return f"{megabytes / 1024:.1f} GB" if megabytes >= 1000 else f"{megabytes:.0f} MB"
