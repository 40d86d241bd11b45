"""What explanations need is compiled before the first one: no more, no less, and said once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numba
import pytest

import caffe_lrp
from caffe_lrp.kernels import ahead
from caffe_lrp.kernels._kernel import _TRACING, CompiledKernel
from caffe_lrp.kernels.cache import CacheFolder
from caffe_lrp.model import capacity, compiling
from caffe_lrp.model.wanted import Wanted
from caffe_lrp.outputs.encoding import Encoding
from caffe_lrp.outputs.kinds import OUTPUTS, file_kinds
from caffe_lrp.outputs.writers import encoded
from caffe_lrp.relevance.formulas import FORMULAS

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "configs" / "demo.txt"
PICTURE = ROOT / "filelists" / "demo" / "1_cross_square_crescent.png"
KINDS = tuple(kind for kind in file_kinds(OUTPUTS) if not OUTPUTS[kind].needs_sums)

Calls = dict[str, tuple[Any, ...]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Kernels that are run, by name, and the types that they were given last."""
    noted: Calls = {}
    really = CompiledKernel.__call__

    def note(self: CompiledKernel, *arguments: Any) -> Any:
        if _TRACING.note is None:
            noted[self.name] = tuple(map(numba.typeof, arguments))
            assert noted[self.name] == self.stated, self.name
        return really(self, *arguments)

    monkeypatch.setattr(CompiledKernel, "__call__", note)
    return noted


@pytest.mark.slow
@pytest.mark.parametrize("convolution", ["auto", "direct", "winograd"])
@pytest.mark.parametrize("conservation", [False, True])
def test_the_predicted_kernels_run_with_the_stated_types(
    convolution: str, conservation: bool, calls: Calls
) -> None:
    def write(explanation: caffe_lrp.Explanation) -> None:
        list(encoded(explanation, KINDS, Encoding()))

    needed: set[str] = set()
    with caffe_lrp.load(DEMO, convolution=convolution, switch_layer=4, threads=1) as model:
        for code in FORMULAS:
            explainer = model._explaining(Wanted((code,), conservation=conservation))
            needed.clear()
            calls.clear()
            compiling._trace(explainer, write, needed.add)
            assert not calls
            write(model.explain(PICTURE, formula=code, conservation=conservation))
            assert calls.keys() <= needed
            # Demo pictures have the size of the input.
            assert {name for name in needed - calls.keys() if not name.startswith("resize.")} == set()


def test_a_model_says_once_that_it_compiles_and_when_it_is_done(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def steps(*_: object) -> Iterator[ahead.Compiled]:
        yield ahead.Compiled(0, 2, 0.0, 3.4)
        yield ahead.Compiled(1, 2, 2.0, 1.4)
        yield ahead.Compiled(2, 2, 4.1, 0.0)

    monkeypatch.setattr(capacity, "compiling", steps)
    with caffe_lrp.load(DEMO) as model:
        for _ in range(2):
            model.explain(PICTURE)
    assert [record.getMessage() for record in caplog.records] == [
        "compiling 2 kernels for this CPU, once; that takes about 3 s",
        "compiled 2 kernels in 4 s; later runs skip this",
    ]


def test_what_a_net_needs_is_found_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "CACHE_FOLDER", CacheFolder(tmp_path))
    monkeypatch.setattr(compiling, "uncompiled", lambda names: names)
    really, traced = compiling._trace, []

    def trace(*given: Any) -> bool:
        traced.append(given[0].formulas)
        return really(*given)

    monkeypatch.setattr(compiling, "_trace", trace)
    with caffe_lrp.load(DEMO) as model:
        for formula in (100, 100, 0):
            assert list(compiling.compiling(model.explainer([formula]), lambda _: None, "a test", 1)) == []
    assert traced == [(100,), (0,)]


def test_a_fault_of_numbers_that_mean_nothing_ends_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise IndexError

    monkeypatch.setattr(compiling, "_image", fail)
    monkeypatch.setattr(compiling, "uncompiled", lambda names: names)
    with caffe_lrp.load(DEMO) as model:
        assert list(compiling.compiling(model.explainer([100]), lambda _: None, "a test", 1)) == []
