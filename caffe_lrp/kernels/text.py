"""Numbers as text: what ``%g`` of C prints for float32, byte for byte, without calling it for each one.

A float32 is m·2^q with 2^23 ≤ m < 2^24, and its six digits are m·2^q·10^s rounded to an integer, for the one
s that makes six digits of it. 2^q·10^s comes from a table, in fixed point and rounded down, so that one
64-bit product gives the digits; where its error could decide how they round, the number is compared with
the middle between its neighbours in exact integers. Everything around the digits (sign, point, zeros,
exponent) is looked up by the decimal exponent and stored without branches, because the branches of a
heatmap's numbers cannot be predicted. Writing files is not done here.
"""

import math
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from ._kernel import helper, kernel
from .blobs import Blob2

_Integers = NDArray[np.int64]

#: Bits of the float32 format.
SIGN_BIT = 31
MANTISSA_BITS = 23
IMPLIED_BIT = 1 << MANTISSA_BITS
MAGNITUDE = (1 << SIGN_BIT) - 1
NOT_FINITE = 255
INFINITY = NOT_FINITE << MANTISSA_BITS

#: Exponent fields of normalised mantissas: denormal numbers reach down to −22, as if the field had a sign.
LOWEST_FIELD = 1 - MANTISSA_BITS
FIELDS = NOT_FINITE - LOWEST_FIELD
#: Subtracted from an exponent field: q of m·2^q.
FIELD_OFFSET = 127 + MANTISSA_BITS

#: Decimal exponents from 1.4e-45 to 3.4e+38.
LOWEST_DECADE = -45
DECADES = 38 - LOWEST_DECADE + 1

#: All numbers have six digits before trailing zeros are dropped.
DIGITS = 6
LIMIT = 10**DIGITS

#: Bits behind the point of the fixed-point product; 20 bits before it hold six digits, one is the sign.
FRACTION_BITS = 43
FRACTION_MASK = (1 << FRACTION_BITS) - 1
ONE_HALF = 1 << (FRACTION_BITS - 1)
#: The product is too small by less than m units, as its factor is rounded down by less than one.
PRODUCT_ERROR = 1 << (MANTISSA_BITS + 1)

#: Exact integers: limbs of 32 bits, 160 bits in all. The largest, 2m·5^50, has 142.
LIMB_BITS = 32
LIMB = (1 << LIMB_BITS) - 1
LIMBS = 5

#: Longest number ("-1.23457e-10"), and what is stored at once.
LONGEST = 12
STORED = 8

#: Indices 1 to 7, unsigned: Numba then leaves out its test for negative ones, and LLVM makes one store of 8.
FIRST, SECOND, THIRD, FOURTH, FIFTH, SIXTH, SEVENTH = np.arange(1, STORED, dtype=np.uint64)


def word_of(characters: str) -> int:
    """Up to eight ASCII characters as an integer, the first in the lowest byte."""
    return int.from_bytes(characters.encode("ascii"), "little")


def _ratio(twos: int, tens: int) -> tuple[int, int]:
    """Numerator and denominator of 2^``twos``·10^``tens``."""
    return 10 ** max(tens, 0) << max(twos, 0), 10 ** max(-tens, 0) << max(-twos, 0)


