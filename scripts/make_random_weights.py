#!/usr/bin/env python3
"""Fills the net of a prototxt with random weights, for tests and measurements without trained weights.

Weights are He-normal, biases small but not zero, and batch normalization fits its inputs. On request
a mean image and a list of class labels that fit the net are written too. Files are written as a stream,
layer by layer, under a temporary name; the same seed gives the same bytes.
"""

import argparse
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from weight_spread import PIXEL_RMS, Draw, draws

from caffe_lrp.errors import CaffeLrpError, ExitCode, ModelError, notices_of
from caffe_lrp.formats.caffe import caffe_pb2
from caffe_lrp.formats.caffe.reader import read_prototxt
from caffe_lrp.formats.spec import LayerSpec, NetSpec
from caffe_lrp.net.build import weight_shapes
from caffe_lrp.net.deploy.deployed import deploy

Shape = tuple[int, ...]

CHUNK = 1 << 20
"""Number of weights that are drawn and written at a time."""

MEAN_BGR = (104.0, 117.0, 123.0)
MEAN_SIDE = 256

LENGTH_DELIMITED = 2
NET_LAYER = caffe_pb2.NetParameter.LAYER_FIELD_NUMBER
LAYER_BLOBS = caffe_pb2.LayerParameter.BLOBS_FIELD_NUMBER
BLOB_DATA = caffe_pb2.BlobProto.DATA_FIELD_NUMBER


def varint(value: int) -> bytes:
    """Return a non-negative integer as protobuf's base-128 varint."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def field_head(number: int, length: int) -> bytes:
    """Return what precedes the bytes of a length-delimited field: its tag and its length."""
    return varint(number << 3 | LENGTH_DELIMITED) + varint(length)


def blob_frame(shape: Shape) -> tuple[bytes, bytes]:
    """Return the bytes of a BlobProto that come before and after its packed floats."""
    head = field_head(BLOB_DATA, 4 * math.prod(shape))
    tail = caffe_pb2.BlobProto(shape=caffe_pb2.BlobShape(dim=shape)).SerializeToString()
    return head, tail


def write_blob(file: BinaryIO, shape: Shape, draw: Draw, generator: np.random.Generator) -> None:
    """Write one blob of a layer, its numbers drawn a chunk at a time."""
    head, tail = blob_frame(shape)
    count = math.prod(shape)
    file.write(field_head(LAYER_BLOBS, len(head) + 4 * count + len(tail)) + head)
    chunk = np.empty(min(count, CHUNK), np.float32)
    for start in range(0, count, CHUNK):
        values = chunk[: count - start]
        fill(values, draw, generator)
        file.write(values.astype("<f4", copy=False).tobytes())
    file.write(tail)


def fill(values: NDArray[np.float32], draw: Draw, generator: np.random.Generator) -> None:
    """Draw numbers for all of `values`."""
    if draw.is_uniform:
        generator.random(out=values, dtype=np.float32)
        values *= 2
        values -= 1
    else:
        generator.standard_normal(out=values, dtype=np.float32)
    values *= np.float32(draw.spread)
    if draw.centre:
        values += np.float32(draw.centre)


def layer_length(head: bytes, shapes: Sequence[Shape]) -> int:
    """Return the number of bytes of a LayerParameter with these blobs."""
    length = len(head)
    for shape in shapes:
        blob = sum(map(len, blob_frame(shape))) + 4 * math.prod(shape)
        length += len(field_head(LAYER_BLOBS, blob)) + blob
    return length


def layer_head(layer: LayerSpec) -> bytes:
    """Return the bytes of a LayerParameter that come before its blobs."""
    return caffe_pb2.LayerParameter(
        name=layer.name, type=layer.type, bottom=layer.bottoms, top=layer.tops
    ).SerializeToString()


def write_net(
    file: BinaryIO,
    net: NetSpec,
    generator: np.random.Generator,
    *,
    input_rms: float = PIXEL_RMS,
    has_biases: bool = True,
    shapes_of: Mapping[str, Sequence[Shape]] | None = None,
) -> int:
    """Write a net with random weights as a caffemodel and return the number of its parameters.

    Parameters
    ----------
    file
        Where to write.
    net
        The net.
    generator
        Random generator of the numbers.
    input_rms
        Root of the mean square of the net's input.
    has_biases
        Whether biases, and the means and shifts of normalization, differ from 0.
    shapes_of
        Shapes of the blobs by layer name; None: the shapes that the package requires.
    """
    shapes_of = weight_shapes(deploy(net)) if shapes_of is None else shapes_of
    draws_of = draws(net, shapes_of, input_rms)
    file.write(caffe_pb2.NetParameter(name=net.name).SerializeToString())
    for layer in net.layers:
        shapes = shapes_of.get(layer.name, ())
        head = layer_head(layer)
        file.write(field_head(NET_LAYER, layer_length(head, shapes)) + head)
        for shape, draw in zip(shapes, draws_of.get(layer.name, ()), strict=True):
            is_zero = draw.is_added and not has_biases
            write_blob(file, shape, draw._replace(spread=0.0) if is_zero else draw, generator)
    return sum(math.prod(shape) for shapes in shapes_of.values() for shape in shapes)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file next to `path` for writing; it is renamed to `path` when it is complete."""
    if not path.parent.is_dir():
        raise ModelError(f"{path}: the folder {path.parent} does not exist")
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def mean_image() -> caffe_pb2.BlobProto:
    """Return a smooth mean image, BGR, in the style of Caffe's own: 1x3x256x256 without a shape.

    Rows and columns differ, so that a transposed mean is noticed.
    """
    row, column = np.meshgrid(
        np.linspace(0, np.pi, MEAN_SIDE), np.linspace(0, np.pi, MEAN_SIDE), indexing="ij"
    )
    bump = 9.0 * np.sin(row) * np.sin(column) + 5.0 * np.cos(row) - 2.0 * np.cos(2.0 * column)
    planes = [level + (1.0 - 0.2 * channel) * bump for channel, level in enumerate(MEAN_BGR)]
    data = np.stack(planes).astype(np.float32)
    return caffe_pb2.BlobProto(
        num=1, channels=3, height=MEAN_SIDE, width=MEAN_SIDE, data=data.ravel().tolist()
    )


