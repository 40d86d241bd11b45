"""Containers of the raw interface: lists under the names that C++ gives them."""


class IntVec(list[int]):
    """Whole numbers."""


class IntVecVec(list[IntVec]):
    """Lists of whole numbers."""


class DoubleVec(list[float]):
    """Numbers."""


class DoubleVecVec(list[DoubleVec]):
    """Lists of numbers."""


class DoubleVecVecVec(list[DoubleVecVec]):
    """Lists of lists of numbers."""
