"""Mutations of kernels."""

from mutants_entry import Mutation

_POOLING = ("kernels/test_kernels_pooling.py", "layers/test_layers_pooling.py")
_NORMALIZATION = ("kernels/test_kernels_normalization.py",)

ROWS = (
    Mutation(
        "return max(first, 0), min(first + kernel_size, size)",
        "return max(first, 0), min(first + kernel_size, size - 1)",
        "average pooling leaves out the last row and column of the image",
        _POOLING,
    ),
    Mutation(
        "zero = abs(total) < ZERO_SUM",
        "zero = total < ZERO_SUM",
        "windows whose activations have a negative sum count as windows with the sum 0",
        _POOLING,
    ),
    Mutation(
        "* (total[i] + pull[i])",
        "* total[i]",
        "the gradient of LRN leaves out the channel itself",
        _NORMALIZATION,
    ),
    Mutation(
        "np.exp(x[outer, channel, inner] - largest)",
        "np.exp(x[outer, channel, inner])",
        "softmax of large scores overflows",
        ("kernels/test_kernels_elementwise.py",),
    ),
    Mutation(
        "if number == _NEGATIVE_ZERO:",
        "if number == np.uint32(0):",
        "windows that differ only in the sign of a 0 are not recognised as equal",
        ("kernels/test_kernels_identity.py",),
    ),
    Mutation(
        "return exchanged(weight)[..., ::-1, ::-1]",
        "return exchanged(weight)[..., ::-1, :]",
        "the adjoint of a convolution takes the columns of its window in the wrong order",
        ("kernels/test_kernels_packing.py", "kernels/test_kernels_adjoint.py"),
    ),
    Mutation(
        "code.where_positive(below_zero, n, p)",
        "code.where_positive(below_zero, p, n)",
        "the divisor of the γ rule favours products of the other sign",
        ("kernels/test_kernels_passes.py",),
    ),
    Mutation(
        "if row > first and row % tiles_h:",
        "if row > first:",
        "Winograd's convolution begins an image with rows of the one before it in the batch",
        ("kernels/test_kernels_winograd.py",),
    ),
    Mutation(
        "if not -4 <= decade < DIGITS:",
        "if not -5 <= decade < DIGITS:",
        "numbers of the order of 1e-5 are written without an exponent",
        ("kernels/test_kernels_text.py",),
    ),
    Mutation(
        "if hashlib.sha256(data).digest() != checksum:",
        "if not checksum:",
        "a compiled kernel that was damaged on disk is executed",
        ("kernels/test_jit.py",),
    ),
    Mutation(
        "code.times(code.magnitude(scale), code.builder.load(second))",
        "code.times(scale, code.builder.load(second))",
        "the adjoint of halved products takes the wrong part if the factor is negative",
        ("compute/test_linear_map.py", "relevance/test_rule_families.py"),
    ),
    Mutation(
        "store(code.minus(positive, negative), second)",
        "store(code.plus(positive, negative), second)",
        "halved products lose the difference of both parts",
        ("compute/test_linear_map.py", "relevance/test_rule_families.py"),
    ),
    Mutation(
        "NOISE = 1.2e-7",
        "NOISE = 1.2e-2",
        "small sums by sign count as 0",
        ("compute/test_linear_map.py", "relevance/test_rule_families.py"),
    ),
    Mutation(
        'negative = code.builder.select(code.builder.fcmp_ordered(">", value, zero), zero, value)',
        'negative = code.builder.select(code.builder.fcmp_ordered("<", value, zero), zero, value)',
        "the negative part of an input is its positive one",
        ("kernels/test_kernels_passes.py",),
    ),
)
