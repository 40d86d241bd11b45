"""The resources of a model: threads, memory, and the engines made for them."""

import logging
import os
import threading
from contextlib import AbstractContextManager

from caffe_lrp.engines.base import Engine
from caffe_lrp.engines.pool import EnginePool
from caffe_lrp.machine.resources import allowed_processors, available_memory
from caffe_lrp.relevance.composite import FormulaCode

from . import schedule
from .compiling import compiling
from .explainer import Explainer
from .schedule import Limits, Schedule

_LOG = logging.getLogger("caffe_lrp")

#: Held while kernels are compiled: threads that wait for it find them compiled.
_COMPILING = threading.Lock()
os.register_at_fork(
    before=_COMPILING.acquire, after_in_parent=_COMPILING.release, after_in_child=_COMPILING.release
)


class Capacity:
    """Threads and memory of one model.

    Parameters
    ----------
    threads
        Threads that compute; None: one for each processor that this process may use.
    memory
        Bytes that explanations may take; None: half of what is free.
    """

    def __init__(self, threads: int | None, memory: int | None) -> None:
        self._threads = threads or allowed_processors()
        self._memory = memory or available_memory() // 2
        self._lock = threading.Lock()
        self._compiled: set[tuple[tuple[FormulaCode, ...], bool]] = set()
        self._engines: EnginePool | None = None
        self._process, self._is_closed = os.getpid(), False

    def scheduled(
        self, explainer: Explainer, images: int, batch: int | None = None
    ) -> tuple[Explainer, Schedule]:
        """The explainer, with a budget for loading images, and the schedule for this number of images."""
        limits = Limits(self._threads, self._memory, batch)
        footprint = schedule.whole_footprint(explainer, maps=max(1, len(explainer.plans)))
        planned = schedule.schedule_here(footprint, images, limits)
        return schedule.loading_within(explainer, planned, limits, _LOG.warning), planned

    def compile(self, explainer: Explainer) -> None:
        """Compile the kernels that explanations need, once; this takes a while, so it is logged."""
        asked = explainer.formulas, explainer.observation.constants is not None
        if asked in self._compiled:
            return
        with _COMPILING:
            last = None
            for step in compiling(explainer, lambda explanation: None, "", self._threads):
                if step.is_counted:
                    if last is None:
                        _LOG.warning(step.begun_line)
                    last = step
            if last is not None:
                _LOG.warning(last.ended_line)
        self._compiled.add(asked)

    def engine(self, explainer: Explainer) -> AbstractContextManager[Engine]:
        """An engine for the calling thread; waits if there is not enough memory for another one.

        The first engine has all threads, for programs that call from a single thread; further engines use
        only the caller's thread.
        """
        with self._lock:
            if self._engines is None or self._process != os.getpid():  # a forked process has no threads
                _, planned = self.scheduled(explainer, self._threads, 1)
                threads = [self._threads] + [1] * (planned.workers - 1)
                self._engines = EnginePool(threads, explainer.settings.convolution)
                self._process = os.getpid()
                if self._is_closed:  # closed during this call
                    self._engines.close()
            return self._engines.borrowed()

    def close(self) -> None:
        """End the threads of all engines, and free their memory."""
        with self._lock:
            self._is_closed = True
            if self._engines is not None and self._process == os.getpid():
                self._engines.close()
