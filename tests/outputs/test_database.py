"""Databases of maps: what plain h5py reads from them, what they refuse, and going on after a kill."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import h5py
import numpy as np
import pytest
from database_builders import SETTINGS, SHAPE, check_row, explanation_of, make

from caffe_lrp.errors import ImageError, OutputError, UsageError
from caffe_lrp.files.atomic import sync_path
from caffe_lrp.outputs import database, table
from caffe_lrp.outputs.database import AttributionDatabase, input_path_of

#: Writes the rows of a database that are missing, a little slower than it could.
WRITER = """
import sys, time
from pathlib import Path
from caffe_lrp.outputs.database import AttributionDatabase
from database_builders import SHAPE, explanation_of
from test_database import LONG

folder = Path(sys.argv[1])
with AttributionDatabase(folder / "maps.h5", LONG, with_input=True) as maps:
    (folder / "begun").touch()
    for count, row in enumerate((~maps.rows_done()).nonzero()[0].tolist()):
        maps.write(row, explanation_of(row), row)
        time.sleep(0.0005)
        if count % 7 == 6:
            maps.flush()
"""
LONG = replace(SHAPE, rows=300)


def test_plain_h5py_reads_what_was_written(tmp_path: Path) -> None:
    path = make(tmp_path / "new" / "maps.h5", [0, 1, 2, 3, 4, 5])
    with h5py.File(path, "r") as file:
        layout = {name: (dataset.dtype.str, dataset.shape) for name, dataset in file.items()}
        assert [dataset.chunks for dataset in file.values()] == [None] * 4
        assert file.attrs["description"].decode() == SETTINGS
    assert layout == {
        "attribution": ("<f4", (6, 3, 4, 5)),
        "prediction": ("<f4", (6, 7)),
        "label": ("<u2", (6,)),
        "index": ("<u4", (6,)),
    }
    for row in range(6):
        check_row(path, row, row)
    assert path.read_bytes()[8] == 0  # version of the superblock: the earliest
    assert [file.name for file in path.parent.iterdir()] == ["maps.h5"]


def test_maps_of_half_precision(tmp_path: Path) -> None:
    path = make(tmp_path / "maps.h5", [3], dtype="float16")
    with h5py.File(path, "r") as file:
        assert file["attribution"].dtype == np.float16
    check_row(path, 0, 3, "float16")


def test_pictures_lie_beside_the_maps(tmp_path: Path) -> None:
    shape = replace(SHAPE, channels=8, height=2, width=2, input_size=(9, 9))
    path = make(tmp_path / "maps.h5", [4, 5], shape, with_input=True)
    with h5py.File(tmp_path / "maps.input.h5", "r") as file:
        assert (file["data"].dtype, file["data"].shape) == (np.uint8, (6, 3, 9, 9))
        assert (file["label"].dtype, file["label"].shape) == (np.uint16, (6,))
        np.testing.assert_array_equal(file["data"][1], explanation_of(5, shape).input.transpose(2, 0, 1))
        assert file["label"][1] == 5
    assert input_path_of(path) == tmp_path / "maps.input.h5"


def test_many_classes_take_labels_of_32_bits(tmp_path: Path) -> None:
    shape = replace(SHAPE, rows=1, classes=70_000)
    with AttributionDatabase(tmp_path / "maps.h5", shape) as maps:
        maps.write(0, replace(explanation_of(0, shape), target=(69_999,)), 0)
    with h5py.File(tmp_path / "maps.h5", "r") as file:
        assert (file["label"].dtype, file["label"][0]) == (np.uint32, 69_999)


def test_rows_that_are_not_written_are_told_apart(tmp_path: Path) -> None:
    path = make(tmp_path / "maps.h5", [])
    with AttributionDatabase(path, SHAPE, description=SETTINGS) as maps:
        maps.write(4, explanation_of(1), 1)
        maps.write(2, explanation_of(0), 0)
        assert not maps.rows_done().any()
        maps.flush()
        assert maps.rows_done().nonzero()[0].tolist() == [2, 4]
    with h5py.File(path, "r") as file:  # neither an index nor a class that there is
        assert file["index"][0] == 2**32 - 1
        assert file["label"][0] == 2**16 - 1


def test_a_row_counts_when_its_picture_is_there_too(tmp_path: Path) -> None:
    path = make(tmp_path / "maps.h5", [0, 1, 2])
    with AttributionDatabase(path, SHAPE, "float32", True, SETTINGS) as maps:
        assert not maps.rows_done().any()
        maps.write(1, explanation_of(1), 1)
        maps.flush()
        assert maps.rows_done().tolist() == [False, True, False, False, False, False]


def test_the_same_rows_give_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    one = make(tmp_path / "one.h5", range(6), with_input=True)
    two = make(tmp_path / "two.h5", [0], with_input=True)
    with AttributionDatabase(two, SHAPE, "float32", True, SETTINGS) as maps, ThreadPoolExecutor(4) as pool:
        time.sleep(1.1)  # of which there must be no trace
        for _ in pool.map(lambda row: maps.write(row, explanation_of(row), row), [5, 3, 1, 2, 4, 3, 0]):
            maps.flush()
    assert one.read_bytes() == two.read_bytes()
    assert input_path_of(one).read_bytes() == input_path_of(two).read_bytes()


def test_rows_count_without_a_flush_before_too_many_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_MOST_PENDING", 3)
    with AttributionDatabase(tmp_path / "maps.h5", SHAPE) as maps:
        for row in range(4):
            maps.write(row, explanation_of(row), row)
        assert np.count_nonzero(maps.rows_done()) == 3


def test_a_database_can_be_read_while_it_is_written(tmp_path: Path) -> None:
    with AttributionDatabase(tmp_path / "maps.h5", SHAPE) as maps, h5py.File(tmp_path / "maps.h5") as file:
        maps.write(0, explanation_of(3), 3)
        maps.flush()
        assert file["index"][0] == 3


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_comes_to_the_same_end(tmp_path: Path) -> None:
    moments = random.Random(0)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    counts = []
    for _ in range(5):
        (tmp_path / "begun").unlink(missing_ok=True)
        with subprocess.Popen(command, env=environment) as process:
            while not (tmp_path / "begun").exists():
                assert process.poll() is None
                time.sleep(0.001)
            time.sleep(moments.uniform(0, 0.06))
            process.send_signal(signal.SIGKILL)
        counts.append(check_half_written(tmp_path / "maps.h5"))
    assert counts == sorted(counts)
    subprocess.run(command, env=environment, check=True)
    with AttributionDatabase(tmp_path / "whole.h5", LONG, with_input=True) as maps:
        for row in range(LONG.rows):
            maps.write(row, explanation_of(row), row)
    for ours, theirs in (("maps.h5", "whole.h5"), ("maps.input.h5", "whole.input.h5")):
        assert (tmp_path / ours).read_bytes() == (tmp_path / theirs).read_bytes()


def check_half_written(path: Path) -> int:
    """How many rows are done, all of them complete."""
    with h5py.File(path, "r") as maps, h5py.File(input_path_of(path), "r") as inputs:
        done = np.flatnonzero(maps["index"][:] != 2**32 - 1).tolist()
        for row in done:
            np.testing.assert_array_equal(inputs["data"][row], explanation_of(row).input.transpose(2, 0, 1))
    for row in done:
        check_row(path, row, row)
    return len(done)


@pytest.mark.parametrize("moment", ["new", "filled"])
def test_a_kill_while_the_file_is_made_leaves_no_file_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(*((table, "_create") if moment == "new" else (os, "link")), die)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "maps.h5", [])
    assert list(tmp_path.iterdir()) == []


def test_without_hard_links_the_file_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", fail)
    check_row(make(tmp_path / "maps.h5", [2]), 0, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["maps.h5"]


def test_a_file_that_another_process_has_just_made_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make(tmp_path / "other.h5", [5])

    def be_late(_: Path, path: Path) -> None:
        shutil.copy(other, path)
        raise FileExistsError

    monkeypatch.setattr(os, "link", be_late)
    with AttributionDatabase(tmp_path / "maps.h5", SHAPE, description=SETTINGS) as maps:
        assert maps.rows_done()[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": 7}, "holds 6 rows of .*, but this run makes 7 rows of .*; move or rename it"),
        ({"height": 5}, "attribution float32 3×4×5.* attribution float32 3×5×5"),
        ({"classes": 8}, "prediction float32 7.* prediction float32 8"),
    ],
)
def test_a_file_of_another_shape_is_refused(tmp_path: Path, change: dict[str, int], message: str) -> None:
    path = make(tmp_path / "maps.h5", [0])
    before = path.read_bytes()
    with pytest.raises(OutputError, match=f"{path}: .*{message}"):
        AttributionDatabase(path, replace(SHAPE, **change), description=SETTINGS)  # type: ignore[arg-type]
    assert path.read_bytes() == before


def test_a_file_of_another_type_or_run_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path / "maps.h5", [0])
    with pytest.raises(OutputError, match=r"attribution float32 .* attribution float16"):
        AttributionDatabase(path, SHAPE, "float16", description=SETTINGS)
    different = r'different settings from this run \(formula: 100, not 102; model; net: "größer", not null\)'
    with pytest.raises(OutputError, match=different):
        AttributionDatabase(path, SHAPE, description=json.dumps({"formula": 102, "model": 64 * "0"}))
    make(tmp_path / "maps.input.h5", [])
    with pytest.raises(OutputError, match=r"maps.input.h5: holds .* data uint8 3×4×5"):
        AttributionDatabase(path, SHAPE, "float32", True, SETTINGS)


def test_a_file_of_another_run_is_replaced_if_that_is_asked_for(tmp_path: Path) -> None:
    path = make(tmp_path / "maps.h5", [0])
    before = path.read_bytes()
    huge = replace(SHAPE, rows=10**15)
    with pytest.raises(OutputError, match="take "):
        AttributionDatabase(path, huge, description="{}", overwrite=True)
    assert path.read_bytes() == before
    with AttributionDatabase(path, SHAPE, description=SETTINGS, overwrite=True) as maps:
        assert maps.rows_done().nonzero()[0].tolist() == [0]
    with AttributionDatabase(path, SHAPE, description="{}", overwrite=True) as maps:
        assert not maps.rows_done().any()
    path.write_text("text")
    with AttributionDatabase(path, SHAPE, description="{}", overwrite=True) as maps:
        assert not maps.rows_done().any()
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "maps.h5"
    path.write_text("text")
    with pytest.raises(OutputError, match=f"{path}: cannot be opened as a database"):
        AttributionDatabase(path, SHAPE)
    with h5py.File(path, "w") as file:
        file["attribution"] = np.zeros((6, 3))
    with pytest.raises(OutputError, match=f"{path}: is not a database of caffe-lrp"):
        AttributionDatabase(path, SHAPE)
    with h5py.File(path, "a") as file:
        file.attrs["description"] = np.bytes_(b"{}")
        file.create_dataset("index", data=np.zeros(6, np.uint32), chunks=(1,))
    with pytest.raises(OutputError, match="laid out differently"):
        AttributionDatabase(path, SHAPE)


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path / "maps.h5", [0])
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(OutputError, match=r"cannot be opened as a database: .*truncated"):
        AttributionDatabase(path, SHAPE, description=SETTINGS)


def test_a_database_larger_than_the_disk_is_not_begun(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"take [\d,]+\.\d MB, but the disk has [\d,]+\.\d MB left"):
        AttributionDatabase(tmp_path / "new" / "maps.h5", replace(SHAPE, rows=10**15))
    assert not list(tmp_path.iterdir())


def test_a_database_larger_than_a_file_may_be_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caffe_lrp.outputs.table.largest_file", lambda: 4096)
    with pytest.raises(
        OutputError, match=r"files of this process are limited to 4,096 bytes \(ulimit -f\); raise that limit"
    ):
        AttributionDatabase(tmp_path / "new" / "maps.h5", SHAPE)
    assert not list(tmp_path.iterdir())


def test_a_file_where_the_folder_should_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="a file is where a folder is needed"):
        AttributionDatabase(tmp_path / "file" / "maps.h5", SHAPE)


def test_a_full_disk_is_no_fault_of_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise OSError(28, os.strerror(28))

    with AttributionDatabase(tmp_path / "maps.h5", SHAPE) as maps:
        maps.write(0, explanation_of(0), 0)
        with monkeypatch.context() as full:
            full.setattr(os, "pwrite", fail)
            with pytest.raises(OutputError, match=r"maps.h5: cannot be written: .*; free some space"):
                maps.write(1, explanation_of(1), 1)
        assert not maps.rows_done().any()
        maps.flush()
        assert maps.rows_done().nonzero()[0].tolist() == [0]


def test_what_the_disk_did_not_take_once_is_never_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(5, os.strerror(5))

    maps = AttributionDatabase(tmp_path / "maps.h5", SHAPE, with_input=True)
    maps.write(0, explanation_of(0), 0)
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fail)
        with pytest.raises(OutputError, match=r"maps.input.h5: cannot be written: Input/output error"):
            maps.flush()
    for ends in (maps.flush, maps.close):  # by now the system has forgotten that
        with pytest.raises(OutputError, match=r"maps.input.h5: cannot be written: Input/output error"):
            ends()
    with AttributionDatabase(tmp_path / "maps.h5", SHAPE, with_input=True) as maps:
        assert not maps.rows_done().any()


def test_relevance_too_large_for_half_precision_is_refused(tmp_path: Path) -> None:
    large = replace(explanation_of(0), relevance=np.full((3, 4, 5), -65505, np.float32))
    with AttributionDatabase(tmp_path / "maps.h5", SHAPE, "float16") as maps:
        with pytest.raises(ImageError, match="65505 is too large for float16"):
            maps.write(0, large, 0)
        maps.flush()
        assert not maps.rows_done().any()


@pytest.mark.parametrize(
    ("row", "change", "index"),
    [
        (6, {}, 0),
        (-1, {}, 0),
        (0, {}, 2**32 - 1),
        (0, {"scores": np.zeros(6, np.float32)}, 0),
        (0, {"relevance": np.zeros((3, 5, 4), np.float32)}, 0),
    ],
)
def test_what_does_not_fit_is_not_written(
    tmp_path: Path, row: int, change: dict[str, object], index: int
) -> None:
    with AttributionDatabase(tmp_path / "maps.h5", SHAPE) as maps:
        before = (tmp_path / "maps.h5").read_bytes()
        with pytest.raises(ValueError, match=r"row|index|fit"):
            maps.write(row, replace(explanation_of(0), **change), index)  # type: ignore[arg-type]
        assert (tmp_path / "maps.h5").read_bytes() == before


def test_rows_of_a_file_that_is_no_longer_there_are_not_done(tmp_path: Path) -> None:
    for name, change, message in (
        ("maps.h5", Path.unlink, r"maps\.h5: was moved or deleted while this run was writing it; make"),
        ("maps.input.h5", Path.unlink, r"maps\.input\.h5: was moved or deleted"),
        ("maps.h5", lambda path: path.rename(path.with_name("mine.h5")), "was moved or deleted"),
        (
            "maps.h5",
            lambda path: Path(shutil.copy(path, path.with_name("copy"))).replace(path),
            "was replaced by another file",
        ),
        (
            "maps.h5",
            lambda path: path.parent.rename(path.parent.with_name("gone")),
            "was moved or deleted",
        ),
    ):
        folder = tmp_path / "out"
        maps = AttributionDatabase(folder / "maps.h5", SHAPE, "float32", True, SETTINGS)
        maps.write(0, explanation_of(0), 0)
        maps.flush()
        maps.write(1, explanation_of(1), 1)
        change(folder / name)
        with pytest.raises(OutputError, match=message):
            maps.flush()
        assert maps.rows_done().nonzero()[0].tolist() == [0]
        with pytest.raises(OutputError, match=message):
            maps.close()
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(tmp_path / "gone", ignore_errors=True)


def test_closing_says_that_the_file_is_gone_though_all_was_flushed(tmp_path: Path) -> None:
    maps = AttributionDatabase(tmp_path / "maps.h5", SHAPE)
    maps.write(0, explanation_of(0), 0)
    maps.flush()
    (tmp_path / "maps.h5").unlink()
    with pytest.raises(OutputError, match="was moved or deleted"):
        maps.close()


def test_two_runs_that_overwrite_each_other_do_not_mix_their_maps(tmp_path: Path) -> None:
    path = tmp_path / "maps.h5"
    one = AttributionDatabase(path, SHAPE, description='{"formula": 1}', overwrite=True)
    with AttributionDatabase(path, SHAPE, description='{"formula": 2}', overwrite=True) as two:
        two.write(3, explanation_of(3), 3)
        one.write(0, explanation_of(0), 0)
        with pytest.raises(OutputError, match=r"was replaced by another file, perhaps of another run"):
            one.flush()
    with pytest.raises(OutputError, match="was replaced"):
        one.close()
    with h5py.File(path) as file:
        assert file["index"][:].tolist() == [2**32 - 1] * 3 + [3] + [2**32 - 1] * 2


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["maps.h5", "maps.input.h5"])
@pytest.mark.parametrize(
    ("put", "kind"),
    [
        (lambda path: path.symlink_to("target"), "a link"),
        (lambda path: path.symlink_to("absent"), "a link"),
        (lambda path: path.symlink_to("/dev/zero"), "a link"),
        (os.mkfifo, "a pipe"),
        (Path.mkdir, "a folder"),
    ],
)
def test_only_files_are_opened_or_overwritten(
    tmp_path: Path, put: Callable[[Path], None], kind: str, name: str, overwrite: bool
) -> None:
    target = make(tmp_path / "target", [0])
    before = target.read_bytes()
    put(tmp_path / name)
    with pytest.raises(OutputError, match=f"{name}: cannot be opened as a database: {kind} is in place of"):
        AttributionDatabase(tmp_path / "maps.h5", SHAPE, "float32", True, SETTINGS, overwrite=overwrite)
    assert target.read_bytes() == before
    assert not (tmp_path / "absent").exists()


def test_what_another_process_is_still_making_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "maps.h5"
    columns = SHAPE.map_columns("float32")
    with table.new_table(path, 6, columns, SETTINGS):
        (unfinished,) = tmp_path.iterdir()
        os.mkfifo(tmp_path / ".maps.h5.0123abcd.tmp")
        with pytest.raises(ValueError, match="give up"), table.new_table(path, 6, columns, SETTINGS):
            raise ValueError("give up")
        assert unfinished.exists()
    assert path.exists()


def test_without_hard_links_a_file_made_meanwhile_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", fail)
    columns = SHAPE.map_columns("float32")
    with pytest.raises(FileExistsError), table.new_table(tmp_path / "maps.h5", 6, columns, SETTINGS):
        (tmp_path / "maps.h5").write_text("theirs")
    assert (tmp_path / "maps.h5").read_text() == "theirs"


def test_the_name_of_a_new_file_is_on_the_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    really = os.fsync

    def sync(file: int) -> None:
        synced.append((os.fstat(file).st_ino, (tmp_path / "maps.h5").exists()))
        really(file)

    monkeypatch.setattr(os, "fsync", sync)
    make(tmp_path / "maps.h5", [])
    assert synced == [((tmp_path / "maps.h5").stat().st_ino, False), (tmp_path.stat().st_ino, True)]


def test_a_folder_that_cannot_be_synced_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (errno.EINVAL, errno.ENOTSUP):
        monkeypatch.setattr(os, "fsync", Mock(side_effect=OSError(number, "")))
        sync_path(tmp_path)
    monkeypatch.setattr(os, "fsync", Mock(side_effect=OSError(errno.EIO, "")))
    with pytest.raises(OSError, match=str(errno.EIO)):
        sync_path(tmp_path)


def test_missing_h5py_is_said_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UsageError, match=r"pip install 'h5py>=3\.10'"):
        AttributionDatabase(tmp_path / "new" / "maps.h5", SHAPE)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_database_needs_h5py_only_when_it_is_opened() -> None:
    modules = "caffe_lrp.outputs.writers, caffe_lrp.outputs.database"
    code = f"import sys, {modules}; sys.exit('h5py' in sys.modules)"
    subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": ":".join(sys.path)}, check=True
    )
