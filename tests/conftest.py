"""Settings of all tests."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from caffe_lrp.files import trust
from caffe_lrp.machine.resources import allowed_processors

TESTS = Path(__file__).parent

#: Where tests lie that have kernels compiled one by one.
COMPILING = ("kernels", "layers", "compute", "engines", "relevance", "test_conformance.py")
#: Where tests lie that take long, and explain images, for which most kernels are needed.
EXPLAINING = (
    "scripts", "net", "pycaffe", "cli", "batch", "model", "outputs", "test_command_line.py", "test_door.py",
)  # fmt: skip

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


def pytest_configure(config: pytest.Config) -> None:
    """Compile all kernels before the first test, and have processes that tests start find them.

    The package that they import may be the installed one, which would compile everything once more.
    """
    from caffe_lrp.kernels._jit import CACHE_FOLDER  # noqa: PLC0415 - only tests need it
    from caffe_lrp.kernels.ahead import Compilation, all_kernels  # noqa: PLC0415

    if CACHE_FOLDER.folder is not None and not CACHE_FOLDER.notices:
        os.environ.setdefault("CAFFE_LRP_CACHE_DIR", str(CACHE_FOLDER.folder.parent))
    if not hasattr(config, "workerinput"):
        with Compilation(allowed_processors()) as compilation:
            compilation.add(all_kernels())
            for number, step in enumerate(compilation.steps()):
                if not number or step.is_over:
                    sys.stdout.write(f"compiling kernels: {step.done} of {step.total}\n")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order tests such that two workers, who begin with a half each, do not compile the same.

    The first one begins with tests of kernels, which ask for some code of their own. The other one first does
    what hardly needs any, then what takes longest. What is left at the end are many tests that take next to
    no time, for whoever is done first.
    """
    groups: dict[str, list[pytest.Item]] = {"compiling": [], "explaining": [], "other": []}
    for item in items:
        place = item.path.relative_to(TESTS).parts[0]
        kinds = {"compiling": place in COMPILING, "explaining": place in EXPLAINING}
        groups[next((kind for kind, applies in kinds.items() if applies), "other")].append(item)
    first = groups["compiling"]
    half = len(items) // 2
    items[:] = first[:half] + groups["other"] + groups["explaining"] + first[half:]
