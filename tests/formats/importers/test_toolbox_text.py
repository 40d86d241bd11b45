"""The toolbox's text format: what its Python part takes, what is taken besides, and what is refused where."""

from pathlib import Path

import numpy as np
import pytest
from refusals import assert_refused
from toolbox_builders import XOR, XOR_INPUTS, XOR_PROBABILITIES, scores_of

from caffe_lrp.formats.importers.imported import ImportedNet
from caffe_lrp.formats.importers.toolbox import read, run
from caffe_lrp.formats.importers.toolbox.text import read_text

TINY = "Linear 2 1\n1 2\n0.5\n"


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "net.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def kinds(folder: Path, text: str) -> list[str]:
    return [module.kind for module in read_text(written(folder, text)).modules]


def imported(folder: Path, text: str) -> ImportedNet:
    return read(written(folder, text))


def test_the_xor_net_gives_the_toolboxs_probabilities(tmp_path: Path) -> None:
    net = imported(tmp_path, XOR)
    assert net.input_shape == (1, 2, 1, 1)
    np.testing.assert_allclose(run(tmp_path / "net.txt", XOR_INPUTS), XOR_PROBABILITIES, atol=1e-8)
    np.testing.assert_allclose(scores_of(net, tmp_path, XOR_INPUTS), XOR_PROBABILITIES, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TINY + "Rect\n", ["Linear", "Rect"]),
        (TINY + "Rect", ["Linear", "Rect"]),
        (TINY + "\nRect\n", ["Linear"]),
        (TINY.replace("\n", "\r\n") + "Rect\r\n", ["Linear", "Rect"]),
        (TINY + "Rectify\n", ["Linear", "Rect"]),
        ("Linear 2 2\n1 2\n3 4\n0 0\nTanh\n", ["Linear", "Tanh"]),
    ],
)
def test_it_takes_what_the_toolbox_takes_and_a_missing_last_line_break(
    tmp_path: Path, text: str, expected: list[str]
) -> None:
    assert kinds(tmp_path, text) == expected


def test_numbers_as_matlab_writes_them_and_the_older_format_give_the_same_weights(tmp_path: Path) -> None:
    expected = [[1, 2], [-0.1, 3e-5]]
    for text in (
        "Linear 2 2\n1.000000e+00 2.000000e+00 -1.000000e-01 3.000000e-05\n0.000000e+00 1.000000e+00",
        "Linear 2 2\n1 2\n-0.1 3e-5\n0 1\n",
    ):
        module = read_text(written(tmp_path, text)).modules[0]
        np.testing.assert_array_equal(module.weights, expected)
        np.testing.assert_array_equal(module.bias, [0, 1])


def test_notes_say_what_is_ignored_and_what_is_repeated(tmp_path: Path) -> None:
    notes = imported(tmp_path, "Linear 2 3\n1 2 3 4 5 6\n7\n\nRect\n").notes
    assert any("line 4 is empty" in note and "what follows is ignored" in note for note in notes)
    assert any("line 1 (Linear): its B has one number" in note for note in notes)


BAD: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "line 1: the net has no modules"),
    "empty first line": ("\nRect\n", "line 1: the net has no modules"),
    "blank in front": (" Rect\n", "line 1: ' Rect' begins with a blank; remove it"),
    "unknown module": (TINY + "BatchNorm\n", "line 4: 'BatchNorm' is no header of a module"),
    "too few numbers": ("Linear 2 2\n1 2 3\n0 0\n", "line 2: W must have 4 numbers, but has fewer"),
    "too many numbers": ("Linear 2 1\n1 2 3\n0\n", "line 2: W must have 2 numbers, but has more"),
    "no number": ("Linear 2 1\n1 spam\n0\n", "line 2: 'spam' is not a number"),
    "bad bias": ("Linear 2 3\n1 2 3 4 5 6\n1 2\n", "line 3: B must have 3 numbers, but has"),
    "cut off": ("Linear 2 1\n1 2", "line 3: the file ends where B is missing"),
    "missing size": ("Convolution 5 5 1 10\n1\n", r"line 1: Convolution needs 6 sizes \(h w d n s0 s1\)"),
    "huge size": ("Linear 99999999999 9\n1\n1\n", "line 1: '99999999999' must be a whole number from 1 to"),
    "many numbers": ("Linear 1048576 1048576\n" + "1 " * 99 + "\n1\n", "line 2: W must have 1099511627776"),
    "negative": ("SumPool 2 -2 2 2\n", "line 1: '-2' must be a whole number"),
    "not finite": ("Linear 2 1\n1 nan\n0\n", r"line 1 \(Linear 2 1\): its W has numbers that are not finite"),
    "too large": ("Linear 2 1\n1 1e300\n0\n", "its W has numbers that are not finite in float32"),
    "binary": (b"Linear 2 1\n\0\1\2\3", "is a binary file, not a net of the LRP Toolbox"),
    "page": ("<!DOCTYPE html>", r"is a web page \(HTML\)"),
    "nothing to see": ("Rect\nTanh\n", "nothing says what its input is"),
    "pooling first": ("SumPool 2 2 2 2\nFlatten\nLinear 4 1\n1 2 3 4\n0\n", "begins with a pooling"),
    "wrong order": ("Convolution 1 1 1 2 1 1\n1 2\n0 0\nLinear 2 1\n1 2\n0\n", "line 4 .*: reads a map"),
    "channels": (
        "Convolution 1 1 1 2 1 1\n1 2\n0 0\nConvolution 1 1 1 2 1 1\n1 2\n0 0\n",
        "line 4 .*: reads 1 channels, but gets 2",
    ),
    "inputs": (TINY + TINY, r"line 4 \(Linear 2 1\): has 2 inputs, but gets 1 numbers"),
    "softmax of a map": ("Convolution 1 1 1 2 1 1\n1 2\n0 0\nSoftMax\n", "works on the rows of a map"),
    "map of a vector": (TINY + "MaxPool 2 2 2 2\n", "line 4 .*: needs a map"),
    "huge windows": (
        "Convolution 1 1 1 1 1 1\n1\n0\n" + "SumPool 1000 1000 1000 1000\n" * 3,
        "its input would have 1×1000000000×1000000000 numbers",
    ),
    "many ones": (
        "Convolution 1 1 1 9999 1 1\n" + "1 " * 9999 + "\n0\n" + "SumPool 90 90 90 90\n",
        "sums over too many pixels|its output would have",
    ),
    "unsquare": (
        "Convolution 1 1 1 1 1 1\n1\n0\nFlatten\nLinear 2 1\n1 2\n0\n",
        "give the size of the images",
    ),
    "many modules": ("Linear 1 1\n1\n0\n" + "Rect\n" * 10_001, "more than 10000 modules"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_by_line_without_taking_memory(tmp_path: Path, name: str) -> None:
    content, message = BAD[name]
    path = written(tmp_path, content)
    assert_refused(read, path, message, megabytes=8)
