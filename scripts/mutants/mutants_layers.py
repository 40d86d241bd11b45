"""Mutations of layers."""

from mutants_entry import Mutation

_POOLING = ("layers/test_layers_pooling.py",)

ROWS = (
    Mutation(
        "(padded.is_padded or not keeps_empty) and (steps - 1) * stride >= size + begin",
        "(padded.is_padded or not keeps_empty) and (steps - 1) * stride > size + begin",
        "a last pooling window that begins right after the image is kept",
        _POOLING,
    ),
    Mutation(
        "is_open[tap.outputs] &= ~wins",
        "is_open[tap.outputs] &= True",
        "max pooling at a distance gives its relevance to all of several equal elements",
        _POOLING,
    ),
    Mutation(
        "gathered[source] += inner[place]",
        "gathered[source] = inner[place]",
        "elements that a border repeats receive the gradient of one copy",
        ("layers/test_layers_border.py",),
    ),
    Mutation(
        "length + (end if counts_padding else 0)",
        "length + (begin if counts_padding else 0)",
        "averages divide by areas with the padding of the other side",
        _POOLING,
    ),
    Mutation(
        "for tap in reversed(self._taps()):",
        "for tap in self._taps():",
        "the mask of max pooling has the last of several equal elements",
        _POOLING,
    ),
    Mutation(
        "if any(first >= last for first, last in pairwise(ends)):",
        "if any(first > last for first, last in pairwise(ends)):",
        "Slice makes pieces without elements",
        ("layers/test_layers_combine.py",),
    ),
    Mutation(
        "copied = [size or shape[first + place]",
        "copied = [size or shape[place]",
        "Reshape from an axis on copies the sizes of other axes",
        ("layers/test_layers_shape.py",),
    ),
    Mutation(
        "share = 0 if factor == 0 else 1 / factor",
        "share = 1 if factor == 0 else 1 / factor",
        "statistics of an untrained net are used, unlike in Caffe",
        ("layers/test_layers_affine.py",),
    ),
    Mutation(
        "np.repeat(slopes, math.prod(shape[1:]))",
        "np.tile(slopes, math.prod(shape[1:]))",
        "PReLU mixes up the slopes of channels if an item has two axes",
        ("layers/test_layers_neurons.py",),
    ),
    Mutation(
        "return self.shift >= 0 and (self.scale == 0",
        "return (self.scale == 0",
        "Power is taken for never negative though it subtracts something",
        ("layers/test_layers_neurons.py",),
    ),
    Mutation(
        "pull = _mean(gradient * centred, axes) / (divisor * divisor)",
        "pull = _mean(gradient * centred, axes) / divisor",
        "the gradient of MVN is wrong by a factor",
        ("layers/test_layers_affine.py",),
    ),
    Mutation(
        "np.float32(max(1, outputs - 1))",
        "np.float32(max(1, outputs))",
        "Interp does not align corners",
        ("layers/test_layers_shape.py",),
    ),
)
