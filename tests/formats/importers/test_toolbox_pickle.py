"""The toolbox's pickles: read as data, whoever wrote them; nothing that they name is imported or run."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from refusals import assert_refused
from toolbox_builders import linear, module, old_net, old_style, pickled

from caffe_lrp.formats.importers.toolbox import read
from caffe_lrp.formats.importers.toolbox.pickled import read_pickle

WEIGHTS = np.arange(6.0).reshape(2, 3) - 2
BIAS = np.array([0.5, -1, 2])
GOOD = pickled([linear(WEIGHTS, BIAS), module("Rect", Y=None)])
LINEAR = b"}(U\x01mK\x02U\x01nK\x03U\x01W%sU\x01B%su"


def written(folder: Path, content: bytes) -> Path:
    path = folder / "net.nn"
    path.write_bytes(content)
    return path


def old_array(shape: bytes, data: bytes, dtype: bytes = b"f8", order: bytes = b"<") -> bytes:
    """An array as Python 2 and NumPy 1 pickle it."""
    ends = b"NNNJ" + b"\xff" * 4 + b"J" + b"\xff" * 4 + b"K\x00tb"
    numpy_type = b"cnumpy\ndtype\n(U\x02%sK\x00K\x01tR(K\x03U\x01%s%s" % (dtype, order, ends)
    begun = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
    return begun + b"(K\x01(%st%s\x89T%stb" % (shape, numpy_type, len(data).to_bytes(4, "little") + data)


def old_linear(weights: bytes, bias: bytes) -> bytes:
    return old_net(old_style("Linear", b"}(U\x01mK\x02U\x01nK\x03U\x01W" + weights + b"U\x01B" + bias + b"u"))


OLD_WEIGHTS, OLD_BIAS = old_array(b"K\x02K\x03", WEIGHTS.tobytes()), old_array(b"K\x03", BIAS.tobytes())


@pytest.mark.parametrize(
    "content",
    [
        *(pickled([linear(WEIGHTS, BIAS)], protocol) for protocol in (0, 1, 2, 3, 4, 5)),
        pickled([linear(np.asfortranarray(WEIGHTS), BIAS)]),
        pickled([linear(WEIGHTS.astype(">f4"), BIAS.astype(np.float16))]),
        pickled([module("Linear", m=np.int64(2), n=3, W=WEIGHTS, B=BIAS)]),
        old_linear(OLD_WEIGHTS, OLD_BIAS),
    ],
)
def test_pickles_of_all_versions_give_the_same_weights(tmp_path: Path, content: bytes) -> None:
    module = read_pickle(written(tmp_path, content))[0]
    np.testing.assert_array_equal(module.weights, WEIGHTS)
    np.testing.assert_array_equal(module.bias, BIAS)


class _Calls:
    """Pickled as a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def calling(function: Callable[..., Any], *arguments: Any) -> bytes:
    return pickled([linear(WEIGHTS, BIAS), module("Rect", Y=_Calls(function, *arguments))])


def with_weights(weights: Any) -> bytes:
    return pickled([module("Linear", m=2, n=3, W=weights, B=BIAS)])


def _named(name: str) -> bytes:
    where, _, what = name.rpartition(".")
    return b"\x80\x02c%s\n%s\n." % (where.encode(), what.encode())


