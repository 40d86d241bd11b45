"""Situations of `fuzz_situations.py` around good files: options, environment, limits, rights, signals."""

import os
import random
import resource
import signal
from pathlib import Path

from hostile_process import NOBODY, Attempt, address_space, sending
from hostile_scene import OUT, OUTSIDE, TERMINATIONS, command
from situations_base import FILES, ROWS, Kind, Situation, Stage, argument

_MEGABYTE = 2**20

# Options

#: Option -> valid values; others are random. None: it takes no value.
_OPTIONS: dict[str, tuple[str, ...] | None] = {
    "--shard": (
        "0/1",
        "0/2",
        "1/2",
        "3/4",
        "0/999999999",
        "999999998/999999999",
        "auto",
        "1/1",
        "-1/2",
        "0/0",
    ),
    "--batch": ("1", "2", "16", "1000000000", "0"),
    "--memory": ("1G", "1K", "1T", "0.5M", "1e3G", "999999999999T"),
    "--threads": ("1", "2", "64", "1024", "1025"),
    "--top": ("1", "5", "6", "1000000000000"),
    "--dump-layers": ("conv", "0", "0,1,2", "fc,prob", "conv,conv", "99", "-1", "pool,9999999999999999999"),
    "--input-size": ("12x12", "6x6", "1x1", "0x0", "100000x100000", "13x12", "12x", "4294967297x1"),
    "--outputs": ("heatmap", "npy,npz", "h5", "conservation", "rawhm,rawhm", "h5,heatmap", ","),
    "--dtype": ("float16", "float32", "float64"),
    "--formula": ("0", "2,100", "epsilon-plus", "999", "0,0", "epsilon-gamma-box", "102", "-5"),
    "--eps": ("0", "1e-300", "1e308", "nan", "-1", "0.01"),
    "--beta": ("0", "1e308", "nan", "inf", "-1"),
    "--gamma": ("0", "1e308", "-0.5"),
    "--quirks": ("reference", "corrected", "none"),
    "--start-layer": ("0", "fc", "-1", "-2", "auto", "3", "99", "prob"),
    "--first-layer": ("0", "3", "conv", "99", "-1"),
    "--head": ("prob", "fc", "conv", "none"),
    "--switch-layer": ("0", "99", "conv", "-1"),
    "--max-pixels": ("1", "50", "1G", "2G", "0.5K"),
    "--max-failures": ("1", "0", "1000000000"),
    "--convolution": ("direct", "winograd", "fft"),
    "--canonize": ("off", "auto"),
    "--image-root": ("images", ".", OUTSIDE, "/nonexistent", "images/loop"),
    "--images": ("images", "images/000.png", OUTSIDE, "images/loop", "list.txt"),
    "--target": ("0", "-1", "-2", "4", "5"),
    "-b": ("parallel", "parallel_minimal", "default_minimal"),
    "-p": (
        OUT,
        f"{OUT}/a/b",
        f"{OUT}/../{OUT}",
        "config.yaml",
        "/dev/null",
        "/dev/full",
        "/proc",
        "/proc/self/fd",
        f"{OUT}/" + "x" * 300,
    ),
    "--suffix-target": None,
    "--overwrite": None,
    "--retry-failed": None,
    "--input-dataset": None,
    "--conservation": None,
    "--dry-run": None,
    "-v": None,
    "--quiet": None,
}


def options(stage: Stage, scene: Path, chance: random.Random) -> Situation:
    """Options in any combination, with values that are sensible, extreme or nonsense."""
    if chance.random() < 0.3:
        stage.begin(scene, chance.choice((FILES, ROWS)))
    (scene / "images" / "loop").symlink_to(".")
    names = chance.sample(sorted(_OPTIONS), chance.randint(1, 5))
    given: list[str] = []
    for name in names:
        values = _OPTIONS[name]
        given.append(name)
        if values is not None:
            is_made_up = name != "-p" and chance.random() < 0.3
            given.append(argument(chance) if is_made_up else chance.choice(values))
    base = ["-c", "config.yaml", *([] if "-p" in names else ["-p", OUT])]
    base += [] if "--images" in names else ["-f", "list.txt"]
    if chance.random() < 0.05:
        given.append(argument(chance))
    return Situation(Attempt((*base, *given)), " ".join(given)[:200])


# Environment

