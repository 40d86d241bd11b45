"""Formats numbers as text: what ``%g`` of C prints for float32, byte for byte, without a call for each one.

A float32 is m·2^q with 2^23 ≤ m < 2^24. Its six digits are m·2^q·10^s rounded to an integer, with the s that
makes it six digits long. 2^q·10^s comes from a table, in fixed point and rounded down, so that one
64-bit product gives the digits. If its error could affect rounding, the next bits of the factor are used as
well; they are enough for every float32. Everything around the digits (sign, point, zeros, exponent) is
looked up by the decimal exponent and stored without branches, because branches are unpredictable for the
numbers of a heatmap. All integers in kernels are unsigned: for signed ones Numba tests at every look-up
whether they count from the end, which took a quarter of the time. Writing files is not done here.
"""

import math
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from ._kernel import helper, kernel
from .blobs import Blob2

_Unsigned = NDArray[np.uint64]

#: Bits of the float32 format.
SIGN_BIT = 31
MANTISSA_BITS = 23
IMPLIED_BIT = 1 << MANTISSA_BITS
NOT_FINITE = 255

#: Exponent fields of normalized mantissas: for denormal numbers down to −22, as if the field were signed.
LOWEST_FIELD = 1 - MANTISSA_BITS
FIELDS = NOT_FINITE - LOWEST_FIELD
#: Subtracted from an exponent field: q of m·2^q.
FIELD_OFFSET = 127 + MANTISSA_BITS

#: Decimal exponents from 1.4e-45 to 3.4e+38.
LOWEST_DECADE = -45
DECADES = 38 - LOWEST_DECADE + 1

#: All numbers have six digits before trailing zeros are dropped.
DIGITS = 6

#: Bits after the point of the fixed-point product; 20 bits before it hold six digits, one is the sign.
FRACTION_BITS = 43
#: The product is too small by less than m units, because its factor is rounded down by less than one.
PRODUCT_ERROR = 1 << (MANTISSA_BITS + 1)

#: Further bits of the factor: as many as fit into 64 bits when multiplied by m.
LOW_BITS = 38

#: Length of the longest number ("-1.23457e-10"), and bytes stored at a time.
LONGEST = 12
STORED = 8


def word_of(characters: str) -> int:
    """Up to eight ASCII characters as an integer, the first in the lowest byte."""
    return int.from_bytes(characters.encode("ascii"), "little")


def _ratio(twos: int, tens: int) -> tuple[int, int]:
    """Numerator and denominator of 2^``twos``·10^``tens``."""
    return 10 ** max(tens, 0) << max(twos, 0), 10 ** max(-tens, 0) << max(-twos, 0)


