"""Mutations of the readers of prototxts, caffemodels, configs and lists of images."""

from mutants_entry import Mutation

_FORMATS = ("formats",)
_CONFIG = ("config/test_config.py", "config/test_yaml_config.py")

ROWS = (
    Mutation(
        "_LONGEST_VARINT = 10",
        "_LONGEST_VARINT = 5",
        "caffemodels with numbers of more than 35 bits are refused",
        _FORMATS,
    ),
    Mutation(
        "return layers[_CURRENT] | layers[_V1]",
        "return layers[_V1] | layers[_CURRENT]",
        "if weights are stored in both styles, the wrong ones are used",
        _FORMATS,
    ),
    Mutation(
        '_V0_PADDED = ("conv", "pool")',
        '_V0_PADDED = ("conv",)',
        "nets of the oldest style with padded pooling are refused",
        _FORMATS,
    ),
    Mutation(
        "(parameters.hole_h or 1, parameters.hole_w or 1)",
        "(parameters.hole_w or 1, parameters.hole_h or 1)",
        "dilations of forks are swapped",
        _FORMATS,
    ),
    Mutation(
        "state.level < rule.min_level",
        "state.level <= rule.min_level",
        "layers for a minimum level are left out at exactly that level",
        ("net/test_net.py",),
    ),
    Mutation(
        "if len(transform.mean_values) > 1:",
        "if len(transform.mean_values) >= 1:",
        "one mean value for all channels is taken for a net of one channel",
        ("net/test_deploy.py",),
    ),
    Mutation(
        "found.setdefault(name, number)",
        "found[name] = number",
        "if a key is in a config twice, the second one counts",
        _CONFIG,
    ),
    Mutation(
        "if not 0 <= value <= LARGEST_NUMBER:",
        "if not 0 < value <= LARGEST_NUMBER:",
        "ε, β and γ cannot be 0",
        _CONFIG,
    ),
    Mutation(
        "_SHORTEST_LINE = 3",
        "_SHORTEST_LINE = 2",
        "lines of two characters make a list invalid",
        ("sources/test_filelist.py",),
    ),
    Mutation(
        "self.faults.pop(name, None)",
        "self.faults.get(name)",
        "the fault of an archive's member stays although a later member with its name is sound",
        ("sources/test_collection.py",),
    ),
)
