"""Fingerprints change with everything that decides on the files of a run, and with nothing else."""

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from caffe_lrp.batch import fingerprint as fingerprint_module
from caffe_lrp.batch import hash_memory
from caffe_lrp.batch.fingerprint import (
    ContentHashes,
    cache_folder,
    describe_run,
    fingerprint_of,
)
from caffe_lrp.batch.hash_memory import state_of
from caffe_lrp.config import HeatmapConfig, read_config
from caffe_lrp.errors import ConfigError
from caffe_lrp.model.settings import ModelSettings

CONFIG = Path(__file__).parents[1] / "data/conformance/configs/vgg_2_eps1_beta1_aux4.txt"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HeatmapConfig:
    """A config whose files are short and our own."""
    monkeypatch.chdir(tmp_path)
    for name in ("net", "weights", "mean"):
        Path(name).write_text(name)
    given = read_config(CONFIG, {})
    return replace(given, prototxt=Path("net"), caffemodel=Path("weights"), mean_file=Path("mean"))


def described(config: HeatmapConfig, mean: Path | None = None, **choices: object) -> dict[str, Any]:
    settings = ModelSettings(**config.model_arguments())
    return describe_run(settings, ContentHashes(None), {"path_root": config.path_root, **choices}, mean)


def fingerprint(config: HeatmapConfig, **choices: object) -> str:
    return fingerprint_of(described(config, **choices))  # type: ignore[arg-type]


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
        {"std_values": (58.395, 57.12, 57.375)},
        {"start_vector": "one"},
    ],
)
def test_every_setting_counts(config: HeatmapConfig, change: dict[str, object]) -> None:
    changed = replace(config, **change)  # type: ignore[arg-type]
    assert fingerprint(changed) != fingerprint(config)


def test_no_setting_is_forgotten(config: HeatmapConfig) -> None:
    """Files count by content; labels and the output root do not; formulas and pictures are choices."""
    found = described(replace(config, head="prob", start_vector="one", std_values=(2.0,)))
    others = {"synset_file", "output_root", "formula", "places", "picture"}
    assert found.keys() | others == HeatmapConfig.__dataclass_fields__.keys()


def test_a_run_without_settings_added_later_is_described_as_before(config: HeatmapConfig) -> None:
    assert not {"head", "start_vector", "std_values"} & described(config).keys()


def test_a_file_of_start_vectors_counts_by_content(config: HeatmapConfig) -> None:
    Path("a.npy").write_text("x")
    Path("b.npy").write_text("x")
    one, other = (replace(config, start_vector=Path(name)) for name in ("a.npy", "b.npy"))
    assert fingerprint(one) == fingerprint(other) != fingerprint(config)
    Path("b.npy").write_text("y")
    assert fingerprint(one) != fingerprint(other)


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


def test_the_content_of_a_mean_image_that_only_the_prototxt_names_counts(config: HeatmapConfig) -> None:
    Path("trained").write_text("2")
    before = described(replace(config, mean_file=None), Path("trained"))
    assert before["mean_file_of_prototxt"] == (
        "d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35"
    )
    Path("trained").write_text("1")
    assert described(replace(config, mean_file=None), Path("trained")) != before


def test_a_run_that_says_which_mean_is_described_as_before(config: HeatmapConfig) -> None:
    assert "mean_file_of_prototxt" not in described(config)


#: Hashes of one byte, as sha256sum prints them.
HASH_OF_1 = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
HASH_OF_2 = "d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35"
MADE_UP = "f" * 64


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that counts as large, and as old."""
    monkeypatch.setattr(fingerprint_module, "_LEAST_REMEMBERED", 1)
    monkeypatch.setattr(hash_memory, "_LEAST_AGE", 0)
    path = tmp_path / "model"
    path.write_text("1")
    return path


def make_up(cache: Path) -> Path:
    """Have the memory say something else of everything; that is what is found, if it is looked for."""
    memory = cache / "content-hashes.json"
    entries = json.loads(memory.read_text())
    memory.write_text(json.dumps([[*entry[:-1], MADE_UP] for entry in entries]))
    return memory


def test_hashes_of_large_files_are_remembered_from_run_to_run(model: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert ContentHashes(cache).of(model) == HASH_OF_1
    make_up(cache)
    assert ContentHashes(cache).of(model) == MADE_UP
    assert [path.name for path in cache.iterdir()] == ["content-hashes.json"]


def rewritten(model: Path) -> None:
    with model.open("r+") as file:
        file.write("2")


def replaced_by_another(model: Path) -> None:
    other = model.with_name("other")
    other.write_text("2")
    other.replace(model)


@pytest.mark.parametrize("change", [rewritten, replaced_by_another])
def test_a_model_of_the_same_size_and_time_is_another_one(
    model: Path, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    ContentHashes(tmp_path / "cache").of(model)
    state = model.stat()
    change(model)
    os.utime(model, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert model.stat().st_mtime_ns == state.st_mtime_ns
    assert ContentHashes(tmp_path / "cache").of(model) == HASH_OF_2


@pytest.mark.parametrize("is_elsewhere", [False, True])
def test_a_file_that_was_changed_just_now_is_not_remembered(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_elsewhere: bool
) -> None:
    """It might change again within the tick of the clock that its time counts."""
    if is_elsewhere:  # on another disk than the memory: only our own clock is at hand
        monkeypatch.setattr(hash_memory, "state_of", lambda *file: state_of(*file)._replace(device=-1))
        monkeypatch.setattr(fingerprint_module, "state_of", hash_memory.state_of)
    else:
        monkeypatch.setattr(hash_memory, "_LEAST_AGE", 3_600_000_000_000)  # however slow this machine is
    assert ContentHashes(tmp_path / "cache").of(model) == HASH_OF_1
    assert not (tmp_path / "cache" / "content-hashes.json").exists()


def test_an_old_date_makes_no_file_old(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As copies have it that keep the date of the original."""
    monkeypatch.setattr(hash_memory, "_LEAST_AGE", 3_600_000_000_000)
    os.utime(model, (0, 0))
    assert ContentHashes(tmp_path / "cache").of(model) == HASH_OF_1
    assert not (tmp_path / "cache" / "content-hashes.json").exists()


