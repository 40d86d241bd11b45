"""Fingerprints change with everything that decides on the files of a run, and with nothing else."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from caffe_lrp.batch.fingerprint import (
    ContentHashes,
    cache_folder,
    describe_run,
    fingerprint_of,
)
from caffe_lrp.config import HeatmapConfig, read_config
from caffe_lrp.errors import ConfigError
from caffe_lrp.files import MEGABYTE

CONFIG = Path(__file__).parent / "data/conformance/configs/vgg_2_eps1_beta1_aux4.txt"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HeatmapConfig:
    """A config whose files are short and our own."""
    monkeypatch.chdir(tmp_path)
    for name in ("net", "weights", "mean"):
        Path(name).write_text(name)
    given = read_config(CONFIG, {})
    return replace(given, prototxt=Path("net"), caffemodel=Path("weights"), mean_file=Path("mean"))


def fingerprint(config: HeatmapConfig, **choices: object) -> str:
    return fingerprint_of(describe_run(config, ContentHashes(None), choices))


def test_equal_runs_have_one_fingerprint_wherever_their_files_lie(config: HeatmapConfig) -> None:
    before = fingerprint(config, formulas=[1])
    Path("elsewhere").write_text("weights")
    moved = replace(config, caffemodel=Path("elsewhere"), output_root="other", synset_file=Path("other"))
    assert fingerprint(moved, formulas=[1]) == before
    assert len(before) == 12


@pytest.mark.parametrize(
    "change",
    [
        {"epsilon": 0.5},
        {"beta": 2.0},
        {"quirks": "corrected"},
        {"start_layer": -3},
        {"first_layer": 2},
        {"switch_layer": 3},
        {"class_count": 7},
        {"base_size": 99},
        {"mean_format": 2},
        {"mean_values": (1.0, 2.0, 3.0)},
        {"input_scale": 0.5},
        {"channel_order": "RGB"},
        {"resize": "none"},
        {"input_size": (9, 8)},
        {"start_layer": "auto"},
        {"path_root": "img"},
        {"head": "prob"},
    ],
)
def test_every_setting_counts(config: HeatmapConfig, change: dict[str, object]) -> None:
    changed = replace(config, **change)  # type: ignore[arg-type]
    assert fingerprint(changed) != fingerprint(config)


def test_no_setting_is_forgotten(config: HeatmapConfig) -> None:
    """Files count by content; labels and the output root do not; formulas are among the choices."""
    described = describe_run(replace(config, head="prob"), ContentHashes(None), {})
    others = {"synset_file", "output_root", "formula", "places"}
    assert described.keys() | others == HeatmapConfig.__dataclass_fields__.keys()


def test_a_run_without_a_head_is_described_as_before_there_were_any(config: HeatmapConfig) -> None:
    assert "head" not in describe_run(config, ContentHashes(None), {})


def test_a_run_without_a_mean_image_has_a_fingerprint(config: HeatmapConfig) -> None:
    without = replace(config, mean_file=None, mean_values=(0.0,))
    assert fingerprint(without) != fingerprint(config)


@pytest.mark.parametrize("name", ["net", "weights", "mean"])
def test_the_content_of_every_file_counts(config: HeatmapConfig, name: str) -> None:
    before = fingerprint(config)
    Path(name).write_text("x")
    assert fingerprint(config) != before


def test_what_the_command_line_adds_counts(config: HeatmapConfig) -> None:
    assert fingerprint(config, formulas=[1, 2]) != fingerprint(config, formulas=[2, 1])


def test_hashes_of_large_files_are_remembered_until_they_change(tmp_path: Path) -> None:
    large, cache = tmp_path / "large", tmp_path / "cache"
    large.write_bytes(b"1" * (16 * MEGABYTE))
    first = ContentHashes(cache).of(large)
    state = large.stat()
    with large.open("r+b") as file:
        file.write(b"2")
    os.utime(large, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert ContentHashes(cache).of(large) == first  # by size and time, it is the same
    os.utime(large, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert ContentHashes(cache).of(large) != first
    assert ContentHashes(None).of(large) != first


def test_a_damaged_memory_of_hashes_is_none(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"1" * (16 * MEGABYTE))
    (tmp_path / "content-hashes.json").write_text('{"x": 1}')
    expected = ContentHashes(tmp_path).of(file)
    (tmp_path / "content-hashes.json").write_text("[")
    assert ContentHashes(tmp_path).of(file) == expected


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none: cannot be read"):
        ContentHashes(None).of(tmp_path / "none")


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"CAFFE_LRP_CACHE_DIR": "/c", "HOME": "/h"}, "/c"),
        ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/caffe-lrp"),
        ({"HOME": "/h"}, "/h/.cache/caffe-lrp"),
        ({}, None),
        ({"XDG_CACHE_HOME": "x"}, None),
    ],
)
def test_hashes_are_remembered_in_the_users_cache(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], folder: str | None
) -> None:
    monkeypatch.setenv("HOME", environment.get("HOME", "relative"))
    assert cache_folder(environment) == (None if folder is None else Path(folder))
