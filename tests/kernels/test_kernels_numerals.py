"""Numbers out of text against Python's, which are C's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caffe_lrp.kernels.numerals import read_numbers


def read(text: str, room: int = 8) -> list[float]:
    out = np.empty(room, np.float32)
    count = read_numbers(np.frombuffer(bytearray(text.encode()), np.uint8), out)
    return [float(number) for number in out[:count]]


def test_what_the_writer_writes_is_read_as_python_reads_it() -> None:
    bits = np.random.default_rng(0).integers(0, 0x7F800000, 20_000, np.uint32)
    numbers = np.concatenate([bits.view(np.float32), [0.0, 1e-45, 3.4e38, 1e-38]])
    words = [f"{sign * number:g}" for number in numbers.tolist() for sign in (1, -1)]
    expected = np.array([float(word) for word in words]).astype(np.float32)
    found = np.array(read(" ".join(words), len(words)), np.float32)
    assert np.array_equal(found.view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n\t ", []),
        ("1 -2\r\n+3.50", [1, -2, 3.5]),
        (".5 5. 0005 1E3 1e+03 1e-3", [0.5, 5, 5, 1000, 1000, float(np.float32(0.001))]),
        ("7 1e50 -1e99", [7, np.inf, -np.inf]),
        ("7 inf 8", [7]),
        ("7 nan", [7]),
        ("7 1.2.3", [7]),
        ("7 1e 8", [7]),
        ("7 1e+", [7]),
        ("7 1e100", [7]),
        ("7 --8", [7]),
        ("7 - 8", [7]),
        ("7 .", [7]),
        ("7 8x", [7]),
        ("7 1234567890123456", [7]),
        ("1 2 3 4", [1, 2]),
    ],
)  # fmt: skip
def test_reading_ends_at_what_is_no_plain_number(text: str, expected: list[float]) -> None:
    assert read(text, 2 if text == "1 2 3 4" else 8) == expected


@given(st.text("0123456789+-.eE \nx", max_size=40))
def test_what_is_read_of_any_text_is_what_python_reads(text: str) -> None:
    words = text.split()
    for found, word in zip(read(text, 40), words, strict=False):
        with np.errstate(over="ignore"):
            assert found == float(np.float32(float(word)))
