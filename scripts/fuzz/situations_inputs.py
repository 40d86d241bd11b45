"""Situations of `fuzz_situations.py` with hostile input: configs, lists, NumPy files, pictures, archives."""

import io
import json
import random
import struct
import tarfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import fuzz_mutations
from fuzz_mutations import EXTREMES, mutated
from fuzz_parsers import image_seeds
from hostile_process import Attempt
from hostile_scene import OUT, OUTSIDE, command
from situations_base import Kind, Situation, Stage, argument, hostile_text, put_something_else

_MILLION = 1_000_000
_PNG = b"\x89PNG\r\n\x1a\n"
_IMAGE_SEEDS = {name: seeds for name, seeds in image_seeds().items() if name != "png"}


def _config_run(config: str, chance: random.Random) -> Attempt:
    """A command that reads a config."""
    return Attempt(
        chance.choice(
            (
                command(config=config),
                ("-c", config, "--dry-run"),
                ("-c", config, "-f", "list.txt", "-p", OUT, "--dry-run"),
                ("convert-config", config, f"{OUT}/new.yaml"),
            )
        )
    )


# YAML

#: Whole files, and lines to put in.
_YAML_FILES = (
    "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: &d [*c,*c]\nformula: *d\n", "&a [*a]\n",
    "&a {formula: *a}\n", "!!python/object/apply:os.system ['touch outside/run']\n", "--- 1\n--- 2\n",
    "...\n", "- a\n- b\n", "42\n", "%YAML 9.9\n---\nformula: 1\n", "%TAG ! tag:x,2000:\n---\n!x formula: 1\n",
    "{" * 5000, "[" * 100_000, "? " * 5000, "- " * 30_000, "a: " * 20_000, "'" + "x" * 90_000,
    "formula: |\n" + "  x\n" * 20_000, "\t\tformula: 1\n", "? [formula]\n: 1\n", "\ufeff", "null\n", "~\n",
    "!!binary aGVsbG8=\n", "formula: 0\n" * 5000, "#" * 99_000, "{}", "\x85\u2028formula: 1",
    "? &x {formula: 1}\n: *x\n", "*a", "&a", "!", "|", ">", "@a", "`a", "\x00", "\udcff",
)  # fmt: skip
_YAML_VALUES = (
    "!!python/object:os.system x", "!!python/name:os.system", "!!float 1", "!!int '1'", "!!str 1", "!!null x",
    "!!set {a}", "!!timestamp 2000-01-01", "!!binary 'AAAA'", "!!omap [a: 1]", "<<: {formula: 0}", "*x",
    "&x 1", "{a: 1}", "[1, [2, [3]]]", "[1, 2, 3, 4]", "[]", "{}", "''", "~", "1e400", "-.inf", ".nan",
    ".NaN", "0o777", "0b11", "0x1F", "1_000", "1:30:00", "190:20:30", "2001-12-14", "yes", "no", "on", "|",
    ">", "|\n    a\n    b", "'\\0'", '"\\0"', '"\\ud800"', '"\\U00110000"', '"\\x1b[2J"', "9" * 5000,
    "1" * 50_000, "1e" + "9" * 400, "0." + "0" * 5000 + "1", "[" + "1," * 20_000 + "1]", "٣", "²", "1 2",
)  # fmt: skip
_YAML_LINES = (
    "<<: *x", "<<: {epsilon: 2}", "<<: [{a: 1}, {b: 2}]", "? formula", ": 1", "preprocess: {}",
    "preprocess: [1]", "preprocess:\n  preprocess:\n    base_size: 3", "formula: 2", "relpropformulatype: 2",
    "unknown: 1", "? {a: 1}\n: 2", "1: 2", "true: 1", "~: 1", "[a]: 1", "&a a: *a", "'formula': 1",
    '"formula\\0": 1', "!!str formula: 1", "- a", "%x", "---", "...",
)  # fmt: skip


def yaml(_: Stage, scene: Path, chance: random.Random) -> Situation:
    """Configs in YAML with tags, aliases, cycles, and invalid values."""
    path = scene / "config.yaml"
    text = path.read_text()
    choice = chance.randrange(10)
    if choice == 0:
        text, what = chance.choice(_YAML_FILES), "a whole file"
    elif choice == 1:
        what = put_something_else(path, chance, with_pipes=False)
        return Situation(_config_run("config.yaml", chance), what)
    elif choice == 2:
        path.write_bytes(mutated([text.encode()], fuzz_mutations.TEXT, chance))
        return Situation(_config_run("config.yaml", chance), "bytes damaged")
    else:
        lines = text.splitlines()
        for _count in range(chance.choice((1, 1, 2, 3))):
            place = chance.randrange(len(lines))
            key = lines[place].partition(":")[0]
            value = chance.choice(
                (chance.choice(_YAML_VALUES), json.dumps(hostile_text(chance)), hostile_text(chance))
            )
            lines[place] = chance.choice((f"{key}: {value}", f"{key}: {value}", chance.choice(_YAML_LINES)))
        text, what = "\n".join(lines), "values"
    path.write_bytes(text.encode(errors="surrogateescape"))
    return Situation(_config_run("config.yaml", chance), f"YAML: {what}")


