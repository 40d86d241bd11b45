"""Files that do harm: bombs, lying lengths, absurd sizes, endless texts. All are refused, at little cost."""

import ast
import resource
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from batch_builders import opened
from builders import deployed, parse, random_weights, write_caffemodel
from PIL import Image

import caffe_lrp
from caffe_lrp.cli.commands.run_list import list_parser
from caffe_lrp.config import read_config
from caffe_lrp.errors import CaffeLrpError, ConfigError, FileListError, ImageError, ModelError
from caffe_lrp.files.reading import read_small_file
from caffe_lrp.formats.caffe import wire
from caffe_lrp.formats.caffe.reader import (
    LARGEST_PROTOTXT_MEGABYTES,
    read_prototxt,
    scan_blob,
    scan_caffemodel,
)
from caffe_lrp.imaging import decode as decode_module
from caffe_lrp.imaging.decode import LARGEST_SIDE, MAX_PIXELS, decode
from caffe_lrp.imaging.mean import load_mean
from caffe_lrp.imaging.preprocess import Preprocessor
from caffe_lrp.messages import closest
from caffe_lrp.net.build import build_graph, build_net, weight_shapes
from caffe_lrp.net.deploy.deployed import deploy
from caffe_lrp.net.limits import LARGEST_BLOB, MOST_ACTIVATIONS
from caffe_lrp.quirks import REFERENCE
from caffe_lrp.sources.filelist import read_filelist

PACKAGE = Path(caffe_lrp.__file__).parent
DEMO = Path(__file__).parents[2] / "configs" / "demo.txt"
MEGABYTE = 2**20
SECONDS = 5
#: What a refusal may take, besides the file itself.
LITTLE = 64 * MEGABYTE

DATA = 'input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }\n'


@pytest.fixture(autouse=True)
def _watched() -> Iterator[None]:
    """Every test here ends soon and takes little memory, as far as Python allocates it."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < LITTLE
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - before < SECONDS


def assert_refused(read: Callable[[], object], kind: type[CaffeLrpError], message: str) -> str:
    with pytest.raises(kind, match=message) as caught:
        read()
    return str(caught.value)


# --- What the package may not use ---------------------------------------------------------------------------

#: Modules that run programs, or what stands in data.
DANGEROUS_MODULES = {"pickle", "marshal", "shelve", "dill", "subprocess", "code", "codeop", "runpy", "yaml"}
DANGEROUS_CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "system",
    "popen",
    "execv",
    "execvp",
    "spawnv",
    "spawnl",
}
#: Module -> what it uses all the same, and why that is no way in for a file.
EXCEPTIONS = {
    # They take texts from composed nodes; nothing is constructed.
    "config/yaml_file.py": {"yaml"},
    "config/yaml_nodes.py": {"yaml"},
    "config/composite_file.py": {"yaml"},
    "cli/pager.py": {"subprocess"},  # the pager that the environment names; no data in it
    "machine/environment.py": {
        "subprocess"
    },  # Python itself, to see whether OpenCV can be loaded; no data in it
    "kernels/ahead.py": {"subprocess"},  # Python itself, told names of kernels; no data in it
    "pycaffe/__main__.py": {"compile", "exec", "runpy"},  # the script that the user names, as Python does
    "toolbox/model_pickle.py": {"pickle"},  # writes only; `formats.importers.toolbox` reads without running
    "kernels/_simd.py": {"exec"},  # a signature of as many arguments as an instruction has; no data in it
}


def dangers_in(tree: ast.AST) -> set[str]:
    """Dangerous modules and functions that a module names."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
        elif isinstance(node, ast.Call):
            function = node.func
            name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
            # Of a regular expression, say, or of a kernel.
            is_method = isinstance(function, ast.Attribute) and name == "compile"
            found.update({name} & DANGEROUS_CALLS if not is_method else ())
            allowed = [word for word in node.keywords if ast.unparse(word.value) != "False"]
            found.update(f"{word.arg}=" for word in allowed if word.arg in ("shell", "allow_pickle"))
    return found & (DANGEROUS_MODULES | DANGEROUS_CALLS | {"shell=", "allow_pickle="})


@pytest.mark.slow
def test_the_package_runs_no_programs_and_no_code_from_data() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix(): dangers
        for path in PACKAGE.rglob("*.py")
        if (dangers := dangers_in(ast.parse(path.read_text(encoding="utf-8"))))
    }
    assert found == EXCEPTIONS