SHARED = linear(np.ones((64, 64)), np.ones(64))
BAD: dict[str, tuple[bytes, str]] = {
    "system": (_named("os.system"), r"names os.system, which is no part of .*; it is not opened"),
    "call of system": (b"cos\nsystem\n(S'touch hacked'\ntR.", "names os.system"),
    "instance": (b"\x80\x02(U\x04trueios\nsystem\n.", "names os.system"),
    "stack global": (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.", "names os.system"),
    "inside": (calling(exec, "open('hacked', 'w')"), "names builtins.exec"),
    "getattr": (calling(getattr, "", "format"), "names builtins.getattr"),
    "dotted": (b"\x80\x04\x8c\x0fmodules.rect.os\x8c\x06system\x93.", "names modules.rect.os.system"),
    "numpy load": (_named("numpy.load"), "names numpy.load"),
    "numpy test": (_named("numpy.testing._private.utils.runstring"), "names numpy.testing"),
    "cupy": (_named("cupy._core.core.array"), "its arrays are on a GPU"),
    "own module": (_named("modules.lstm.LSTM"), "names modules.lstm.LSTM, .* one of the toolbox's own"),
    "extension": (b"\x80\x02\x82\x01.", "has the pickle instruction EXT1"),
    "persistent": (b"Pspam\n.", "is no header of a module"),
    "persistent inside": (b"\x80\x02Pspam\n.", "has the pickle instruction PERSID"),
    "set": (pickle.dumps({1, 2}), "has the pickle instruction"),
    "list": (pickle.dumps([1, 2]), "but of something else than a net"),
    "only a module": (b"\x80\x02" + old_style("Rect") + b".", "but of something else than a net"),
    "no modules": (old_net(), "the net has no modules"),
    "no state": (b"\x80\x02(cmodules.sequential\nSequential\no.", "the net has no modules"),
    "number as module": (old_net(b"K\x01"), "module 1: is no module"),
    "net in a net": (old_net(old_style("Sequential")), "module 1: is another net"),
    "cut off": (GOOD[:-40], "is a damaged pickle"),
    "no end": (b"\x80\x02]", "damaged|cut short"),
    "huge string": (b"\x80\x02T\xff\xff\xff\x7fab.", "is a damaged pickle"),
    "huge bytes": (b"\x80\x04\x8e" + b"\xff" * 7 + b"\x0fab.", "is a damaged pickle"),
    "huge memo": (b"\x80\x02]r\xff\xff\xff\x7f0.", "is a damaged pickle"),
    "empty stack": (b"\x80\x020.", "is a damaged pickle"),
    "no mark": (b"\x80\x02ta.", "is a damaged pickle"),
    "state of a class": (b"\x80\x02cmodules.rect\nRect\n}U\x01xK\x01sb.", "is a damaged pickle"),
    "keys": (b"\x80\x02}K\x01K\x02s.", "is a damaged pickle"),
    "recursion": (b"\x80\x02" + b"]q\x00h\x00a" + b"(" * 5000 + b"l" * 5000 + b".", "something else"),
    "deep": (b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b".", "something else"),
    "many instructions": (b"\x80\x02" + b"N0" * 100_001 + b"N.", "more than 200000 instructions"),
    "objects": (with_weights(np.array([[None] * 3] * 2)), "W must be f8 numbers"),
    "texts": (with_weights(np.full((2, 3), "spam")), "W must be f8 numbers"),
    "whole numbers": (with_weights(WEIGHTS.astype(np.int64)), "W must be f8 numbers"),
    "list of numbers": (with_weights(WEIGHTS.tolist()), "W is no array of numbers"),
    "shape": (with_weights(WEIGHTS.T), r"its W has the shape \(3, 2\), not \(2, 3\)"),
    "not finite": (with_weights(np.full((2, 3), np.inf)), "its W has numbers that are not finite"),
    "lying shape": (
        old_linear(old_array(b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f", WEIGHTS.tobytes()), OLD_BIAS),
        "W does not have the bytes that its shape needs",
    ),
    "negative shape": (
        old_linear(old_array(b"J\xfe\xff\xff\xffJ\xfd\xff\xff\xff", WEIGHTS.tobytes()), OLD_BIAS),
        "W does not have the bytes",
    ),
    "many axes": (old_linear(old_array(b"K\x01" * 99, bytes(8)), OLD_BIAS), "has a shape that no weights"),
    "unknown type": (
        old_linear(old_array(b"K\x02K\x03", WEIGHTS.tobytes(), b"O8", b"|"), OLD_BIAS),
        "W must be f8 numbers",
    ),
    "sizes": (pickled([module("MaxPool", pool=(2, 2, 2), stride=(2, 2))]), "has 5 sizes, not 4"),
    "text size": (pickled([module("MaxPool", pool="spam", stride=(2, 2))]), "must be whole numbers"),
    "huge window": (pickled([module("MaxPool", pool=(1 << 40, 2), stride=(2, 2))]), "from 1 to 1048576"),
    "missing attributes": (pickled([module("Linear")]), r"module 1 \(Linear\): its m must be whole"),
    "shared weights": (pickled([SHARED] * 99), "several of its modules share their weights"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_runs_nothing_and_takes_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    content, message = BAD[name]
    path = written(tmp_path, content)
    assert_refused(read, path, message, megabytes=64)
    assert [file.name for file in tmp_path.iterdir()] == ["net.nn"]