def configs(_: Stage, scene: Path, chance: random.Random) -> Situation:
    """Configs as text, and the files that they name."""
    name = chance.choice(
        ("config.txt", "config.txt", "config.txt", "deploy.prototxt", "net.caffemodel", "synset.txt")
    )
    path = scene / name
    choice = chance.randrange(4)
    if choice == 0:
        what = put_something_else(path, chance, with_pipes=not name.startswith("config"))
    elif choice == 1 or name != "config.txt":
        damages = fuzz_mutations.MESSAGE if name.endswith("model") else fuzz_mutations.TEXT
        path.write_bytes(mutated([path.read_bytes()], damages, chance))
        what = "damaged"
    else:
        lines = path.read_text().splitlines()
        for _count in range(chance.choice((1, 1, 2))):
            lines[chance.randrange(len(lines))] = hostile_text(chance)
        path.write_bytes("\n".join(lines).encode(errors="surrogateescape"))
        what = "values"
    if name != "config.txt" and chance.random() < 0.3:
        return Situation(Attempt(("inspect", "deploy.prototxt", "net.caffemodel")), f"{name}: {what}")
    return Situation(_config_run("config.txt", chance), f"{name}: {what}")


# Images


def _npy(chance: random.Random) -> bytes:
    """Return a NumPy file with an arbitrary header."""
    kinds = (
        "'<f4'", "'>f8'", "'|u1'", "'|O'", "'<f2'", "'<c8'", "'<U5'", "'|V8'", "'<M8[s]'", "'|b1'", "'<i8'",
        "'junk'", "None", "5", "[('a', '<f4')]", "[('a', '<f4', (3, 12, 12))]", "'f4,f4'", "'<f16'",
        "'" + "x" * 5000 + "'", "[('a', '|O')]",
    )  # fmt: skip
    shapes = (
        "(3, 12, 12)", "(12, 12, 3)", "(3, 12, 12,)", "()", "(0,)", "(3, 0, 12)", "(-1, 12, 12)",
        "(3, 65536, 65536)", "(4294967296, 4294967296, 4294967296)", f"({2**63}, 1, 1)", "(1.5, 2)",
        "(True, 12, 12)", "'abc'", "[3, 12, 12]", "None", "(" * 500 + ")" * 500, f"({'9' * 5000},)",
        "(1, 3, 12, 12)", "(3, 1000000000, 12)", "(432,)", "3", "(3, 12)",
    )  # fmt: skip
    kind, shape = chance.choice((*kinds[:1] * 8, *kinds)), chance.choice((*shapes[:1] * 5, *shapes))
    order = chance.choice(("False", "False", "True", "1", "None", "[]"))
    header = f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}, }}"
    wholes = (
        "{}",
        "[]",
        "1",
        "",
        "{'descr'",
        "__import__('os').system('touch outside/run')",
        "(" * 3000,
        "{'a': " * 200,
    )
    header = (
        chance.choice((*[header] * 9, chance.choice(wholes))) + " " * chance.choice((0, 7, 70_000)) + "\n"
    )
    version = chance.choice((1, 1, 1, 2, 3, 4, 0, 255))
    length = struct.pack("<H" if version == 1 else "<I", min(len(header), 65535 if version == 1 else 2**31))
    if chance.random() < 0.15:
        length = struct.pack("<H" if version == 1 else "<I", chance.choice((0, 1, 65535)))
    numbers = struct.pack(
        "<432f", *[chance.choice((0.0, 1.0, -1e38, 3e38, float("nan"), float("inf"))) for _ in range(432)]
    )
    return (
        b"\x93NUMPY"
        + bytes([version, 0])
        + length
        + header.encode()
        + numbers[: chance.choice((0, 5, 1728, 1728, 1728))]
    )


