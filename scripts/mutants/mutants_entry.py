"""A row of the tables of mutations."""

from typing import NamedTuple


class Mutation(NamedTuple):
    """A mistake that a person could make in a line of the package.

    Attributes
    ----------
    text
        A part of one line that occurs exactly once in the package. It alone identifies the place, so the row
        stays valid if the code moves to another file.
    instead
        Its replacement.
    breaks
        The resulting fault, in a few words.
    targets
        Files and folders of tests to run before all others, relative to the folder ``tests``.
    """

    text: str
    instead: str
    breaks: str
    targets: tuple[str, ...]