def _scaling_tables() -> tuple[_Unsigned, ...]:
    """By exponent field: least mantissa of its upper decade; by field and decade: factor, next bits, decade.

    There is at most one power of ten between two powers of two, so a field has a lower decade and at most
    one upper one. Decades count from ``LOWEST_DECADE``; the two of a field are consecutive.
    """
    boundaries, factors, low_factors, decades = np.empty((4, 2 * FIELDS), np.uint64)
    for field in range(FIELDS):
        exponent = field + LOWEST_FIELD - FIELD_OFFSET
        # Apart from 1, no power of two is so close to a power of ten that rounding of the logarithm matters.
        lower = math.floor((exponent + MANTISSA_BITS) * math.log10(2))
        numerator, denominator = _ratio(-exponent, lower + 1)
        boundaries[field] = -(-numerator // denominator)
        for upper in (0, 1):
            numerator, denominator = _ratio(exponent + FRACTION_BITS + LOW_BITS, DIGITS - 1 - lower - upper)
            entry = 2 * field + upper
            factors[entry], low_factors[entry] = divmod(numerator // denominator, 1 << LOW_BITS)
            decades[entry] = lower + upper - LOWEST_DECADE
    return boundaries[:FIELDS], factors, low_factors, decades


def _layout(decade: int) -> tuple[int, ...]:
    """The layout of numbers in a decade: a row of the table with the columns named below."""
    before, whole_digits, fewest, after = "", 1, 1, " "
    if not -4 <= decade < DIGITS:
        after = f"e{decade:+03d} "
    elif decade < 0:
        before, whole_digits, fewest = "0." + "0" * (-decade - 1), DIGITS + 1, 0
    else:
        whole_digits = fewest = decade + 1
    return word_of(before), len(before), 8 * whole_digits, fewest, word_of(after), len(after)


def _triple(number: int) -> int:
    """The three digits of a number below 1000; byte 7 is how many remain without trailing zeros."""
    characters = f"{number:03d}"
    return word_of(characters) | len(characters.rstrip("0")) << 56


def _lower_triple(number: int) -> int:
    """The same after three other digits: the length is that of all six, or 0 if none of these remains."""
    characters = f"{number:03d}"
    length = len(characters.rstrip("0"))
    return word_of(characters) << 24 | (3 + length if length else 0) << 56


UPPER_DECADE, FACTORS, LOW_FACTORS, DECADE_OF = _scaling_tables()
#: By decade: text before the digits and its length; bits before the point (more than there are if the text
#: contains it); the fewest digits to keep when zeros are dropped; text after the digits and its length.
BEFORE, BEFORE_LENGTH, POINT_PLACE, FEWEST, AFTER, AFTER_LENGTH = np.ascontiguousarray(
    np.array([_layout(decade + LOWEST_DECADE) for decade in range(DECADES)], np.uint64).T
)
UPPER_TRIPLES = np.array([_triple(number) for number in range(1000)], np.uint64)
LOWER_TRIPLES = np.array([_lower_triple(number) for number in range(1000)], np.uint64)

# The integer type of kernels: an operation on an unsigned and a plain integer gives a float in Numba.
U = np.uint64
ZERO, ONE, TWO, THREE, FOUR, FIVE, SIX, SEVEN = map(U, range(STORED))
SIGN, MANTISSA, HALF_WORD, BYTE, LAST_BYTE = U(SIGN_BIT), U(MANTISSA_BITS), U(32), U(8), U(56)
MAGNITUDE, INFINITY = U((1 << SIGN_BIT) - 1), U(NOT_FINITE << MANTISSA_BITS)
IMPLIED, MANTISSA_MASK, FIELD_0 = U(IMPLIED_BIT), U(IMPLIED_BIT - 1), U(-LOWEST_FIELD)
FRACTION, FRACTION_MASK, ONE_HALF = U(FRACTION_BITS), U((1 << FRACTION_BITS) - 1), U(1 << (FRACTION_BITS - 1))
UNSURE, LOW = FRACTION_MASK - U(PRODUCT_ERROR), U(LOW_BITS)
LIMIT, TENTH_OF_LIMIT, THOUSAND = U(10**DIGITS), U(10 ** (DIGITS - 1)), U(1000)
#: 2^32 / 1000: the upper half of the product with six digits is exactly their upper three.
THOUSANDTH = U(4294968)
CHARACTERS = U((1 << 48) - 1)
POINT, MINUS, LINE_END = map(U, map(word_of, (".", "-", "\n")))
ZERO_WORD, INFINITY_WORD, NOT_A_NUMBER_WORD = map(U, map(word_of, ("0 ", "inf ", "nan ")))


def most_bytes(rows: int, width: int) -> int:
    """Size of the buffer that ``write_numbers`` needs for (``rows``, ``width``) numbers."""
    return rows * (width * (LONGEST + 1) + 1) + STORED


@helper
def _store(characters: np.uint64, out: NDArray[np.uint8], start: np.uint64) -> None:
    """Store the eight bytes of a word, the lowest first; those after the text are overwritten later.

    LLVM combines them into one store.
    """
    out[start] = characters
    out[start + ONE] = characters >> (BYTE * ONE)
    out[start + TWO] = characters >> (BYTE * TWO)
    out[start + THREE] = characters >> (BYTE * THREE)
    out[start + FOUR] = characters >> (BYTE * FOUR)
    out[start + FIVE] = characters >> (BYTE * FIVE)
    out[start + SIX] = characters >> (BYTE * SIX)
    out[start + SEVEN] = characters >> (BYTE * SEVEN)


@helper
def _decided(mantissa: np.uint64, entry: np.uint64, product: np.uint64) -> np.uint64:
    """The digits of a number whose ``product`` is less than its error below an integer, or is one.

    The next bits of the factor show whether the product reaches that integer. If it misses the integer by no
    more than the error of those bits, the number is exactly halfway, because no other float32 comes so close;
    it is then rounded to even, as in C.
    """
    whole = (product - ONE) >> FRACTION
    gap = (((whole + ONE) << FRACTION) - product) << LOW
    found = mantissa * LOW_FACTORS[entry]
    if found > gap:
        return whole + ONE
    if found + mantissa <= gap:
        return whole
    return whole + (whole & ONE)


@helper
def _normalised(mantissa: np.uint64) -> tuple[np.uint64, np.uint64]:
    """The mantissa of a denormal number, shifted until its highest bit is set, and its table row."""
    row = FIELD_0 + ONE
    while mantissa < IMPLIED:
        mantissa += mantissa
        row -= ONE
    return mantissa, row


@helper
def _lay_out(digits: np.uint64, decade: np.uint64, out: NDArray[np.uint8], position: np.uint64) -> np.uint64:
    """Write six digits as a number of their decade, and a blank; returns the position after them."""
    if digits == LIMIT:  # rounded up
        digits = TENTH_OF_LIMIT
        decade += ONE
    upper = (digits * THOUSANDTH) >> HALF_WORD
    upper_triple = UPPER_TRIPLES[upper]
    lower_triple = LOWER_TRIPLES[digits - THOUSAND * upper]
    upper_length, lower_length = upper_triple >> LAST_BYTE, lower_triple >> LAST_BYTE
    length = lower_length if lower_length > ZERO else upper_length
    characters = (upper_triple | lower_triple) & CHARACTERS
    point = POINT_PLACE[decade]
    whole_part = characters & ((ONE << point) - ONE)
    characters = whole_part | POINT << point | (characters - whole_part) << BYTE
    _store(BEFORE[decade], out, position)
    position += BEFORE_LENGTH[decade]
    _store(characters, out, position)
    position += max(length + U(BYTE * length > point), FEWEST[decade])
    _store(AFTER[decade], out, position)
    position += AFTER_LENGTH[decade]
    return position


@helper
def _write_special(number: np.uint64, out: NDArray[np.uint8], position: np.uint64) -> np.uint64:
    """Write zero, infinity or NaN, given as float32 bits, and a blank; returns the position after them."""
    magnitude = number & MAGNITUDE
    if magnitude <= INFINITY:
        out[position] = MINUS
        position += number >> SIGN
    if magnitude == ZERO:
        _store(ZERO_WORD, out, position)
        return position + TWO
    _store(INFINITY_WORD if magnitude == INFINITY else NOT_A_NUMBER_WORD, out, position)
    return position + FOUR


@kernel
def write_numbers(numbers: Blob2, out: Annotated[NDArray[np.uint8], 1]) -> int:
    """Write every number as ``%g`` and a blank, and a line feed after every row; returns the number of bytes.

    NaN is ``nan`` whatever its sign, as in Python.

    Parameters
    ----------
    numbers
        (rows, width), C-contiguous.
    out
        At least ``most_bytes(rows, width)`` bytes; those after the text are undefined.
    """
    bits = numbers.view(np.uint32)
    position = ZERO
    for row in range(bits.shape[0]):
        for column in range(bits.shape[1]):
            number = U(bits[row, column])
            magnitude = number & MAGNITUDE
            row_of_field = (magnitude >> MANTISSA) + FIELD_0
            mantissa = magnitude & MANTISSA_MASK | IMPLIED
            if magnitude - IMPLIED >= INFINITY - IMPLIED:
                if magnitude == ZERO or magnitude >= INFINITY:
                    position = _write_special(number, out, position)
                    continue
                mantissa, row_of_field = _normalised(magnitude)
            out[position] = MINUS  # overwritten unless there is a sign
            position += number >> SIGN
            entry = row_of_field + row_of_field + U(mantissa >= UPPER_DECADE[row_of_field])
            product = mantissa * FACTORS[entry] + ONE_HALF
            digits = product >> FRACTION
            # The product is where rounding changes, or below that by less than its error.
            if (product - ONE) & FRACTION_MASK >= UNSURE:
                digits = _decided(mantissa, entry, product)
            position = _lay_out(digits, DECADE_OF[entry], out, position)
        out[position] = LINE_END
        position += ONE
    return int(position)
