"""Files of nets: the toolbox's text format, and its pickles."""

from collections.abc import Callable
from os import PathLike
from pathlib import Path

from caffe_lrp.errors import ModelError
from caffe_lrp.files.reading import read_small_file

from .model_pickle import can_be_pickled, pickled
from .model_text import read_text, text_of
from .modules import Sequential
from .paths import Report, existing, format_of, log


def read(path: str | PathLike[str], fmt: str | None = None, report: Report = log) -> Sequential:
    """The net in a file.

    Parameters
    ----------
    path
        The file.
    fmt
        ``txt``; unless given, by the ending of the name.
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
    net = _READERS[kind](source)
    net.report = report
    return net


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


def _read_txt(path: Path) -> Sequential:
    content = read_small_file(path, "model", ModelError, most_megabytes=_MOST_MEGABYTES)
    try:
        return Sequential(read_text(content.decode("ascii"), str(path)))
    except UnicodeDecodeError as fault:
        raise ModelError(f"{path}: is not a text; the toolbox's text format has only ASCII") from fault


def _refuse_pickle(path: Path) -> Sequential:
    raise ModelError(
        f"{path}: pickles are not read, as they can run programs; write the net as text in the toolbox: "
        "model_io.write(model, 'net.txt')"
    )


def _pickled(net: Sequential) -> bytes:
    strange = [type(module).__name__ for module in net.modules if not can_be_pickled(module)]
    if strange:
        raise ModelError(f"{strange[0]} is not a module of the toolbox, whose pickles cannot hold it")
    return pickled(net)


def _text(net: Sequential) -> bytes:
    return "".join(f"{line}\n" for line in text_of(net.modules)).encode("ascii")


#: A text of a net of 50 million weights.
_MOST_MEGABYTES = 1024
_PICKLES = ("nn", "pickle", "pickled", "")
_READERS: dict[str, Callable[[Path], Sequential]] = {
    "txt": _read_txt,
    **dict.fromkeys(_PICKLES, _refuse_pickle),
}
_WRITERS: dict[str, Callable[[Sequential], bytes]] = {"txt": _text, **dict.fromkeys(_PICKLES, _pickled)}
