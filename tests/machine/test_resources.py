"""What the process may use, read from copies of the system's files."""

import os
import resource
from pathlib import Path

import pytest

from caffe_lrp.machine.resources import allowed_processors, available_memory, memory_is_limited

OLD_MOUNTS = """\
25 31 0:25 / /proc rw - proc proc rw
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
"""
OLD_GROUPS = "4:memory:/job/step\n1:cpu,cpuacct:/job/step\n0::/\n"
NEW_MOUNTS = "35 31 0:32 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw\n"
NEW_GROUPS = "0::/job/step\n"
GIBIBYTE = 2**30


@pytest.fixture(autouse=True)
def _sixteen_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))


def system(folder: Path, mounts: str, groups: str) -> Path:
    """A root folder of a machine with 64 GiB available."""
    contents = {
        "meminfo": f"MemTotal: {128 * 2**20} kB\nMemAvailable:   {64 * 2**20} kB\n",
        "self/mountinfo": mounts,
        "self/cgroup": groups,
    }
    (folder / "proc" / "self").mkdir(parents=True)
    for name, text in contents.items():
        (folder / "proc" / name).write_text(text)
    return folder


def file(folder: Path, name: str, text: object) -> None:
    path = folder / "sys/fs/cgroup" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


def test_a_machine_without_limits_is_there_as_a_whole(tmp_path: Path) -> None:
    root = system(tmp_path, NEW_MOUNTS, NEW_GROUPS)
    assert allowed_processors(root) == 16
    assert available_memory(root) == 64 * GIBIBYTE


def test_nothing_known_is_no_reason_to_fail(tmp_path: Path) -> None:
    assert allowed_processors(tmp_path) == 16
    assert available_memory(tmp_path) == 2 * GIBIBYTE


@pytest.mark.parametrize(("quota", "count"), [("max", 16), ("400000", 4), ("150000", 2), ("9900000", 16)])
def test_the_quota_of_a_new_group_limits_processors(tmp_path: Path, quota: str, count: int) -> None:
    root = system(tmp_path, NEW_MOUNTS, NEW_GROUPS)
    file(root, "job/step/cpu.max", f"{quota} 100000")
    assert allowed_processors(root) == count


@pytest.mark.parametrize(("quota", "count"), [("-1", 16), ("300000", 3), ("1000", 1)])
def test_the_quota_of_an_old_group_limits_processors(tmp_path: Path, quota: str, count: int) -> None:
    root = system(tmp_path, OLD_MOUNTS, OLD_GROUPS)
    file(root, "cpu,cpuacct/job/cpu.cfs_quota_us", quota)
    file(root, "cpu,cpuacct/job/cpu.cfs_period_us", 100000)
    assert allowed_processors(root) == count


def test_the_affinity_counts_even_below_the_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5})
    root = system(tmp_path, NEW_MOUNTS, NEW_GROUPS)
    file(root, "job/cpu.max", "400000 100000")
    assert allowed_processors(root) == 2


def test_the_smallest_memory_limit_of_all_groups_above_counts(tmp_path: Path) -> None:
    root = system(tmp_path, NEW_MOUNTS, NEW_GROUPS)
    file(root, "job/step/memory.max", "max")
    file(root, "job/step/memory.current", GIBIBYTE)
    file(root, "job/memory.max", 8 * GIBIBYTE)
    file(root, "job/memory.current", 3 * GIBIBYTE)
    assert available_memory(root) == 5 * GIBIBYTE
    file(root, "job/step/memory.high", 4 * GIBIBYTE)
    assert available_memory(root) == 3 * GIBIBYTE


def test_files_in_the_cache_do_not_count_as_used(tmp_path: Path) -> None:
    root = system(tmp_path, NEW_MOUNTS, NEW_GROUPS)
    file(root, "job/memory.max", 8 * GIBIBYTE)
    file(root, "job/memory.current", 7 * GIBIBYTE)
    file(root, "job/memory.stat", f"anon 5\ninactive_file {6 * GIBIBYTE}")
    assert available_memory(root) == 7 * GIBIBYTE


def test_the_memory_limit_of_an_old_group_counts(tmp_path: Path) -> None:
    root = system(tmp_path, OLD_MOUNTS, OLD_GROUPS)
    file(root, "memory/memory.limit_in_bytes", 9223372036854771712)
    file(root, "memory/memory.usage_in_bytes", 9 * GIBIBYTE)
    file(root, "memory/job/step/memory.limit_in_bytes", 6 * GIBIBYTE)
    file(root, "memory/job/step/memory.usage_in_bytes", 2 * GIBIBYTE)
    file(root, "memory/job/step/memory.stat", f"inactive_file 7\ntotal_inactive_file {GIBIBYTE}")
    assert available_memory(root) == 5 * GIBIBYTE


@pytest.mark.parametrize(("mounted", "member"), [("/docker/abc", "/docker/abc"), ("/", "/../elsewhere")])
def test_in_a_container_the_mounted_folder_is_the_groups_own(
    tmp_path: Path, mounted: str, member: str
) -> None:
    mounts = f"35 31 0:32 {mounted} /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
    root = system(tmp_path, mounts, f"4:memory:{member}\n")
    file(root, "memory/memory.limit_in_bytes", 2 * GIBIBYTE)
    file(root, "memory/memory.usage_in_bytes", GIBIBYTE)
    assert available_memory(root) == GIBIBYTE


def test_a_full_group_leaves_nothing_rather_than_less(tmp_path: Path) -> None:
    root = system(tmp_path, NEW_MOUNTS, NEW_GROUPS)
    file(root, "job/memory.max", GIBIBYTE)
    file(root, "job/memory.current", 2 * GIBIBYTE)
    assert available_memory(root) == 0


def test_the_limit_on_the_address_space_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (4 * GIBIBYTE, resource.RLIM_INFINITY))
    root = system(tmp_path, NEW_MOUNTS, NEW_GROUPS)
    (root / "proc/self/statm").write_text(f"{GIBIBYTE // resource.getpagesize()} 10 10\n")
    assert available_memory(root) == 3 * GIBIBYTE


@pytest.mark.parametrize(("limit", "is_limited"), [(64, True), (66, False), (None, False)])
def test_memory_is_limited_where_the_limit_leaves_less_than_the_machine_has(
    limit: int | None, is_limited: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = resource.RLIM_INFINITY if limit is None else limit * GIBIBYTE
    monkeypatch.setattr(resource, "getrlimit", lambda _: (value, resource.RLIM_INFINITY))
    assert memory_is_limited(system(tmp_path, NEW_MOUNTS, NEW_GROUPS)) == is_limited


def test_the_real_system_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert 1 <= allowed_processors() <= len(os.sched_getaffinity(0))
    assert available_memory() > 0