@pytest.mark.parametrize(
    "code",
    ["import pickle", "from pickle import loads", "eval('1')", "os.system('ls')", "import subprocess as s",
     "np.load(f, allow_pickle=True)", "compile(text, '', 'exec')", "run(words, shell=True)"],
)  # fmt: skip
def test_dangers_are_seen(code: str) -> None:
    assert dangers_in(ast.parse(code))


# --- Messages -----------------------------------------------------------------------------------------------


def test_messages_have_no_control_characters(tmp_path: Path) -> None:
    text = 'layer { name: "a\\033[2J\\rb" type: "Nonsense" top: "t" }\n'
    message = assert_refused(lambda: build_graph(deployed(tmp_path, DATA + text)), ModelError, "Nonsense")
    assert r"'a\x1b[2J\rb'" in message
    assert str(ModelError("a\tb\u202ec\nd")) == "a\\tb\\u202ec\nd"


def test_long_lines_of_messages_are_cut() -> None:
    message = str(ModelError(f"begin{'x' * 10**6}end\nsecond line"))
    assert message.startswith("beginxx")
    assert message.endswith("xxend\nsecond line")
    assert len(message) < 2100


def test_long_names_are_not_compared() -> None:
    long = "".join(chr(0x4E00 + i % 5000) for i in range(20_000))
    assert closest(long, [long + "x"]) is None
    assert closest("short", [long, "shorts"]) == "shorts"


# --- Images -------------------------------------------------------------------------------------------------


def png(width: int, height: int, depth: int = 8, colours: int = 2, data: bytes = b"") -> bytes:
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)),
        (b"IDAT", data),
        (b"IEND", b""),
    ]
    stored = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(stored)


def image(folder: Path, content: bytes) -> Path:
    path = folder / "image"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize(("width", "height"), [(20_000, 20_000), (50_000, 50_000), (2**31 - 1, 2**31 - 1)])
def test_bombs_are_refused(tmp_path: Path, width: int, height: int, depth: int) -> None:
    path = image(tmp_path, png(width, height, depth, data=zlib.compress(bytes(10**6))))
    message = assert_refused(lambda: decode(path), ImageError, f"more than the limit of {MAX_PIXELS} pixels")
    assert message.endswith("make it smaller first, or allow more with --max-pixels")


def test_the_limit_can_be_lower(tmp_path: Path) -> None:
    path = image(tmp_path, b"")
    Image.new("RGB", (30, 40)).save(path, "PNG")
    assert decode(path, 1200).samples.shape == (40, 30, 3)
    assert_refused(
        lambda: decode(path, 1199), ImageError, "30 x 40 pixels are more than the limit of 1199 pixels"
    )


def test_the_limit_can_be_higher_than_that_of_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    path = image(tmp_path, b"")
    Image.new("RGB", (30, 40)).save(path, "PNG")
    assert_refused(lambda: decode(path, 200), ImageError, "it has more than the limit of 200 pixels")
    assert Image.MAX_IMAGE_PIXELS == 100
    assert decode(path, 1201).samples.shape == (40, 30, 3)
    assert Image.MAX_IMAGE_PIXELS == 601


def test_threads_of_pixels_are_refused(tmp_path: Path) -> None:
    path = image(tmp_path, png(LARGEST_SIDE + 1, 1))
    assert_refused(
        lambda: decode(path),
        ImageError,
        f"{LARGEST_SIDE + 1} x 1 pixels, the limit is {LARGEST_SIDE} per side",
    )


def test_jpegs_of_very_many_scans_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = image(tmp_path, b"")
    Image.new("RGB", (50, 40)).save(path, "JPEG", progressive=True)
    good = path.read_bytes()
    last = good.rindex(b"\xff\xda")
    path.write_bytes(good[:-2] + good[last:-2] * 200 + good[-2:])
    monkeypatch.setattr(decode_module, "_MOST_SCANNED_PIXELS", 2000 * 100)
    assert_refused(
        lambda: decode(path), ImageError, r"50 x 40 pixels in up to 2\d\d scans would take too long"
    )
    monkeypatch.setattr(decode_module, "_MOST_SCANNED_PIXELS", 2000 * 1000)
    decode(path)


@pytest.mark.slow
def test_only_the_first_frame_of_many_is_decoded(tmp_path: Path) -> None:
    frames = [Image.new("P", (20, 30), colour) for colour in range(200)]
    for kind in ("GIF", "TIFF"):
        path = tmp_path / kind
        frames[0].save(path, kind, save_all=True, append_images=frames[1:])
        assert decode(path).samples.shape[:2] == (30, 20)


