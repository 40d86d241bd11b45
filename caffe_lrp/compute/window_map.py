"""Linear maps over sliding windows: convolution and deconvolution."""

from dataclasses import dataclass

import numpy as np

from caffe_lrp.kernels.blobs import Blob, as_blob, pixels
from caffe_lrp.kernels.convolution import ConvolutionShape, padded_outputs
from caffe_lrp.kernels.packing import (
    adjoint_weight,
    exchanged,
    pack_channel_shares,
    pack_channels,
    pack_frequencies,
    pack_panels,
    pack_shares,
    pad_bias,
)
from caffe_lrp.kernels.passes import (
    NO_BIAS,
    NO_BLOB,
    PLAIN,
    SIGNS,
    SUMS,
    TIMES,
    Sink,
    Source,
    add_sums,
    by_sign,
    copied,
)
from caffe_lrp.kernels.window import Window

from .linear_map import LinearMap
from .once import shared_method, shared_property
from .product import Product, packed_growth, winograd_applies, winograd_pays, with_merged_groups
from .ties import restore_ties
from .workspace import Workspace

#: Sums of at least this many products are computed by halves. With fewer, one part is more often far smaller
#: than the other, and so less accurate.
_LEAST_HALVED = 27


@dataclass(frozen=True, eq=False)
class ConvolutionMap(LinearMap):
    """A map over sliding windows.

    The workspace says how it is computed; weights are packed once for every method of convolution in use.

    Attributes
    ----------
    weight
        Lifted weights, 7 axes.
    window
        Geometry.
    input_shape, output_shape
        (C, H, W) of the layer.
    is_direct
        Whether to sum directly, whatever the workspace says.
    """

    weight: Blob
    window: Window
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    is_direct: bool = False

    @property
    def _parts_in(self) -> int:
        return int(self.weight.shape[3])

    @property
    def _apart(self) -> int:
        """The number of channels of a depthwise convolution of several channels, otherwise 0."""
        groups, _, outputs, _, inputs = self.weight.shape[:5]
        return groups if groups > 1 and outputs == inputs == 1 else 0

    @property
    def groups(self) -> int:
        return 1 if self._apart else int(self.weight.shape[0])

    @property
    def _weight(self) -> Blob:
        """(groups, parts out, outputs, parts in·inputs, k_h, k_w)."""
        return self.weight.reshape(*self.weight.shape[:3], -1, *self.weight.shape[5:])

    def packed_growth(self, convolution: str) -> float:
        return packed_growth(self.window, "direct" if self.is_direct else convolution)

    def _method(self, convolution: str) -> str:
        """The method in use: direct, the given one, or halves if that does not apply."""
        if self.is_direct or self._apart:
            return "direct"
        is_free = convolution == "direct" or winograd_applies(self.window)
        return convolution if is_free else "halves"

    def _halves(self, method: str) -> Blob | None:
        """The weights of sum and difference of two parts that may swap places, see `kernels.mirrored`.

        (1, 2, outputs, inputs, k_h, k_w); None if there are no such parts, or the method does not use them.
        """
        groups, parts_out, _, parts_in, inputs = self.weight.shape[:5]
        has_parts = groups == 1 and parts_out == parts_in == 2 and inputs * self.window.taps >= _LEAST_HALVED
        if method == "direct" or not has_parts:
            return None
        same, other = self.weight[:, 0, :, 0], self.weight[:, 0, :, 1]
        mirrored = self.weight[:, 1, :, 1], self.weight[:, 1, :, 0]
        if not (np.array_equal(same, mirrored[0]) and np.array_equal(other, mirrored[1])):
            return None
        return np.stack([same + other, same - other], axis=1)

    def _shape(self, groups: int, parts: int, inputs: int, outputs: int) -> ConvolutionShape:
        """The layer's geometry for other channels."""
        window, height, width = self.window, *self.output_shape[1:]
        return ConvolutionShape(
            groups, parts, inputs, outputs, window.kernel_h, window.kernel_w, window.stride_h,
            window.stride_w, window.dilation_h, window.dilation_w, -window.pad_h, -window.pad_w, height,
            width, apart=self._apart,
        )  # fmt: skip

    def forward_product(self, convolution: str) -> Product:
        """The map, by a method of convolution."""
        return self._forward_product(self._method(convolution))

    @shared_method
    def _forward_product(self, method: str) -> Product:
        groups, parts, outputs, inputs = self._weight.shape[:4]
        if self._apart:
            shape = self._shape(1, parts, inputs * groups, groups)
            return Product(shape, pack_channels(self._weight), uses_winograd=False)
        shape = self._shape(groups, parts, inputs, outputs)
        halves = None if _takes_winograd(shape, method) else self._halves(method)
        if halves is not None:
            shape = shape._replace(inputs=inputs // 2, mirrored=1)
            return Product(shape, pack_panels(halves), uses_winograd=False)
        return _product(shape, self._weight, method)

    def _hands_back(self, inputs: int, method: str) -> bool:
        """Whether a convolution of the outputs would waste at least half of its products, for ``inputs``."""
        taps = self.window.taps
        is_narrow = 2 * padded_outputs(inputs * taps) <= padded_outputs(inputs) * taps
        has_stride = (self.window.stride_h, self.window.stride_w) != (1, 1)
        has_better = self._apart or method == "winograd"
        return has_stride or (is_narrow and not has_better)

    def adjoint_product(self, convolution: str) -> Product:
        """The adjoint: shares added to the inputs, or a convolution of the outputs."""
        return self._adjoint_product(self._method(convolution))

    @shared_method
    def _adjoint_product(self, method: str) -> Product:
        groups, parts, outputs, inputs = self._weight.shape[:4]
        halves = self._halves(method)
        if halves is not None and self._hands_back(inputs // 2, method):
            shape = self._shape(2, 1, outputs, inputs // 2)._replace(mirrored=1)
            shares = pack_shares(exchanged(halves.swapaxes(0, 1)))
            return Product(shape, shares, uses_winograd=False, hands_back=True)
        hands_back = self._hands_back(inputs, method)
        if self._apart and hands_back:
            shape = self._shape(1, 1, parts * groups, inputs * groups)
            return Product(shape, pack_channel_shares(self._weight), uses_winograd=False, hands_back=True)
        shape = self._shape(groups, 1, parts * outputs, inputs)
        if hands_back:
            merged, weight = with_merged_groups(shape, exchanged(self._weight))
            return Product(merged, pack_shares(weight), uses_winograd=False, hands_back=True)
        if self._apart:
            turned = self._weight.swapaxes(1, 3)[..., ::-1, ::-1]
            shape = self._turned(self._shape(1, inputs, parts * groups, groups))
            return Product(shape, pack_channels(turned), uses_winograd=False)
        return _product(self._turned(shape), adjoint_weight(self._weight), method)

    def _turned(self, shape: ConvolutionShape) -> ConvolutionShape:
        """The geometry of a convolution without stride that turns the outputs into the inputs."""
        window, (height, width) = self.window, self.input_shape[1:]
        top = window.pad_h - (window.kernel_h - 1) * window.dilation_h
        left = window.pad_w - (window.kernel_w - 1) * window.dilation_w
        return shape._replace(top=top, left=left, out_h=height, out_w=width)

    def apply(self, x: Blob, bias: Blob | None, workspace: Workspace) -> Blob:
        out = workspace.pixels(self._pixels_out(len(x), 1))
        product = self.forward_product(workspace.convolution)
        padded = NO_BIAS if bias is None else pad_bias(bias, product.shape.groups)
        product.run(
            _source(x, self._parts_in, self.groups), Sink(PLAIN, out, NO_BLOB, NO_BLOB, padded), workspace
        )
        return as_blob(out, (len(x), *self.output_shape))

    def apply_sums(self, x: Blob, bias: Blob | None, workspace: Workspace) -> tuple[Blob, Blob]:
        sums = workspace.pixels(self._pixels_out(len(x), 2))
        out = workspace.pixels(self._pixels_out(len(x), 1))
        sink = Sink(SUMS, sums, out, NO_BLOB, NO_BIAS if bias is None else bias)
        product = self.forward_product(workspace.convolution)
        parts = 1 if product.shape.mirrored else self._parts_in
        product.run(_source(x, parts, self.groups), sink, workspace)
        return sums, as_blob(out, (len(x), *self.output_shape))

    def restore_ties(self, x: Blob, out: Blob, workspace: Workspace) -> None:
        if self.forward_product(workspace.convolution).uses_winograd:
            restore_ties(pixels(x), self.window, self.weight.shape[0], pixels(out), workspace)

    def _pixels_out(self, items: int, parts: int) -> tuple[int, ...]:
        groups, _, outputs = self.weight.shape[:3]
        return (items, *self.output_shape[1:], groups * parts * outputs)

    def adjoint(self, source: Source, factor: Blob | None, workspace: Workspace) -> Blob:
        channels, height, width = self.input_shape
        out = workspace.pixels((len(source.blob), height, width, channels))
        sink = _handed_back(out, factor, self._parts_in)
        given = source._replace(groups=self.groups)
        self.adjoint_product(workspace.convolution).run(given, sink, workspace)
        return as_blob(out, (len(source.blob), *self.input_shape))


@dataclass(frozen=True, eq=False)
class DeconvolutionMap(LinearMap):
    """A map that spreads pixels over windows: the adjoint of a convolution from outputs to inputs.

    Attributes
    ----------
    weight
        Lifted weights, 7 axes.
    window
        Geometry of that convolution.
    input_shape, output_shape
        (C, H, W) of the layer.
    shares
        (1, C, H, W): factors of relevance at the outputs when it is propagated; None for 1.
    """

    weight: Blob
    window: Window
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    shares: Blob | None = None

    @shared_property
    def _reverse(self) -> ConvolutionMap:
        """The convolution from the layer's outputs to its inputs."""
        weight = self.weight.transpose(0, 3, 4, 1, 2, 5, 6)
        return ConvolutionMap(weight, self.window, self.output_shape, self.input_shape, is_direct=True)

    @property
    def groups(self) -> int:
        return self._reverse.groups

    def packed_growth(self, convolution: str) -> float:
        return self._reverse.packed_growth(convolution)

    @property
    def _parts_in(self) -> int:
        return int(self.weight.shape[3])

    def _products(self, x: Blob, workspace: Workspace) -> Blob:
        """(N, H, W, G·parts·O)."""
        groups, parts, outputs = self.weight.shape[:3]
        out = workspace.pixels((len(x), *self.output_shape[1:], groups * parts * outputs))
        source = _source(x, self._parts_in, self.groups)
        sink = Sink(PLAIN, out, NO_BLOB, NO_BLOB, NO_BIAS)
        self._reverse.adjoint_product(workspace.convolution).run(source, sink, workspace)
        return out

    def apply(self, x: Blob, bias: Blob | None, workspace: Workspace) -> Blob:
        out = self._products(x, workspace)
        if bias is not None:
            out += bias
        return as_blob(out, (len(x), *self.output_shape))

    def apply_sums(self, x: Blob, bias: Blob | None, workspace: Workspace) -> tuple[Blob, Blob]:
        sums = self._products(x, workspace)
        channels, height, width = self.output_shape
        out = workspace.pixels((len(x), height, width, channels))
        rows, totals = sums.reshape(-1, width, 2 * channels), out.reshape(-1, width, channels)
        shift, groups = NO_BIAS if bias is None else bias, self.groups
        workspace.share(
            lambda first, last: add_sums(rows[first:last], shift, groups, totals[first:last]),
            len(rows),
            sums.size,
        )
        return sums, as_blob(out, (len(x), *self.output_shape))

    def adjoint(self, source: Source, factor: Blob | None, workspace: Workspace) -> Blob:
        channels, height, width = self.input_shape
        out = workspace.pixels((len(source.blob), height, width, channels))
        sink = _handed_back(out, factor, self._parts_in)
        blob = source.blob if self.shares is None else source.blob * pixels(self.shares)
        given = source._replace(blob=blob, groups=self.groups)
        self._reverse.forward_product(workspace.convolution).run(given, sink, workspace)
        return as_blob(out, (len(out), *self.input_shape))


def _product(shape: ConvolutionShape, weight: Blob, method: str) -> Product:
    """A convolution by ``method`` if its window allows that, otherwise computed directly."""
    if _takes_winograd(shape, method):
        return Product(shape, pack_frequencies(weight), True)
    merged, weight = with_merged_groups(shape, weight)
    return Product(merged, pack_panels(weight), False)


def _takes_winograd(shape: ConvolutionShape, method: str) -> bool:
    return method == "winograd" or (method == "auto" and winograd_pays(shape))


def _source(x: Blob, parts: int, groups: int) -> Source:
    """The input of a map: as it is for one part in, its positive and its negative part for two."""
    return copied(pixels(x)) if parts == 1 else by_sign(pixels(x), groups)


def _handed_back(out: Blob, factor: Blob | None, parts: int) -> Sink:
    """The sink of an adjoint: results as they are, times ``factor``, or of two parts the one for its sign."""
    mode = SIGNS if parts == 2 else PLAIN if factor is None else TIMES
    return Sink(mode, out, NO_BLOB, NO_BLOB if factor is None else pixels(factor), NO_BIAS)
