"""What a row of the tables of mutations says."""

from typing import NamedTuple


class Mutation(NamedTuple):
    """One fault that a person could make in a line of the package.

    Attributes
    ----------
    text
        A piece of one line, as it stands in exactly one place of the package. The place is found by it alone,
        so that a row still holds where code has moved to another file.
    instead
        What takes its place.
    breaks
        What is wrong then, in a few words.
    targets
        Files and folders of tests to try before all others, from the folder ``tests`` on.
    """

    text: str
    instead: str
    breaks: str
    targets: tuple[str, ...]
