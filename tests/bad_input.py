"""The catalogue of bad input: the fault, the message, and the exit code.

`test_bad_input.py` runs every kind. The manual has them in its chapter ``errors``: after a change, run
``python tests/manual_tables.py``.
"""

import gzip
import io
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from builders import parse, random_weights, write_caffemodel
from numpy.typing import NDArray
from PIL import Image

from caffe_lrp.formats.caffe.caffe_pb2 import BlobProto, NetParameter

IMAGES = ("images/ant.png", "images/bee.jpg", "images/cow.png")
BAD_IMAGE = IMAGES[1]

#: The command line of the good run.
RUN = ("-c", "config.txt", "-f", "list.txt")
#: The same, explained by a composite.
BY_COMPOSITE = (*RUN, "--composite", "mine.yaml")

Arrange = Callable[[Path], object]


@dataclass(frozen=True)
class Kind:
    """One kind of bad input, or of input that looks bad and is not.

    Attributes
    ----------
    title
        The fault, as a user would describe it.
    arrange
        Produces it in the folder of a good run.
    stderr
        The messages; "…" replaces text of a library, Python or the operating system.
    exit_code
        The exit code of the run.
    explained
        The images that are still explained; None: according to the exit code.
    options
        The command line after ``caffe-lrp``.
    needs_rights
        Whether the fault is a missing permission, which root does not need.
    """

    title: str
    arrange: Arrange
    stderr: str = ""
    exit_code: int = 3
    explained: tuple[str, ...] | None = None
    options: tuple[str, ...] = RUN
    needs_rights: bool = False

    @property
    def survivors(self) -> tuple[str, ...]:
        """Images that are explained."""
        if self.explained is not None:
            return self.explained
        return {0: IMAGES, 4: (IMAGES[0], IMAGES[2])}.get(self.exit_code, ())


@dataclass(frozen=True)
class Group:
    """Kinds of bad input of the same thing."""

    title: str
    kinds: tuple[Kind, ...]


# ---- The good run that every fault is brought into --------------------------------------------------

PROTOTXT = """\
name: "tiny"
input: "data"
input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }
layer {
  name: "conv1"
  type: "Convolution"
  bottom: "data"
  top: "conv1"
  convolution_param { num_output: 4 kernel_size: 3 }
}
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer {
  name: "pool1"
  type: "Pooling"
  bottom: "conv1"
  top: "pool1"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 }
}
layer {
  name: "fc1"
  type: "InnerProduct"
  bottom: "pool1"
  top: "fc1"
  inner_product_param { num_output: 5 }
}
layer { name: "prob" type: "Softmax" bottom: "fc1" top: "prob" }
"""

CONFIG = """\
param_file
deploy.prototxt
model_file
tiny.caffemodel
mean_file
mean.binaryproto
use_mean_file_asbinaryprotoblob
1
synsetfile
synset.txt
lastlayerindex
-2
firstlayerindex
0
numclasses
5
baseimgsize
10
standalone_outpath
out
standalone_rootpath
images
relpropformulatype
100
epsstab
0.01
alphabeta_beta
1
auxiliaryvariable_maxlayerindexforflatdistinconv
0
"""

LIST = "images/ant.png 1\nimages/bee.jpg -1\nimages/cow.png -2\n"


@cache
def _pixels() -> Any:
    return np.random.default_rng(3).integers(0, 256, (12, 16, 3), dtype=np.uint8)


