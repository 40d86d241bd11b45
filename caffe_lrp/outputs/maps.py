"""Reading maps from files written by this program or by the LRP Toolbox.

Files are not trusted: nothing is unpickled, and no memory is allocated for numbers that a file claims to
have but does not.
"""

import io
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.errors import ImageError
from caffe_lrp.files.reading import MEGABYTE, read_small_file
from caffe_lrp.files.recognition import why_no_text
from caffe_lrp.imaging.numpy_file import array_of
from caffe_lrp.kernels.numerals import read_numbers

from .kinds import OUTPUTS

#: A map of a net's input takes a megabyte or two; a file larger than this is something else.
_MOST_MEGABYTES = 512
_ADVICE = "give a file of relevance with shape (channels, height, width) or (height, width)"

#: Exceptions of reading an archive that is damaged, encrypted, or not supported by zipfile.
_ARCHIVE_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError)

#: Names of arrays in ``_relevance.npz``.
_RELEVANCE, _CLASSES, _SCORES, _TARGET = "relevance", "classes", "scores", "target"
#: A list of classes with their scores is short; larger files are something else.
_MOST_SCORES = 1000

#: Bytes of the shortest number with its separator.
_LEAST_BYTES_OF_NUMBER = 2


@dataclass(frozen=True)
class Account:
    """The classes and scores that a map explains.

    Attributes
    ----------
    classes
        The classes explained, the best of them first; empty if unknown.
    best
        The best classes and their scores, best first; empty if unknown.
    score
        Score of the first class explained; None if unknown.
    rank
        Its rank among the classes, from 1; None if unknown.
    """

    classes: tuple[int, ...] = ()
    best: tuple[tuple[int, float], ...] = ()
    score: float | None = None
    rank: int | None = None

    @classmethod
    def among(cls, classes: tuple[int, ...], best: tuple[tuple[int, float], ...]) -> "Account":
        """Return the account of classes, with score and rank looked up in the list of the best ones."""
        places = [index for index, _ in best]
        if not classes or classes[0] not in places:
            return cls(classes, best)
        place = places.index(classes[0])
        return cls(classes, best, best[place][1], place + 1)


def is_map_file(path: Path) -> bool:
    """Return whether a file is named like a map file."""
    return path.suffix.lower() in _READERS


def stem_of(path: Path) -> str:
    """Return the name of a map file without the suffix of its kind: ``cat.jpg`` for ``cat.jpg_rawhm.txt``."""
    for kind in FILES_OF_MAPS:
        suffix = OUTPUTS[kind].suffix
        if path.name.endswith(suffix) and path.name != suffix:
            return path.name.removesuffix(suffix)
    return path.stem


def read_map(path: Path) -> NDArray[Any]:
    """Return the relevance in a file, (C, H, W) or (H, W), of any real type.

    Raises
    ------
    ImageError
        The file cannot be read, is damaged, or contains something else.
    """
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise ImageError(f"{path}: its name must end with one of {', '.join(_READERS)}; {_ADVICE}")
    relevance = read(path, _content(path))
    if relevance.ndim not in (2, 3):
        found = "×".join(map(str, relevance.shape))
        raise ImageError(f"{path}: holds {found} numbers, which is not a map; {_ADVICE}")
    return relevance


def read_account(path: Path) -> Account:
    """Return the classes and scores of a map, from its file and the list of scores beside it.

    Damage is ignored here: reading the map reports it.
    """
    try:
        if path.suffix.lower() == ".npz":
            return _account_in(path)
        scores = path.with_name(stem_of(path) + OUTPUTS["top10"].suffix)
        if scores.is_file():
            return Account(best=_scores_in(_content(scores)))
    except (ImageError, OSError):
        return Account()
    return Account()


def _content(path: Path) -> bytes:
    return read_small_file(path, "map", ImageError, most_megabytes=_MOST_MEGABYTES)


def _npy(path: Path, content: bytes) -> NDArray[Any]:
    return array_of(content, path, ImageError, _ADVICE)


