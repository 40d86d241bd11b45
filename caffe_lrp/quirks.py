"""The quirks of the reference program, by name: one switch each.

Each flag takes effect in exactly one place, which its comment names; `relevance/formulas.py` and
`relevance/plan.py` pass flags on to rules and start vectors. All flags are on by default, as in the
reference; ``CORRECTED`` has none. There is no switch for not counting the Input layer (Q2): both modes number
layers that way (``net/build.py``). Source: manual: toolbox, "Quirks".
"""

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Quirks:
    """Which quirks of the reference are reproduced.

    Attributes
    ----------
    Q1_mean_starts_at_zero
        If edges are replicated, the mean's short axis starts at 0 instead of being centred
        (``imaging/preprocess.py``).
    Q3_gradient_seeded_with_score
        The gradient formulas start from the score instead of 1 (``engines/cpu.py``).
    Q4_undivided_at_zero
        ε does not divide relevance where the pre-activation is 0 (``relevance/rules/epsilon.py``).
    Q5_first_group_bias
        αβ uses the biases of group 0 for every group (``relevance/rules/alpha_beta.py``).
    Q6_flat_ignores_channels
        Flat divides by the kernel area, not by the number of inputs (``relevance/rules/flat.py``).
    Q7_zero_sum_adds_activations
        Average pooling adds activations to the relevance where a window sums to 0
        (``relevance/rules/sharing.py``).
    Q8_normalization_taylor
        LRN uses a Taylor rule that does not conserve, instead of passing relevance on
        (``relevance/formulas.py``).
    Q9_softmax_overwrites
        In the backward pass, a softmax replaces relevance by its own output
        (``relevance/formulas.py``).
    Q10_transposed_mean
        A BlobProto mean is used transposed (``imaging/mean.py``).
    """

    Q1_mean_starts_at_zero: bool
    Q3_gradient_seeded_with_score: bool
    Q4_undivided_at_zero: bool
    Q5_first_group_bias: bool
    Q6_flat_ignores_channels: bool
    Q7_zero_sum_adds_activations: bool
    Q8_normalization_taylor: bool
    Q9_softmax_overwrites: bool
    Q10_transposed_mean: bool


REFERENCE = Quirks(**{field.name: True for field in fields(Quirks)})
CORRECTED = Quirks(**{field.name: False for field in fields(Quirks)})

#: Values of the config key and command-line option ``quirks``.
QUIRK_MODES = {"reference": REFERENCE, "corrected": CORRECTED}
