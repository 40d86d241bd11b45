"""Converts nets for training into nets for images, as users do by hand to make a deploy prototxt.

Data layers become inputs; those that, in addition to the image, provide only a shape or constants become
constants. Losses and measures are left out, with everything that is used only for them: labels,
auxiliary heads, layers of unknown types. A Softmax replaces a softmax loss.
The remaining layers are numbered as if there were no others in the file.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from caffe_lrp.errors import ModelError
from caffe_lrp.formats.caffe.data_layers import blob_shape, channel_count, image_size, reads_data
from caffe_lrp.formats.caffe.phase import DEPLOY_STAGE, layers_at_test_time, takes_deploy_stage
from caffe_lrp.formats.caffe.reader import StoredWeights
from caffe_lrp.formats.caffe.wiring import Value, Wiring, names_of
from caffe_lrp.formats.spec import InputSpec, LayerSpec, NetSpec, Shape

from .channels import channels_by_weights
from .constants import SideInputs
from .precedence import OutputFacts, precedence_of, votes_elsewhere
from .training import Role, TrainingNet, Vote
from .unfollowed import notices_on_options

_IMAGE_AXES = 4
#: A net with several images is rejected in the end; with more than this, weights are not searched for each.
_MOST_GIVEN = 20
#: Notices of a net; further ones are only counted.
_MOST_NOTICES = 200


def what_remains(
    spec: NetSpec, weights: StoredWeights, head: str | None, input_size: tuple[int, int] | None
) -> "Remains":
    """Return the part of ``spec`` used at test time; parameters and errors as for `deploy`."""
    present = _participants(spec)
    names = tuple(declared.name for declared in spec.inputs)
    net = TrainingNet(names, present, votes_elsewhere(spec, present), head)
    if all(role in (Role.INPUT, Role.DATA) for role in net.roles):
        raise ModelError(f"{spec.source}: none of its layers is used at test time")
    if not net.kept:
        raise ModelError(
            f"{spec.source}: has only layers for training, or layers that depend on labels; "
            "give the net's deploy prototxt"
        )
    return Remains(spec, net, weights, input_size)


def _participants(spec: NetSpec) -> tuple[LayerSpec, ...]:
    """Layers at test time, and data layers of other phases for blobs that no layer writes then."""
    present = layers_at_test_time(spec)
    wiring = Wiring(tuple(declared.name for declared in spec.inputs), tuple(present))
    missing = {
        bottom
        for layer, values in zip(present, wiring.read, strict=True)
        for bottom, value in zip(layer.bottoms, values, strict=True)
        if value is None
    }
    written = {top for layer in present for top in layer.tops}
    added: list[LayerSpec] = []
    for layer in reversed(spec.layers):  # the one for validation usually comes last
        if reads_data(layer) and missing.intersection(layer.tops) and written.isdisjoint(layer.tops):
            added.append(layer)
            written.update(layer.tops)
    return (*added, *present)


@dataclass(frozen=True)
class Remains:
    """The part of a training net that remains at test time, and notices about the rest.

    Attributes
    ----------
    spec
        The prototxt.
    net
        The net, including everything for training.
    weights
        Blobs of the caffemodel by layer name.
    input_size
        Height and width of images, instead of those in the file; None: those in the file.
    """

    spec: NetSpec
    net: TrainingNet
    weights: StoredWeights
    input_size: tuple[int, int] | None

    @cached_property
    def layers(self) -> tuple[LayerSpec, ...]:
        """The layers that remain, after conversion."""
        return tuple(map(self._converted, self.net.kept))

    @cached_property
    def left_out(self) -> tuple[LayerSpec, ...]:
        """The layers that do not remain."""
        kept = set(self.net.kept)
        return tuple(layer for number, layer in enumerate(self.net.layers) if number not in kept)

    def _converted(self, number: int) -> LayerSpec:
        layer = self.net.layers[number]
        if number not in self.net.conversions:
            return self.constants.converted(number)
        scores = layer.bottoms[self.net.wiring.read[number].index(self.net.scores_of(number))]
        own = Counter(layer.tops)
        free = [name for name in (*layer.tops[:1], layer.name) if self._taken[name] <= own[name]]
        top = layer.tops[1] if len(layer.tops) > 1 else [*free, f"{layer.name}_{scores}"][0]
        return replace(layer, type=self.net.conversions[number], bottoms=(scores,), tops=(top,))

    @cached_property
    def _taken(self) -> Counter[str]:
        """How many layers and inputs that remain write each name."""
        taken = Counter(top for number in self.net.kept for top in self.net.layers[number].tops)
        taken.update(declared.name for declared in self.inputs)
        return taken

    # --- Outputs --------------------------------------------------------------------------------------------

    @cached_property
    def outputs(self) -> OutputFacts:
        """What the prototxt says about the outputs."""
        names = [declared.name for declared in self.inputs]
        precedence = precedence_of(names, self.layers, list(self._votes()))
        return OutputFacts(frozenset(self._silenced()), precedence)

    def _votes(self) -> Iterator[Vote]:
        """Votes on values that remain, with the new numbers of their layers."""
        places = {number: place for place, number in enumerate(self.net.kept)}
        for vote in self.net.votes:
            number, top = vote.scores
            if number in places:
                is_made_of_loss = number in self.net.conversions
                yield replace(vote, scores=(places[number], 0 if is_made_of_loss else top))

    def _silenced(self) -> Iterator[str]:
        """Blobs that a Silence layer read."""
        for number in self.net.kept:
            for top, value in zip(self.net.layers[number].tops, self.net.wiring.written(number), strict=True):
                if value in self.net.silenced:
                    yield top

    # --- Inputs ---------------------------------------------------------------------------------------------

    @cached_property
    def declared(self) -> dict[Value, InputSpec]:
        """Inputs that the file declares, including those of Input layers."""
        found = {(-1, number): declared for number, declared in enumerate(self.spec.inputs)}
        for number in self.net.numbers(Role.INPUT):
            shapes = _shapes_of_input_layer(self.net.layers[number], self.spec.source)
            specs = map(InputSpec, self.net.layers[number].tops, shapes)
            found.update(zip(self.net.wiring.written(number), specs, strict=True))
        return found

    @cached_property
    def inputs(self) -> tuple[InputSpec, ...]:
        """Inputs of the remaining net: the declared ones, and those that data layers became."""
        read = {
            value: self._sized(declared)
            for value, declared in self.declared.items()
            if value in self.net.read_values and value not in self.constants.value_set
        }
        made = self.made_inputs
        unread = map(self._sized, self.declared.values())
        return (*(read.values() or ([] if made else unread)), *made.values())

    @cached_property
    def constants(self) -> SideInputs:
        """The inputs other than images."""
        return SideInputs(self.spec.source, self.net, self.declared)

    @cached_property
    def made_inputs(self) -> dict[Value, InputSpec]:
        """Inputs that data layers became."""
        return {
            value: self._sized(InputSpec(self._name_of(value), (1, *self._image_shape(value))))
            for value in self._given
        }

    @cached_property
    def _given(self) -> list[Value]:
        """The values that data layers provide as images."""
        given = (value for number in self.net.numbers(Role.DATA) for value in self.net.wiring.written(number))
        return [
            value
            for value in given
            if value in self.net.read_values and value not in self.constants.value_set
        ]

    def _name_of(self, value: Value) -> str:
        """Name of a value that a layer writes."""
        return self.net.layers[value[0]].tops[value[1]]

    def _sized(self, declared: InputSpec) -> InputSpec:
        """An input with the requested height and width, if it has these axes."""
        if self.input_size is None or len(declared.shape) != _IMAGE_AXES:
            return declared
        return replace(declared, shape=(*declared.shape[:2], *self.input_size))

    def _image_shape(self, value: Value) -> Shape:
        """Shape of one item of a data layer's output."""
        number, top = value
        layer = self.net.layers[number]
        shape = blob_shape(layer, top)
        if shape is not None:
            return shape
        asked = self.input_size
        size = asked or image_size(layer, self.spec.source)
        if size is None or (top > 0 and asked is None):  # only users know which of several is the image
            name = self._name_of(value)
            raise ModelError(
                f"{self.spec.source}: data layer '{layer.name}' ({layer.type}): the prototxt does not "
                f"give the size of '{name}'; set height and width (input_size in the config, --input-size), "
                f'or replace the layer by: input: "{name}" input_shape {{ dim: 1 dim: 3 dim: H dim: W }}'
            )
        default = 1 if len(layer.parameters.transform_param.mean_value) == 1 else 3
        return (self._known_channels(value, *size) or default, *size)

    def _known_channels(self, value: Value, height: int, width: int) -> int | None:
        """Number of channels of a data layer's output; None if neither prototxt nor weights determine it."""
        told = channel_count(self.net.layers[value[0]], self.spec.source)
        if told or len(self._given) > _MOST_GIVEN:
            return told
        return channels_by_weights(self.net, self.weights, value, (height, width))

    # --- Notices --------------------------------------------------------------------------------------------

    @cached_property
    def notices(self) -> tuple[str, ...]:
        """Notices on all changes that were made."""
        found = [f"{self.spec.source}: {notice}" for notice in self._notices()]
        more = len(found) - _MOST_NOTICES
        more_of_them = (f"{self.spec.source}: {more} more remarks",) if more > 0 else ()
        return (*found[:_MOST_NOTICES], *more_of_them)

    def _notices(self) -> Iterator[str]:
        if takes_deploy_stage(self.spec) and len(layers_at_test_time(self.spec)) < len(self.spec.layers):
            yield f"its layers of stage '{DEPLOY_STAGE}' are used"
        for value, made in self.made_inputs.items():
            layer, shape = self.net.layers[value[0]], "×".join(map(str, made.shape[1:]))
            notice = f"data layer '{layer.name}' ({layer.type}) became an input '{made.name}' of {shape}"
            is_told = blob_shape(layer, value[1]) is not None
            if not (is_told or self._known_channels(value, *made.shape[2:])):
                notice += f"; its {made.shape[1]} channel(s) are a guess: neither prototxt nor weights say"
            yield notice
        yield from self.constants.notices()
        for number, new_type in self.net.conversions.items():
            layer = self.net.layers[number]
            yield f"loss layer '{layer.name}' ({layer.type}) became a layer of type {new_type}"
        yield from self._notices_on_inputs()
        yield from self._notices_on_layers()
        made_of = [self.net.layers[number] for number, _ in self.made_inputs]
        yield from notices_on_options([self.net.layers[number] for number in self.net.kept], made_of)

    def _notices_on_inputs(self) -> Iterator[str]:
        kept = {declared.name for declared in self.inputs}
        kept.update(constant.name for constant in self.constants.specs)
        dropped = [declared.name for declared in self.declared.values() if declared.name not in kept]
        if dropped:
            names = ", ".join(f"'{name}'" for name in dropped)
            yield f"left out, because the scores do not depend on it: input {names}"

    def _notices_on_layers(self) -> Iterator[str]:
        computing = set(self.net.numbers(Role.COMPUTATION, Role.UNKNOWN))
        inputs = self.net.numbers(Role.INPUT, Role.DATA)
        left_out = set(range(len(self.net.layers))) - set(self.net.kept) - set(inputs)
        unknown = {
            number
            for number in left_out & computing
            if self.net.roles[number] is Role.UNKNOWN
            or not self.net.unsupported.isdisjoint(self.net.wiring.read[number])
        }
        takers = self.net.auxiliary_losses
        auxiliary = self.net.layers_behind(taker.scores for taker in takers) & left_out - unknown
        auxiliary |= {taker.number for taker in takers} & left_out
        training = left_out - unknown - auxiliary
        for reason, numbers in (
            ("because they are for training or measure results", training),
            ("because they belong to auxiliary heads, with a lower loss_weight than the others", auxiliary),
            ("because the scores do not depend on them", unknown),
        ):
            if numbers:
                layers = [self.net.layers[number] for number in sorted(numbers)]
                yield f"left out, {reason}: {names_of(layers)}"


def _shapes_of_input_layer(layer: LayerSpec, source: str) -> Sequence[Shape]:
    """Shapes of the tops of an Input layer."""
    shapes = [tuple(shape.dim) for shape in layer.parameters.input_param.shape]
    if len(shapes) == 1:
        shapes *= len(layer.tops)
    if len(shapes) != len(layer.tops):
        raise ModelError(
            f"{source}: Input layer '{layer.name}' has {len(layer.tops)} top(s) but {len(shapes)} "
            "shape(s); write input_param { shape { dim: 1 dim: 3 dim: H dim: W } }"
        )
    return shapes
