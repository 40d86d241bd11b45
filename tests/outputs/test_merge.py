"""Shards joined into one database, and the project with which ViRelAy opens it."""

import json
import os
import shutil
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from database_builders import SETTINGS, SHAPE, check_row, explanation_of, make, shards

from caffe_lrp.errors import ConfigError, OutputError
from caffe_lrp.outputs import merge, table
from caffe_lrp.outputs import project as project_module
from caffe_lrp.outputs.database import MAPS_OF_RUN, AttributionDatabase, input_path_of
from caffe_lrp.outputs.merge import merge_databases
from caffe_lrp.outputs.project import label_map, write_project


@pytest.mark.parametrize("parts", [[(0, 3), (1, 4), (2, 5)], [(4, 5), (0, 1, 2), (), (3,)]])
@pytest.mark.parametrize("block", [1, 500, 10**6])
def test_shards_come_to_the_file_of_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: Sequence[Sequence[int]], block: int
) -> None:
    monkeypatch.setattr(merge, "_BLOCK_BYTES", block)
    whole = make(tmp_path / "whole.h5", range(6), with_input=True)
    merged = tmp_path / "new" / "merged.h5"
    merge_databases(shards(tmp_path, parts), merged)
    assert merged.read_bytes() == whole.read_bytes()
    assert input_path_of(merged).read_bytes() == input_path_of(whole).read_bytes()
    assert len(list(merged.parent.iterdir())) == 2


def test_shards_without_pictures_are_merged_without(tmp_path: Path) -> None:
    merge_databases(shards(tmp_path, [(0, 1), (2,)], with_input=False), tmp_path / "merged.h5")
    check_row(tmp_path / "merged.h5", 2, 2)
    assert not (tmp_path / "merged.input.h5").exists()


def test_gaps_are_refused_and_left_out_on_request(tmp_path: Path) -> None:
    paths = [make(tmp_path / "one.h5", [0, 4], with_input=True), *shards(tmp_path, [(2,)])]
    with pytest.raises(ConfigError, match=r"one\.h5: 4 of 6 rows are not written"):
        merge_databases(paths, tmp_path / "merged.h5")
    assert not (tmp_path / "merged.input.h5").exists()
    merge_databases(paths, tmp_path / "merged.h5", allow_missing=True)
    for row, number in enumerate([0, 2, 4]):
        check_row(tmp_path / "merged.h5", row, number)
    with h5py.File(tmp_path / "merged.input.h5", "r") as file:
        assert file["data"].shape[0] == 5
        for number in (0, 2, 4):
            np.testing.assert_array_equal(
                file["data"][number], explanation_of(number).input.transpose(2, 0, 1)
            )
        assert not file["data"][3].any()


def test_a_shard_that_was_forgotten_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="2 of the indices 0 to 5 are in no shard, the first is 1"):
        merge_databases(shards(tmp_path, [(0, 3), (2, 5)]), tmp_path / "merged.h5")


def test_the_last_shards_are_missed_too(tmp_path: Path) -> None:
    description = json.dumps({MAPS_OF_RUN: 6})
    shape = replace(SHAPE, rows=2)
    one = make(tmp_path / "one.h5", [0, 1], shape, description=description)
    with pytest.raises(ConfigError, match="4 of the indices 0 to 5 are in no shard, the first is 2"):
        merge_databases([one], tmp_path / "merged.h5")
    merge_databases([one], tmp_path / "merged.h5", allow_missing=True)


def test_a_last_index_that_no_run_has_is_refused_before_room_is_made_for_it(tmp_path: Path) -> None:
    """The input dataset has a row for every index up to the last."""
    one = make(tmp_path / "one.h5", [0, 7], with_input=True, description=json.dumps({MAPS_OF_RUN: 7}))
    with pytest.raises(ConfigError, match=r"one\.h5: has index 7, but its run has at most 7 maps"):
        merge_databases([one], tmp_path / "merged.h5", allow_missing=True)
    with AttributionDatabase(tmp_path / "two.h5", SHAPE, with_input=True) as maps:
        maps.write(0, explanation_of(0), 2**32 - 2)
    with pytest.raises(
        ConfigError, match=r"two\.h5: has index 4294967294, but its run has at most 134,217,728 maps"
    ):
        merge_databases([tmp_path / "two.h5"], tmp_path / "merged.h5", allow_missing=True)