def test_a_file_that_changes_while_it_is_read_is_an_error(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_slowly(_: object) -> str:
        model.write_text("12")
        return MADE_UP

    monkeypatch.setattr(fingerprint_module, "_digest", read_slowly)
    with pytest.raises(ConfigError, match="model: changed while being read; start again when it is complete"):
        ContentHashes(tmp_path).of(model)
    assert not (tmp_path / "content-hashes.json").exists()


def test_runs_side_by_side_do_not_forget_what_others_remember(model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("2")
    one, two = ContentHashes(tmp_path), ContentHashes(tmp_path)
    one.of(model)
    two.of(other)
    make_up(tmp_path)
    assert [ContentHashes(tmp_path).of(path) for path in (model, other)] == [MADE_UP, MADE_UP]


def test_a_memory_that_others_can_write_is_not_believed(model: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    ContentHashes(cache).of(model)
    memory = make_up(cache)
    memory.chmod(0o666)
    assert ContentHashes(cache).of(model) == HASH_OF_1
    make_up(cache).chmod(0o644)
    cache.chmod(0o777)
    assert ContentHashes(cache).of(model) == HASH_OF_1
    cache.chmod(0o755)
    assert ContentHashes(cache).of(model) == MADE_UP


def test_our_own_memory_is_believed_whatever_the_umask(model: Path, tmp_path: Path) -> None:
    cache = tmp_path / "new" / "cache"
    before = os.umask(0)
    try:
        ContentHashes(cache).of(model)
    finally:
        os.umask(before)
    make_up(cache)
    assert ContentHashes(cache).of(model) == MADE_UP


def test_a_memory_that_cannot_be_written_is_used(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ContentHashes(tmp_path).of(model)
    make_up(tmp_path)
    (tmp_path / "other").write_text("2")

    def fail(**_: object) -> object:
        raise OSError(30, os.strerror(30))

    monkeypatch.setattr(tempfile, "TemporaryFile", fail)
    hashes = ContentHashes(tmp_path)
    assert [hashes.of(model), hashes.of(tmp_path / "other")] == [MADE_UP, HASH_OF_2]


def as_text(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(text)


def as_gigabytes(path: Path) -> None:
    path.touch()
    os.truncate(path, 8 * 1024**3)


@pytest.mark.parametrize(
    "damage",
    [
        as_text("["),
        as_text("7"),
        as_text("[" * 100_000),
        as_text('{"model": [1, 2, "' + MADE_UP + '"]}'),
        as_text(f'[["model", 1, 2, 3, 4, 5], 3, null, [{"9" * 5000}], ["m", 1, 2, 3, 4, 1.5, "{MADE_UP}"]]'),
        as_text(f'[[["m"], 1, 2, 3, 4, 5, "{MADE_UP}"], ["m", true, 2, 3, 4, {2**70}, "{MADE_UP}"]]'),
        as_text('[["m", 1, 2, 3, 4, 5, "x"], ["m", 1, 2, 3, 4, 5, {}]]'),
        lambda path: path.write_bytes(b"\xff\xfe"),
        as_gigabytes,
        Path.mkdir,
        os.mkfifo,
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to(path),
        lambda path: path.symlink_to("secret"),
    ],
)
def test_what_is_no_memory_of_ours_is_passed_over(
    model: Path, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    cache = tmp_path / "cache"
    ContentHashes(cache).of(model)
    memory = make_up(cache)
    memory.rename(cache / "secret")
    damage(memory)
    assert ContentHashes(cache).of(model) == HASH_OF_1


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
