"""Linear maps between the input and the output of a layer, ready to be applied and to be reversed.

A map need not be the layer's own: rules make others from its weights. Weights are lifted to (groups,
parts out, outputs, parts in, inputs, k_h, k_w). Two parts out are the sums of positive and of negative
products; two parts in are the positive and the negative parts of the input.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from caffe_lrp.kernels._tiles import PANEL
from caffe_lrp.kernels._winograd import WINDOW_SIDES, tile_side
from caffe_lrp.kernels.convolution import Shape, convolve, padded_outputs
from caffe_lrp.kernels.gemm import Blob, multiply, multiply_adjoint
from caffe_lrp.kernels.layout import as_blob, pixels
from caffe_lrp.kernels.packing import (
    adjoint_weight,
    blocked_adjoint_weight,
    merge_groups,
    pack_frequencies,
    pack_panels,
    pad_bias,
    undilated,
)
from caffe_lrp.kernels.passes import (
    NO_BIAS,
    NO_BLOB,
    PLAIN,
    SPREAD,
    SUMS,
    TIMES,
    Sink,
    Source,
    add_sums,
    by_sign,
    copied,
    fill_rows,
    multiply_rows,
    spread_rows,
)
from caffe_lrp.kernels.window import Window
from caffe_lrp.kernels.winograd import convolve_tiles
from caffe_lrp.sharing import shared_property
from caffe_lrp.workspace import Workspace

from .ties import restore_ties

#: Numbers of the input that a block of direct convolution works on (512 KiB).
_BLOCK_NUMBERS = 128 * 1024

#: Pixels of one side of a block, where the adjoint has so few channels that a block fits into a panel.
_BLOCK = 2

#: Tiles in a block of Winograd's convolution: few enough for the cache, enough to reuse weights.
_BLOCK_TILES = 196
_BLOCK_COLUMNS = 128

#: Channels of a group, and their products with the columns of weights, from which Winograd's algorithm pays.
_LEAST_INPUTS, _LEAST_PRODUCTS = 16, 1024


@dataclass(frozen=True, eq=False)
class Product:
    """One convolution with its packed weights, forwards or backwards."""

    shape: Shape
    panels: Blob
    uses_winograd: bool

    def run(self, source: Source, sink: Sink, workspace: Workspace) -> None:
        """Convolve ``source`` into ``sink``."""
        items = len(source.blob)
        # A number that is moved costs about as much as a hundred products.
        size = items * self.shape.out_h * self.shape.out_w * self.panels.size // 100
        if self.uses_winograd:
            side = tile_side(self.shape.kernel_h)
            tiles_h, tiles_w = -(-self.shape.out_h // side), -(-self.shape.out_w // side)
            rows = _rows(-(-_BLOCK_TILES // tiles_w), items * tiles_h, workspace.threads)
            workspace.share(
                lambda first, last: convolve_tiles(
                    first, last, rows, _BLOCK_COLUMNS, source, self.shape, self.panels, sink
                ),
                -(-items * tiles_h // rows),
                size,
            )
            return
        width = self.shape.out_w * self.shape.stride_w * self.shape.groups * self.shape.inputs
        rows = _rows(_BLOCK_NUMBERS // (width * self.shape.stride_h), self.shape.out_h, workspace.threads)
        workspace.share(
            lambda first, last: convolve(first, last, rows, source, self.shape, self.panels, sink),
            items * -(-self.shape.out_h // rows),
            size,
        )


def _rows(wanted: int, available: int, threads: int) -> int:
    """Rows in a block: about as many as wanted, in blocks of one size, one or more for every thread."""
    blocks = max(1, -(-available // max(1, wanted)), min(threads, available))
    return max(1, -(-available // blocks))


def _uses_winograd(shape: Shape, method: str) -> bool:
    """Whether Winograd's algorithm applies to a convolution, and is asked for or pays."""
    steps = (shape.stride_h, shape.stride_w, shape.dilation_h, shape.dilation_w)
    applies = shape.kernel_h == shape.kernel_w and shape.kernel_h in WINDOW_SIDES and steps == (1, 1, 1, 1)
    products = shape.inputs * shape.parts * padded_outputs(shape.outputs)
    pays = shape.inputs >= _LEAST_INPUTS and products >= _LEAST_PRODUCTS
    return applies and (method == "winograd" or (method == "auto" and pays))