def _encoded(pixels: Any, kind: str = "JPEG", mode: str = "RGB", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def _mean(value: float = 100, shape: tuple[int, ...] = (1, 3, 10, 10)) -> bytes:
    num, channels, height, width = shape
    blob = BlobProto(num=num, channels=channels, height=height, width=width)
    blob.data.extend([value] * (num * channels * height * width))
    return bytes(blob.SerializeToString())


def _array(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def arrange_good_run(folder: Path) -> None:
    """Write the files of a good run over three images."""
    spec = parse(folder, PROTOTXT)
    write_caffemodel(folder / "tiny.caffemodel", random_weights(spec, seed=5))
    (folder / "mean.binaryproto").write_bytes(_mean())
    (folder / "synset.txt").write_text("ant\nbee\ncow\ndog\neel\n")
    (folder / "config.txt").write_text(CONFIG)
    (folder / "list.txt").write_text(LIST)
    (folder / "images").mkdir()
    for name, seed in zip(IMAGES, range(3), strict=True):
        content = _encoded(np.roll(_pixels(), seed, axis=0), "JPEG" if name.endswith("jpg") else "PNG")
        (folder / name).write_bytes(content)


# ---- Faults ------------------------------------------------------------------------


def nothing(folder: Path) -> None:
    """All files are good: the fault is in the command line."""


def content(name: str, new: bytes | str) -> Arrange:
    """The file has other content."""
    return lambda folder: (folder / name).write_bytes(new if isinstance(new, bytes) else new.encode())


def changed(name: str, old: str, new: str) -> Arrange:
    """A piece of the file's text is replaced."""

    def arrange(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return arrange


def valued(key: str, value: object) -> Arrange:
    """A key of the config has another value."""
    return lambda folder: (folder / "config.txt").write_text(
        re.sub(rf"(?m)^{key}\n.*$", lambda _: f"{key}\n{value}", CONFIG)
    )


def reencoded(name: str, encoding: str, newline: str = "\n") -> Arrange:
    """The file's text is stored in another encoding."""

    def arrange(folder: Path) -> None:
        text = (folder / name).read_text()
        (folder / name).write_bytes(text.replace("\n", newline).encode(encoding))

    return arrange


def halved(name: str) -> Arrange:
    """The second half of the file is missing."""

    def arrange(folder: Path) -> None:
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2])

    return arrange


def missing(name: str) -> Arrange:
    """The file is not there."""
    return lambda folder: (folder / name).unlink()


def renamed(name: str, new: str) -> Arrange:
    """The file has another name."""
    return lambda folder: (folder / name).rename(folder / new)


def linked(name: str, target: str) -> Arrange:
    """The file is a link."""

    def arrange(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(target)

    return arrange


def a_folder(name: str) -> Arrange:
    """A folder has the file's name."""

    def arrange(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).mkdir(parents=True)

    return arrange


def locked(name: str) -> Arrange:
    """The file has no permissions."""
    return lambda folder: (folder / name).chmod(0)


def swapped(name: str, other: str) -> Arrange:
    """Two files are swapped."""

    def arrange(folder: Path) -> None:
        (folder / name).rename(folder / "third")
        (folder / other).rename(folder / name)
        (folder / "third").rename(folder / other)

    return arrange


def reweighted(change: Callable[[NetParameter], object]) -> Arrange:
    """The caffemodel has other layers or weights."""

    def arrange(folder: Path) -> None:
        net = NetParameter()
        net.ParseFromString((folder / "tiny.caffemodel").read_bytes())
        change(net)
        (folder / "tiny.caffemodel").write_bytes(net.SerializeToString())

    return arrange


def together(*steps: Arrange) -> Arrange:
    """Several changes, one after the other."""
    return lambda folder: [step(folder) for step in steps]


def _huge_png(width: int = 50_000, height: int = 50_000) -> bytes:
    """A PNG of a few bytes that claims to be huge."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", b""),
        (b"IEND", b""),
    ]
    stored = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(stored)


def a_composite(text: str) -> Arrange:
    """A file of rules for layers, which `BY_COMPOSITE` names."""
    return content("mine.yaml", text)


def listed(line: str) -> Arrange:
    """The middle line of the list is another one."""
    return content("list.txt", LIST.replace("images/bee.jpg -1", line))


LFS_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 243862414\n"
WEB_PAGE = "<!DOCTYPE html>\n<html><head><title>404</title></head></html>\n"


def _solverstate() -> bytes:
    history = _mean(shape=(1, 1, 2, 2))
    name = b"tiny_iter_9.caffemodel"
    return b"\x08\x09\x12" + bytes([len(name)]) + name + b"\x1a" + bytes([len(history)]) + history


CATALOGUE = (
    Group(
        "The command line",
        (
            Kind(
                "the list is not given",
                nothing,
                "usage: …\n"
                "caffe-lrp: error: -f/--filelist is missing: the list of images; only --images and "
                "--dry-run work without it",
                exit_code=2,
                options=("-c", "config.txt"),
            ),
            Kind(
                "files are given without options",
                nothing,
                "usage: …\n"
                "caffe-lrp: error: 'config.txt' needs an option before it; write -c CONFIG -f FILELIST "
                "-p DIR (or use caffe-lrp-demo CONFIG FILELIST PREPATH)",
                exit_code=2,
                options=("config.txt", "list.txt"),
            ),
            Kind(
                "a command is misspelt",
                nothing,
                "usage: …\ncaffe-lrp: error: there is no command 'statsu'; did you mean 'status'?",
                exit_code=2,
                options=("statsu", "out"),
            ),
            Kind(
                "an option is misspelt",
                nothing,
                "usage: …\ncaffe-lrp: error: there is no option --formla; did you mean '--formula'?",
                exit_code=2,
                options=(*RUN, "--formla", "0"),
            ),
            Kind(
                "an option's value is not a number",
                nothing,
                "usage: …\ncaffe-lrp: error: argument --eps: 'high' must be a number, such as 0.01",
                exit_code=2,
                options=(*RUN, "--eps", "high"),
            ),
            Kind(
                "`-b` has an unknown program",
                nothing,
                "usage: …\n"
                "caffe-lrp: error: argument -b/--binary: 'paralel' is not one of default, "
                "default_minimal, parallel, parallel_minimal; did you mean 'parallel'?",
                exit_code=2,
                options=(*RUN, "-b", "paralel"),
            ),
            Kind(
                "the output folder is empty text",
                nothing,
                "usage: …\n"
                "caffe-lrp: error: argument -p/--prepath: is empty; give a folder, ./ for the "
                "current one",
                exit_code=2,
                options=(*RUN, "-p", ""),
            ),
            Kind(
                "the formula does not exist",
                nothing,
                "caffe-lrp: error: command line: formula 101 is not supported; set "
                "relpropformulatype (--formula) to one of 0, 2, 11, 26, 54, 56, 58, 60, 99, 100, "
                "102, 104, 114, 166, epsilon-plus, epsilon-plus-flat, epsilon-alpha2-beta1, "
                "epsilon-alpha2-beta1-flat, epsilon-gamma-box, gamma-all, deep-taylor",
                options=(*RUN, "--formula", "101"),
            ),
            Kind(
                "the name of a formula is misspelt",
                valued("relpropformulatype", "epsilon_gamma_box"),
                "caffe-lrp: error: config.txt: line 24: formula epsilon_gamma_box is not supported; "
                "set relpropformulatype (--formula) to one of 0, 2, 11, 26, 54, 56, 58, 60, 99, 100, "
                "102, 104, 114, 166, epsilon-plus, epsilon-plus-flat, epsilon-alpha2-beta1, "
                "epsilon-alpha2-beta1-flat, epsilon-gamma-box, gamma-all, deep-taylor; did you mean "
                "'epsilon-gamma-box'?",
            ),
            Kind(
                "the start vector does not exist",
                nothing,
                "caffe-lrp: error: command line: there is no start vector 'contrats:2'; did you mean "
                "'contrast'?; give score, one, difference:CLASS, softmax-gradient, "
                "contrast:others|runner-up|CLASS, clrp, sglrp, weights:CLASS=W,…, unit:N, channel:N, "
                "FILE.npy",
                options=(*RUN, "--start-vector", "contrats:2"),
            ),
            Kind(
                "the start vector names a class that does not exist",
                nothing,
                "caffe-lrp: error: command line: the start vector 'difference:5': class 5 does not exist; "
                "layer 3 'fc1' (InnerProduct) has 5 classes, 0 to 4",
                options=(*RUN, "--start-vector", "difference:5"),
            ),
            Kind(
                "the file of start vectors has too few rows",
                content("rows.npy", _array(np.zeros((2, 5)))),
                "caffe-lrp: error: command line: rows.npy: has 2 rows for 3 images; give a row for each of "
                "them, or one array (classes,) for all",
                options=(*RUN, "--start-vector", "rows.npy"),
            ),
            Kind(
                "one of several formulas is neither a number nor a name",
                nothing,
                "usage: …\n"
                "caffe-lrp: error: argument --formula: '0,1.5' must be the number or the name of a "
                "formula, such as 100 or epsilon-plus; write several, separated by commas, such as "
                "0,100",
                exit_code=2,
                options=(*RUN, "--formula", "0,1.5"),
            ),
            Kind(
                "a formula is chosen twice",
                nothing,
                "usage: …\ncaffe-lrp: error: argument --formula: '0,100,0' lists formula 0 twice",
                exit_code=2,
                options=(*RUN, "--formula", "0,100,0"),
            ),
            Kind(
                "`--top` asks for more classes than there are",
                nothing,
                "caffe-lrp: error: config.txt: line 16: numclasses is 5, but --top asks for the"
                " 6 best classes; give 5 or fewer",
                options=(*RUN, "--top", "6"),
            ),
            Kind(
                "`--top` is 0",
                nothing,
                "usage: …\ncaffe-lrp: error: argument --top: '0' must be a whole number, at least 1",
                exit_code=2,
                options=(*RUN, "--top", "0"),
            ),
            Kind(
                "the batch size is 0",
                nothing,
                "usage: …\ncaffe-lrp: error: argument --batch: '0' must be a whole number, at least 1",
                exit_code=2,
                options=(*RUN, "--batch", "0"),
            ),
            Kind(
                "the number of threads is 0",
                nothing,
                "usage: …\ncaffe-lrp: error: argument --threads: '0' must be a whole number, at least 1",
                exit_code=2,
                options=(*RUN, "--threads", "0"),
            ),
            Kind(
                "an amount of memory has no unit",
                nothing,
                "usage: …\n"
                "caffe-lrp: error: argument --memory: '4' must be a number and a unit, such as "
                "800M or 1.5G",
                exit_code=2,
                options=(*RUN, "--memory", "4"),
            ),
            Kind(
                "a number of pixels is far too large",
                nothing,
                "usage: …\n"
                "caffe-lrp: error: argument --max-pixels: '2T' must be a number from 1 to 1G, such as 180M",
                exit_code=2,
                options=(*RUN, "--max-pixels", "2T"),
            ),
            Kind(
                "the convolution method is unknown",
                nothing,
                "usage: …\n"
                "caffe-lrp: error: argument --convolution: 'winograt' is not one of auto, direct, "
                "winograd; did you mean 'winograd'?",
                exit_code=2,
                options=(*RUN, "--convolution", "winograt"),
            ),
            Kind(
                "config and list are swapped",
                nothing,
                "caffe-lrp: error: list.txt: has none of the keys of a config file, such as "
                "'param_file'; give the config file with -c, and the list of images with -f",
                options=("-c", "list.txt", "-f", "config.txt"),
            ),
        ),
    ),
    Group(
        "The config file",
        (
            Kind(
                "it does not exist",
                renamed("config.txt", "config_vgg.txt"),
                "caffe-lrp: error: config.txt: the config file cannot be read: No such file or "
                "directory; did you mean 'config_vgg.txt'?",
            ),
            Kind(
                "it is a folder",
                nothing,
                "caffe-lrp: error: images: the config file cannot be read: it is a folder; give a file",
                options=("-c", "images", "-f", "list.txt"),
            ),
            Kind(
                "there is no permission to read it",
                locked("config.txt"),
                "caffe-lrp: error: config.txt: the config file cannot be read: Permission denied; "
                "check the permissions of the file and of its folder",
                needs_rights=True,
            ),
            Kind(
                "it is empty",
                content("config.txt", ""),
                "caffe-lrp: error: config.txt: has none of the keys of a config file, such as "
                "'param_file'; give the config file with -c, and the list of images with -f",
            ),
            Kind(
                "it is a binary file",
                swapped("config.txt", "tiny.caffemodel"),
                "caffe-lrp: error: config.txt: is a binary file, not a config file; were two paths swapped?",
            ),
            Kind(
                "a key is misspelt",
                changed("config.txt", "model_file", "modelfile"),
                "caffe-lrp: error: config.txt: the key 'model_file' is missing (caffemodel with the "
                "weights); write 'model_file' in line 3 instead of 'modelfile'",
            ),
            Kind(
                "keys are missing",
                changed("config.txt", "epsstab\n0.01\nalphabeta_beta\n1\n", ""),
                "caffe-lrp: error: config.txt: the key 'epsstab' is missing (ε of the ε rule); add "
                "it and its value on the next line\n"
                "config.txt: the key 'alphabeta_beta' is missing (β of the αβ rule; α = 1 + β); add "
                "it and its value on the next line",
            ),
            Kind(
                "key and value share a line",
                changed("config.txt", "model_file\ntiny.caffemodel", "model_file tiny.caffemodel"),
                "caffe-lrp: error: config.txt: line 4: no value below the key 'model_file' "
                "(caffemodel with the weights); write it on a line of its own",
            ),
            Kind(
                "a number has a decimal comma",
                valued("epsstab", "0,01"),
                "caffe-lrp: error: config.txt: line 26: the value '0,01' of 'epsstab' must be a "
                "number, such as 0.01",
            ),
            Kind(
                "the format of the mean is unknown",
                valued("use_mean_file_asbinaryprotoblob", "3"),
                "caffe-lrp: error: config.txt: line 8: the value '3' of "
                "'use_mean_file_asbinaryprotoblob' must be one of 0, 1, 2",
            ),
            Kind(
                "`quirks` has a misspelt value",
                changed("config.txt", "epsstab", "quirks\ncorected\nepsstab"),
                "caffe-lrp: error: config.txt: line 26: the value 'corected' of 'quirks' must be one "
                "of reference, corrected; did you mean 'corrected'?",
            ),
            Kind(
                "`quirks` and its value share a line",
                changed("config.txt", "epsstab", "quirks: corrected\nepsstab"),
                "caffe-lrp: error: config.txt: line 25: 'quirks: corrected' is read as a comment; write "
                "the key 'quirks' on a line of its own and its value on the next",
            ),
            Kind(
                "more classes than the net has",
                valued("numclasses", 1000),
                "caffe-lrp: error: config.txt: line 16: numclasses 1000 is more than the 5 outputs "
                "of deploy.prototxt; set it to 5 or fewer",
            ),
            Kind(
                "no path of the list contains `standalone_rootpath`",
                valued("standalone_rootpath", "photos"),
                "caffe-lrp: error: config.txt: line 22: no path in the list contains 'photos', the string "
                "where output paths begin; set standalone_rootpath to a string that all of them contain, "
                "such as the name of a folder",
            ),
            Kind(
                "images are resized to less than the net's input",
                valued("baseimgsize", 6),
                "caffe-lrp: error: config.txt: line 18: baseimgsize is 6, but the net's input is 8 x "
                "8 pixels; set baseimgsize to 8 or more",
            ),
            Kind(
                "the start layer does not exist",
                valued("lastlayerindex", 9),
                "caffe-lrp: error: config.txt: line 12: lastlayerindex 9 (--start-layer): "
                "deploy.prototxt has layers 0 to 4; give one of them by index or name, -1 (the layer before "
                "the lowest Softmax), -2 (the highest InnerProduct) or auto (the layer of the class scores)",
            ),
            Kind(
                "no layer has the given name",
                valued("lastlayerindex", "conv2"),
                "caffe-lrp: error: config.txt: line 12: lastlayerindex conv2 (--start-layer): "
                "deploy.prototxt has no layer with this name; names near it: conv1, …; caffe-lrp inspect "
                "shows all",
            ),
            Kind(
                "no output of the net has the head's name",
                changed("config.txt", "numclasses\n", "head\nprop\nnumclasses\n"),
                "caffe-lrp: error: config.txt: line 16: head prop (--head): deploy.prototxt has no head with "
                "this name; did you mean 'prob'? Its heads are 'prob'",
            ),
            Kind(
                "the first layer is above the start layer",
                valued("firstlayerindex", 4),
                "caffe-lrp: error: config.txt: line 14: firstlayerindex 4 (--first-layer) must be at "
                "least 0 and below the start layer 3 ('fc1') of deploy.prototxt; 0 leads down to the image",
            ),
            Kind(
                "the switch layer is needed, but negative",
                together(
                    changed("config.txt", "formulatype\n100", "formulatype\n102"),
                    changed("config.txt", "distinconv\n0", "distinconv\n-1"),
                ),
                "caffe-lrp: error: config.txt: line 30: formula 102 needs a switch layer; set "
                "auxiliaryvariable_maxlayerindexforflatdistinconv (--switch-layer) to the index of a "
                "layer, not -1",
            ),
            Kind(
                "a path begins with `~`",
                valued("model_file", "~/tiny.caffemodel"),
                "caffe-lrp: error: ~/tiny.caffemodel: the caffemodel cannot be read: No such file or "
                "directory; '~' is not expanded here; write the path in full",
            ),
            Kind(
                "a path has a blank",
                together(
                    renamed("tiny.caffemodel", "my net.caffemodel"), valued("model_file", "my net.caffemodel")
                ),
                "caffe-lrp: error: config.txt: line 4: the value 'my' of 'model_file' ends at its first "
                "space; rename the file so that its path has no spaces",
            ),
            Kind(
                "prototxt and caffemodel are swapped",
                together(
                    changed("config.txt", "deploy.prototxt", "x"),
                    changed("config.txt", "tiny.caffemodel", "deploy.prototxt"),
                    changed("config.txt", "\nx\n", "\ntiny.caffemodel\n"),
                ),
                "caffe-lrp: error: tiny.caffemodel: is a binary file, not a prototxt; were two paths "
                "swapped?",
            ),
            Kind(
                "lines end in CRLF, after a byte order mark",
                reencoded("config.txt", "utf-8-sig", "\r\n"),
                exit_code=0,
            ),
            Kind(
                "it begins with an HTML comment",
                content("config.txt", f"<!-- a comment -->\n{CONFIG}"),
                exit_code=0,
            ),
            Kind(
                "a value is the name of both a key and a file",
                together(renamed("mean.binaryproto", "mean_file"), valued("mean_file", "mean_file")),
                exit_code=0,
            ),
            Kind(
                "`quirks` is commented out",
                content("config.txt", f"#quirks: corrected\n#quirks\ncorrected\n{CONFIG}"),
                exit_code=0,
            ),
            Kind(
                "comments are in Latin-1",
                content("config.txt", b"Gr\xfc\xdfe\n" + CONFIG.encode()),
                exit_code=0,
            ),
        ),
    ),
    Group(
        "The list",
        (
            Kind(
                "it does not exist",
                renamed("list.txt", "liste.txt"),
                "caffe-lrp: error: list.txt: the list of images cannot be read: No such file or "
                "directory; did you mean 'liste.txt'?",
            ),
            Kind(
                "it is empty",
                content("list.txt", ""),
                "caffe-lrp: error: list.txt: names no image; write one 'path class' per line",
            ),
            Kind(
                "it is an image",
                nothing,
                "caffe-lrp: error: images/bee.jpg: is a picture, not a list of images; check the path",
                options=("-c", "config.txt", "-f", "images/bee.jpg"),
            ),
            Kind(
                "it is the config file",
                nothing,
                "caffe-lrp: error: config.txt: is a config file, not a list of images; give it with -c, "
                "and the list with -f",
                options=("-c", "config.txt", "-f", "config.txt"),
            ),
            Kind(
                "it is stored as UTF-16",
                reencoded("list.txt", "utf-16"),
                "caffe-lrp: error: list.txt: is a text in UTF-16, not a list of images; save it as UTF-8",
            ),
            Kind(
                "lines have no class",
                content("list.txt", "images/ant.png\nimages/bee.jpg 1\nimages/cow.png\n"),
                "caffe-lrp: error: list.txt: every line must be 'path class', the class an integer "
                "(a class number, -1: the best class, -2: the five best), and a path with spaces in "
                "quotes; correct these:\n"
                "  line 1: 'images/ant.png'\n"
                "  line 3: 'images/cow.png'",
            ),
            Kind(
                "a class is a name",
                listed("images/bee.jpg bee"),
                "caffe-lrp: error: list.txt: every line must be 'path class', the class an integer "
                "(a class number, -1: the best class, -2: the five best), and a path with spaces in "
                "quotes; correct these:\n"
                "  line 2: 'images/bee.jpg bee'",
            ),
            Kind(
                "a path has a blank and no quotes",
                listed("images/my bee.jpg 1"),
                "caffe-lrp: error: list.txt: every line must be 'path class', the class an integer "
                "(a class number, -1: the best class, -2: the five best), and a path with spaces in "
                "quotes; correct these:\n"
                "  line 2: 'images/my bee.jpg 1'",
            ),
            Kind(
                "an image is listed twice",
                listed("images/ant.png 2"),
                "caffe-lrp: error: list.txt: several lines would write the same files; remove the "
                "duplicate lines, or use --suffix-target to put formula and class into the names of "
                "the files:\n"
                "  lines 1 and 2: out/images/ant.png",
            ),
            Kind(
                "lines are comments, or have quotes or a tab",
                content(
                    "list.txt",
                    '# insects\n"images/ant.png" 1\nimages/bee.jpg\t-1\n'
                    "#images/eel.png 4\n'images/cow.png' -2\n",
                ),
                exit_code=0,
            ),
            Kind(
                "lines end in CRLF, after a byte order mark",
                reencoded("list.txt", "utf-8-sig", "\r\n"),
                exit_code=0,
            ),
        ),
    ),
    Group(
        "The prototxt",
        (
            Kind(
                "it does not exist",
                renamed("deploy.prototxt", "deploy2.prototxt"),
                "caffe-lrp: error: deploy.prototxt: the prototxt cannot be read: No such file or "
                "directory; check the path and the folder it is relative to",
            ),
            Kind(
                "it is empty",
                content("deploy.prototxt", ""),
                "caffe-lrp: error: deploy.prototxt: describes no layers; give the deploy prototxt, "
                "not the solver's",
            ),
            Kind(
                "it is cut short",
                content("deploy.prototxt", PROTOTXT[:400]),
                "caffe-lrp: error: deploy.prototxt: line 17: not a valid prototxt: it ends before "
                "the last '}'; download or copy it again, or add the missing lines",
            ),
            Kind(
                "it is the solver's",
                content("deploy.prototxt", 'net: "train_val.prototxt"\nbase_lr: 0.01\nmax_iter: 9\n'),
                "caffe-lrp: error: deploy.prototxt: describes no layers; give the deploy prototxt, "
                "not the solver's",
            ),
            Kind(
                "it is a training prototxt without the size of images",
                changed(
                    "deploy.prototxt",
                    'input: "data"\ninput_shape { dim: 1 dim: 3 dim: 8 dim: 8 }\n',
                    'layer { name: "data" type: "Data" top: "data" top: "label" }\n',
                ),
                "caffe-lrp: error: deploy.prototxt: data layer 'data' (Data): the prototxt does not "
                "give the size of 'data'; set height and width (input_size in the config, --input-size), or "
                'replace the layer by: input: "data" input_shape { dim: 1 dim: 3 dim: H dim: W }',
            ),
            Kind(
                "a field is misspelt",
                changed("deploy.prototxt", "kernel_size: 3", "kernal_size: 3"),
                "caffe-lrp: error: deploy.prototxt: line 9: there is no field 'kernal_size' in "
                "'convolution_param'; did you mean 'kernel_size'?",
            ),
            Kind(
                "an optional field is misspelt",
                changed("deploy.prototxt", "stride: 2", "strid: 2"),
                "caffe-lrp: error: deploy.prototxt: line 17: there is no field 'strid' in "
                "'pooling_param'; did you mean 'stride'?",
            ),
            Kind(
                "a layer type is misspelt",
                changed("deploy.prototxt", '"Convolution"', '"Convolutoin"'),
                "caffe-lrp: error: deploy.prototxt: layer 0 'conv1' (Convolutoin): layer type "
                "'Convolutoin' is not supported; did you mean 'Convolution'? (supported: AbsVal, …, "
                "Convolution, …)",
            ),
            Kind(
                "a layer has no type",
                changed("deploy.prototxt", ' type: "ReLU"', ""),
                "caffe-lrp: error: deploy.prototxt: layer 1 'relu1' (): has no type; add one, such as "
                'type: "ReLU"',
            ),
            Kind(
                "a layer type is in the old style, in capitals",
                changed("deploy.prototxt", '"Convolution"', "CONVOLUTION"),
                "caffe-lrp: error: deploy.prototxt: line 6: not a valid prototxt: '  type: "
                "CONVOLUTION': Expected string but found: 'CONVOLUTION'; the current "
                'style needs quotes: type: "Convolution"',
            ),
            Kind(
                "a layer type is not supported",
                changed("deploy.prototxt", 'type: "ReLU"', 'type: "CReLU"'),
                "caffe-lrp: error: deploy.prototxt: layer 1 'relu1' (CReLU): layer type 'CReLU' is "
                "not supported; nets with it cannot be explained (supported: AbsVal, …, Convolution, …)",
            ),
            Kind(
                "a pooling method is misspelt",
                changed("deploy.prototxt", "pool: MAX", "pool: MXA"),
                "caffe-lrp: error: deploy.prototxt: line 17: not a valid prototxt: there is no value "
                "'MXA'; did you mean 'MAX'? (known values: MAX, AVE, STOCHASTIC, AVE_EXC_PAD, AVE_TF)",
            ),
            Kind(
                "a layer reads a blob that is misspelt",
                changed("deploy.prototxt", 'bottom: "pool1"', 'bottom: "pool_1"'),
                "caffe-lrp: error: deploy.prototxt: layer 'fc1' (InnerProduct) reads the blob "
                "'pool_1', which no input or layer before it writes; did you mean 'pool1'?",
            ),
            Kind(
                "the input is not declared",
                changed(
                    "deploy.prototxt", 'input: "data"\ninput_shape { dim: 1 dim: 3 dim: 8 dim: 8 }\n', ""
                ),
                "caffe-lrp: error: deploy.prototxt: layer 'conv1' (Convolution) reads the blob "
                "'data', which no input or layer before it writes; declare the input: input: "
                '"data" input_shape { dim: 1 dim: 3 dim: H dim: W }',
            ),
            Kind(
                "layers form a cycle",
                changed("deploy.prototxt", 'bottom: "data"', 'bottom: "pool1"'),
                "caffe-lrp: error: deploy.prototxt: layer 'conv1' (Convolution) reads the blob "
                "'pool1', which no input or layer before it writes; layer 'pool1' writes it, but "
                "later: put the layers in order, without a cycle",
            ),
            Kind(
                "a layer reads too many blobs",
                changed("deploy.prototxt", 'type: "ReLU"', 'type: "ReLU" bottom: "data"'),
                "caffe-lrp: error: deploy.prototxt: layer 2 'relu1' (ReLU): has 2 bottom(s), needs 1; "
                "check its bottom lines",
            ),
            Kind(
                "two layers write one blob",
                changed("deploy.prototxt", 'top: "pool1"', 'top: "data"'),
                "caffe-lrp: error: deploy.prototxt: layer 'pool1' (Pooling) writes the blob 'data' a "
                "second time; give its top another name",
            ),
            Kind(
                "two layers with weights have one name",
                changed("deploy.prototxt", 'name: "fc1"', 'name: "conv1"'),
                "caffe-lrp: error: deploy.prototxt: layers 0 and 3 are both named 'conv1'; weights "
                "are matched by name, so rename one here and in the caffemodel; if they share all weights, "
                "give every blob the same param { name: … } in both",
            ),
            Kind(
                "a kernel is larger than its input",
                changed("deploy.prototxt", "kernel_size: 3", "kernel_size: 30"),
                "caffe-lrp: error: deploy.prototxt: layer 0 'conv1' (Convolution): the kernel does "
                "not fit into the input of 8×8; check kernel_size, and the size of the net's input",
            ),
            Kind(
                "the input is not an image",
                changed("deploy.prototxt", "dim: 1 dim: 3 dim: 8 dim: 8", "dim: 1 dim: 192"),
                "caffe-lrp: error: deploy.prototxt: the input must be images (N×C×H×W), but it is 1×192; "
                "only nets for images can be explained",
            ),
            Kind(
                "the input has a million pixels per side",
                changed("deploy.prototxt", "dim: 8 dim: 8", "dim: 1000000 dim: 1000000"),
                "caffe-lrp: error: deploy.prototxt: input 'data' has the impossible size "
                "3×1000000×1000000, the limit is 2147483648 numbers for one image; check the sizes in "
                "the prototxt",
            ),
            Kind(
                "a layer has a billion outputs",
                changed("deploy.prototxt", "num_output: 4", "num_output: 1000000000"),
                "caffe-lrp: error: deploy.prototxt: layer 0 'conv1' (Convolution): its output has the "
                "impossible size 1000000000×6×6, the limit is 2147483648 numbers for one image; check "
                "the sizes in the prototxt",
            ),
            Kind(
                "padding is far too large",
                changed("deploy.prototxt", "kernel_size: 3", "kernel_size: 3 pad: 4000000000"),
                "caffe-lrp: error: deploy.prototxt: layer 0 'conv1' (Convolution): kernel size, stride, "
                "padding and dilation must be at most 65536, not 4000000000",
            ),
            Kind(
                "text is repeated without end",
                changed("deploy.prototxt", "layer {", "layer { }\n" * 2_000 + "layer {"),
                "caffe-lrp: error: deploy.prototxt: describes 10005 layers, the limit is 5000; is it "
                "really a prototxt?",
            ),
            Kind(
                "it has fields of a fork of Caffe",
                changed("deploy.prototxt", "pool: MAX", "pool: MAX engine: CUDNN winograd: true"),
                exit_code=0,
            ),
            Kind(
                "lines end in CRLF, after a byte order mark",
                reencoded("deploy.prototxt", "utf-8-sig", "\r\n"),
                exit_code=0,
            ),
        ),
    ),
    Group(
        "The caffemodel",
        (
            Kind(
                "it does not exist",
                renamed("tiny.caffemodel", "tiny_iter_9.caffemodel"),
                "caffe-lrp: error: tiny.caffemodel: the caffemodel cannot be read: No such file or "
                "directory; check the path and the folder it is relative to",
            ),
            Kind(
                "its folder does not exist",
                valued("model_file", "image/tiny.caffemodel"),
                "caffe-lrp: error: image/tiny.caffemodel: the caffemodel cannot be read: No such "
                "file or directory; there is no folder 'image'; did you mean 'images'?",
            ),
            Kind(
                "there is no permission to read it",
                locked("tiny.caffemodel"),
                "caffe-lrp: error: tiny.caffemodel: cannot be read: Permission denied; check the "
                "permissions of the file and of its folder",
                needs_rights=True,
            ),
            Kind(
                "it is empty",
                content("tiny.caffemodel", b""),
                "caffe-lrp: error: tiny.caffemodel: is empty; download or copy it again",
            ),
            Kind(
                "it is cut short",
                halved("tiny.caffemodel"),
                "caffe-lrp: error: tiny.caffemodel: is truncated or not one of Caffe's binary files "
                "(field 100 at byte 492 claims 766 bytes, 137 are left); download or copy it again",
            ),
            Kind(
                "it is a Git LFS pointer",
                content("tiny.caffemodel", LFS_POINTER),
                "caffe-lrp: error: tiny.caffemodel: is a Git LFS pointer, not a caffemodel; run 'git "
                "lfs pull' to fetch the file itself",
            ),
            Kind(
                "a web page was saved in its place",
                content("tiny.caffemodel", "\n" + WEB_PAGE),
                "caffe-lrp: error: tiny.caffemodel: is a web page (HTML), not a caffemodel; download "
                "the file itself, not the page that shows it",
            ),
            Kind(
                "it is a gzip archive",
                lambda folder: content(
                    "tiny.caffemodel", gzip.compress((folder / "tiny.caffemodel").read_bytes())
                )(folder),
                "caffe-lrp: error: tiny.caffemodel: is a gzip archive, not a caffemodel; unpack it first",
            ),
            Kind(
                "it is an HDF5 file",
                content("tiny.caffemodel", b"\x89HDF\r\n\x1a\n" + bytes(100)),
                "caffe-lrp: error: tiny.caffemodel: is an HDF5 file, not a caffemodel; write it in the "
                "binary format, see 'Converting weights' in caffe-lrp help nets",
            ),
            Kind(
                "it is a solverstate",
                content("tiny.caffemodel", _solverstate()),
                "caffe-lrp: error: tiny.caffemodel: is a solverstate (for resuming training), "
                "not a caffemodel; give the caffemodel that was saved with it",
            ),
            Kind(
                "it is the mean image",
                valued("model_file", "mean.binaryproto"),
                "caffe-lrp: error: mean.binaryproto: is a mean image, not a caffemodel; were "
                "mean_file and model_file swapped?",
            ),
            Kind(
                "it has no weights for a layer",
                reweighted(lambda net: net.layer.pop(1)),
                "caffe-lrp: error: deploy.prototxt: layer 3 'fc1' (InnerProduct): the caffemodel has "
                "no weights for it\n"
                "Weights are matched by layer name; are the prototxt and the caffemodel from the same net?",
            ),
            Kind(
                "a layer has a slightly different name in it",
                reweighted(lambda net: setattr(net.layer[1], "name", "fc1_tiny")),
                "caffe-lrp: error: deploy.prototxt: layer 3 'fc1' (InnerProduct): the caffemodel has "
                "no weights for it; did you mean 'fc1_tiny'?\n"
                "Weights are matched by layer name; are the prototxt and the caffemodel from the same net?",
            ),
            Kind(
                "a layer has weights of another shape",
                changed("deploy.prototxt", "num_output: 5", "num_output: 6"),
                "caffe-lrp: error: deploy.prototxt: layer 3 'fc1' (InnerProduct): needs weights of "
                "shapes 6×36 and 6, but the caffemodel has 5×36 and 5; are the prototxt "
                "and the caffemodel from the same net?",
            ),
            Kind(
                "a weight is NaN",
                reweighted(lambda net: net.layer[0].blobs[0].data.__setitem__(7, float("nan"))),
                "caffe-lrp: error: deploy.prototxt: layer 0 'conv1' (Convolution): the caffemodel "
                "has weights for it that are NaN or infinite; download it again, or use a snapshot "
                "from before training diverged",
            ),
            Kind(
                "it claims to hold more numbers than it does",
                reweighted(lambda net: net.layer[0].blobs[0].shape.dim.__setitem__(0, 1 << 62)),
                "caffe-lrp: error: tiny.caffemodel: layer 'conv1', blob 0 says its shape is "
                "(4611686018427387904, 3, 3, 3) but holds 108 numbers; the file is damaged, download or "
                "copy it again",
            ),
        ),
    ),
    Group(
        "The mean image",
        (
            Kind(
                "it does not exist",
                renamed("mean.binaryproto", "mean.binaryprot"),
                "caffe-lrp: error: mean.binaryproto: the mean image cannot be read: No such file or "
                "directory; did you mean 'mean.binaryprot'?",
            ),
            Kind(
                "it is a NumPy file of another size",
                content("mean.binaryproto", _array(np.zeros((4, 10, 10)))),
                "caffe-lrp: error: mean.binaryproto: holds 4×10×10 numbers, but the net's input has 3 "
                "channel(s); save it with numpy.save, as an array (3, height, width) of real numbers",
            ),
            Kind(
                "it is a NumPy file of objects",
                content("mean.binaryproto", _array(np.array([None]))),
                "caffe-lrp: error: mean.binaryproto: holds 1 of the type object, not an image; save it with "
                "numpy.save, as an array (3, height, width) of real numbers",
            ),
            Kind(
                "it is a text, but the config says binary",
                content("mean.binaryproto", "3\n1 1\n1 2 3\n"),
                "caffe-lrp: error: mean.binaryproto: is a text file, not a binary mean image; for a "
                "text mean, set use_mean_file_asbinaryprotoblob to 0",
            ),
            Kind(
                "it is binary, but the config says text",
                valued("use_mean_file_asbinaryprotoblob", 0),
                "caffe-lrp: error: mean.binaryproto: is a binary file, not a text mean; for a "
                "BlobProto (binaryproto), set use_mean_file_asbinaryprotoblob to 1 or 2",
            ),
            Kind(
                "it has one number per channel",
                together(
                    content("mean.binaryproto", "100 100 100\n"), valued("use_mean_file_asbinaryprotoblob", 0)
                ),
                exit_code=0,
            ),
            Kind(
                "it is a text of numbers only",
                together(
                    content("mean.binaryproto", "123 122 121 120\n"),
                    valued("use_mean_file_asbinaryprotoblob", 0),
                ),
                "caffe-lrp: error: mean.binaryproto: the mean image has 123 channels; three are needed; "
                "begin it with 3, the height and the width, followed by all numbers of the blue, the "
                "green and the red plane, each column by column",
            ),
            Kind(
                "it is smaller than the net's input",
                content("mean.binaryproto", _mean(shape=(1, 3, 7, 7))),
                "caffe-lrp: error: mean.binaryproto: the mean image is 7 x 7 pixels, smaller than the "
                "net's input of 8 x 8; use the mean that belongs to the net",
            ),
            Kind(
                "it claims to hold more numbers than it does",
                content("mean.binaryproto", _mean() + b"\x18\xe0\xd4\x03"),  # a height of 60,000
                "caffe-lrp: error: mean.binaryproto: the blob says its shape is (1, 3, 60000, 10) but holds "
                "300 numbers; the file is damaged, download or copy it again",
            ),
            Kind(
                "it holds NaN",
                content("mean.binaryproto", _mean(float("nan"))),
                "caffe-lrp: error: mean.binaryproto: the mean image holds numbers that are not "
                "finite; download or make it again",
            ),
        ),
    ),
    Group(
        "A composite",
        (
            Kind(
                "the file does not exist",
                nothing,
                "caffe-lrp: error: mine.yaml: the composite cannot be read: No such file or directory; "
                "check the path and the folder it is relative to",
                options=BY_COMPOSITE,
            ),
            Kind(
                "it is empty",
                a_composite(""),
                "caffe-lrp: error: mine.yaml: has no keys; a composite has lines such as 'base:"
                " epsilon-plus' and a list 'rules'",
                options=BY_COMPOSITE,
            ),
            Kind(
                "its YAML is broken",
                a_composite("base: 100\nrules:\n  - {rule: [}\n"),
                "caffe-lrp: error: mine.yaml: line 3: is not valid YAML while parsing a flow "
                "node: expected the node content, but found '}'",
                options=BY_COMPOSITE,
            ),
            Kind(
                "several entries are wrong",
                a_composite(
                    "rules:\n  - {kind: linear, rule: gamm}\n  - {knid: linear, rule: flat}\n  - flat\n"
                ),
                "caffe-lrp: error: mine.yaml: line 2: there is no rule 'gamm'; did you mean 'gamma'?\n"
                "mine.yaml: line 3: there is no key 'knid'; did you mean 'kind'?\n"
                "mine.yaml: line 4: an entry must have keys, such as {type: Convolution, rule: gamma}",
                options=BY_COMPOSITE,
            ),
            Kind(
                "its base is no formula",
                a_composite("base: epsilon-pluss\n"),
                "caffe-lrp: error: mine.yaml: line 1: the value of 'base' is 'epsilon-pluss', which is no "
                "formula; did you mean 'epsilon-plus'?",
                options=BY_COMPOSITE,
            ),
            Kind(
                "a rule does not have the parameter",
                a_composite("base: 100\nrules:\n  - {kind: linear, rule: flat, epsilon: 1}\n"),
                "caffe-lrp: error: mine.yaml: line 3: 'epsilon' is no parameter of the rule "
                "'flat'; it has none",
                options=BY_COMPOSITE,
            ),
            Kind(
                "a parameter is out of range",
                a_composite("base: 100\nrules:\n  - {kind: linear, rule: epsilon, epsilon: -1}\n"),
                "caffe-lrp: error: mine.yaml: line 3: the value of 'epsilon' must be at least 0"
                " and at most 1e+30",
                options=BY_COMPOSITE,
            ),
            Kind(
                "α − β is not 1",
                a_composite("base: 100\nrules:\n  - {kind: linear, rule: alpha-beta, alpha: 2, beta: 2}\n"),
                "caffe-lrp: error: mine.yaml: line 3: α − β must be 1, but alpha is 2 and beta "
                "is 2; give only one of them",
                options=BY_COMPOSITE,
            ),
            Kind(
                "an entry names a layer that does not exist",
                a_composite("base: 100\nrules:\n  - {layers: Conv1, rule: gamma}\n"),
                "caffe-lrp: error: mine.yaml: line 3: no layer of the net is called 'Conv1'; "
                "did you mean 'conv1'?",
                options=BY_COMPOSITE,
            ),
            Kind(
                "a type of layers is misspelt",
                a_composite("base: 100\nrules:\n  - {type: Convolutional, rule: gamma}\n"),
                "caffe-lrp: error: mine.yaml: line 3: relevance passes no layer of the type "
                "'Convolutional'; did you mean 'Convolution'?",
                options=BY_COMPOSITE,
            ),
            Kind(
                "a range ends before it begins",
                a_composite("base: 100\nrules:\n  - {layers: fc1..conv1, rule: gamma}\n"),
                "caffe-lrp: error: mine.yaml: line 3: the range fc1..conv1 ends before it "
                "begins; swap its ends",
                options=BY_COMPOSITE,
            ),
            Kind(
                "an entry matches no layer",
                a_composite("base: 100\nrules:\n  - {kind: lrn, rule: pass}\n"),
                "caffe-lrp: error: mine.yaml: line 3: no layer matches {kind: lrn}; remove the "
                "entry, or add optional: true to it",
                options=BY_COMPOSITE,
            ),
            Kind(
                "a layer cannot have the rule",
                a_composite("base: 100\nrules:\n  - {type: Pooling, rule: gamma}\n"),
                "caffe-lrp: error: mine.yaml: line 3: layer 2 'pool1' (Pooling) cannot have the"
                " rule 'gamma', which is for layers of the kind linear; choose other layers, or"
                " a rule that they can have: gradient, winner, proportional",
                options=BY_COMPOSITE,
            ),
            Kind(
                "an entry is for a layer that relevance does not reach",
                a_composite("base: 100\nrules:\n  - {layers: prob, rule: pass}\n"),
                "caffe-lrp: error: mine.yaml: line 3: the backward pass does not reach layer 4 "
                "'prob' (Softmax); remove the entry",
                options=BY_COMPOSITE,
            ),
            Kind(
                "a linear layer gets no rule",
                a_composite("rules:\n  - {kind: convolution, rule: gamma}\n"),
                "caffe-lrp: error: mine.yaml: layer 3 'fc1' (InnerProduct) of deploy.prototxt "
                "gets no rule; begin the rules with one for all linear layers, such as {kind: "
                "linear, rule: epsilon}, or give a base, such as epsilon-plus",
                options=BY_COMPOSITE,
            ),
            Kind(
                "zᴮ is above the image and has no bounds",
                a_composite("base: 100\nrules:\n  - {layers: fc1, rule: z-box}\n"),
                "caffe-lrp: error: mine.yaml: deploy.prototxt: layer 3 'fc1' (InnerProduct) "
                "does not read the image, nor a moved, scaled or shifted copy, but zᴮ needs to "
                "know the range of its input; give the layer the rule z-box with bounds 'low' "
                "and 'high', or another rule",
                options=BY_COMPOSITE,
            ),
        ),
    ),
    Group(
        "A net from elsewhere (`import`)",
        (
            Kind(
                "it is a PyTorch model",
                content("net.pt", b"PK\x03\x04" + bytes(26) + b"archive/data.pkl"),
                "caffe-lrp: error: net.pt: is a PyTorch model, which cannot be imported; caffe-lrp runs "
                "only Caffe nets; export the net to ONNX for 'caffe-lrp import', see caffe-lrp help "
                "import, or use zennit or Captum",
                options=("import", "net.pt", "new"),
            ),
            Kind(
                "it was saved by Matlab",
                content("net.mat", b"MATLAB 5.0 MAT-file, Platform: PCWIN64"),
                "caffe-lrp: error: net.mat: is a MATLAB file, which cannot be imported; caffe-lrp runs only "
                "Caffe nets; if it is a net of the LRP Toolbox, write it as text in Matlab, with "
                "model_io.write(model, 'net.txt'), and use 'caffe-lrp import net.txt OUTDIR'",
                options=("import", "net.mat", "new"),
            ),
            Kind(
                "its pickle calls a program",
                content("net.nn", b"\x80\x02cos\nsystem\n."),
                "caffe-lrp: error: net.nn: names os.system, which is no part of a net of the LRP Toolbox; it "
                "is not opened, as opening it could run any program",
                options=("import", "net.nn", "new"),
            ),
            Kind(
                "a line of its text has too few numbers",
                content("net.txt", "Linear 2 2\n1 2 3\n0 0\n"),
                "caffe-lrp: error: net.txt: line 2: W must have 4 numbers, but has fewer",
                options=("import", "net.txt", "new"),
            ),
            Kind(
                "the unit of its preprocessing is not clear",
                nothing,
                "usage: …\n"
                "caffe-lrp import: error: --std-values below 1 are for pixels from 0 to 1: add --pixel-range "
                "1, or --pixel-range 255 if they are meant for grey levels",
                exit_code=2,
                options=("import", "net.onnx", "new", "--std-values", "0.229,0.224,0.225"),
            ),
            Kind(
                "the new folder already has a net",
                together(content("net.txt", "Rect\n"), content("deploy.prototxt", "")),
                "caffe-lrp: error: deploy.prototxt: already exists; give another folder, or remove it first",
                exit_code=5,
                explained=(),
                options=("import", "net.txt", "./"),
            ),
        ),
    ),
    Group(
        "The class labels",
        (
            Kind(
                "the file does not exist",
                renamed("synset.txt", "synset_words.txt"),
                "caffe-lrp: error: synset.txt: the synset file cannot be read: No such file or "
                "directory; did you mean 'synset_words.txt'?",
            ),
            Kind(
                "it is a binary file",
                valued("synsetfile", "tiny.caffemodel"),
                "caffe-lrp: error: tiny.caffemodel: is a binary file, not a synset file; give a text with "
                "one label per line",
            ),
            Kind(
                "it is a Git LFS pointer",
                content("synset.txt", LFS_POINTER),
                "caffe-lrp: error: synset.txt: is a Git LFS pointer, not a synset file; run 'git lfs pull' "
                "to fetch the file itself",
            ),
            Kind(
                "it is stored as UTF-16",
                reencoded("synset.txt", "utf-16"),
                "caffe-lrp: error: synset.txt: is a text in UTF-16, not a synset file; save it as UTF-8",
            ),
            Kind(
                "there are fewer labels than classes",
                content("synset.txt", "ant\nbee\n"),
                exit_code=0,
            ),
            Kind(
                "labels are in Latin-1, lines end in CRLF",
                content("synset.txt", "caf\xe9\r\nbee\r\n".encode("latin-1")),
                exit_code=0,
            ),
        ),
    ),
    Group(
        "An image",
        (
            Kind(
                "it does not exist",
                missing(BAD_IMAGE),
                "list.txt: line 2: images/bee.jpg: no such image; check the path and the folder it "
                "is relative to",
                exit_code=4,
            ),
            Kind(
                "its ending is misspelt",
                renamed(BAD_IMAGE, "images/bee.jpeg"),
                "list.txt: line 2: images/bee.jpg: no such image; did you mean 'bee.jpeg'?",
                exit_code=4,
            ),
            Kind(
                "it is a link that leads nowhere",
                linked(BAD_IMAGE, "../store/bee.jpg"),
                "list.txt: line 2: images/bee.jpg: no such image; it is a link to '../store/bee.jpg', "
                "which does not exist",
                exit_code=4,
            ),
            Kind(
                "its path has a NUL",
                listed("images/b\0e.jpg 1"),
                "list.txt: line 2: images/b…e.jpg: the path has a null character, which no file name can "
                "have; correct it",
                exit_code=4,
            ),
            Kind(
                "it is a folder",
                a_folder(BAD_IMAGE),
                "list.txt: line 2: images/bee.jpg: is a folder, not an image; list the files in it instead",
                exit_code=4,
            ),
            Kind(
                "there is no permission to read it",
                locked(BAD_IMAGE),
                "list.txt: line 2: images/bee.jpg: no permission to read the image; check the permissions "
                "of the file and its folder",
                exit_code=4,
                needs_rights=True,
            ),
            Kind(
                "it is empty (0 bytes)",
                content(BAD_IMAGE, b""),
                "list.txt: line 2: images/bee.jpg: is empty (0 bytes); download or copy it again",
                exit_code=4,
            ),
            Kind(
                "a web page was saved in its place",
                content(BAD_IMAGE, WEB_PAGE),
                "list.txt: line 2: images/bee.jpg: is not an image but a web page (HTML); download "
                "the file itself, not the page that shows it",
                exit_code=4,
            ),
            Kind(
                "it is a Git LFS pointer",
                content(BAD_IMAGE, LFS_POINTER),
                "list.txt: line 2: images/bee.jpg: is not an image but a Git LFS pointer; run 'git "
                "lfs pull' to fetch the file itself",
                exit_code=4,
            ),
            Kind(
                "it is a text",
                content(BAD_IMAGE, "bzz"),
                "list.txt: line 2: images/bee.jpg: is not an image of a known format; convert it to "
                "JPEG, PNG, BMP, GIF, TIFF, WebP or PNM",
                exit_code=4,
            ),
            Kind(
                "it is cut short",
                halved(BAD_IMAGE),
                "list.txt: line 2: images/bee.jpg: image is damaged or cut short (…); get a complete "
                "copy of the file",
                exit_code=4,
            ),
            Kind(
                "it has 50,000 × 50,000 pixels",
                content(BAD_IMAGE, _huge_png()),
                "list.txt: line 2: images/bee.jpg: image is too large: it has more than the limit of "
                "180000000 pixels; make it smaller first, or allow more with --max-pixels",
                exit_code=4,
            ),
            Kind(
                "it has more pixels than `--max-pixels` allows",
                content(BAD_IMAGE, _encoded(np.zeros((50, 60, 3), np.uint8))),
                "list.txt: line 2: images/bee.jpg: image is too large: 60 x 50 pixels are more than the "
                "limit of 2900 pixels; make it smaller first, or allow more with --max-pixels",
                exit_code=4,
                options=(*RUN, "--max-pixels", "2.9K"),
            ),
            Kind(
                "it is 300,000 pixels wide",
                content(BAD_IMAGE, _huge_png(300_000, 2)),
                "list.txt: line 2: images/bee.jpg: image is too large: it has 300000 x 2 pixels, the "
                "limit is 262144 per side; make it smaller first",
                exit_code=4,
            ),
            Kind(
                "it has floating-point pixels",
                content(BAD_IMAGE, _encoded(np.ones((9, 9), np.float32), "TIFF", "F")),
                "list.txt: line 2: images/bee.jpg: has floating-point or 32-bit samples, whose white "
                "level is unknown; convert it to 8- or 16-bit PNG or TIFF",
                exit_code=4,
            ),
            Kind(
                "its path is a web address",
                listed("https://example.org/images/bee.jpg -1"),
                "list.txt: line 2: https:/example.org/images/bee.jpg: no such image; it is a web "
                "address; download the file and give its path",
                exit_code=4,
            ),
            Kind(
                "its path has backslashes",
                listed("images\\bee.jpg -1"),
                "list.txt: line 2: images\\bee.jpg: no such image; write '/' instead of '\\'",
                exit_code=4,
            ),
            Kind(
                "its path does not contain `standalone_rootpath`",
                together(renamed(BAD_IMAGE, "bee.jpg"), listed("bee.jpg -1")),
                "list.txt: line 2: bee.jpg: the path does not contain 'images', the string where output "
                "paths begin; correct the path, or change standalone_rootpath in the config",
                exit_code=4,
            ),
            Kind(
                "its output would be outside the output folder",
                listed("images/../../bee.jpg -1"),
                "list.txt: line 2: images/../../bee.jpg: its output would lie outside the output "
                "folder; write the path without '..'",
                exit_code=4,
            ),
            Kind(
                "its class does not exist",
                listed("images/bee.jpg 5"),
                "list.txt: line 2: images/bee.jpg: class 5 does not exist: the net has 5 outputs, "
                "which count from 0 to 4",
                exit_code=4,
            ),
            Kind(
                "it is 1 × 1 pixel",
                content(BAD_IMAGE, _encoded(np.full((1, 1, 3), 9, np.uint8))),
                exit_code=0,
            ),
            Kind(
                "it is a progressive JPEG",
                content(BAD_IMAGE, _encoded(_pixels(), progressive=True)),
                exit_code=0,
            ),
            Kind(
                "it is a CMYK JPEG",
                content(BAD_IMAGE, _encoded(_pixels(), mode="CMYK")),
                exit_code=0,
            ),
            Kind(
                "it is a PNG named `.jpg`",
                content(BAD_IMAGE, _encoded(_pixels(), "PNG", "RGBA")),
                exit_code=0,
            ),
        ),
    ),
    Group(
        "The output folder",
        (
            Kind(
                "a file is in its place",
                content("out", "a file"),
                "caffe-lrp: error: out/caffe-lrp-…-0of1.jsonl: the journal cannot be written: File "
                "exists; a file is where a folder is needed; move or rename it",
                exit_code=5,
                explained=(),
            ),
            Kind(
                "a folder has the name of an output file",
                a_folder("out/images/bee.jpg_heatmap.png"),
                "list.txt: line 2: images/bee.jpg: out/images/bee.jpg_heatmap.png: cannot be "
                "written: Is a directory; a folder has the name of the output file; move or rename it",
                exit_code=4,
            ),
            Kind(
                "a link in it leads elsewhere",
                together(
                    a_folder("elsewhere"),
                    a_folder("out"),
                    lambda folder: (folder / "out/images").symlink_to("../elsewhere"),
                ),
                "\n".join(
                    f"list.txt: line {line}: {image}: out/images: leads out of the output folder, to "
                    "'…/elsewhere'; remove this link, or write the output there directly (-p)"
                    for line, image in enumerate(IMAGES, start=1)
                ),
                exit_code=4,
                explained=(),
            ),
            Kind(
                "there is no permission to write to it",
                together(a_folder("out"), lambda folder: (folder / "out").chmod(0o500)),
                "caffe-lrp: error: out/caffe-lrp-…-0of1.jsonl: the journal cannot be written: Permission "
                "denied; check the permissions of the output folder",
                exit_code=5,
                explained=(),
                needs_rights=True,
            ),
            Kind(
                "the relevance overflows",
                together(
                    changed("config.txt", "alphabeta_beta\n1\n", "alphabeta_beta\n1e30\n"),
                    changed("config.txt", "formulatype\n100", "formulatype\n2"),
                ),
                "list.txt: line 1: images/ant.png: the relevance is not finite: a division by nearly "
                "0; try a larger epsstab (--eps) or a smaller alphabeta_beta (--beta)\n"
                "list.txt: line 2: images/bee.jpg: the relevance is not finite: a division by nearly "
                "0; try a larger epsstab (--eps) or a smaller alphabeta_beta (--beta)\n"
                "list.txt: line 3: images/cow.png: the relevance is not finite: a division by nearly "
                "0; try a larger epsstab (--eps) or a smaller alphabeta_beta (--beta)",
                exit_code=4,
                explained=(),
            ),
        ),
    ),
)
