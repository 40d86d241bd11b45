"""What is read of HDF5 files that may come from anywhere: a few plain datasets, and nothing they lead to."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from database_builders import make

from caffe_lrp.errors import ConfigError
from caffe_lrp.outputs.table import Table

MARKS = np.arange(4, dtype="<u4")
OUTSIDE = "pipe"

Change = Callable[[h5py.File], object]


@pytest.fixture(autouse=True)
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A pipe that nobody writes to: whoever opens it hangs."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo(OUTSIDE)
    yield


def hdf5(change: Change, libver: str = "earliest") -> Path:
    """A small file as ours are, but for a change."""
    path = Path("maps.h5")
    with h5py.File(path, "w", libver=libver) as file:
        file.attrs["description"] = np.bytes_(b"{}")
        file["index"] = MARKS
        file["label"] = np.zeros(4, "<u2")
        change(file)
    return path


def put(name: str, value: object) -> Change:
    """Something else in the place of a dataset."""

    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = value

    return change


def create(name: str, **options: Any) -> Change:
    """Another dataset in the place of one."""

    def change(file: h5py.File) -> None:
        del file[name]
        file.create_dataset(name, **options)

    return change


def describe(value: object) -> Change:
    return lambda file: file.attrs.update({"description": value})


def virtual(file: h5py.File) -> None:
    """A dataset whose very size depends on another file."""
    layout = h5py.VirtualLayout((4,), "<u2", maxshape=(None,))
    everything = slice(0, h5py.h5s.UNLIMITED)
    layout[everything] = h5py.VirtualSource(OUTSIDE, "x", (4,), maxshape=(None,))[everything]
    del file["label"]
    file.create_virtual_dataset("label", layout)


def references(file: h5py.File) -> None:
    create("label", data=[file.ref] * 4, dtype=h5py.ref_dtype)(file)


def group(file: h5py.File) -> None:
    del file["label"]
    file.create_group("label")


def rows_that_are_not_there(file: h5py.File) -> None:
    for name, dtype in (("index", "<u4"), ("label", "<u2")):
        del file[name]
        how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        how.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        how.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        space, kind = h5py.h5s.create_simple((10**12,)), h5py.h5t.py_create(np.dtype(dtype))
        h5py.h5d.create(file.id, name.encode(), kind, space, how)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("label", h5py.ExternalLink(OUTSIDE, "/x")), "'label' is a link to another place"),
        (put("label", h5py.SoftLink("/label")), "'label' is a link to another place"),
        (put("index", h5py.SoftLink("/label")), "'index' is a link to another place"),
        (create("label", shape=(4,), dtype="<u2", external=[(OUTSIDE, 0, 8)]), "'label' is laid out"),
        (create("label", data=MARKS, compression="gzip"), "'label' is laid out differently"),
        (virtual, "'label' is laid out differently"),
        (put("label", np.zeros(5, "<u2")), "'label' is laid out differently: it has 5 rows, not 4"),
        (group, "'label' is not a dataset"),
        (put("label", np.dtype("<u2")), "'label' is not a dataset"),
        (put("label", np.zeros(4, "S3")), "dataset 'label' contains no plain numbers"),
        (put("label", np.zeros(4, [("a", "<u2")])), "dataset 'label' contains no plain numbers"),
        (put("label", np.zeros(4, bool)), "dataset 'label' contains no plain numbers"),
        (create("label", data=["x"] * 4, dtype=h5py.string_dtype()), "'label' contains no plain numbers"),
        (references, "dataset 'label' contains no plain numbers"),
        (put("index", 7), "dataset 'index' has no rows"),
        (put("index", h5py.Empty("<u4")), "dataset 'index' has no rows"),
        (put("index", np.arange(4)), "dataset 'index' holds numbers that are not indices"),
        (put("index", np.zeros((4, 2), "<u4")), "dataset 'index' holds numbers that are not indices"),
        (lambda file: file.pop("index"), "it has no dataset 'index'"),
        (rows_that_are_not_there, "it claims to have 1,000,000,000,000 rows"),
        (lambda file: [file.create_group(f"{n}") for n in range(63)], "it contains more than 64 objects"),
        (describe("a text of any length"), "its attribute 'description' is not a short text"),
        (describe(np.arange(3)), "its attribute 'description' is not a short text"),
        (describe(np.bytes_(b"\xff")), "can't decode byte 0xff"),
        (lambda file: file.attrs.pop("description"), "can't locate attribute"),
    ],
)  # fmt: skip
def test_only_plain_datasets_in_the_file_itself_are_read(change: Change, message: str) -> None:
    path = hdf5(change)
    with pytest.raises(ConfigError, match=f"maps.h5: is not a database of caffe-lrp .*{message}"):
        Table(path)


def test_a_description_of_megabytes_is_not_read() -> None:
    path = hdf5(describe(np.bytes_(b" " * 1_000_000)), libver="latest")
    with pytest.raises(ConfigError, match="its attribute 'description' is not a short text"):
        Table(path)


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_plain_datasets_are_read_in_whatever_version_of_the_format(libver: str) -> None:
    with Table(hdf5(lambda file: None, libver)) as found:
        assert (found.description, found.rows, sorted(found.columns)) == ("{}", 4, ["index", "label"])
        assert found.read("index").tolist() == [0, 1, 2, 3]


def places(path: Path) -> dict[str, int]:
    with h5py.File(path) as file:
        return {name: dataset.id.get_offset() for name, dataset in file.items()}


@pytest.mark.parametrize("name", ["prediction", "label"])
def test_datasets_do_not_lie_one_upon_the_other_or_beyond_the_end(tmp_path: Path, name: str) -> None:
    path = make(tmp_path / "ours.h5", [0])
    content, offsets = path.read_bytes(), places(path)
    for other in (offsets["attribution"], path.stat().st_size - 1, 2**62):
        moved = content.replace(offsets[name].to_bytes(8, "little"), other.to_bytes(8, "little"))
        assert moved != content
        path.write_bytes(moved)
        with pytest.raises(ConfigError, match=r"ours\.h5: is not a database of caffe-lrp .*"):
            Table(path)


@pytest.mark.parametrize("signature", [b"HEAP", b"header"])
def test_sizes_in_a_damaged_structure_take_no_memory(tmp_path: Path, signature: bytes) -> None:
    """To read as much as such a file says has ended the process, or taken gigabytes."""
    path = make(tmp_path / "ours.h5", [0])
    content = bytearray(path.read_bytes())
    if signature == b"HEAP":
        place, size = content.index(b"HEAP") + 8, 8
    else:  # of the root group, whose address stands in the superblock
        place, size = int.from_bytes(content[64:72], "little") + 8, 4
    content[place : place + size] = (4 * 10**9).to_bytes(size, "little")
    content[40:48] = (8 * 10**9).to_bytes(8, "little")  # where the file ends
    path.write_bytes(content)
    os.truncate(path, 8 * 10**9)
    with pytest.raises(ConfigError, match="its structure takes more than 16 MB"):
        Table(path)


def test_a_file_that_is_cut_off_anywhere_or_damaged_anywhere_is_an_error_or_readable(tmp_path: Path) -> None:
    path = make(tmp_path / "ours.h5", [0])
    content, refused = path.read_bytes(), 0
    random_numbers = np.random.default_rng(0)
    cut = [content[:length] for length in range(0, len(content), 97)]
    changed = []
    for place in random_numbers.integers(0, 2200, 150).tolist():
        width = int(random_numbers.choice([1, 2, 4, 8]))
        filling = bytes([random_numbers.choice([0, 1, 0x7F, 0xFF])]) * width
        changed.append(content[:place] + filling + content[place + width :])
    for damaged in (*cut, *changed):
        path.write_bytes(damaged)
        try:
            with Table(path) as found:
                found.is_marked()
        except ConfigError:
            refused += 1
    assert refused > len(cut)
