"""Numbers as text against Python's ``%g``, which is C's."""

import numpy as np
import pytest
from numpy.typing import NDArray

from caffe_lrp.kernels.text import most_bytes, write_numbers

Numbers = NDArray[np.float32]

LARGEST_DENORMAL_BITS = 0x007FFFFF
INFINITY_BITS = 0x7F800000

#: Numbers that are no ties, but so near to one that 43 bits behind the point do not tell: an exhaustive
#: search found 992 of them among all positive float32, these are the bits of every 66th.
NEARLY_TIES = [
    0x0003ADEB,
    0x06353473,
    0x0BBE128D,
    0x1155C460,
    0x1608FF4C,
    0x20DD0609,
    0x25F78726,
    0x2BED82BD,
    0x59C4EC87,
    0x5E07218E,
    0x62BDBF73,
    0x68D3DB6B,
    0x6EECFD26,
    0x73882B48,
    0x78C0CD0E,
    0x7F58F473,
]


def written(numbers: Numbers) -> bytes:
    """What the kernel makes of (rows, width), in a buffer of the size it asks for."""
    out = np.empty(most_bytes(*numbers.shape), np.uint8)
    return out[: write_numbers(numbers, out)].tobytes()


def assert_spelled_as_in_c(numbers: Numbers) -> None:
    """Compare numbers of any shape, and the same with the other sign."""
    row = np.concatenate([numbers.ravel(), -numbers.ravel()])[None]
    text = written(row).decode("ascii")
    expected = ("%g " * row.size + "\n") % tuple(row[0].tolist())
    if text != expected:
        pairs = zip(text.split(), expected.split(), strict=False)
        wrong = [f"{one} instead of {other}" for one, other in pairs if one != other]
        pytest.fail(f"{len(wrong)} of {row.size} numbers differ: {wrong[:5]}")


def of_bits(bits: object) -> Numbers:
    return np.asarray(bits, np.uint32).view(np.float32)


def with_neighbours(numbers: Numbers, steps: int = 3) -> Numbers:
    """The numbers, and so many next to each of them on both sides; all are positive and finite."""
    bits = numbers.view(np.int32)[:, None] + np.arange(-steps, steps + 1, dtype=np.int32)
    return of_bits(np.clip(bits, 0, INFINITY_BITS - 1))


def ties(tens: int) -> Numbers:
    """All float32 that are (n + ½)·10^``tens`` exactly, for n of six digits."""
    doubled = np.arange(200_001, 2_000_000, 2, dtype=np.int64)
    if tens < 0:
        doubled = doubled[doubled % 5**-tens == 0] // 5**-tens
    else:
        doubled *= 5**tens
    exact = doubled[doubled < 2**24] * 2.0 ** (tens - 1)
    numbers = exact.astype(np.float32)
    np.testing.assert_array_equal(numbers, exact)
    return numbers


@pytest.mark.slow
def test_any_bits() -> None:
    bits = np.random.default_rng(0).integers(0, 1 << 32, 1_000_000, np.uint32)
    assert_spelled_as_in_c(of_bits(bits))


def test_values_as_heatmaps_have_them() -> None:
    exponents = np.random.default_rng(1).uniform(-9, -2, 200_000)
    assert_spelled_as_in_c((10.0**exponents).astype(np.float32))


def test_denormal_numbers() -> None:
    assert_spelled_as_in_c(of_bits(np.arange(1, LARGEST_DENORMAL_BITS, 83)))
    assert_spelled_as_in_c(of_bits(np.arange(1, 1000)))
    assert_spelled_as_in_c(with_neighbours(of_bits([1 << bit for bit in range(24)])))


def test_powers_of_two_and_their_neighbours() -> None:
    assert_spelled_as_in_c(with_neighbours(of_bits(np.arange(1, 255) << 23)))


def test_powers_of_ten_and_their_neighbours() -> None:
    assert_spelled_as_in_c(with_neighbours(10.0 ** np.arange(-45, 39, dtype=np.float32)))


def test_numbers_that_round_up_to_a_power_of_ten() -> None:
    powers = 10.0 ** np.arange(-45, 39)
    assert_spelled_as_in_c(with_neighbours((0.9999995 * powers).astype(np.float32), steps=20))


def test_where_the_exponent_appears() -> None:
    numbers = np.array([999999, 999999.4, 999999.5, 999999.6, 9.9999945e-5, 9.9999955e-5], np.float32)
    expected = b"999999 999999 1e+06 1e+06 9.99999e-05 0.0001 \n"
    assert written(numbers[None]) == expected


def test_every_number_of_digits_in_every_decade() -> None:
    digits = np.array([1, 1.2, 1.02, 1.002, 1.0203, 1.00002, 1.23456, 9.99999, 9.9, 5])
    decades = 10.0 ** np.arange(-38, 38)[:, None]
    assert_spelled_as_in_c((digits * decades).astype(np.float32))


@pytest.mark.parametrize("tens", range(-8, 3))
def test_ties(tens: int) -> None:
    numbers = ties(tens)
    assert numbers.size
    assert_spelled_as_in_c(numbers[:: max(1, numbers.size // 50_000)])


def test_ties_go_to_the_even_digit() -> None:
    numbers = np.array([100000.5, 100001.5, 2000005, 2000015, 1000.125, 1000.375], np.float32)
    assert written(numbers[None]) == b"100000 100002 2e+06 2.00002e+06 1000.12 1000.38 \n"


def test_neighbours_of_ties() -> None:
    for tens in range(-8, 3):
        assert_spelled_as_in_c(with_neighbours(ties(tens)[::1009], steps=1))


def test_numbers_that_are_nearly_ties() -> None:
    assert_spelled_as_in_c(of_bits(NEARLY_TIES))


def test_integers() -> None:
    assert_spelled_as_in_c(np.arange(0, 2**24 + 1, 41, dtype=np.float32))
    assert_spelled_as_in_c(np.arange(2000, dtype=np.float32))


def test_the_largest_and_the_smallest() -> None:
    numbers = of_bits([0x7F7FFFFF, 0xFF7FFFFF, 0x00800000, LARGEST_DENORMAL_BITS, 1, 0x80000001])
    expected = b"3.40282e+38 -3.40282e+38 1.17549e-38 1.17549e-38 1.4013e-45 -1.4013e-45 \n"
    assert written(numbers[None]) == expected


def test_zeros_and_what_is_no_number() -> None:
    numbers = of_bits([0, 1 << 31, INFINITY_BITS, 0xFF800000, 0x7FC00000, 0xFFC00000, 0x7F800001])
    assert written(numbers[None]) == b"0 -0 inf -inf nan nan nan \n"


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((2, 3), b"0 1 2 \n3 4 5 \n"), ((3, 1), b"0 \n1 \n2 \n"), ((2, 0), b"\n\n"), ((0, 4), b"")],
)
def test_a_blank_follows_every_number_and_a_line_feed_every_row(
    shape: tuple[int, int], expected: bytes
) -> None:
    numbers = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    assert written(numbers) == expected


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (5, 1), (2, 0)])
def test_nothing_is_stored_outside_the_buffer(shape: tuple[int, int]) -> None:
    longest = np.full(shape, -1.23457e-10, np.float32)
    size = most_bytes(*shape)
    memory = np.full(size + 128, 7, np.uint8)
    write_numbers(longest, memory[64 : 64 + size])
    assert (memory[:64] == 7).all()
    assert (memory[64 + size :] == 7).all()
