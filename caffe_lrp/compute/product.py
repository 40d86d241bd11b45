"""A convolution, forwards or backwards: chooses the kernel that computes it, and the blocks."""

from dataclasses import dataclass

from caffe_lrp.kernels._tiles import PANEL
from caffe_lrp.kernels._winograd import FREQUENCIES, WINDOW_SIDES, tile_side
from caffe_lrp.kernels.adjoint import hand_back
from caffe_lrp.kernels.blobs import Blob
from caffe_lrp.kernels.convolution import ConvolutionShape, convolve, padded_outputs
from caffe_lrp.kernels.packing import merge_groups
from caffe_lrp.kernels.passes import Sink, Source
from caffe_lrp.kernels.window import Window
from caffe_lrp.kernels.winograd import convolve_tiles

from .workspace import Workspace

#: Numbers of the input in a block of direct convolution (512 KiB).
_BLOCK_NUMBERS = 128 * 1024

#: Tiles in a block of Winograd's convolution: enough to reuse weights; or few, so that a block stays in the
#: cache, if there are so few weights that they stay in the cache, too.
_BLOCK_TILES, _FEW_TILES = 196, 42
_FEW_WEIGHTS = 2 * 1024 * 1024
_BLOCK_COLUMNS = 128

#: The least channels of a group, and channels times columns of weights, for which Winograd's algorithm pays.
_LEAST_INPUTS, _LEAST_PRODUCTS = 16, 1024


@dataclass(frozen=True, eq=False)
class Product:
    """One convolution with its packed weights, forwards or backwards.

    With ``hands_back`` it is an adjoint with the shape of the layer: see `hand_back`.
    """

    shape: ConvolutionShape
    panels: Blob
    uses_winograd: bool
    hands_back: bool = False

    def run(self, source: Source, sink: Sink, workspace: Workspace) -> None:
        """Convolve ``source`` into ``sink``."""
        items = len(source.blob)
        # Moving a number costs about as much as a hundred products.
        size = items * self.shape.out_h * self.shape.out_w * self.panels.size // 100
        if self.uses_winograd:
            side = tile_side(self.shape.kernel_h)
            tiles_h, tiles_w = -(-self.shape.out_h // side), -(-self.shape.out_w // side)
            tiles = _FEW_TILES if self.panels.size <= _FEW_WEIGHTS else _BLOCK_TILES
            rows = _rows(-(-tiles // tiles_w), items * tiles_h, workspace.threads)
            workspace.share(
                lambda first, last: convolve_tiles(
                    first, last, rows, _BLOCK_COLUMNS, source, self.shape, self.panels, sink
                ),
                -(-items * tiles_h // rows),
                size,
            )
            return
        if self.hands_back:
            self._hand_back(source, sink, workspace, size)
            return
        width = self.shape.out_w * self.shape.stride_w * self.shape.groups * self.shape.inputs
        rows = _rows(_BLOCK_NUMBERS // (width * self.shape.stride_h), self.shape.out_h, workspace.threads)
        workspace.share(
            lambda first, last: convolve(first, last, rows, source, self.shape, self.panels, sink),
            items * -(-self.shape.out_h // rows),
            size,
        )

    def _hand_back(self, source: Source, sink: Sink, workspace: Workspace, size: int) -> None:
        """Run the adjoint. Blocks are whole items if all threads get equally many, because others overlap."""
        items, height = sink.out.shape[:2]
        threads = 1 if items % workspace.threads == 0 else workspace.threads
        rows = _rows(height, height, threads)
        workspace.share(
            lambda first, last: hand_back(first, last, rows, source, self.shape, self.panels, sink),
            items * -(-height // rows),
            size,
        )


def _rows(wanted: int, available: int, threads: int) -> int:
    """Rows in a block: about as many as wanted, with equal blocks, and at least one for every thread."""
    blocks = max(1, -(-available // max(1, wanted)), min(threads, available))
    return max(1, -(-available // blocks))


def winograd_applies(window: Window) -> bool:
    """Whether Winograd's algorithm applies to a window."""
    steps = (window.stride_h, window.stride_w, window.dilation_h, window.dilation_w)
    return window.kernel_h == window.kernel_w and window.kernel_h in WINDOW_SIDES and steps == (1, 1, 1, 1)


def winograd_pays(shape: ConvolutionShape) -> bool:
    """Whether a convolution has enough channels for Winograd's algorithm."""
    products = shape.inputs * shape.parts * padded_outputs(shape.outputs)
    return shape.inputs >= _LEAST_INPUTS and products >= _LEAST_PRODUCTS


def packed_growth(window: Window, method: str) -> float:
    """Numbers in packed weights per weight, at most: Winograd's algorithm has more of them than taps."""
    transforms = method != "direct" and winograd_applies(window)
    return FREQUENCIES / window.taps if transforms else 1.0


def _groups_together(shape: ConvolutionShape) -> int:
    """How many small groups are computed as one: a divisor of their number, and they fit into a panel."""
    room = max(1, PANEL // (shape.parts * shape.outputs))
    return max(count for count in range(1, room + 1) if shape.groups % count == 0)


def with_merged_groups(shape: ConvolutionShape, weight: Blob) -> tuple[ConvolutionShape, Blob]:
    """A convolution with small groups computed together, and its weights."""
    count = _groups_together(shape)
    if count == 1:
        return shape, weight
    merged = shape._replace(
        groups=shape.groups // count,
        parts=1,
        inputs=count * shape.inputs,
        outputs=count * shape.parts * shape.outputs,
        merged=count,
    )
    return merged, merge_groups(weight, count)