def _scaling_tables() -> tuple[_Integers, _Integers, _Integers]:
    """Per exponent field: the smallest mantissa of its upper decade; per field and decade: factor, decade.

    Between two powers of two lies at most one power of ten, so that a field has a lower decade and at most
    one upper one. Decades count from ``LOWEST_DECADE``; the two of a field stand behind each other.
    """
    boundaries, factors, decades = np.empty((3, 2 * FIELDS), np.int64)
    for field in range(FIELDS):
        exponent = field + LOWEST_FIELD - FIELD_OFFSET
        # No power of two but 1 is near enough to a power of ten for the rounding of the logarithm to matter.
        lower = math.floor((exponent + MANTISSA_BITS) * math.log10(2))
        numerator, denominator = _ratio(-exponent, lower + 1)
        boundaries[field] = -(-numerator // denominator)
        for upper in (0, 1):
            numerator, denominator = _ratio(exponent + FRACTION_BITS, DIGITS - 1 - lower - upper)
            factors[2 * field + upper] = numerator // denominator
            decades[2 * field + upper] = lower + upper - LOWEST_DECADE
    return boundaries[:FIELDS], factors, decades


def _layout(decade: int) -> tuple[int, ...]:
    """How numbers of a decade are laid out: a row of the table whose columns have names below."""
    before, whole_digits, fewest, after = "", 1, 1, " "
    if not -4 <= decade < DIGITS:
        after = f"e{decade:+03d} "
    elif decade < 0:
        before, whole_digits, fewest = "0." + "0" * (-decade - 1), DIGITS + 1, 0
    else:
        whole_digits = fewest = decade + 1
    return word_of(before), len(before), 8 * whole_digits, fewest, word_of(after), len(after)


def _triple(number: int) -> int:
    """The three characters of a number below 1000, and how many are left without trailing zeros (byte 3)."""
    characters = f"{number:03d}"
    return word_of(characters) | len(characters.rstrip("0")) << 24


UPPER_DECADE, FACTORS, DECADE_OF = _scaling_tables()
#: By decade: text before the digits and its length; bits before the point (more than there are if the text
#: has it); the fewest digits to leave when zeros are dropped; text behind the digits and its length.
BEFORE, BEFORE_LENGTH, POINT_PLACE, FEWEST, AFTER, AFTER_LENGTH = np.ascontiguousarray(
    np.array([_layout(decade + LOWEST_DECADE) for decade in range(DECADES)], np.int64).T
)
TRIPLES: _Integers = np.array([_triple(number) for number in range(1000)], np.int64)

POINT = word_of(".")
MINUS = word_of("-")
LINE_END = word_of("\n")
ZERO_WORD = word_of("0 ")
INFINITY_WORD = word_of("inf ")
NOT_A_NUMBER_WORD = word_of("nan ")


def most_bytes(rows: int, width: int) -> int:
    """Size of the buffer that ``write_numbers`` needs for (``rows``, ``width``) numbers."""
    return rows * (width * (LONGEST + 1) + 1) + STORED


@helper
def _store(characters: int, out: NDArray[np.uint8], position: int) -> None:
    """Store the eight bytes of a word, the lowest first; what is behind the text is overwritten later."""
    start = np.uint64(position)
    out[start] = characters & 255
    out[start + FIRST] = (characters >> 8) & 255
    out[start + SECOND] = (characters >> 16) & 255
    out[start + THIRD] = (characters >> 24) & 255
    out[start + FOURTH] = (characters >> 32) & 255
    out[start + FIFTH] = (characters >> 40) & 255
    out[start + SIXTH] = (characters >> 48) & 255
    out[start + SEVENTH] = (characters >> 56) & 255


@helper
def _multiply(limbs: _Integers, factor: int, times: int) -> None:
    """Multiply an exact integer by a small factor, again and again."""
    for _ in range(times):
        carry = 0
        for index in range(LIMBS):
            product = limbs[index] * factor + carry
            limbs[index] = product & LIMB
            carry = product >> LIMB_BITS


@helper
def _rounded_exactly(mantissa: int, entry: int, product: int, scratch: _Integers) -> int:
    """What ``write_numbers`` rounds ``product`` to, as if that had no error.

    ``scratch`` is (2, LIMBS). The number is compared with the middle between the two integers it may become:
    twice of both as integers, each multiplied by the powers of two and five that divide the other. Exactly
    in the middle the even integer is taken, as C does.
    """
    tens = DIGITS - 1 - (DECADE_OF[entry] + LOWEST_DECADE)
    twos = (entry >> 1) + LOWEST_FIELD - FIELD_OFFSET + tens
    whole = (product - 1) >> FRACTION_BITS
    scratch[:] = 0
    number, middle = scratch[0], scratch[1]
    number[0] = 2 * mantissa
    middle[0] = 2 * whole + 1
    _multiply(number if tens > 0 else middle, 5, abs(tens))
    _multiply(number if twos > 0 else middle, 2, abs(twos))
    for index in range(LIMBS - 1, -1, -1):
        if number[index] > middle[index]:
            return whole + 1
        if number[index] < middle[index]:
            return whole
    return whole + whole % 2


@helper
def _find(magnitude: int) -> tuple[int, int]:
    """Normalised mantissa and entry of ``FACTORS`` of a positive number, given as the bits of its float32."""
    field = magnitude >> MANTISSA_BITS
    mantissa = magnitude & (IMPLIED_BIT - 1)
    if field > 0:
        mantissa |= IMPLIED_BIT
    else:
        field = 1
        while mantissa < IMPLIED_BIT:
            mantissa <<= 1
            field -= 1
    row = field - LOWEST_FIELD
    return mantissa, 2 * row + (mantissa >= UPPER_DECADE[row])


@helper
def _lay_out(digits: int, decade: int, out: NDArray[np.uint8], position: int) -> int:
    """Write six digits as the number of a decade that begins with them, and a blank; the position behind."""
    if digits == LIMIT:  # rounded up
        digits = LIMIT // 10
        decade += 1
    upper = (digits * 4294968) >> 32  # digits // 1000, exact for six digits, without Numba's test for signs
    upper_triple = TRIPLES[upper]
    lower_triple = TRIPLES[digits - 1000 * upper]
    upper_length, lower_length = upper_triple >> 24, lower_triple >> 24
    length = lower_length + 3 if lower_length > 0 else upper_length
    characters = (upper_triple & 0xFFFFFF) | (lower_triple & 0xFFFFFF) << 24
    point = POINT_PLACE[decade]
    whole_part = characters & ((1 << point) - 1)
    characters = whole_part | POINT << point | (characters - whole_part) << 8
    _store(BEFORE[decade], out, position)
    position += BEFORE_LENGTH[decade]
    _store(characters, out, position)
    position += max(length + (8 * length > point), FEWEST[decade])
    _store(AFTER[decade], out, position)
    position += AFTER_LENGTH[decade]
    return position


@helper
def _write_special(number: int, out: NDArray[np.uint8], position: int) -> int:
    """Write a zero, an infinity or NaN, given as its float32's bits, and a blank; the position behind."""
    magnitude = number & MAGNITUDE
    if magnitude <= INFINITY and number < 0:
        out[position] = MINUS
        position += 1
    if magnitude == 0:
        _store(ZERO_WORD, out, position)
        return position + 2
    _store(INFINITY_WORD if magnitude == INFINITY else NOT_A_NUMBER_WORD, out, position)
    return position + 4


@kernel
def write_numbers(numbers: Blob2, out: Annotated[NDArray[np.uint8], 1]) -> int:
    """Number of bytes written: every number as ``%g`` and a blank, every row and a line feed.

    NaN is ``nan`` whatever its sign, as in Python.

    Parameters
    ----------
    numbers
        (rows, width), C-contiguous.
    out
        At least ``most_bytes(rows, width)`` bytes; those behind the text are undefined afterwards.
    """
    bits = numbers.view(np.int32)
    scratch = np.empty((2, LIMBS), np.int64)
    position = 0
    for row in range(bits.shape[0]):
        for column in range(bits.shape[1]):
            number = int(bits[row, column])
            magnitude = number & MAGNITUDE
            if magnitude == 0 or magnitude >= INFINITY:
                position = _write_special(number, out, position)
                continue
            out[position] = MINUS  # overwritten unless there is a sign
            position += (number >> SIGN_BIT) & 1
            mantissa, entry = _find(magnitude)
            product = mantissa * FACTORS[entry] + ONE_HALF
            digits = product >> FRACTION_BITS
            # Exactly where rounding changes, or less below that than the product may be too small.
            if (product - 1) & FRACTION_MASK >= FRACTION_MASK - PRODUCT_ERROR:
                digits = _rounded_exactly(mantissa, entry, product, scratch)
            position = _lay_out(digits, DECADE_OF[entry], out, position)
        out[position] = LINE_END
        position += 1
    return position