@pytest.mark.parametrize(
    "maps", ["4000000000", "1" + 30 * "0", "1" + 5000 * "0", "true", "-7", "1e9", '"6"', "[" * 9999]
)
def test_a_count_of_maps_that_makes_no_sense_counts_for_nothing(tmp_path: Path, maps: str) -> None:
    one = make(tmp_path / "one.h5", range(6), description=f'{{"{MAPS_OF_RUN}": {maps}}}')
    merge_databases([one], tmp_path / "merged.h5")
    check_row(tmp_path / "merged.h5", 5, 5)


def test_settings_are_compared_however_odd_they_are(tmp_path: Path) -> None:
    deep = "[" * 990 + "]" * 990
    one, *others = (
        make(tmp_path / f"{number}.h5", [number], replace(SHAPE, rows=1), description=text)
        for number, text in enumerate(
            [
                '{"formula": 1}',
                "[" * 30_000,
                f'{{"formula": {deep}}}',
                '{"\\ud800": 1}',
                '{"\\u0000": NaN}',
                "7",
            ]
        )
    )
    for other in others:
        with pytest.raises(ConfigError, match=r"\.h5: was made with different settings from .*0\.h5 \("):
            merge_databases([one, other], tmp_path / "merged.h5")


def test_a_file_of_very_many_equal_marks_is_not_read_to_its_end(tmp_path: Path) -> None:
    """Nor is what the marks of a hundred million rows are."""
    path = tmp_path / "maps.h5"
    how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    how.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    how.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    with h5py.File(path, "w") as file:
        file.attrs["description"] = np.bytes_(b"{}")
        for name in (b"attribution", b"index"):
            space = h5py.h5s.create_simple((10**8,))
            h5py.h5d.create(file.id, name, h5py.h5t.py_create(np.dtype("<u4")), space, how)
    tracemalloc.start()
    with pytest.raises(ConfigError, match=r"has index 0, like .*;"):
        merge_databases([path], tmp_path / "merged.h5")
    assert tracemalloc.get_traced_memory()[1] < 100e6
    tracemalloc.stop()


def test_rows_longer_than_a_block_are_copied_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge, "_BLOCK_BYTES", 7)
    monkeypatch.setattr(table, "_PIECE_BYTES", 7)
    whole = make(tmp_path / "whole.h5", range(6), with_input=True)
    merge_databases(shards(tmp_path, [(1, 4), (0, 3), (2, 5)]), tmp_path / "merged.h5")
    assert (tmp_path / "merged.h5").read_bytes() == whole.read_bytes()
    assert (tmp_path / "merged.input.h5").read_bytes() == input_path_of(whole).read_bytes()


@pytest.mark.parametrize(
    ("put", "message"),
    [
        (
            os.mkfifo,
            r"shard1\.input\.h5: cannot be opened as a database: a pipe is in place of this file",
        ),
        (Path.mkdir, r"shard1\.input\.h5: cannot be opened as a database: a folder is in place"),
        (lambda path: path.symlink_to("/dev/zero"), r"shard1\.input\.h5: cannot be opened .*a device is"),
        (
            lambda path: path.symlink_to("/absent"),
            r"shard1\.input\.h5: cannot be opened .*a link to '/absent'",
        ),
    ],
)
def test_only_files_are_merged(tmp_path: Path, put: Callable[[Path], None], message: str) -> None:
    paths = shards(tmp_path, [(0, 1), (2,)])
    kept = input_path_of(paths[1]).rename(tmp_path / "kept")
    put(input_path_of(paths[1]))
    with pytest.raises(ConfigError, match=message):
        merge_databases(paths, tmp_path / "merged.h5")
    for odd in (Path("/"), Path(), tmp_path):
        with pytest.raises(ConfigError, match="it is a folder; give a file"):
            merge_databases([*paths, odd], tmp_path / "merged.h5")
    if put != Path.mkdir:
        input_path_of(paths[1]).unlink()
        input_path_of(paths[1]).symlink_to(kept)  # a link that the user made to a file is one
        merge_databases(paths, tmp_path / "merged.h5")


