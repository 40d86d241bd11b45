"""Parses numbers in text, as ``%g`` and people write them: the inverse of ``text.py``.

A number is an integer times a power of ten. Both are exact in float64, up to 15 digits and 10²², and
a multiplication or division of exact numbers is rounded correctly. Each further power takes one step, with a
rounding error far below the precision of float32. Parsing ends at text that is not a plain number; the caller
then parses the rest in another way.
"""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from ._kernel import helper, kernel

U = np.uint64

ZERO, ONE, TEN = U(0), U(1), U(10)
BLANK, PLUS, MINUS, POINT = U(ord(" ")), U(ord("+")), U(ord("-")), U(ord("."))
DIGIT_0, SMALL_E, CASE = U(ord("0")), U(ord("e")), U(ord("a") - ord("A"))

#: Further digits need not be exact.
MOST_DIGITS = U(15)
#: Largest exponent that is parsed, far above the range of float32.
MOST_POWERS = U(99)

EXACT_POWERS = 22
TENS = 10.0 ** np.arange(EXACT_POWERS + 1)
LAST_TEN = U(EXACT_POWERS)


@helper
def _scaled(whole: np.uint64, up: np.uint64, down: np.uint64) -> np.float64:
    """``whole`` · 10^(``up`` − ``down``)."""
    value = np.float64(whole)
    powers = up - down if up > down else down - up
    while powers > ZERO:
        step = min(powers, LAST_TEN)
        value = value * TENS[step] if up > down else value / TENS[step]
        powers -= step
    return value


@helper
def _digits_at(
    text: NDArray[np.uint8], start: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    """Digits, perhaps with a point: the integer they form, their number, those after the point, the end."""
    whole, digits, behind, position = ZERO, ZERO, ZERO, start
    has_point = False
    while position < U(text.shape[0]):
        digit = U(text[position]) - DIGIT_0  # large for other characters
        if digit < TEN:
            whole = whole * TEN + digit
            digits += ONE
            behind += U(has_point)
        elif U(text[position]) == POINT and not has_point:
            has_point = True
        else:
            break
        position += ONE
    return whole, digits, behind, position


@helper
def _exponent_at(text: NDArray[np.uint8], start: np.uint64) -> tuple[np.uint64, bool, np.uint64]:
    """Parse the exponent after an ``e``: the power of ten, whether it is negative, and its end.

    Without digits, or with too many, the power is larger than `MOST_POWERS`.
    """
    size, position = U(text.shape[0]), start
    is_negative = bool(position < size and U(text[position]) == MINUS)
    if position < size and (is_negative or U(text[position]) == PLUS):
        position += ONE
    powers, first = ZERO, position
    while position < size and U(text[position]) - DIGIT_0 < TEN and powers <= MOST_POWERS:
        powers = powers * TEN + U(text[position]) - DIGIT_0
        position += ONE
    return (MOST_POWERS + ONE if position == first else powers), is_negative, position


@kernel
def read_numbers(text: Annotated[NDArray[np.uint8], 1], out: Annotated[NDArray[np.float32], 1]) -> int:
    """How many numbers were read, up to the first that is not plain or is too long.

    Parameters
    ----------
    text
        Numbers separated by blanks or line breaks.
    out
        Receives the numbers; reading ends when it is full.
    """
    size, room = U(text.shape[0]), U(out.shape[0])
    position, count = ZERO, ZERO
    while count < room:
        while position < size and U(text[position]) <= BLANK:
            position += ONE
        is_negative = position < size and U(text[position]) == MINUS
        if position < size and (is_negative or U(text[position]) == PLUS):
            position += ONE
        whole, digits, behind, position = _digits_at(text, position)
        if digits == ZERO or digits > MOST_DIGITS:
            break
        powers, is_shrunk = ZERO, False
        if position < size and U(text[position]) | CASE == SMALL_E:
            powers, is_shrunk, position = _exponent_at(text, position + ONE)
        if powers > MOST_POWERS or (position < size and U(text[position]) > BLANK):
            break
        value = _scaled(whole, ZERO if is_shrunk else powers, behind + powers if is_shrunk else behind)
        out[count] = np.float32(-value if is_negative else value)
        count += ONE
    return int(count)
