"""The small run that `fuzz_situations`, `fuzz_pairs` and `fuzz_powercut` disturb, and its results."""

import contextlib
import hashlib
import io
import json
import os
import shutil
import signal
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_parsers import caffemodel_of
from PIL import Image

import caffe_lrp
from caffe_lrp.cli.main import main
from caffe_lrp.formats.caffe.reader import read_prototxt
from caffe_lrp.net.deploy.deployed import deploy

PROTOTXT = """\
name: "small" input: "data" input_shape {{ dim: 1 dim: 3 dim: {side} dim: {side} }}
layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param {{ num_output: {channels} kernel_size: 3 pad: 1 }} }}
layer {{ name: "relu" type: "ReLU" bottom: "conv" top: "conv" }}
layer {{ name: "pool" type: "Pooling" bottom: "conv" top: "pool"
  pooling_param {{ pool: MAX kernel_size: 2 stride: 2 }} }}
layer {{ name: "fc" type: "InnerProduct" bottom: "pool" top: "fc" inner_product_param {{ num_output: 5 }} }}
layer {{ name: "prob" type: "Softmax" bottom: "fc" top: "prob" }}
"""

CONFIG = """\
param_file
deploy.prototxt
model_file
net.caffemodel
mean_values
104,117,123
synsetfile
synset.txt
lastlayerindex
auto
firstlayerindex
0
numclasses
5
baseimgsize
{side}
standalone_outpath
.
standalone_rootpath
images
relpropformulatype
{formula}
epsstab
0.01
alphabeta_beta
1
auxiliaryvariable_maxlayerindexforflatdistinconv
0
"""

YAML_CONFIG = """\
prototxt: deploy.prototxt
caffemodel: net.caffemodel
synsetfile: synset.txt
start_layer: auto
first_layer: 0
class_count: 5
output_root: .
path_root: images
formula: {formula}
epsilon: 0.01
beta: 1
switch_layer: conv
preprocess:
  mean_values: [104, 117.5, 123]
  resize: short-side
  base_size: {side}
"""

#: Folder of output in a scene; runs must not change anything else.
OUT = "out"
#: A folder that no run may touch.
OUTSIDE = "outside"
#: Files that a run may change in addition to its output.
OF_RUNS = frozenset({OUT, "cache", "home", "temporary"})

#: Larger files cannot be from such a small run.
LARGEST_FILE = 2**26

_ENDINGS = (".png", ".jpg", ".png", ".npy", ".bmp", ".png")


@dataclass(frozen=True)
class Size:
    """The size of a scene.

    Attributes
    ----------
    images
        Lines of the list.
    side
        Height and width of the net's input.
    channels
        Channels of its convolution.
    formula
        Formula of the config.
    """

    images: int = 4
    side: int = 12
    channels: int = 4
    formula: int = 100


def write_scene(folder: Path, size: Size) -> Path:
    """Write net, configs, list, images and a folder of others' files into ``folder``, and return it."""
    for name in ("images", OUTSIDE, *OF_RUNS - {OUT}):
        (folder / name).mkdir(parents=True)
    (folder / "deploy.prototxt").write_text(PROTOTXT.format(side=size.side, channels=size.channels))
    net = deploy(read_prototxt(folder / "deploy.prototxt"))
    (folder / "net.caffemodel").write_bytes(caffemodel_of(net, "new"))
    (folder / "config.txt").write_text(CONFIG.format(side=size.side, formula=size.formula))
    (folder / "config.yaml").write_text(YAML_CONFIG.format(side=size.side, formula=size.formula))
    (folder / "synset.txt").write_text("ant\nbee\ncow\ndog\neel\n")
    (folder / OUTSIDE / "canary.txt").write_text("nobody may touch this\n" * 50)
    names = [f"images/{number:03}{_ENDINGS[number % len(_ENDINGS)]}" for number in range(size.images)]
    for number, name in enumerate(names):
        (folder / name).write_bytes(image_of(number, size.side, Path(name).suffix))
    write_list(folder, names)
    return folder


def write_list(folder: Path, names: Sequence[str], name: str = "list.txt") -> None:
    """Write a list of images; each is explained for its best class or for a given one."""
    lines = [f"{image} {-1 if number % 3 else number % 5}\n" for number, image in enumerate(names)]
    (folder / name).write_text("".join(lines))


def image_of(number: int, side: int, ending: str) -> bytes:
    """Return an image that is different for every number, for an input with this side."""
    pixels = np.random.default_rng(number).integers(0, 256, (side + 3, side + number % 4, 3), np.uint8)
    buffer = io.BytesIO()
    if ending == ".npy":
        np.save(buffer, np.resize(pixels, (3, side, side)).astype(np.float32))
    else:
        Image.fromarray(pixels).save(buffer, {".jpg": "JPEG", ".bmp": "BMP"}.get(ending, "PNG"))
    return buffer.getvalue()


def command(*options: str, config: str = "config.yaml", images: str = "list.txt") -> tuple[str, ...]:
    """Return the arguments that explain the list of a scene."""
    return ("-c", config, "-f", images, "-p", OUT, *options)


def results_in(root: Path) -> dict[str, bytes]:
    """Return the files of maps, and databases, in an output folder, by their paths from there."""
    found = {}
    for place, _, names in os.walk(root):
        for name in names:
            path = Path(place, name)
            state = path.lstat()
            if is_result(name) and stat.S_ISREG(state.st_mode) and state.st_size < LARGEST_FILE:
                found[str(path.relative_to(root))] = path.read_bytes()
    return found