def test_a_frame_larger_than_its_gif_counts(tmp_path: Path) -> None:
    path = image(tmp_path, b"")
    Image.new("P", (20, 30)).save(path, "GIF")
    content = bytearray(path.read_bytes())
    descriptor = content.index(b",\0\0\0\0\x14\0\x1e\0")
    content[descriptor + 5 : descriptor + 9] = struct.pack("<HH", 60_000, 60_000)
    path.write_bytes(content)
    assert_refused(lambda: decode(path), ImageError, "image is too large: it has more than")


def test_texts_in_a_png_that_swell_are_refused_or_left_out(tmp_path: Path) -> None:
    path = image(tmp_path, b"")
    Image.new("RGB", (30, 40)).save(path, "PNG")
    body = b"zTXtComment\0\0" + zlib.compress(bytes(50 * MEGABYTE))
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    content = path.read_bytes()
    path.write_bytes(content[:33] + chunk + content[33:])
    assert_refused(lambda: decode(path), ImageError, "damaged")


def test_opencv_is_given_nothing_that_pillow_has_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("OpenCV was asked"))
    path = image(tmp_path, png(20_000, 20_000, depth=16))
    assert_refused(lambda: decode(path), ImageError, "too large")


def test_images_that_do_not_fit_in_memory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    path = image(tmp_path, b"")
    Image.new("RGB", (30, 40)).save(path, "PNG")
    preprocessor = Preprocessor(20, 16, 16, np.zeros((3, 20, 20), np.float32), REFERENCE)
    monkeypatch.setattr("caffe_lrp.imaging.preprocess.resize", fail)
    assert_refused(lambda: preprocessor(path), ImageError, "image is too large: it does not fit in memory")


@pytest.mark.parametrize(
    ("text", "count"),
    [("180M", 180 * 10**6), ("1G", 10**9), ("5000", 5000), ("1.5m", 1_500_000), ("20 K", 20_000)],
)
def test_numbers_of_pixels_may_have_a_unit(text: str, count: int) -> None:
    assert list_parser().parse_args(["--max-pixels", text]).max_pixels == count


@pytest.mark.parametrize("text", ["0", "2G", "-1", "many", "", "1e6", "9" * 400, "0.0001K"])
def test_other_numbers_of_pixels_are_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        list_parser().parse_args([f"--max-pixels={text}"])
    assert "must be a number from 1 to 1G, such as 180M" in capsys.readouterr().err


def test_the_default_is_that_of_the_decoder() -> None:
    assert list_parser().parse_args([]).max_pixels == MAX_PIXELS


def test_the_limit_reaches_the_images() -> None:
    config = read_config(DEMO)
    assert opened(config).preprocessor.max_pixels == MAX_PIXELS
    assert opened(config, max_pixels=77).preprocessor.max_pixels == 77


# --- Nets ---------------------------------------------------------------------------------------------------


def convolution(parameters: str, bottom: str = "data", name: str = "conv") -> str:
    return (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" '
        f"convolution_param {{ {parameters} }} }}\n"
    )


def pooling(parameters: str) -> str:
    return f'layer {{ name: "p" type: "Pooling" bottom: "data" top: "p" pooling_param {{ {parameters} }} }}\n'


def product(count: int) -> str:
    return (
        'layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" '
        f"inner_product_param {{ num_output: {count} }} }}\n"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (DATA.replace("8", "1000000") + product(5), "input 'data' has the impossible size 3×1000000×1000000"),
        (DATA + product(4_000_000_000), "'fc' .*: its output has the impossible size 4000000000"),
        (
            DATA + convolution("num_output: 1000000000 kernel_size: 1"),
            "'conv' .*impossible size 1000000000×8×8",
        ),
        (DATA + convolution("num_output: 1 kernel_size: 1 pad: 4294967295"), "at most 65536, not 4294967295"),
        (DATA + convolution("num_output: 1 kernel_size: 1 pad: 60000"), "impossible size 1×120008×120008"),
        (
            DATA + convolution("num_output: 1 kernel_size: 4000000000 pad: 2000000000"),
            "at most 65536, not 4000000000",
        ),
        (
            DATA + convolution("num_output: 1 kernel_size: 2 dilation: 4000000000"),
            "at most 65536, not 4000000000",
        ),
        (
            DATA + convolution("num_output: 1 kernel_size: 1 stride: 4294967295"),
            "at most 65536, not 4294967295",
        ),
        (DATA + pooling("kernel_size: 4294967295 pad: 4294967294"), "at most 65536, not 4294967295"),
        (DATA.replace("}", "dim: 1 " * 40 + "}") + product(5), "input 'data' has 44 axes, the limit is 32"),
        (
            DATA
            + 'layer { name: "n" type: "LRN" bottom: "data" top: "n" lrn_param { local_size: 4294967295 } }',
            "local_size must be at most 65536, not 4294967295",
        ),
    ],
)
def test_absurd_sizes_are_refused(tmp_path: Path, text: str, message: str) -> None:
    assert_refused(lambda: build_graph(deployed(tmp_path, text)), ModelError, message)