def _chunk(kind: bytes, body: bytes, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return struct.pack(">I", size % 2**32) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _bomb(megabytes: int) -> bytes:
    """Return compressed zeros."""
    packer = zlib.compressobj(9)
    piece = b"\0" * 2**20
    return b"".join([*(packer.compress(piece) for _ in range(megabytes)), packer.flush()])


def _png(chance: random.Random) -> bytes:
    """Return a PNG of chunks that do not fit together."""
    width, height = (chance.choice((1, 12, 12, 15, 0, 70_000, 2**31 - 1, 2**31, 2**32 - 1)) for _ in range(2))
    depth, colour = chance.choice(
        ((8, 2), (8, 2), (16, 6), (1, 0), (8, 3), (2, 3), (3, 2), (255, 7), (16, 3))
    )
    ihdr = struct.pack(
        ">IIBBBBB", width, height, depth, colour, chance.choice((0, 0, 0, 1)), 0, chance.choice((0, 0, 1, 9))
    )
    data = chance.choice(
        (
            zlib.compress(bytes(15 * 46)),
            zlib.compress(chance.randbytes(1000)),
            b"",
            b"\0" * 50,
            _bomb(chance.choice((1, 30, 120))),
        )
    )
    texts = (
        _chunk(b"zTXt", b"Comment\0\0" + _bomb(100)), _chunk(b"iCCP", b"x\0\0" + _bomb(100)),
        _chunk(b"iTXt", b"Comment\0\1\0\0\0" + _bomb(80)), _chunk(b"tEXt", b"x" * 200_000),
        _chunk(b"eXIf", b"II*\0" + chance.randbytes(50)),
        _chunk(b"PLTE", chance.randbytes(chance.choice((0, 3, 4, 768, 900)))),
        _chunk(b"tRNS", chance.randbytes(chance.choice((0, 1, 6, 300)))), _chunk(b"gAMA", bytes(4)),
        _chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0)), _chunk(b"fcTL", chance.randbytes(26)),
        _chunk(b"fdAT", chance.randbytes(30)), _chunk(b"abcd", b"", chance.choice(EXTREMES)),
        _chunk(b"IHDR", ihdr), _chunk(b"sBIT", b"\xff" * 4), _chunk(b"cHRM", bytes(32)),
        _chunk(b"\0\0\0\0", b""), _chunk(b"tEXt", b"x") * 20_000,
    )  # fmt: skip
    parts = [
        _chunk(b"IHDR", ihdr),
        *chance.sample(texts, chance.choice((0, 0, 1, 2))),
        _chunk(b"IDAT", data),
        _chunk(b"IEND", b""),
    ]
    if chance.random() < 0.2:
        chance.shuffle(parts)
    if chance.random() < 0.1:
        parts *= 3
    return _PNG + b"".join(parts)


def _image_situation(scene: Path, name: str, content: bytes, what: str) -> Situation:
    (scene / name).write_bytes(content)
    (scene / "list.txt").write_text(f"images/000.png 1\n{name} -1\n")
    return Situation(Attempt(command()), what)


def npy(_: Stage, scene: Path, chance: random.Random) -> Situation:
    """NumPy files with arbitrary headers, as images and as mean."""
    content = _npy(chance)
    if chance.random() < 0.25:
        (scene / "mean.npy").write_bytes(content)
        text = (
            (scene / "config.yaml")
            .read_text()
            .replace("mean_values: [104, 117.5, 123]", "mean_file: mean.npy\n  mean_format: 1")
        )
        (scene / "config.yaml").write_text(text)
        return Situation(Attempt(command()), "a mean in a NumPy file")
    situation = _image_situation(scene, "images/hostile.npy", content, "a NumPy file")
    if chance.random() < 0.05:
        with (scene / "images" / "hostile.npy").open("r+b") as file:
            file.truncate(chance.choice((2**30 - 1, 2**31, 2**36)))
    return situation


def png(_: Stage, scene: Path, chance: random.Random) -> Situation:
    """PNGs with chunks that do not fit together, or that expand enormously."""
    return _image_situation(scene, "images/hostile.png", _png(chance), "a PNG")


def images(_: Stage, scene: Path, chance: random.Random) -> Situation:
    """Damaged pictures of all other formats, archives, and files that are not pictures."""
    choice = chance.randrange(6)
    if choice == 0:
        (scene / "images.tar").write_bytes(_tar(scene, chance))
        return Situation(Attempt(("-c", "config.yaml", "--images", "images.tar", "-p", OUT)), "a tar archive")
    if choice == 1:
        what = put_something_else(scene / "images" / "001.jpg", chance)
        run = chance.choice((command(), ("-c", "config.yaml", "--images", "images", "-p", OUT)))
        return Situation(Attempt(run), f"an image is {what}")
    kind = chance.choice(sorted(_IMAGE_SEEDS))
    content = mutated(_IMAGE_SEEDS[kind], fuzz_mutations.BYTES, chance)
    return _image_situation(
        scene,
        f"images/hostile.{chance.choice(('jpg', 'tif', 'gif', 'webp', 'png'))}",
        content,
        f"a damaged {kind}",
    )


