"""Settings of all tests."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from caffe_lrp.files import trust

# A shell ignores Ctrl-C on behalf of what it runs in the background, and nohup a terminal that closes: the
# program then does as well, which is not what is to be tested.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)

# Machines are shared: how long an example takes says nothing of the code.
settings.register_profile("without a deadline", deadline=None)
settings.load_profile("without a deadline")


@pytest.fixture
def give(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, int], None]:
    """A function that has files and folders seem to belong to another user, which only root could do."""
    owners: dict[Path, int] = {}
    really = trust._why_doubted

    def as_if(path: Path, state: os.stat_result, *others: object, **more: object) -> trust.Distrust | None:
        fields = [*state[:4], owners.get(path, state.st_uid), *state[5:]]
        return really(path, os.stat_result(fields), *others, **more)  # type: ignore[arg-type]

    def give_to(path: Path, owner: int) -> None:
        owners[path] = owner

    monkeypatch.setattr(trust, "_why_doubted", as_if)
    return give_to