def _groups_together(shape: Shape) -> int:
    """How many small groups are computed as one: as many as fit into a panel, and divide all groups."""
    room = max(1, PANEL // (shape.parts * shape.outputs))
    return max(count for count in range(1, room + 1) if shape.groups % count == 0)


class LinearMap(ABC):
    """A linear map with the shapes of a layer."""

    @abstractmethod
    def apply(self, x: Blob, bias: Blob | None, workspace: Workspace) -> Blob:
        """The map of ``x`` plus ``bias`` (C,), in the layer's output shape; for one part out."""

    @abstractmethod
    def apply_sums(self, x: Blob, bias: Blob | None, workspace: Workspace) -> tuple[Blob, Blob]:
        """For two parts out: the sums (N, H, W, G·2·O), and their total plus ``bias`` as `apply` gives it."""

    @abstractmethod
    def adjoint(self, source: Source, factor: Blob | None, workspace: Workspace) -> Blob:
        """What ``source`` hands back along the weights, in the layer's input shape.

        Parameters
        ----------
        source
            Gives (N, H, W, G·parts·O): pixels of the layer's output.
        factor
            In the layer's input shape: every result is multiplied by its number; with two parts in, its
            sign chooses the part. None leaves results as they are.
        """


@dataclass(frozen=True, eq=False)
class ConvolutionMap(LinearMap):
    """A map over sliding windows.

    Attributes
    ----------
    weight
        Lifted weights, 7 axes.
    window
        Geometry.
    input_shape, output_shape
        (C, H, W) of the layer.
    method
        ``auto``, ``direct`` or ``winograd``: how products are formed.
    keeps_ties
        Whether equal windows have to give bitwise equal outputs.
    """

    weight: Blob
    window: Window
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    method: str
    keeps_ties: bool

    @property
    def _parts_in(self) -> int:
        return int(self.weight.shape[3])

    @shared_property
    def forward_product(self) -> Product:
        """The map itself."""
        groups, parts, outputs, parts_in, inputs, height, width = self.weight.shape
        window = self.window
        shape = Shape(
            groups, parts, parts_in * inputs, outputs, height, width, window.stride_h, window.stride_w,
            window.dilation_h, window.dilation_w, -window.pad_h, -window.pad_w, *self.output_shape[1:],
        )  # fmt: skip
        weight = self.weight.reshape(groups, parts, outputs, -1, height, width)
        return self._product(shape, weight)

    @property
    def _blocks(self) -> tuple[int, int]:
        """Pixels of the result, down and across, for which one pixel of `adjoint_product` stands."""
        window = self.window
        few_channels = (
            self._parts_in * self.weight.shape[4] * _BLOCK**2 <= PANEL and self.method != "winograd"
        )
        if window.stride_h == window.stride_w == window.dilation_h == window.dilation_w == 1 and few_channels:
            return _BLOCK, _BLOCK
        return window.stride_h, window.stride_w

    @shared_property
    def adjoint_product(self) -> Product:
        """The adjoint, as a convolution whose outputs stand for blocks of pixels."""
        window, blocks = self.window, self._blocks
        weight = self.weight.reshape(*self.weight.shape[:3], -1, *self.weight.shape[5:])
        step, dilation = (1, 1), (window.dilation_h, window.dilation_w)
        taps = weight.shape[4:]
        if blocks != (window.stride_h, window.stride_w):
            weight, step = blocked_adjoint_weight(weight, _BLOCK), blocks
        else:
            if blocks != (1, 1):
                weight, dilation = undilated(weight, *dilation), (1, 1)
            weight = adjoint_weight(weight, *blocks)
            taps = weight.shape[4:]
        groups, _, outputs, inputs, height, width = weight.shape
        tops, sizes = [], []
        for axis, (side, block) in enumerate(zip(self.input_shape[1:], blocks, strict=True)):
            pad = (window.pad_h, window.pad_w)[axis]
            tops.append(pad // block * step[axis] - (taps[axis] - 1) * dilation[axis])
            sizes.append((side - 1 + pad) // block - pad // block + 1)
        (top, left), (out_h, out_w) = tops, sizes
        shape = Shape(
            groups, 1, inputs, outputs, height, width, *step, *dilation, top, left, out_h, out_w
        )  # fmt: skip
        return self._product(shape, weight)

    def _product(self, shape: Shape, weight: Blob) -> Product:
        if _uses_winograd(shape, self.method):
            return Product(shape, pack_frequencies(weight), True)
        count = _groups_together(shape)
        merged = shape._replace(
            groups=shape.groups // count,
            parts=1 if count > 1 else shape.parts,
            inputs=count * shape.inputs,
            outputs=count * shape.parts * shape.outputs if count > 1 else shape.outputs,
            merged=count,
        )
        return Product(merged, pack_panels(merge_groups(weight, count) if count > 1 else weight), False)

    def _source(self, x: Blob) -> Source:
        return copied(pixels(x)) if self._parts_in == 1 else by_sign(pixels(x), self.weight.shape[0])

    def apply(self, x: Blob, bias: Blob | None, workspace: Workspace) -> Blob:
        out = workspace.pixels(self._pixels_out(len(x), 1))
        product = self.forward_product
        padded = NO_BIAS if bias is None else pad_bias(bias, product.shape.groups)
        product.run(self._source(x), Sink(PLAIN, out, NO_BLOB, NO_BLOB, padded), workspace)
        self._restore_ties(x, out, workspace)
        return as_blob(out, (len(x), *self.output_shape))

    def apply_sums(self, x: Blob, bias: Blob | None, workspace: Workspace) -> tuple[Blob, Blob]:
        sums = workspace.pixels(self._pixels_out(len(x), 2))
        out = workspace.pixels(self._pixels_out(len(x), 1))
        sink = Sink(SUMS, sums, out, NO_BLOB, NO_BIAS if bias is None else bias)
        self.forward_product.run(self._source(x), sink, workspace)
        self._restore_ties(x, out, workspace)
        return sums, as_blob(out, (len(x), *self.output_shape))

    def _restore_ties(self, x: Blob, out: Blob, workspace: Workspace) -> None:
        if self.keeps_ties and self.forward_product.uses_winograd:
            restore_ties(pixels(x), self.window, self.weight.shape[0], out, workspace)

    def _pixels_out(self, items: int, parts: int) -> tuple[int, ...]:
        groups, _, outputs = self.weight.shape[:3]
        return (items, *self.output_shape[1:], groups * parts * outputs)

    def adjoint(self, source: Source, factor: Blob | None, workspace: Workspace) -> Blob:
        window, product = self.window, self.adjoint_product
        channels, height, width = self.input_shape
        out = workspace.pixels((len(source.blob), height, width, channels))
        other = NO_BLOB if factor is None else pixels(factor)
        blocks = self._blocks
        if blocks == (1, 1) and self._parts_in == 1:
            mode = PLAIN if factor is None else TIMES
            sink = Sink(mode, out, NO_BLOB, other, NO_BIAS)
        else:
            offsets = (window.pad_h % blocks[0], window.pad_w % blocks[1])
            sink = Sink(SPREAD, out, NO_BLOB, other, NO_BIAS, *blocks, *offsets, self._parts_in)
        product.run(source, sink, workspace)
        return as_blob(out, (len(source.blob), *self.input_shape))


@dataclass(frozen=True, eq=False)
class MatrixMap(LinearMap):
    """A map over all of the input: a convolution whose window is the whole of it.

    Attributes
    ----------
    weight
        Lifted weights, 7 axes; one group, a window of one pixel over all inputs.
    input_shape, output_shape
        Of the layer.
    """

    weight: Blob
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]

    @property
    def _matrix(self) -> Blob:
        """(parts·outputs, parts·inputs)."""
        return self.weight.reshape(self.weight.shape[1] * self.weight.shape[2], -1)

    @property
    def _parts_in(self) -> int:
        return int(self.weight.shape[3])

    def _products(self, x: Blob, bias: Blob | None, workspace: Workspace) -> Blob:
        """(N, 1, 1, parts·outputs)."""
        lines = x.reshape(len(x), 1, 1, -1)
        source = copied(lines) if self._parts_in == 1 else by_sign(lines, 1)
        numbers = _filled(source, self._matrix.shape[1], workspace)
        out = workspace.empty((len(x), len(self._matrix)))
        shift = NO_BIAS if bias is None else bias
        workspace.share(
            lambda first, last: multiply(first, last, numbers, self._matrix, shift, out), len(self._matrix)
        )
        return out.reshape(len(x), 1, 1, -1)

    def apply(self, x: Blob, bias: Blob | None, workspace: Workspace) -> Blob:
        return self._products(x, bias, workspace).reshape(len(x), *self.output_shape)

    def apply_sums(self, x: Blob, bias: Blob | None, workspace: Workspace) -> tuple[Blob, Blob]:
        sums = self._products(x, None, workspace)
        out = workspace.pixels((len(x), 1, 1, self.weight.shape[2]))
        add_sums(sums[:, 0], NO_BIAS if bias is None else bias, 1, out[:, 0])
        return sums, out.reshape(len(x), *self.output_shape)

    def adjoint(self, source: Source, factor: Blob | None, workspace: Workspace) -> Blob:
        matrix, items = self._matrix, len(source.blob)
        numbers = _filled(source, len(matrix), workspace)
        products = workspace.pixels((items, 1, 1, matrix.shape[1]))
        lines = products.reshape(items, -1)
        workspace.share(
            lambda first, last: multiply_adjoint(first, last, numbers, matrix, lines), matrix.shape[1]
        )
        if self._parts_in == 2:
            out = workspace.pixels((items, 1, 1, matrix.shape[1] // 2))
            other = NO_BLOB if factor is None else factor.reshape(items, 1, 1, -1)
            sink = Sink(SPREAD, out, NO_BLOB, other, NO_BIAS, parts=2)
            for item in range(items):
                spread_rows(products[item], sink, 1, item, 0)
            products = out
        elif factor is not None:
            multiply_rows(factor.reshape(items, 1, -1), products[:, 0])
        return products.reshape(items, *self.input_shape)


def _filled(source: Source, channels: int, workspace: Workspace) -> Blob:
    """``source`` written out: (N, channels)."""
    out = workspace.pixels((len(source.blob), 1, 1, channels))
    for item in range(len(source.blob)):
        fill_rows(source, item, 0, 0, out[item])
    return out.reshape(len(out), channels)


def signed_weight(weight: Blob, nonnegative: bool) -> Blob:
    """Lifted weights whose two parts out sum the positive and the negative products.

    Parameters
    ----------
    weight
        Lifted weights with one part out and one part in.
    nonnegative
        Whether the input has no negative numbers, so that one part in is enough.
    """
    positive, negative = np.maximum(weight, 0), np.minimum(weight, 0)
    columns = [np.concatenate([positive, negative], axis=1)]
    if not nonnegative:
        columns.append(np.concatenate([negative, positive], axis=1))
    return np.ascontiguousarray(np.concatenate(columns, axis=3))
