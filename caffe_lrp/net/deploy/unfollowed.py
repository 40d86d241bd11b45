"""Notices on options of layers that are ignored, each once for all affected layers."""

from collections.abc import Iterator, Mapping, Sequence

from caffe_lrp.formats.caffe.foreign import Effect, effect_of, place_of
from caffe_lrp.formats.caffe.reader import MOST_NOTICES
from caffe_lrp.formats.caffe.wiring import names_of
from caffe_lrp.formats.spec import LayerSpec, UnknownField
from caffe_lrp.layers import REGISTRY
from caffe_lrp.layers.unfollowed import not_followed

_MOST_NAMED = 3
#: The field of a data layer that is used for its images.
_TRANSFORM = "transform_param"

_Use = tuple[LayerSpec, UnknownField]


def notices_on_options(layers: Sequence[LayerSpec], data_layers: Sequence[LayerSpec]) -> Iterator[str]:
    """Notices on differences from Caffe, or from the fork of Caffe that a net was made for.

    Parameters
    ----------
    layers
        Layers of the net that remain.
    data_layers
        Data layers that were replaced by inputs.
    """
    supported = [layer for layer in layers if layer.type in REGISTRY]
    yield from _on_options(supported)
    uses = [
        (layer, field) for layer in data_layers for field in layer.unknown_fields if field.block == _TRANSFORM
    ]
    uses += [(layer, field) for layer in supported for field in layer.unknown_fields]
    for effect, found in _by_effect(uses).items():
        yield from _on_unknown(found) if effect is None else _on_effect(effect, found)


def _by_effect(uses: Sequence[_Use]) -> Mapping[Effect | None, list[_Use]]:
    """Uses of fields by their known effect; fields without one come last."""
    found: dict[Effect | None, list[_Use]] = {}
    for layer, field in uses:
        found.setdefault(effect_of(field), []).append((layer, field))
    return dict(sorted(found.items(), key=lambda item: item[0] is None))


def _on_options(layers: Sequence[LayerSpec]) -> Iterator[str]:
    """Options that are recognized, but not followed."""
    concerned: dict[tuple[str, str], list[LayerSpec]] = {}
    for layer in layers:
        for row in not_followed(layer):
            concerned.setdefault((row.option, row.text), []).append(layer)
    for (option, text), found in concerned.items():
        yield f"'{option}' of {names_of(found, _MOST_NAMED)} is ignored: {text}"


def _on_effect(effect: Effect, uses: Sequence[_Use]) -> Iterator[str]:
    """Fields that are known to change scores."""
    for field, layers in _by_setting(uses, with_value=True):
        setting = f"{field.name}: {field.value}" if field.value else field.name
        yield (
            f"line {field.line}: '{setting}'{place_of(field)} of {layers} is ignored, so scores will be "
            f"wrong if the net was trained with a fork of Caffe where it {effect.text}"
        )


def _on_unknown(uses: Sequence[_Use]) -> Iterator[str]:
    """Fields with an unknown effect."""
    told = list(_by_setting(uses, with_value=False))
    for field, layers in told[:MOST_NOTICES]:
        yield (
            f"line {field.line}: field '{field.name}'{place_of(field)} of {layers} is unknown and is "
            "ignored; if it changes the forward pass, scores will be wrong"
        )
    if len(told) > MOST_NOTICES:
        yield f"{len(told) - MOST_NOTICES} more fields are unknown and are ignored"


def _by_setting(uses: Sequence[_Use], with_value: bool) -> Iterator[tuple[UnknownField, str]]:
    """The first use of every field, or of every value of it, and the names of all layers with it."""
    concerned: dict[tuple[str, str, str], list[_Use]] = {}
    for layer, field in uses:
        setting = (field.block, field.name, field.value if with_value else "")
        concerned.setdefault(setting, []).append((layer, field))
    for found in concerned.values():
        layers = {id(layer): layer for layer, _ in found}
        yield found[0][1], names_of(list(layers.values()), _MOST_NAMED)