def test_a_link_is_not_followed_to_the_place_of_the_result(tmp_path: Path) -> None:
    (tmp_path / "merged.h5").symlink_to("absent")
    with pytest.raises(OutputError, match=r"merged\.h5: already exists"):
        merge_databases(shards(tmp_path, [(0, 1)]), tmp_path / "merged.h5")
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("out", ["/", ".", ".."])
def test_a_result_without_a_name_is_refused(tmp_path: Path, out: str) -> None:
    with pytest.raises(OutputError, match="is a folder; give a file name in it"):
        merge_databases(shards(tmp_path, [(0, 1)]), Path(out))


@pytest.mark.parametrize(("place", "name"), [("maps.h5", "prediction"), ("maps.input.h5", "data")])
def test_what_a_project_cannot_show_is_refused_before_it_is_merged(
    tmp_path: Path, place: str, name: str
) -> None:
    make(tmp_path / "maps.h5", range(6), with_input=True)
    for shape in (None, (6, 1, 1)):
        with h5py.File(tmp_path / place, "a") as file:
            if shape is None:
                del file[name]
            else:
                file[name] = np.zeros(shape, "<f4")
        with pytest.raises(ConfigError, match=f"lacks the dataset '{name}' of caffe-lrp's databases"):
            merge_databases([tmp_path / "maps.h5"], tmp_path / "merged.h5")
    assert not (tmp_path / "merged.input.h5").exists()


def test_a_label_map_has_so_many_classes_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project_module, "_MOST_CLASSES", 6)
    make(tmp_path / "maps.h5", range(6), with_input=True)
    with pytest.raises(
        ConfigError, match=r"maps\.h5: has scores of 7 classes, but a label map has at most 6"
    ):
        merge_databases([tmp_path / "maps.h5"], tmp_path / "merged.h5")


def test_names_in_another_encoding_are_shown_as_far_as_they_can_be(tmp_path: Path) -> None:
    path = make(tmp_path / "maps.h5", range(6), with_input=True)
    name = os.fsdecode(b"n\xff")
    project = write_project(tmp_path, path, [], name=name, model=name, method="LRP")
    assert json.loads(project.read_text(encoding="utf-8"))["project"]["model"] == "n\ufffd"
    odd = make(tmp_path / f"{name}.h5", range(6), with_input=True)
    with pytest.raises(OutputError, match=r"project\.yaml: cannot be written: 'utf-8' codec can't encode"):
        write_project(tmp_path, odd, [], name="", model="", method="")


def test_what_a_killed_merge_has_left_is_removed(tmp_path: Path) -> None:
    paths = shards(tmp_path, [(0, 1), (2,)], with_input=False)
    ours, other = tmp_path / ".merged.h5.0123abcd.tmp", tmp_path / ".mergel.h5.0123abcd.tmp"
    ours.touch()
    other.touch()
    merge_databases(paths, tmp_path / "merged.h5")
    assert (ours.exists(), other.exists()) == (False, True)


def test_shards_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    one, two = shards(tmp_path, [(0, 1), (2,)], with_input=False)
    half = make(tmp_path / "half.h5", [2], replace(SHAPE, rows=1), "float16")
    other = make(tmp_path / "other.h5", [2], replace(SHAPE, rows=1), description="{}")
    (tmp_path / "link.h5").symlink_to(one)
    copy = Path(shutil.copy(one, tmp_path / "copy.h5"))
    merged = tmp_path / "merged.h5"
    for paths, message in (
        ([one, half], "half.h5: holds attribution float16 .*, but .*shard0.h5 attribution float32"),
        (
            [one, other],
            r"other.h5: was made with different settings from .*shard0.h5 \(formula: null, not 100;",
        ),
        ([one, two, one], "shard0.h5: is named twice"),
        ([one, tmp_path / "." / "link.h5"], "link.h5: is the same file as .*shard0.h5"),
        ([one, copy], "copy.h5: has index 0, like .*shard0.h5;"),
        ([one, tmp_path / "none.h5"], "none.h5: the database cannot be read: No such file"),
        ([], "nothing to merge"),
        ([make(tmp_path / "empty.h5", [])], "no row is written"),
    ):
        with pytest.raises(ConfigError, match=message):
            merge_databases(paths, merged, allow_missing=True)
    merge_databases([one, two], merged)
    before = merged.read_bytes()
    with pytest.raises(OutputError, match=r"merged\.h5: already exists"):
        merge_databases([one, two], merged)
    assert merged.read_bytes() == before