def _tar(scene: Path, chance: random.Random) -> bytes:
    """Return an archive whose members have names and kinds that no image has."""
    buffer = io.BytesIO()
    kinds = (tarfile.REGTYPE,) * 5 + (
        tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE,
        tarfile.GNUTYPE_SPARSE, b"Z",
    )  # fmt: skip
    names = (
        "images/a.png", "images/../../outside/b.png", "/images/c.png", "../outside/d.png", "images/a.png", "",
        "images/" + "x" * 500 + ".png", "images/\udcff.png", "images/a\nb.png", "images//./e.png",
        "images/f.png/g.png",
    )  # fmt: skip
    content = (scene / "images" / "000.png").read_bytes()
    with tarfile.open(
        fileobj=buffer, mode="w", format=chance.choice((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT))
    ) as archive:
        for _ in range(chance.randint(1, 5)):
            member = tarfile.TarInfo(chance.choice(names))
            member.type = chance.choice(kinds)
            member.linkname = chance.choice(("images/a.png", f"../{OUTSIDE}/canary.txt", ""))
            if member.type == tarfile.REGTYPE:
                member.size = len(content)
            member.pax_headers = chance.choice(
                ({}, {}, {"path": "../x"}, {"size": "9" * 40}, {"comment": "x" * 100_000})
            )
            archive.addfile(member, io.BytesIO(content))
    return (
        mutated([buffer.getvalue()], fuzz_mutations.BYTES, chance)
        if chance.random() < 0.6
        else buffer.getvalue()
    )


# Lists


def _list_contents(chance: random.Random) -> tuple[Callable[[], bytes], ...]:
    """Whole lists; made only when chosen, as some are long."""
    image = b"images/000.png"
    return (
        lambda: image + b" " * 10 * _MILLION + b"1\n",
        lambda: b"\n" * 5 * _MILLION + image + b" 1\n",
        lambda: b" \t" * 3 * _MILLION,
        lambda: b"x" * 20 * _MILLION,
        lambda: b'"' + image + b" 1\n" * 1000,
        lambda: b'"' * 100_001,
        lambda: b"'images/000.png 1\n",
        lambda: b"\\" * 100_000 + b" 1\n",
        partial(chance.randbytes, 5000),
        lambda: b"\0" * 100_000,
        lambda: image + b" " + b"9" * chance.choice((5, 10, 20, 400, 5000, 70_000)) + b"\n",
        lambda: image + b" -" + b"9" * chance.choice((1, 5, 20, 5000)) + b"\n",
        lambda: (image + b" 1\n") * 100_000,
        lambda: b"".join(b"images/no%d.png 1\n" % number for number in range(2000)),
        lambda: b"\xff\xfe" + "images/000.png 1\n".encode("utf-16-le"),
        lambda: b"\xef\xbb\xbf" * 3 + image + b" 1\n",
        lambda: image + b" 1\r" * 3,
        partial(str.encode, "images/000.png\u20281\u2029images/001.jpg\x851\n"),
        lambda: b"#" * 5 * _MILLION,
        lambda: b"images/" + b"a/" * 50_000 + b"x.png 1\n",
        lambda: b"images/" + b"../" * 5000 + b"x.png 1\n",
        lambda: b"images/\xff\xfe.png 1\n",
        lambda: b"".join(
            b"images/000.png %s\n" % hostile_text(chance).encode(errors="surrogateescape") for _ in range(20)
        ),
        lambda: (
            b"".join(b"%s 1\n" % hostile_text(chance).encode(errors="surrogateescape") for _ in range(20))
            + image
            + b" 1\n"
        ),
    )


def lists(_: Stage, scene: Path, chance: random.Random) -> Situation:
    """Lists with endless lines, open quotes, absurd classes, and through pipes."""
    path = scene / "list.txt"
    more = chance.choice(((), (), ("--dry-run",), ("--suffix-target",), ("--top", "2")))
    choice = chance.randrange(8)
    if choice == 0:
        return Situation(Attempt(command("--dry-run", images=argument(chance) or "x")), "a list of that name")
    if choice == 1:
        content = mutated([path.read_bytes()], fuzz_mutations.TEXT, chance)[:60_000]
        return Situation(
            Attempt(command(*more, images="/dev/stdin"), standard_input=content),
            "a damaged list through a pipe",
        )
    if choice == 2:
        (scene / "images" / "linked").symlink_to(f"../{OUTSIDE}")
        path.write_text(f"images/000.png 1\nimages/linked/canary.txt 1\n{OUTSIDE}/images/x.png 1\n")
    elif choice == 3:
        path.write_bytes(mutated([path.read_bytes()], fuzz_mutations.TEXT, chance))
    else:
        path.write_bytes(chance.choice(_list_contents(chance))())
    size, begin = path.stat().st_size, path.read_bytes()[:30]
    return Situation(Attempt(command(*more)), f"a list of {size} bytes that begins with {begin!r}")


KINDS: dict[str, Kind] = {
    "yaml": yaml,
    "configs": configs,
    "npy": npy,
    "png": png,
    "images": images,
    "lists": lists,
}
