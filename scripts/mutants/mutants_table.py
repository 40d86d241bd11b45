"""All mutations, by the area of the package that they are in."""

from collections.abc import Mapping

import mutants_batch
import mutants_kernels
import mutants_layers
import mutants_outputs
import mutants_parsers
import mutants_rules
from mutants_entry import Mutation

AREAS: Mapping[str, tuple[Mutation, ...]] = {
    "kernels": mutants_kernels.ROWS,
    "layers": mutants_layers.ROWS,
    "rules": mutants_rules.ROWS,
    "parsers": mutants_parsers.ROWS,
    "batch": mutants_batch.ROWS,
    "outputs": mutants_outputs.ROWS,
}