def test_input_datasets_are_found_beside_databases(tmp_path: Path) -> None:
    databases = shards(tmp_path, [(0, 1), (2,)])
    inputs = [input_path_of(path) for path in databases]
    assert merge_databases([inputs[0], *databases, inputs[1]], tmp_path / "merged.h5") == 2
    check_row(tmp_path / "merged.h5", 2, 2)
    with pytest.raises(ConfigError, match=r"shard0\.input\.h5: contains no maps; give the databases"):
        merge_databases(inputs, tmp_path / "other.h5")


@pytest.mark.parametrize("name", ["project.yaml", "label-map.json", "merged.input.h5"])
def test_files_beside_the_result_are_not_overwritten(tmp_path: Path, name: str) -> None:
    databases = shards(tmp_path, [(0, 1), (2,)])
    (tmp_path / name).write_text("mine")
    with pytest.raises(OutputError, match=f"{name}: already exists"):
        merge_databases(databases, tmp_path / "merged.h5")
    assert (tmp_path / name).read_text() == "mine"
    assert not (tmp_path / "merged.h5").exists()


def test_pictures_that_are_missing_are_noticed(tmp_path: Path) -> None:
    one, two = shards(tmp_path, [(0, 1), (2,)])
    hidden = input_path_of(two).rename(tmp_path / "hidden")
    with pytest.raises(ConfigError, match=r"shard1\.input\.h5: is missing"):
        merge_databases([one, two], tmp_path / "merged.h5")
    with AttributionDatabase(two, replace(SHAPE, rows=1), "float32", True, SETTINGS):
        pass
    with pytest.raises(ConfigError, match=r"shard1\.input\.h5: lacks the pictures"):
        merge_databases([one, two], tmp_path / "merged.h5")
    hidden.replace(input_path_of(two))
    shutil.copy(input_path_of(two), input_path_of(one))
    with pytest.raises(ConfigError, match=r"shard0\.input\.h5: is not the input dataset"):
        merge_databases([one, two], tmp_path / "merged.h5")


def test_a_merge_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = shards(tmp_path, [(0, 1), (2,)], with_input=False)
    before = sorted(tmp_path.iterdir())

    def fail(*_: object) -> int:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "pwrite", fail)
    with pytest.raises(OutputError, match=r"merged\.h5: cannot be written: .*; free some space"):
        merge_databases(paths, tmp_path / "merged.h5")
    assert sorted(tmp_path.iterdir()) == before


def test_a_project_names_its_files_and_classes(tmp_path: Path) -> None:
    path = make(tmp_path / "maps.h5", range(6), with_input=True)
    labels = ["n01440764 tench, Tinca tinca", 'a "dog"', "", "größer"]
    project = write_project(
        tmp_path / "view", path, labels, name="Run: 1", model="net", method="LRP", strategy="predicted_label"
    )
    assert json.loads(project.read_text(encoding="utf-8")) == {
        "project": {
            "name": "Run: 1",
            "model": "net",
            "label_map": "label-map.json",
            "dataset": {
                "name": "Run: 1",
                "type": "hdf5",
                "path": "../maps.input.h5",
                "input_width": 5,
                "input_height": 4,
                "down_sampling_method": "none",
                "up_sampling_method": "none",
            },
            "attributions": {
                "attribution_method": "LRP",
                "attribution_strategy": "predicted_label",
                "sources": ["../maps.h5"],
            },
        }
    }
    read = json.loads((tmp_path / "view" / "label-map.json").read_text(encoding="utf-8"))
    assert read == label_map(labels, 7)
    assert read[:4] == [
        {"index": 0, "word_net_id": "n01440764", "name": "tench, Tinca tinca"},
        {"index": 1, "word_net_id": "00000001", "name": 'a "dog"'},
        {"index": 2, "word_net_id": "00000002", "name": "class 2"},
        {"index": 3, "word_net_id": "00000003", "name": "größer"},
    ]
    assert len(read) == 7


def test_a_project_of_a_shard_is_refused(tmp_path: Path) -> None:
    (path,) = shards(tmp_path, [(1, 3)])
    with pytest.raises(ConfigError, match=r"merge all shards \(caffe-lrp merge\)"):
        write_project(tmp_path, path, [], name="", model="", method="")
    with pytest.raises(ConfigError, match=r"maps\.input\.h5: cannot be opened"):
        write_project(tmp_path, make(tmp_path / "maps.h5", [0]), [], name="", model="", method="")
