"""Mutations of rules, of formulas, and of the start and end of the backward pass."""

from mutants_entry import Mutation

_FORMULAS = ("relevance/test_formulas.py", "relevance/test_named_formulas.py")

ROWS = (
    Mutation(
        "np.tile(own[: layer.group_outputs], layer.groups)",
        "np.tile(own[-layer.group_outputs :], layer.groups)",
        "Q5 uses the biases of the last group instead of the first",
        ("relevance/test_rules.py",),
    ),
    Mutation(
        "Part(negative, lambda x: x - highest)",
        "Part(negative, lambda x: x - lowest)",
        "z^B uses the lowest number as the highest one",
        ("relevance/test_rules.py", "relevance/test_named_formulas.py"),
    ),
    Mutation(
        "count = math.prod(layer.output_shapes[0][: layer.axis + 1])",
        "count = math.prod(layer.output_shapes[0][: layer.axis])",
        "the classes of a Softmax are counted without the axis along which they compete",
        ("relevance/test_start.py",),
    ),
    Mutation(
        'order = np.argsort(-scores, kind="stable")',
        'order = np.argsort(scores, kind="stable")[::-1]',
        "among classes with equal scores the one with the higher index comes first",
        ("relevance/test_start.py",),
    ),
    Mutation(
        "        if self.code >= 0:",
        "        if self.code > 0:",
        "files of class 0 have the names of the best class",
        ("batch/test_job.py", "sources"),
    ),
    Mutation(
        "np.sum(received[:, :rows, columns:])",
        "np.sum(received[:, :, columns:])",
        "the loss of windows in the corner outside the image is counted twice",
        ("relevance/test_conservation_report.py", "layers/test_layers_pooling.py"),
    ),
    Mutation(
        '(*_ALPHA_BETA_ABOVE, _below("w-square"))',
        '(*_ALPHA_BETA_ABOVE, _below("flat"))',
        "formula 104 has the flat rule in place of w²",
        _FORMULAS,
    ),
    Mutation(
        "if layer.index <= self._switch_layer",
        "if layer.index < self._switch_layer",
        "the switch layer itself gets the rule of those above it",
        _FORMULAS,
    ),
    Mutation(
        "pairs = [(np.minimum(*pair), np.maximum(*pair)) for pair in zip(*ends, strict=True)]",
        "pairs = list(zip(*ends, strict=True))",
        "bounds of the input are swapped after a negative factor",
        ("relevance/test_named_formulas.py", "relevance/test_rules.py"),
    ),
    Mutation(
        "if not 0 <= lowest < max(highest.index, 1):",
        "if not 0 <= lowest <= max(highest.index, 1):",
        "relevance may end at the layer where it starts",
        _FORMULAS,
    ),
)