_VARIABLES = (
    "NUMBA_NUM_THREADS", "NUMBA_THREADING_LAYER", "NUMBA_DEBUG", "NUMBA_CACHE_DIR", "NUMBA_DISABLE_JIT",
    "NUMBA_OPT", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_BOUNDSCHECK", "NUMBA_DEVELOPER_MODE",
    "NUMBA_WARNINGS", "NUMBA_ENABLE_CUDASIM", "NUMBA_COLOR_SCHEME", "TQDM_DISABLE", "TQDM_MININTERVAL",
    "TQDM_ASCII", "TQDM_NCOLS", "TQDM_UNIT", "TQDM_BAR_FORMAT", "TQDM_POSITION", "TQDM_DELAY",
    "OPENCV_LOG_LEVEL", "OPENCV_IO_MAX_IMAGE_PIXELS", "OPENCV_IO_MAX_IMAGE_WIDTH", "OPENCV_FOR_THREADS_NUM",
    "OPENCV_CPU_DISABLE", "OMP_NUM_THREADS", "OMP_STACKSIZE", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
    "NPY_DISABLE_CPU_FEATURES", "NPY_PROMOTION_STATE", "HDF5_USE_FILE_LOCKING", "HDF5_PLUGIN_PATH",
    "HDF5_DISABLE_VERSION_CHECK", "HDF5_DRIVER", "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "LANG", "LC_ALL",
    "LC_CTYPE", "LANGUAGE", "HOME", "XDG_CACHE_HOME", "TMPDIR", "TMP", "COLUMNS", "LINES", "TERM", "NO_COLOR",
    "FORCE_COLOR", "SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX",
    "SLURM_ARRAY_TASK_STEP", "SLURM_ARRAY_TASK_COUNT", "SLURM_CPUS_PER_TASK", "SLURM_MEM_PER_NODE",
    "CAFFE_LRP_CPU", "CAFFE_LRP_CACHE_DIR", "PYTHONIOENCODING", "PYTHONUTF8", "PYTHONWARNINGS",
    "PYTHONHASHSEED", "PYTHONMALLOC", "PYTHONTRACEMALLOC", "PYTHONOPTIMIZE", "PYTHONFAULTHANDLER",
    "PYTHONDEVMODE", "PYTHONPROFILEIMPORTTIME", "PYTHONINTMAXSTRDIGITS", "PYTHONUNBUFFERED",
    "PYTHONCOERCECLOCALE", "PILLOW_ALIGNMENT", "PILLOW_BLOCK_SIZE", "DASK_CONFIG", "MALLOC_ARENA_MAX", "TZ",
    "PATH", "USER", "PWD",
)  # fmt: skip
#: Read by the interpreter, which refuses invalid values before any of our code runs.
_OF_PYTHON = "PYTHON"
#: With these, kernels are compiled again, which takes longer than a run may.
_OF_COMPILER = (
    "NUMBA_",
    "CAFFE_LRP_",
    "HOME",
    "XDG_CACHE_HOME",
    "TMPDIR",
    "NPY_",
    "PYTHONOPTIMIZE",
    "PYTHONDEVMODE",
)
_PYTHON_VALUES = {
    "PYTHONIOENCODING": ("ascii", "latin-1", "utf-16", "cp1252:ignore"),
    "PYTHONHASHSEED": ("0", "5", "random"),
    "PYTHONINTMAXSTRDIGITS": ("0", "640", "5000"),
    "PYTHONMALLOC": ("malloc", "debug", "pymalloc"),
}
_VALUES = (
    "",
    "0",
    "1",
    "-1",
    "2",
    "none",
    "C",
    "C.UTF-8",
    "POSIX",
    "xx_YY.ISO-8859-1",
    "tr_TR.UTF-8",
    "dumb",
    "sequential",
    "tbb",
    "python",
    "cpp",
)


def environment(stage: Stage, scene: Path, chance: random.Random) -> Situation:
    """Environment variables of ours and of the libraries, with junk values."""
    is_fresh = chance.random() < 0.2
    names = chance.sample(_VARIABLES, chance.choice((1, 1, 2, 5)))
    given = {}
    for name in names:
        values = _PYTHON_VALUES.get(name, ("", "0", "1")) if name.startswith(_OF_PYTHON) else ()
        made_up = (argument(chance), chance.choice(_VALUES), chance.choice(_VALUES))
        given[name] = chance.choice(values or made_up).replace("=", "")
        if name in ("CAFFE_LRP_CACHE_DIR", "HOME", "XDG_CACHE_HOME", "TMPDIR", "TMP"):
            given[name] = chance.choice(
                (
                    str(scene / "home"),
                    str(scene / "config.yaml"),
                    "/dev/null",
                    "/proc/self",
                    "",
                    "relative",
                    "\udcff",
                )
            )
    if any(given.get(name) in ("relative", "\udcff") for name in given):
        (scene / "relative").touch()  # a file where they would write in addition to the output
        (scene / os.fsdecode(b"\xff")).touch()
    arguments = command(*chance.choice((FILES, ROWS, ("--shard", "auto"), ("-v",))))
    if is_fresh and any(name.startswith(_OF_COMPILER) for name in names):
        arguments = chance.choice(
            (("--version",), ("--help",), ("status", OUT), ("inspect", "deploy.prototxt"))
        )
        stage.begin(scene, FILES)
    what = ", ".join(f"{name}={value[:30]!r}" for name, value in given.items())
    return Situation(Attempt(arguments, given, is_fresh=is_fresh), what)


