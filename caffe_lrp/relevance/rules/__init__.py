"""Relevance rules, one family a file: how relevance at the outputs of a layer is propagated to its inputs.

A rule is written against a capability of layers (`Linear`, `Router`, …), never against a layer type. Beside
how it propagates stand what it loses, for the report on conservation, and what it keeps in memory. Quirks of
the reference that concern one rule are its parameters. Notation: ``x`` input, ``z`` output before the
non-linearity, ``w`` weights, ``b`` biases, ``R`` relevance at the output, ``r`` at the input; ``⁺`` and ``⁻``
positive and negative parts.
"""