def class_count(net: NetSpec) -> int:
    """Return the number of outputs of the last convolution or inner product."""
    for layer in reversed(net.layers):
        parameters = layer.parameters
        count = parameters.inner_product_param.num_output or parameters.convolution_param.num_output
        if count:
            return count
    raise ModelError(f"{net.source}: no layer has a num_output, so the number of class labels is unknown")


def labels(count: int) -> str:
    """Return made-up class labels, one per line, in the style of ImageNet's synset_words.txt."""
    return "".join(f"n{index:08d} made-up class {index}\n" for index in range(count))


def seed_value(text: str) -> int:
    """Return a seed from the command line."""
    seed = int(text)
    if seed < 0:
        raise argparse.ArgumentTypeError("a seed is not negative")
    return seed


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description="Write random weights that fit a net.")
    parser.add_argument("prototxt", type=Path, metavar="PROTOTXT", help="the net; any style")
    parser.add_argument("caffemodel", type=Path, metavar="CAFFEMODEL", help="the file to write")
    parser.add_argument("--seed", type=seed_value, default=0, metavar="N", help="the seed (default: 0)")
    parser.add_argument(
        "--input-rms",
        type=float,
        default=PIXEL_RMS,
        metavar="X",
        help="root of the mean square of the input (default: %(default)g, about that of pixels minus a mean)",
    )
    parser.add_argument("--mean", type=Path, metavar="FILE", help="write a mean image, too")
    parser.add_argument("--synset", type=Path, metavar="FILE", help="write made-up class labels, too")
    return parser


def main() -> int:
    """Write the requested files and return the exit code."""
    options = parser().parse_args()
    try:
        net = read_prototxt(options.prototxt)
        if options.synset:
            synset = labels(class_count(net)).encode()
            with replacing(options.synset) as file:
                file.write(synset)
        if options.mean:
            with replacing(options.mean) as file:
                file.write(mean_image().SerializeToString())
        with replacing(options.caffemodel) as file:
            generator = np.random.default_rng(options.seed)
            count = write_net(file, net, generator, input_rms=options.input_rms)
        print(f"{options.caffemodel}: {count:,} parameters")
    except CaffeLrpError as error:
        for notice in notices_of(error):
            print(f"make_random_weights.py: note: {notice}", file=sys.stderr)
        print(f"make_random_weights.py: {error}", file=sys.stderr)
        return int(error.exit_code)
    except OSError as error:
        print(f"make_random_weights.py: {error.filename}: {error.strerror}", file=sys.stderr)
        return int(ExitCode.BAD_INPUT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
