"""Files of nets: the toolbox's text format, and its pickles."""

from collections.abc import Callable, Iterable
from os import PathLike
from pathlib import Path

from caffe_lrp.errors import ModelError, about
from caffe_lrp.formats.importers.toolbox.module import Module as StoredModule
from caffe_lrp.formats.importers.toolbox.pickled import read_pickle
from caffe_lrp.formats.importers.toolbox.text import read_text

from .model_pickle import can_be_pickled, pickled
from .model_text import module_of, text_of
from .modules import Sequential
from .paths import Report, existing, format_of, log


def read(path: str | PathLike[str], fmt: str | None = None, report: Report = log) -> Sequential:
    """The net in a file.

    Parameters
    ----------
    path
        The file.
    fmt
        ``txt``, or ``nn`` (``pickle``, ``pickled``), of which nothing is run; unless given, by the ending of
        the name.
    report
        Called with the line that the toolbox prints; the net reports to it as well.

    Raises
    ------
    ModelError
        The file is damaged, or of a format that cannot be read.
    FileNotFoundError
        There is no such file.
    """
    source = existing(path, "model_io.read")
    kind = format_of(source, fmt, _READERS)
    report(f"loading {kind}-formatted network model from {source}")
    with about(ModelError, place=source, file=source):
        return Sequential([module_of(stored) for stored in _READERS[kind](source)], report)


def write(model: Sequential, path: str | PathLike[str], fmt: str | None = None, report: Report = log) -> None:
    """Write a net to a file, which is replaced if it exists; the last pass is forgotten, as in the toolbox.

    Parameters
    ----------
    model
        The net.
    path
        The file.
    fmt
        ``txt``, or ``nn`` (``pickle``, ``pickled``) for the toolbox; unless given, by the ending of the name.
    report
        Called with the line that the toolbox prints.

    Raises
    ------
    ModelError
        The net has modules that the toolbox lacks.
    """
    target = Path(path)
    kind = format_of(target, fmt, _WRITERS)
    model.clean()
    content = _WRITERS[kind](model)
    report(f"writing model in {kind}-format to {target}")
    target.write_bytes(content)


def _read_txt(path: Path) -> Iterable[StoredModule]:
    return read_text(path).modules


def _pickled(net: Sequential) -> bytes:
    strange = [type(module).__name__ for module in net.modules if not can_be_pickled(module)]
    if strange:
        raise ModelError(f"{strange[0]} is not a module of the toolbox, whose pickles cannot hold it")
    return pickled(net)


def _text(net: Sequential) -> bytes:
    return "".join(f"{line}\n" for line in text_of(net.modules)).encode("ascii")


_PICKLES = ("nn", "pickle", "pickled", "")
_READERS: dict[str, Callable[[Path], Iterable[StoredModule]]] = {
    "txt": _read_txt,
    **dict.fromkeys(_PICKLES, read_pickle),
}
_WRITERS: dict[str, Callable[[Sequential], bytes]] = {"txt": _text, **dict.fromkeys(_PICKLES, _pickled)}
