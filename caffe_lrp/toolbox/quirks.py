"""The faults of the toolbox's Python part, by name: one switch each. None is on unless asked for.

Source: manual: teaching, "What differs from the toolbox".
"""

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class ToolboxQuirks:
    """Which faults of the toolbox are reproduced.

    Attributes
    ----------
    pooled_relevance_is_squared
        Under ``alphabeta``, SumPool multiplies the negative part by the relevance twice.
    short_training_is_lost
        `train` with fewer iterations than ``status`` leaves the net unchanged.
    softmax_overflows
        SoftMax does not subtract the maximum: large inputs become NaN.
    """

    pooled_relevance_is_squared: bool = False
    short_training_is_lost: bool = False
    softmax_overflows: bool = False


NO_QUIRKS = ToolboxQuirks()
ALL_QUIRKS = ToolboxQuirks(**{field.name: True for field in fields(ToolboxQuirks)})