def test_many_large_blobs_are_refused_together(tmp_path: Path) -> None:
    side = 16_384
    assert 7 * side**2 < LARGEST_BLOB
    layers = [
        convolution("num_output: 7 kernel_size: 1", "data" if i == 0 else f"c{i - 1}", f"c{i}")
        for i in range(9)
    ]
    text = DATA.replace("8", str(side)) + "".join(layers)
    message = assert_refused(
        lambda: build_graph(deployed(tmp_path, text)), ModelError, "the blobs of one image have"
    )
    total = (3 + 5 * 7) * side**2
    assert total > MOST_ACTIVATIONS > total - 7 * side**2
    assert f"{total} numbers up to layer 4 'c4'" in message


def test_a_net_beyond_the_memory_is_refused_unread(tmp_path: Path) -> None:
    spec = parse(tmp_path, DATA + product(1000))
    shapes = weight_shapes(deploy(spec))
    stored = scan_caffemodel(write_caffemodel(tmp_path / "net", random_weights(spec, seed=1)))
    needed = 4 * (sum(int(np.prod(shape)) for shape in shapes["fc"]) + 192 + 1000)
    build_net(deploy(spec, stored), stored, memory=needed)
    message = assert_refused(
        lambda: build_net(deploy(spec, stored), stored, memory=needed - 1),
        ModelError,
        "one image takes more than",
    )
    assert "in layer 0 'fc' (InnerProduct)" in message


def test_nets_that_double_with_every_layer_are_refused(tmp_path: Path) -> None:
    layers = [
        f'layer {{ name: "c{i}" type: "Concat" bottom: "{b}" bottom: "{b}" top: "c{i}" }}\n'
        for i, b in enumerate(["data", *(f"c{j}" for j in range(60))])
    ]
    assert_refused(
        lambda: build_graph(deployed(tmp_path, DATA + "".join(layers))),
        ModelError,
        "impossible size|one image",
    )


# --- Texts without end --------------------------------------------------------------------------------------


def prototxt(folder: Path, text: str) -> Path:
    path = folder / "deploy.prototxt"
    path.write_text(text)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layer { } " * 5_001, "describes 5001 layers, the limit is 5000"),
        ("layers { } " * 5_001, "describes 5001 layers, the limit is 5000"),
        (
            'layer { bottom: "a" top: "b" ' * 1 + 'bottom: "a" ' * 19_999 + "}",
            "has 20001 bottom, top and input lines, the limit is 20000",
        ),
        ('input: "a" ' * 20_001 + "layer { }", "has 20001 bottom, top and input lines, the limit is 20000"),
        ("a { " * 10_000, "nested too deeply"),
        ("layer { include { " * 10_000, "not a valid prototxt"),
        ("".join(f"imput{chr(97 + i % 26)}{i}: 1\n" for i in range(20_000)), "no layers"),
        ("#" * MEGABYTE, "no layers"),
        ("x" * MEGABYTE, "not a valid prototxt"),
        (" " * (LARGEST_PROTOTXT_MEGABYTES * MEGABYTE + 1), f"larger than {LARGEST_PROTOTXT_MEGABYTES} MB"),
    ],
    ids=range(10),
)
def test_endless_prototxts_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = prototxt(tmp_path, text)
    assert_refused(lambda: read_prototxt(path), ModelError, message)