# Limits and rights


def limits(stage: Stage, scene: Path, chance: random.Random) -> Situation:
    """Limits of the system that leave too little: files, sizes, address space, threads."""
    choice = chance.randrange(6)
    if choice == 0:
        return _without_rights(stage, scene, chance)
    chosen = chance.choice((FILES, ROWS))
    attempt = Attempt(command(*chosen, *chance.choice(((), ("--threads", "4")))))
    if choice == 1:
        value = chance.choice((3, 4, 5, 6, 8, 10, 12, 16, 24))
        attempt, what = _limited(attempt, resource.RLIMIT_NOFILE, value), f"{value} files"
    elif choice == 2:
        value = chance.choice((1, 100, 1000, 4096, 10_000, 20_000))  # with 0, no message can be written
        attempt, what = _limited(attempt, resource.RLIMIT_FSIZE, value), f"files of {value} bytes"
    elif choice == 3:
        value = address_space() + chance.choice((0, 1, 5, 20, 60)) * _MEGABYTE
        attempt, what = _limited(attempt, resource.RLIMIT_AS, value), "little address space"
    elif choice == 4:
        value = chance.choice((200, 400, 650, 720, 800, 1000, 1300)) * _MEGABYTE
        attempt = _limited(Attempt(attempt.arguments, is_fresh=True), resource.RLIMIT_AS, value)
        what = f"{value // _MEGABYTE} MB of address space from the start"
    else:
        give_away(scene)
        value = chance.choice((0, 1, 2, 3, 5))
        attempt = _limited(Attempt(attempt.arguments, is_nobody=True), resource.RLIMIT_NPROC, value)
        what = f"{value} threads"
    return Situation(attempt, f"limit: {what}", chosen, may_be_refused=False)


def _limited(attempt: Attempt, kind: int, value: int) -> Attempt:
    return Attempt(
        attempt.arguments, limits={kind: value}, is_fresh=attempt.is_fresh, is_nobody=attempt.is_nobody
    )


def give_away(scene: Path) -> None:
    """Give a scene to the user without rights."""
    if os.geteuid():
        return
    for place, _, names in os.walk(scene):
        for path in (Path(place), *(Path(place, name) for name in names)):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


def _without_rights(stage: Stage, scene: Path, chance: random.Random) -> Situation:
    """Files and folders that are not readable or writable."""
    chosen = chance.choice((FILES, ROWS))
    journal = stage.begin(scene, chosen)
    give_away(scene)
    out = scene / OUT
    places = (
        out,
        journal,
        out / "images",
        out / "maps.h5",
        out / "summary.json",
        scene / "config.yaml",
        scene / "images",
        scene / "net.caffemodel",
        scene / "list.txt",
    )
    path = chance.choice([place for place in places if place.exists()])
    mode = chance.choice((0o000, 0o111, 0o444, 0o222, 0o555))
    if chance.random() < 0.5 and (out / "images").is_dir():
        for file in (out / "images").iterdir():
            file.unlink()
    path.chmod(mode)
    given = chance.choice((command(*chosen), command(*chosen, "--overwrite"), ("status", OUT)))
    return Situation(Attempt(given, is_nobody=True), f"{path.name} has the rights {mode:o}")


# Signals and streams


def signals(stage: Stage, scene: Path, chance: random.Random) -> Situation:
    """Signals at random moments, several at times, and streams that cannot be written."""
    chosen = chance.choice((FILES, ROWS))
    is_fresh = chance.random() < 0.1
    span = stage.seconds * (3 if not is_fresh else 30)
    moments = sorted(chance.uniform(0, span) for _ in range(chance.choice((0, 1, 1, 1, 2, 3, 8))))
    numbers = (*TERMINATIONS * 3, signal.SIGKILL, signal.SIGCONT, signal.SIGWINCH)
    sent = [chance.choice(numbers) for _ in moments]
    streams = {}
    if chance.random() < 0.5 or not moments:
        streams = {
            number: chance.choice(("closed", "full", "broken"))
            for number in chance.choice(((1,), (2,), (1, 2)))
        }
    disturbances = tuple(sending(*pair) for pair in zip(moments, sent, strict=True))
    more = chance.choice(((), ("-v",), ("--conservation",), ("--dry-run",)))
    attempt = Attempt(command(*chosen, *more), streams=streams, disturbances=disturbances, is_fresh=is_fresh)
    names = [
        f"{signal.Signals(number).name} at {moment:.3f} s"
        for moment, number in zip(moments, sent, strict=True)
    ]
    broken = [f"stream {number} {how}" for number, how in streams.items()]
    follow = () if "--conservation" in more else chosen
    return Situation(attempt, ", ".join([*names, *broken]), follow, may_be_refused=False)


KINDS: dict[str, Kind] = {
    "options": options,
    "environment": environment,
    "limits": limits,
    "signals": signals,
}