def _npz(path: Path, content: bytes) -> NDArray[Any]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
            wanted = f"{_RELEVANCE}.npy"
            if wanted not in names and len(names) != 1:
                raise ImageError(f"{path}: contains no array '{_RELEVANCE}'; {_ADVICE}")
            return _npy(path, _member(archive, wanted if wanted in names else names[0]))
    except _ARCHIVE_DAMAGE as fault:
        raise ImageError(f"{path}: cannot be read as .npz: {fault or 'it is damaged'}; {_ADVICE}") from fault


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Return a file in an archive; ValueError if it is larger than a map, whatever the archive claims."""
    with archive.open(name) as file:
        content = file.read(_MOST_MEGABYTES * MEGABYTE + 1)
    if len(content) > _MOST_MEGABYTES * MEGABYTE:
        raise ValueError(f"'{name}' has more than {_MOST_MEGABYTES} MB")
    return content


def _account_in(path: Path) -> Account:
    found: dict[str, list[Any]] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(_content(path))) as archive:
            for name in (_CLASSES, _SCORES, _TARGET):
                if f"{name}.npy" in archive.namelist():
                    numbers = _npy(path, _member(archive, f"{name}.npy")).reshape(-1)
                    found[name] = numbers[:_MOST_SCORES].tolist()
        best = zip(map(int, found.get(_CLASSES, [])), map(float, found.get(_SCORES, [])), strict=False)
        return Account.among(tuple(map(int, found.get(_TARGET, []))), tuple(best))
    except (*_ARCHIVE_DAMAGE, OverflowError):
        return Account()


def _raw_heatmap(path: Path, content: bytes) -> NDArray[Any]:
    """The number of channels, "H W", then every channel's rows. Source: manual: toolbox, "Output files"."""
    lines = content.split(b"\n", 2)
    head = b" ".join(lines[:2]).split()
    if len(lines) < 3 or len(head) != 3 or not all(word.isdigit() and len(word) < 10 for word in head):
        reason = why_no_text(content, "raw heatmap") or "is not a raw heatmap (_rawhm.txt)"
        raise ImageError(f"{path}: {reason}")
    shape = channels, height, width = (int(head[0]), int(head[1]), int(head[2]))
    count = channels * height * width
    is_short = count * _LEAST_BYTES_OF_NUMBER > len(lines[2]) + 1
    numbers = np.empty(0, np.float32) if is_short else _numbers(lines[2], count)
    if not count or len(numbers) != count:
        raise ImageError(
            f"{path}: should have {channels}×{height}×{width} numbers, but does not; get a complete copy"
        )
    return numbers.reshape(shape)


def _numbers(text: bytes, count: int) -> NDArray[np.float32]:
    """Return the first ``count`` numbers of a text; fewer if something else comes earlier."""
    numbers = np.empty(count, np.float32)
    if read_numbers(np.frombuffer(bytearray(text), np.uint8), numbers) == count:
        return numbers
    try:  # infinities, and numbers of many digits
        with np.errstate(over="ignore"):  # numbers that are too large become infinite
            return np.array([*map(float, text.split()[:count])]).astype(np.float32)
    except ValueError:
        return np.empty(0, np.float32)


def _scores_in(content: bytes) -> tuple[tuple[int, float], ...]:
    """Return the classes in ``_top10scores.txt``, best first, as far as they can be read."""
    found = []
    for line in content.splitlines()[:_MOST_SCORES]:
        words = line.split()
        try:
            found.append((int(words[0]), float(words[1])))
        except (ValueError, IndexError):
            break
    return tuple(found)


#: Suffix of a name -> function that reads the relevance from the content; the path is for errors.
_READERS: Mapping[str, Callable[[Path, bytes], NDArray[Any]]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".txt": _raw_heatmap,
}

#: Kinds of output with a map, the fastest to read first.
FILES_OF_MAPS = ("npy", "npz", "rawhm")