def is_result(name: str) -> bool:
    """Whether a file with this name is a result, and not a file about the run."""
    is_about_run = name.startswith(("caffe-lrp-", "summary", ".", "project", "label"))
    return not is_about_run and not name.endswith((".yaml", ".json", ".lock", ".tmp"))


def reference_of(folder: Path, arguments: Sequence[str]) -> dict[str, bytes]:
    """Return the output of an undisturbed run; the output folder is removed afterwards."""
    run_well(folder, arguments)
    results = results_in(folder / OUT)
    shutil.rmtree(folder / OUT)
    return results


def run_well(folder: Path, arguments: Sequence[str]) -> None:
    """Run the command line in this process, as `run_here`; RuntimeError if it does not end 0."""
    code, text = run_here(folder, arguments)
    if code:
        raise RuntimeError(f"{' '.join(arguments)}: ended {code}: {text}")


class Ended(BaseException):
    """A call of ``os._exit`` that must not end this process."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def _raise_ended(code: int) -> None:
    raise Ended(code)


def run_here(folder: Path, arguments: Sequence[str]) -> tuple[int, str]:
    """Run the command line in this process; return its exit code and output.

    Signal handlers and the working directory are restored, and the process continues even if the command
    line would end it.
    """
    before = Path.cwd()
    handlers = {number: signal.getsignal(number) for number in (*TERMINATIONS, signal.SIGALRM)}
    leave = os._exit
    said = io.StringIO()
    vars(os)["_exit"] = _raise_ended
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            return _code_of(arguments), said.getvalue()
    finally:
        os.chdir(before)
        vars(os)["_exit"] = leave
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _code_of(arguments: Sequence[str]) -> int:
    try:
        return main(list(arguments))
    except (Ended, SystemExit) as end:
        return end.code if isinstance(end.code, int) else 0


#: Signals that ask a process to end.
TERMINATIONS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def copy_scene(source: Path, target: Path) -> Path:
    """Copy a scene; links stay links."""
    return Path(shutil.copytree(source, target, symlinks=True))


def remove_scene(folder: Path) -> None:
    """Remove a scene, even if rights in it were changed."""
    for place, folders, _ in os.walk(folder):
        for name in folders:
            path = Path(place, name)
            if not path.is_symlink():
                path.chmod(0o755)
    shutil.rmtree(folder, ignore_errors=True)


def snapshot(folder: Path, spared: frozenset[str] = OF_RUNS) -> dict[str, str]:
    """Return everything in a scene that runs must not change: path -> kind and content."""
    return {str(path.relative_to(folder)): _state_of(path) for path in _walk(folder, spared)}


def _walk(folder: Path, spared: frozenset[str]) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        left = spared if Path(place) == folder else frozenset()
        folders[:] = [name for name in folders if name not in left]
        yield from (Path(place, name) for name in (*folders, *names) if name not in left)


def _state_of(path: Path) -> str:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return f"link to {path.readlink()}"
    if not stat.S_ISREG(status.st_mode) or status.st_size > 2**24:
        return f"{stat.S_IFMT(status.st_mode):o} {status.st_size if stat.S_ISREG(status.st_mode) else 0}"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def difference(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Return the differences between two snapshots as a text; empty if there are none."""
    names = sorted({*before, *after})
    changed = [name for name in names if before.get(name) != after.get(name)]
    return f"changed outside of the output folder: {', '.join(changed[:5])}" if changed else ""


def process_environment(**more: str) -> dict[str, str]:
    """Return the environment of a process that runs this caffe-lrp, with compiled kernels."""
    from caffe_lrp.kernels._jit import CACHE_FOLDER  # noqa: PLC0415 - imports Numba

    environment = dict(os.environ)
    places = [str(Path(caffe_lrp.__file__).parents[1]), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, places))
    if CACHE_FOLDER.folder:
        environment["CAFFE_LRP_CACHE_DIR"] = str(CACHE_FOLDER.folder.parent)
    return environment | more


def process_command(arguments: Sequence[str]) -> list[str]:
    """Return the command that starts caffe-lrp."""
    return [sys.executable, "-m", "caffe_lrp", *arguments]


def documented_codes() -> frozenset[int]:
    """Return the exit codes in the manual's table, except that of internal errors."""
    chapter = Path(__file__).parents[2] / "caffe_lrp" / "manual" / "errors.md"
    lines = iter(chapter.read_text(encoding="utf-8").splitlines())
    for line in lines:
        if line.startswith("| exit code | meaning"):
            break
    next(lines)
    codes = set()
    for line in lines:
        first = line.strip("|").split("|")[0].strip()
        if not first.isdecimal():
            break
        codes.add(int(first))
    return frozenset(codes - {1})


def journal_lines(path: Path) -> list[dict[str, Any]]:
    """Return the complete lines of a journal with a JSON object; none if it is not a file, or is huge."""
    found = []
    with contextlib.suppress(OSError):
        state = path.lstat()
        is_sound = stat.S_ISREG(state.st_mode) and state.st_size < LARGEST_FILE
        for line in path.read_bytes().split(b"\n")[:-1] if is_sound else ():
            with contextlib.suppress(ValueError, RecursionError):
                fields = json.loads(line)
                if isinstance(fields, dict):
                    found.append(fields)
    return found
