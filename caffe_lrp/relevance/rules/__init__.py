"""Relevance rules, one family per file: how relevance is propagated from a layer's outputs to its inputs.

A rule depends on a capability of layers (`Linear`, `Router`, …), never on a layer type. It also says how much
relevance it loses, for the report on conservation, and what it keeps in memory. Quirks of the reference that
concern one rule are its parameters. Notation: ``x`` input, ``z`` output before the
non-linearity, ``w`` weights, ``b`` biases, ``R`` relevance at the output, ``r`` at the input; ``⁺`` and ``⁻``
positive and negative parts.
"""
