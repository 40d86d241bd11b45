"""Nets for training made into nets for images, as people do by hand to get a deploy prototxt.

Data layers become inputs. Losses and measures are left out with all that serves nothing else: labels,
auxiliary heads, layers of unknown types. What a softmax loss turned into probabilities gets a Softmax.
Whatever stays is numbered as if it had been alone in the file.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from caffe_lrp.errors import ModelError
from caffe_lrp.proto.data_layers import blob_shape, channel_count, image_size, reads_data
from caffe_lrp.proto.phase import DEPLOY_STAGE, layers_at_test_time, takes_deploy_stage
from caffe_lrp.proto.reader import StoredBlob
from caffe_lrp.proto.spec import InputSpec, LayerSpec, NetSpec, OutputFacts, Shape

from .claims import claims_elsewhere, precedence_of
from .options import notices_on_options
from .training import Claim, Role, TrainingNet
from .wiring import Value, Wiring, names_of

Weights = Mapping[str, tuple[StoredBlob, ...]]

#: Layers between an input and a convolution that leave the number of channels alone.
_SAME_CHANNELS = ("BatchNorm", "Bias", "BN", "MVN", "Power", "Scale", "Split")


@dataclass(frozen=True)
class DeployNet:
    """What remains of a prototxt: inputs and layers at test time, and what was done to get there.

    ``left_out`` are the layers that do not remain.
    """

    inputs: tuple[InputSpec, ...]
    layers: tuple[LayerSpec, ...]
    notices: tuple[str, ...]
    outputs: OutputFacts
    left_out: tuple[LayerSpec, ...] = ()


def as_deploy_net(spec: NetSpec, weights: Weights | None = None) -> DeployNet:
    """The net that ``spec`` is at test time.

    Parameters
    ----------
    spec
        The prototxt.
    weights
        Blobs of the caffemodel by layer name, if there are any: the first convolution knows the number of
        channels where the prototxt does not.

    Raises
    ------
    ModelError
        No layer takes part at test time, an input has no shape, or nothing computes scores from images.
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
    notices = tuple(f"{spec.source}: {notice}" for notice in remains.notices())
    layers = tuple(map(remains.converted, net.kept))
    return DeployNet(
        remains.inputs,
        layers,
        notices,
        spec.outputs or remains.outputs(layers),
        (*spec.left_out, *(layer for number, layer in enumerate(net.layers) if number not in kept)),
    )


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
            return layer
        scores = layer.bottoms[self.net.wiring.read[number].index(self.net.scores_of(number))]
        taken = {top for other in self.net.kept if other != number for top in self.layers[other].tops}
        taken.update(declared.name for declared in self.inputs)
        free = [name for name in (*layer.tops[:1], layer.name) if name not in taken]
        top = layer.tops[1] if len(layer.tops) > 1 else [*free, f"{layer.name}_{scores}"][0]
        return replace(layer, type=self.net.conversions[number], bottoms=(scores,), tops=(top,))

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
        read = {value: declared for value, declared in self.declared.items() if value in self.net.read_values}
        made = self.made_inputs
        return (*(read or ({} if made else self.declared)).values(), *made.values())

    @cached_property
    def made_inputs(self) -> dict[Value, InputSpec]:
        """Inputs that data layers became."""
        return {
            (number, top): InputSpec(name, (1, *self._image_shape(number, top)))
            for number in self.net.numbers(Role.DATA)
            for top, name in enumerate(self.layers[number].tops)
            if (number, top) in self.net.read_values
        }

    def _image_shape(self, number: int, top: int) -> Shape:
        """Shape of one item of what a data layer gives."""
        layer, source = self.layers[number], self.spec.source
        what = f"{source}: data layer '{layer.name}' ({layer.type})"
        name = layer.tops[top]
        shape = blob_shape(layer, top)
        if shape is not None:
            return shape
        size = image_size(layer, source)
        if top > 0 or size is None:
            raise ModelError(
                f"{what}: the shape of '{name}' does not stand in the file; put in the place of the layer: "
                f'input: "{name}" input_shape {{ dim: 1 dim: 3 dim: H dim: W }}'
            )
        channels = channel_count(layer, source) or self._channels_of_weights((number, top))
        default = 1 if len(layer.parameters.transform_param.mean_value) == 1 else 3
        return (channels or default, *size)

    def _channels_of_weights(self, value: Value) -> int | None:
        """Number of channels that the first convolution reads; None if that is not known."""
        values = {value}
        for number in self.net.kept:
            layer = self.layers[number]
            if values.isdisjoint(self.net.wiring.read[number]):
                continue
            stored = self.weights.get(layer.name, ())
            if layer.type == "Convolution" and stored and len(stored[0].shape) == 4:
                return stored[0].shape[1] * layer.parameters.convolution_param.group
            if layer.type in _SAME_CHANNELS:
                values.update(self.net.wiring.written(number))
        return None

    # --- What users should know -----------------------------------------------------------------------------

    def notices(self) -> Iterator[str]:
        """What was done, in words."""
        if takes_deploy_stage(self.spec) and len(layers_at_test_time(self.spec)) < len(self.spec.layers):
            yield f"its layers of stage '{DEPLOY_STAGE}' are taken"
        for (number, _), made in self.made_inputs.items():
            layer, shape = self.layers[number], "×".join(map(str, made.shape[1:]))
            yield f"data layer '{layer.name}' ({layer.type}) became an input '{made.name}' of {shape}"
        for number, new_type in self.net.conversions.items():
            layer = self.layers[number]
            yield f"loss layer '{layer.name}' ({layer.type}) became a layer of type {new_type}"
        yield from self._notices_on_inputs()
        yield from self._notices_on_layers()
        made_of = [self.layers[number] for number, _ in self.made_inputs]
        yield from notices_on_options([self.layers[number] for number in self.net.kept], made_of)

    def _notices_on_inputs(self) -> Iterator[str]:
        dropped = [spec.name for spec in self.declared.values() if spec not in self.inputs]
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
        heads = self.net.auxiliary_losses
        auxiliary = self.net.layers_behind(head.scores for head in heads) & left_out - unknown
        auxiliary |= {head.number for head in heads} & left_out
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
