"""Nets for training made into nets for images, as people do by hand to get a deploy prototxt.

Data layers become inputs; those beside the image that only give a shape, or constants, become constants.
Losses and measures are left out with all that serves nothing else: labels,
auxiliary heads, layers of unknown types. What a softmax loss turned into probabilities gets a Softmax.
Whatever stays is numbered as if it had been alone in the file.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from caffe_lrp.errors import ModelError
from caffe_lrp.formats.caffe.data_layers import blob_shape, channel_count, image_size, reads_data
from caffe_lrp.formats.caffe.phase import DEPLOY_STAGE, layers_at_test_time, takes_deploy_stage
from caffe_lrp.formats.caffe.reader import Weights
from caffe_lrp.formats.spec import ConstantSpec, InputSpec, LayerSpec, NetSpec, Shape

from .channels import channels_by_weights
from .claims import OutputFacts, claims_elsewhere, precedence_of
from .constants import SideInputs
from .options import notices_on_options
from .training import Claim, Role, TrainingNet
from .wiring import Value, Wiring, names_of

_IMAGE_AXES = 4
#: A net with several images is refused in the end; one with more than this asks no weights for each of them.
_MOST_GIVEN = 20
#: Notices of a net; more are counted.
_MOST_NOTICES = 200


@dataclass(frozen=True)
class DeployNet:
    """What remains of a prototxt: inputs and layers at test time, and what was done to get there.

    ``constants`` are blobs that layers read as they do inputs; ``left_out`` are layers that do not remain.
    """

    inputs: tuple[InputSpec, ...]
    layers: tuple[LayerSpec, ...]
    notices: tuple[str, ...]
    outputs: OutputFacts
    constants: tuple[ConstantSpec, ...] = ()
    left_out: tuple[LayerSpec, ...] = ()


def as_deploy_net(spec: NetSpec, weights: Weights | None = None) -> DeployNet:
    """The net that ``spec`` is at test time.

    Parameters
    ----------
    spec
        The prototxt.
    weights
        Blobs of the caffemodel by layer name, if there are any: the first layers that learn know the number
        of channels where the prototxt does not.

    Raises
    ------
    ModelError
        No layer takes part at test time, an input has no shape, nothing computes scores from images, or
        numbers beside the image are random.
    """
    present = _participants(spec)
    names = tuple(declared.name for declared in spec.inputs)
    net = TrainingNet(names, present, claims_elsewhere(spec, present), spec.head)
    if all(role in (Role.INPUT, Role.DATA) for role in net.roles):
        raise ModelError(f"{spec.source}: none of its layers takes part at test time")
    if not net.kept:
        raise ModelError(
            f"{spec.source}: nothing is left of it but layers for training, or such that follow from labels; "
            "give the net's deploy prototxt"
        )
    remains, kept = _Remains(spec, net, weights or {}), set(net.kept)
    notices = tuple(f"{spec.source}: {notice}" for notice in _first_of(list(remains.notices())))
    layers = tuple(map(remains.converted, net.kept))
    return DeployNet(
        remains.inputs,
        layers,
        notices,
        remains.outputs(layers),
        remains.constants.specs,
        tuple(layer for number, layer in enumerate(net.layers) if number not in kept),
    )


def _first_of(notices: list[str]) -> list[str]:
    more = len(notices) - _MOST_NOTICES
    return notices if more <= 0 else [*notices[:_MOST_NOTICES], f"{more} more remarks"]


def _participants(spec: NetSpec) -> tuple[LayerSpec, ...]:
    """Layers at test time, and data layers of other phases for what no layer writes then."""
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
    for layer in reversed(spec.layers):  # that of validation usually stands behind that of training
        if reads_data(layer) and missing.intersection(layer.tops) and written.isdisjoint(layer.tops):
            added.append(layer)
            written.update(layer.tops)
    return (*added, *present)


@dataclass(frozen=True)
class _Remains:
    """What remains of a net for training, and in which words to tell."""

    spec: NetSpec
    net: TrainingNet
    weights: Weights

    @property
    def layers(self) -> tuple[LayerSpec, ...]:
        """All layers, those that do not remain among them."""
        return self.net.layers

    def converted(self, number: int) -> LayerSpec:
        """A layer as it remains."""
        layer = self.layers[number]
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
        taken = Counter(top for number in self.net.kept for top in self.layers[number].tops)
        taken.update(declared.name for declared in self.inputs)
        return taken

    # --- Outputs --------------------------------------------------------------------------------------------

    def outputs(self, layers: Sequence[LayerSpec]) -> OutputFacts:
        """What the file says of the outputs of ``layers``, which are those that remain."""
        names = [declared.name for declared in self.inputs]
        return OutputFacts(frozenset(self._silenced()), precedence_of(names, layers, list(self._claims())))

    def _claims(self) -> Iterator[Claim]:
        """Claims on values that remain, by the numbers that their layers have then."""
        places = {number: place for place, number in enumerate(self.net.kept)}
        for claim in self.net.claims:
            number, top = claim.scores
            if number in places:
                is_made_of_loss = number in self.net.conversions
                yield replace(claim, scores=(places[number], 0 if is_made_of_loss else top))

    def _silenced(self) -> Iterator[str]:
        """Blobs that a Silence layer read."""
        for number in self.net.kept:
            for top, value in zip(self.layers[number].tops, self.net.wiring.written(number), strict=True):
                if value in self.net.silenced:
                    yield top

    # --- Inputs ---------------------------------------------------------------------------------------------

    @cached_property
    def declared(self) -> dict[Value, InputSpec]:
        """Inputs that the file declares, those of Input layers among them."""
        found = {(-1, number): declared for number, declared in enumerate(self.spec.inputs)}
        for number in self.net.numbers(Role.INPUT):
            shapes = _shapes_of_input_layer(self.layers[number], self.spec.source)
            specs = map(InputSpec, self.layers[number].tops, shapes)
            found.update(zip(self.net.wiring.written(number), specs, strict=True))
        return found

    @cached_property
    def inputs(self) -> tuple[InputSpec, ...]:
        """Inputs of what remains: the declared ones, and those that data layers became."""
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
        """What is read besides images."""
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
        """What data layers give for images."""
        given = (value for number in self.net.numbers(Role.DATA) for value in self.net.wiring.written(number))
        return [
            value
            for value in given
            if value in self.net.read_values and value not in self.constants.value_set
        ]

    def _name_of(self, value: Value) -> str:
        """Name of a value that a layer gives."""
        return self.layers[value[0]].tops[value[1]]

    def _sized(self, declared: InputSpec) -> InputSpec:
        """An input of the height and width that is asked for, where it has any."""
        if self.spec.input_size is None or len(declared.shape) != _IMAGE_AXES:
            return declared
        return replace(declared, shape=(*declared.shape[:2], *self.spec.input_size))

    def _image_shape(self, value: Value) -> Shape:
        """Shape of one item of what a data layer gives."""
        number, top = value
        layer = self.layers[number]
        shape = blob_shape(layer, top)
        if shape is not None:
            return shape
        asked = self.spec.input_size
        size = asked or image_size(layer, self.spec.source)
        if size is None or (top > 0 and asked is None):  # which of several is the image, only users know
            name = self._name_of(value)
            raise ModelError(
                f"{self.spec.source}: data layer '{layer.name}' ({layer.type}): the file does not say how "
                f"large '{name}' is; give height and width (input_size in the config, --input-size), or put "
                f'in the place of the layer: input: "{name}" input_shape {{ dim: 1 dim: 3 dim: H dim: W }}'
            )
        default = 1 if len(layer.parameters.transform_param.mean_value) == 1 else 3
        return (self._known_channels(value, *size) or default, *size)

    def _known_channels(self, value: Value, height: int, width: int) -> int | None:
        """Number of channels of what a data layer gives; None if neither the file nor weights tell."""
        told = channel_count(self.layers[value[0]], self.spec.source)
        if told or len(self._given) > _MOST_GIVEN:
            return told
        return channels_by_weights(self.net, self.weights, value, (height, width))

    # --- What users should know -----------------------------------------------------------------------------

    def notices(self) -> Iterator[str]:
        """What was done, in words."""
        if takes_deploy_stage(self.spec) and len(layers_at_test_time(self.spec)) < len(self.spec.layers):
            yield f"its layers of stage '{DEPLOY_STAGE}' are taken"
        for value, made in self.made_inputs.items():
            layer, shape = self.layers[value[0]], "×".join(map(str, made.shape[1:]))
            notice = f"data layer '{layer.name}' ({layer.type}) became an input '{made.name}' of {shape}"
            is_told = blob_shape(layer, value[1]) is not None
            if not (is_told or self._known_channels(value, *made.shape[2:])):
                notice += f"; {made.shape[1]} channels are a guess, as neither the file nor weights tell"
            yield notice
        yield from self.constants.notices()
        for number, new_type in self.net.conversions.items():
            layer = self.layers[number]
            yield f"loss layer '{layer.name}' ({layer.type}) became a layer of type {new_type}"
        yield from self._notices_on_inputs()
        yield from self._notices_on_layers()
        made_of = [self.layers[number] for number, _ in self.made_inputs]
        yield from notices_on_options([self.layers[number] for number in self.net.kept], made_of)

    def _notices_on_inputs(self) -> Iterator[str]:
        kept = {declared.name for declared in self.inputs}
        kept.update(constant.name for constant in self.constants.specs)
        dropped = [declared.name for declared in self.declared.values() if declared.name not in kept]
        if dropped:
            names = ", ".join(f"'{name}'" for name in dropped)
            yield f"left out, as the scores do not follow from it: input {names}"

    def _notices_on_layers(self) -> Iterator[str]:
        computing = set(self.net.numbers(Role.COMPUTATION, Role.UNKNOWN))
        left_out = (
            set(range(len(self.layers))) - set(self.net.kept) - set(self.net.numbers(Role.INPUT, Role.DATA))
        )
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
            ("as they are for training or measure results", training),
            ("as they belong to auxiliary heads, with less loss_weight than the others", auxiliary),
            ("as the scores do not follow from them", unknown),
        ):
            if numbers:
                yield f"left out, {reason}: {names_of([self.layers[number] for number in sorted(numbers)])}"


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