def test_numbers_of_thousands_of_digits_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"images/a.png {'9' * 5000}\n")
    assert_refused(lambda: read_filelist(path), FileListError, "every line must be 'path class'")
    assert_refused(
        lambda: read_prototxt(prototxt(tmp_path, f"input_dim: {'9' * 5000}")), ModelError, "line 1"
    )
    path = tmp_path / "config.txt"
    path.write_text(DEMO.read_text().replace("numclasses\n", f"numclasses\n{'9' * 5000}\n"))
    message = assert_refused(lambda: read_config(path), ConfigError, "must have at most 18 digits")
    assert len(message) < 2200


def test_a_small_file_takes_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.write_bytes(b"")
    assert read_small_file(path, "list", FileListError, most_megabytes=1024) == b""


# --- Binary files that lie ----------------------------------------------------------------------------------


def delimited(number: int, payload: bytes, length: int | None = None) -> bytes:
    return varint(number << 3 | 2) + varint(len(payload) if length is None else length) + payload


@cache
def varint(value: int) -> bytes:
    encoded = b""
    while value > 0x7F:
        encoded += bytes([value & 0x7F | 0x80])
        value >>= 7
    return encoded + bytes([value])


FLOATS = delimited(5, bytes(4 * 6))


def layer_of(*blobs: bytes) -> bytes:
    return delimited(100, delimited(1, b"fc") + b"".join(delimited(7, blob) for blob in blobs))


def shape_of(*sizes: int) -> bytes:
    return delimited(7, delimited(1, b"".join(map(varint, sizes))))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (delimited(100, b"", 2**40), "claims 1099511627776 bytes, 0 are left"),
        (delimited(100, delimited(7, b"", 2**63)), "claims 9223372036854775808 bytes"),
        (layer_of(shape_of(2**40, 2**40) + FLOATS), "says its shape is .* but holds 6 numbers"),
        (layer_of(shape_of(2**32, 2**32) + FLOATS), "but holds 6 numbers"),  # 0 in 64 bits
        (layer_of(shape_of(2**63, 2, 6) + FLOATS), "but holds 6 numbers"),  # 0 as well
        (layer_of(shape_of(2**64 - 2, 2**64 - 3) + FLOATS), "but holds 6 numbers"),  # −2 times −3
        (layer_of(b"\x08\xff\xff\xff\xff\x0f\x10\x06" + FLOATS), "but holds 6 numbers"),
        (layer_of(shape_of(*[1] * 40) + FLOATS), "more than 32 axes"),
        (layer_of(shape_of(*[2**63] * 10**6) + FLOATS), "more than 32 axes"),
        (layer_of(FLOATS * 5000), "numbers in more than 4096 pieces"),
        (delimited(100, delimited(1, b"n" * 70_000) + delimited(7, FLOATS)), "a layer name of 70000 bytes"),
        (b"\x08\x01" * (wire._MOST_FIELDS + 1), "more than 200000 fields"),
        (delimited(100, b"\x08\x01" * 120_000) * 2, "more than 200000 fields"),
    ],
    ids=range(13),
)
def test_lying_caffemodels_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "net.caffemodel"
    path.write_bytes(content)
    assert_refused(lambda: scan_caffemodel(path), ModelError, message)


def sparse_mean(folder: Path, height: int, width: int) -> Path:
    """A binary mean whose numbers are a hole in the file."""
    path = folder / "mean.binaryproto"
    count = 3 * height * width
    with path.open("wb") as file:
        file.write(b"".join(varint(n << 3) + varint(v) for n, v in ((1, 1), (2, 3), (3, height), (4, width))))
        file.write(varint(5 << 3 | 2) + varint(4 * count))
        file.truncate(file.tell() + 4 * count)
    return path


def test_absurd_means_are_refused_unread(tmp_path: Path) -> None:
    path = sparse_mean(tmp_path, 60_000, 60_000)
    assert scan_blob(path).count == 3 * 60_000**2
    assert_refused(
        lambda: load_mean(path, 1, REFERENCE),
        ModelError,
        "60000 x 60000 pixels, the limit is 16777216 in all",
    )


def test_absurd_text_means_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mean.txt"
    path.write_text("3 60000 60000 1 2 3")
    assert_refused(lambda: load_mean(path, 0, REFERENCE), ModelError, "60000 x 60000 pixels, the limit is")
    path.write_text("3 1 1 " + "x" * MEGABYTE)
    assert len(assert_refused(lambda: load_mean(path, 0, REFERENCE), ModelError, "could not convert")) < 500
    path.write_text("3 2 2 " + "1 " * MEGABYTE)
    assert_refused(
        lambda: load_mean(path, 0, REFERENCE), ModelError, "says .* 12 numbers, the file has 1048576"
    )
