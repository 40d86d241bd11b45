"""Mutations of the rules of relevance, of the formulas, and of where relevance starts and ends."""

from mutants_entry import Mutation

_FORMULAS = ("relevance/test_formulas.py", "relevance/test_named_formulas.py")

ROWS = (
    Mutation(
        "np.tile(own[: layer.group_outputs], layer.groups)",
        "np.tile(own[-layer.group_outputs :], layer.groups)",
        "Q5 counts the biases of the last group in place of the first",
        ("relevance/test_rules.py",),
    ),
    Mutation(
        "Part(negative, lambda x: x - highest)",
        "Part(negative, lambda x: x - lowest)",
        "z^B takes the lowest number for the highest one",
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
        "of classes with equal scores the one of the higher index comes first",
        ("relevance/test_start.py",),
    ),
    Mutation(
        "        if self.code >= 0:",
        "        if self.code > 0:",
        "files of class 0 are called as those of the best class",
        ("batch/test_job.py", "sources"),
    ),
    Mutation(
        "np.sum(received[:, :rows, columns:])",
        "np.sum(received[:, :, columns:])",
        "what windows in the corner outside the image lose is counted twice",
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
        "bounds of the input are the wrong way round behind a negative factor",
        ("relevance/test_named_formulas.py", "relevance/test_rules.py"),
    ),
    Mutation(
        "if not 0 <= lowest < max(highest.index, 1):",
        "if not 0 <= lowest <= max(highest.index, 1):",
        "relevance may end at the layer where it starts",
        _FORMULAS,
    ),
)
