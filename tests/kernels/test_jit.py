"""Compiled kernels: where they are kept, when they are compiled anew, and for which CPU."""

import errno
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from llvmlite import binding as llvm

from caffe_lrp.errors import UsageError
from caffe_lrp.files import trust
from caffe_lrp.kernels import _jit, cache
from caffe_lrp.kernels._jit import target_features
from caffe_lrp.kernels._kernel import kernel
from caffe_lrp.kernels._stored import KernelCache
from caffe_lrp.kernels.targets import BASELINES, KNOWN_SINCE, features_of, require_baseline

PACKAGE = Path(_jit.__file__).parents[1]
LLVM = llvm.llvm_version_info[0]
HOST = frozenset(name for name, is_there in llvm.get_host_cpu_features().items() if is_there)
needs_v3 = pytest.mark.skipif(not BASELINES["x86-64-v3"] <= HOST, reason="this CPU is no x86-64-v3")

#: One call of a kernel whose result is checked; ends with the numbers of overloads loaded and compiled.
CALL = """
import numpy as np
from caffe_lrp.kernels.elementwise import absolute
x = np.arange(-2, 2, dtype=np.float32)
absolute(x, x)
assert x.tolist() == [2, 1, 0, 1]
print(sum(absolute.stats.cache_hits.values()), sum(absolute.stats.cache_misses.values()))
"""
LOADED, COMPILED = "1 0\n", "0 1\n"


def environment(folder: Path, **others: str) -> dict[str, str]:
    """Of a process that keeps its kernels in ``folder`` and otherwise knows of no cache."""
    ours = {"CAFFE_LRP_CACHE_DIR": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    names = ("CAFFE_LRP_", "NUMBA_", "XDG_CACHE_HOME")
    return {name: value for name, value in os.environ.items() if not name.startswith(names)} | ours | others


def start(
    folder: Path, code: str = CALL, root: Path = PACKAGE.parent, **others: str
) -> "subprocess.Popen[str]":
    """Python code in a process of its own, with the package below ``root``."""
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=root,
        env=environment(folder, **others),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output(process: "subprocess.Popen[str]") -> str:
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    return stdout


def stored(folder: Path, name: str = "*") -> list[Path]:
    return sorted(folder.glob(f"kernels-*/{name}"))


def twice(value: int) -> int:
    return 2 * value


def cached(function: Callable[..., Any], folder: Path) -> Any:
    """``function`` compiled by Numba, with our cache, for this process."""
    compiled = numba.njit(function)
    compiled._cache = KernelCache(function, folder)
    return compiled


def hits(compiled: Any) -> int:
    return sum(compiled.stats.cache_hits.values())


@pytest.mark.slow
def test_a_kernel_is_compiled_once_and_then_loaded(tmp_path: Path) -> None:
    assert [output(start(tmp_path)) for _ in range(2)] == [COMPILED, LOADED]


@pytest.mark.slow
def test_processes_that_start_at_once_on_an_empty_cache_leave_a_complete_one(tmp_path: Path) -> None:
    processes = [start(tmp_path) for _ in range(4)]
    assert {output(process) for process in processes} <= {COMPILED, LOADED}
    assert len(stored(tmp_path)) == 1
    assert output(start(tmp_path)) == LOADED


def test_overloads_written_by_turns_are_not_mistaken_for_one_another(tmp_path: Path) -> None:
    """Numba's own cache numbers its files, and two processes give two overloads the same number."""
    one, other = (cached(twice, tmp_path) for _ in range(2))
    assert (one(3), other(1.5)) == (6, 3.0)
    assert len(list(tmp_path.iterdir())) == 2
    fresh = cached(twice, tmp_path)
    assert (fresh(3), fresh(1.5), hits(fresh)) == (6, 3.0, 2)


@pytest.mark.slow
def test_a_kernel_that_calls_an_edited_function_of_another_module_is_compiled_anew(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "caffe_lrp", ignore=shutil.ignore_patterns("__pycache__"))
    kernels = tmp_path / "caffe_lrp/kernels"
    head = "from caffe_lrp.kernels._kernel import helper, kernel\n"
    (kernels / "caller.py").write_text(
        f"{head}from caffe_lrp.kernels.callee import callee\n@kernel\ndef caller():\n    return callee()\n"
    )
    results = []
    for value in (1, 2, 1):
        (kernels / "callee.py").write_text(f"{head}@helper\ndef callee():\n    return {value}\n")
        code = "from caffe_lrp.kernels.caller import caller; print(caller(), len(caller.stats.cache_hits))"
        results.append(output(start(tmp_path / "cache", code, tmp_path)))
    assert results == ["1 0\n", "2 0\n", "1 1\n"]


def test_the_name_of_a_cache_depends_on_every_module_and_on_all_versions(tmp_path: Path) -> None:
    def digest(*versions: str) -> str:
        return cache.sources_digest(tmp_path, versions)

    (tmp_path / "a.py").write_text("one")
    (tmp_path / "b.py").write_text("two")
    digests = [digest("1"), digest("2")]
    (tmp_path / "b.py").write_text("three")
    digests.append(digest("1"))
    (tmp_path / "b.py").rename(tmp_path / "c.py")
    digests.append(digest("1"))
    assert len(set(digests)) == len(digests)
    (tmp_path / "notes.txt").write_text("no module")
    assert digest("1") == digests[-1]


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def emptied(content: bytes) -> bytes:
    return b""


def altered(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [truncated, emptied, altered])
def test_a_damaged_file_is_compiled_anew_and_replaced(
    damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    assert cached(twice, tmp_path)(21) == 42
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    again = cached(twice, tmp_path)
    assert (again(21), hits(again)) == (42, 0)
    fresh = cached(twice, tmp_path)
    assert (fresh(21), hits(fresh)) == (42, 1)


def test_a_full_disk_costs_no_result_and_leaves_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(path: Path) -> int:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(trust, "create_trusted", full_disk)
    assert cached(twice, tmp_path)(21) == 42
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["of another user", "that others can write", "link", "pipe"])
def test_what_can_be_the_work_of_others_is_not_loaded_but_compiled_anew_and_replaced(
    kind: str, tmp_path: Path, give: Callable[[Path, int], None]
) -> None:
    folder = tmp_path / "cache"
    assert cached(twice, folder)(21) == 42
    (path,) = folder.iterdir()
    if kind == "of another user":
        give(path, STRANGER)
    elif kind == "that others can write":
        path.chmod(0o666)
    elif kind == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.unlink()
        os.mkfifo(path)
    again = cached(twice, folder)
    assert (again(21), hits(again)) == (42, 0)
    give(path, os.geteuid())
    assert stat.S_IFMT(path.lstat().st_mode) == stat.S_IFREG
    fresh = cached(twice, folder)
    assert (fresh(21), hits(fresh)) == (42, 1)


def several(values: Any) -> Any:
    doubled = values * 2
    return doubled, (doubled.shape, doubled[0] > 1), 2.5, 7


def test_results_of_all_kinds_are_the_same_from_loaded_code(tmp_path: Path) -> None:
    values = np.ones((3,), np.float32)
    cached(several, tmp_path)(values)
    fresh = cached(several, tmp_path)
    doubled, *others = fresh(values)
    assert (doubled.tolist(), doubled.dtype, others) == ([2, 2, 2], np.float32, [((3,), True), 2.5, 7])
    assert hits(fresh) == 1


def named(value: int) -> str:
    return "odd" if value % 2 else "even"


def test_a_kernel_with_a_result_that_cannot_be_described_is_not_stored(tmp_path: Path) -> None:
    assert cached(named, tmp_path)(3) == "odd"
    assert list(tmp_path.iterdir()) == []


def test_what_is_stored_is_a_line_of_json_and_code(tmp_path: Path) -> None:
    """Nothing in it is executed but the code of the kernel: no pickle."""
    cache.store(tmp_path / "file", {"key": [1, "ä"]}, [b"one\n", b"", b"three"])
    content = (tmp_path / "file").read_bytes()[32:]
    assert content == b'{"key": [1, "\\u00e4"], "sizes": [4, 0, 5]}\none\nthree'
    assert cache.load(tmp_path / "file") == ({"key": [1, "ä"]}, [b"one\n", b"", b"three"])


def test_a_cache_that_was_removed_meanwhile_is_made_again(tmp_path: Path) -> None:
    compiled = cached(twice, tmp_path / "cache")
    assert compiled(1) == 2
    shutil.rmtree(tmp_path / "cache")
    assert compiled(1.0) == 2.0
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_functions_whose_sources_the_cache_does_not_watch_are_not_kept() -> None:
    compiled: Any = kernel(twice)
    assert compiled(21) == 42
    assert compiled.stats.cache_path is None


class Places:
    """The folders that a cache may lie in, each of which can be made unusable."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.package, self.home, self.temporary = root / "package", root / "home", root / "tmp"
        self.environment = {"XDG_CACHE_HOME": str(self.home)}
        self.temporary.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(self.temporary))
        self._sealed: list[Path] = []
        really = tempfile.TemporaryFile

        def refuse(dir: Path) -> Any:
            if any(dir.is_relative_to(path) for path in self._sealed):
                raise PermissionError(errno.EACCES, "Permission denied")
            return really(dir=dir)

        monkeypatch.setattr(tempfile, "TemporaryFile", refuse)

    def seal(self, *paths: Path) -> "Places":
        """Make folders unwritable, for root as well."""
        self._sealed += paths
        return self

    def find(self) -> cache.CacheFolder:
        return cache.find_folder(self.package, self.environment, "0123456789abcdef", "cpu")

    def why_passed_over(self, wish: Path) -> tuple[str, ...]:
        """What there is to say if the user's own cache is taken in place of the folder ``wish``."""
        self.environment["CAFFE_LRP_CACHE_DIR"] = str(wish)
        found = self.find()
        assert found.folder == self.home / "caffe-lrp" / FOLDER
        return found.notices


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    return Places(tmp_path, monkeypatch)


FOLDER = "kernels-0123456789abcdef"
STRANGER = 54321


def test_the_packages_own_folder_comes_first(places: Places) -> None:
    found = places.find()
    assert found == cache.CacheFolder(places.package / FOLDER)
    assert found.notices == ()


def test_the_environment_can_name_another_folder(places: Places, tmp_path: Path) -> None:
    places.environment["CAFFE_LRP_CACHE_DIR"] = str(tmp_path / "wish")
    assert places.find() == cache.CacheFolder(tmp_path / "wish" / FOLDER)
    assert not places.package.exists()


def test_a_read_only_package_falls_back_to_the_users_cache_and_says_so(places: Places) -> None:
    found = places.seal(places.package).find()
    assert found.folder == places.home / "caffe-lrp" / FOLDER
    assert found.notices == (
        f"{places.package} cannot be written, so compiled kernels are kept in {places.home}/caffe-lrp",
    )


def test_a_read_only_cache_that_is_complete_is_used(places: Places) -> None:
    cache.mark_complete(places.package / FOLDER, "cpu")
    assert places.seal(places.package).find() == cache.CacheFolder(places.package / FOLDER)


def test_a_read_only_cache_that_is_complete_for_another_cpu_is_not_used(places: Places) -> None:
    cache.mark_complete(places.package / FOLDER, "other")
    assert places.seal(places.package).find().folder == places.home / "caffe-lrp" / FOLDER


def test_without_a_home_a_folder_for_temporary_files_serves(places: Places) -> None:
    found = places.seal(places.package, places.home).find()
    assert found.folder == places.temporary / f"caffe-lrp-{os.getuid()}" / FOLDER
    assert found.folder.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("kind", ["rights of others", "owner", "link", "file"])
def test_a_temporary_folder_that_others_can_have_written_to_is_not_used(
    kind: str, places: Places, tmp_path: Path, give: Callable[[Path, int], None]
) -> None:
    ours = places.temporary / f"caffe-lrp-{os.getuid()}"
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    theirs.chmod(0o777)
    reason = f"every user can write to {ours}"
    if kind == "link":
        ours.symlink_to(theirs)
        reason = f"every user can write to {theirs}"
    elif kind == "file":
        ours.write_text("")
    elif kind == "owner":
        ours.mkdir()
        give(ours, STRANGER)
        reason = f"{ours} belongs to the user {STRANGER}"
    else:
        ours.mkdir()
        ours.chmod(0o777)
    found = places.seal(places.package, places.home).find()
    assert found.folder is None
    if kind == "file":
        told = f"neither {places.package} nor another folder can be written"
        advice = "set CAFFE_LRP_CACHE_DIR to one that can be written"
    else:
        told = f"{places.package} cannot be written, {reason} and no other folder can be written"
        chmod = f"run 'chmod go-w {ours if kind != 'link' else theirs}' or " if kind != "owner" else ""
        advice = f"{chmod}set CAFFE_LRP_CACHE_DIR to a folder that only you can write to"
    assert found.notices == (f"every run compiles its kernels again, because {told}; {advice}",)


def test_a_cache_of_a_group_is_passed_over_with_a_note_that_says_how_to_make_it_ones_own(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "_is_private_group", lambda path, state: False)
    monkeypatch.setattr(trust, "_group", lambda number: "the group 'lab'")
    shared = tmp_path / "shared"
    cache.mark_complete(shared / FOLDER, "cpu")
    shared.chmod(0o2775)
    assert places.why_passed_over(shared) == (
        f"the group 'lab' can write to {shared}, so compiled kernels are kept in {places.home}/caffe-lrp; "
        f"run 'chmod g-w {shared}' or set CAFFE_LRP_CACHE_DIR to a folder that only you can write to",
    )
    shared.chmod(0o755)
    assert places.find() == cache.CacheFolder(shared / FOLDER)


@pytest.mark.parametrize("theirs", ["", FOLDER])
def test_a_cache_of_another_user_is_passed_over_with_a_note_even_if_it_says_that_it_is_complete(
    theirs: str, places: Places, tmp_path: Path, give: Callable[[Path, int], None]
) -> None:
    wish = tmp_path / "wish"
    cache.mark_complete(wish / FOLDER, "cpu")
    give(wish / theirs, STRANGER)
    assert places.why_passed_over(wish) == (
        f"{wish / theirs} belongs to the user {STRANGER}, so compiled kernels are kept in "
        f"{places.home}/caffe-lrp; set CAFFE_LRP_CACHE_DIR to a folder that only you can write to",
    )


def test_a_users_cache_that_is_passed_over_is_named_too(
    places: Places, give: Callable[[Path, int], None]
) -> None:
    places.home.mkdir()
    give(places.home, STRANGER)
    found = places.seal(places.package).find()
    assert found.folder == places.temporary / f"caffe-lrp-{os.getuid()}" / FOLDER
    assert found.reason == (
        f"{places.package} cannot be written and {places.home} belongs to the user {STRANGER}"
    )


def test_a_new_folder_that_a_file_server_gives_to_another_user_is_not_used(
    places: Places, give: Callable[[Path, int], None]
) -> None:
    give(places.package / FOLDER, 65534)
    assert places.find().folder == places.home / "caffe-lrp" / FOLDER


def test_in_a_read_only_cache_only_a_mark_of_its_owner_counts(
    places: Places, give: Callable[[Path, int], None]
) -> None:
    cache.mark_complete(places.package / FOLDER, "cpu")
    places.seal(places.package)
    give(places.package / FOLDER / "complete-cpu", STRANGER)
    assert places.find().folder == places.home / "caffe-lrp" / FOLDER


def test_whoever_owns_the_package_is_trusted_with_the_kernels_in_it(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was installed by somebody who is neither the user nor root, and may lie wherever it likes."""
    cache.mark_complete(places.package / FOLDER, "cpu")
    places.package.parent.chmod(0o777)
    places.seal(places.package)
    monkeypatch.setattr(os, "geteuid", lambda: STRANGER)
    monkeypatch.setattr(trust, "_ROOT_USER", STRANGER)
    assert places.find() == cache.CacheFolder(places.package / FOLDER)
    places.package.chmod(0o777)
    assert places.find().folder is None


def test_a_new_cache_removes_those_unused_for_long_and_nothing_else(places: Places) -> None:
    names = {"kernels-00000000000000aa": 40, "kernels-00000000000000bb": 20, "kernels-mine": 40, "other": 40}
    for name, days in names.items():
        (places.package / name).mkdir(parents=True)
        (places.package / name / "file").write_text("")
        os.utime(places.package / name, (time.time() - days * 24 * 3600,) * 2)
    places.find()
    assert {path.name for path in places.package.iterdir()} == {FOLDER, *names} - {"kernels-00000000000000aa"}


def test_a_new_cache_removes_nothing_of_others_and_follows_no_link(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("")
    old, with_link, link = (places.package / f"kernels-00000000000000{end}" for end in ("aa", "bb", "cc"))
    for folder in (old, with_link):
        folder.mkdir(parents=True)
        (folder / "kernel").write_text("")
    link.symlink_to(elsewhere)
    (with_link / "link").symlink_to(elsewhere / "file")
    for path in (old, with_link, link, elsewhere):
        os.utime(path, (0, 0), follow_symlinks=False)
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: STRANGER)
        cache._remove_unused(places.package / FOLDER)
        assert (old / "kernel").exists()
    cache._remove_unused(places.package / FOLDER)
    assert [path.exists() for path in (old, with_link / "link", link, elsewhere / "file")] == [
        False,
        True,
        True,
        True,
    ]


def test_of_many_caches_the_last_used_stay(places: Places) -> None:
    for number in range(12):
        folder = places.package / f"kernels-{number:016x}"
        folder.mkdir(parents=True)
        os.utime(folder, (time.time() - 3600 * number,) * 2)
    places.find()
    kept = [f"kernels-{number:016x}" for number in range(cache.MOST_OTHERS)]
    assert sorted(path.name for path in places.package.iterdir()) == [*kept, FOLDER]


def test_a_cache_in_use_counts_as_new(places: Places) -> None:
    folder = places.package / FOLDER
    folder.mkdir(parents=True)
    os.utime(folder, (0, 0))
    places.find()
    assert folder.stat().st_mtime > time.time() - 3600


def test_features_follow_the_name_of_the_cpu_and_the_changes() -> None:
    assert features_of("haswell", "") == BASELINES["haswell"]
    assert features_of("haswell", "-avx2,+pku") == BASELINES["haswell"] - {"avx2"} | {"pku"}
    assert features_of("unheard-of", "+avx2") == {"avx2"}


def test_without_a_baseline_the_target_has_the_features_of_this_machine() -> None:
    if os.environ.get("CAFFE_LRP_CPU") or os.environ.get("NUMBA_CPU_NAME"):
        pytest.skip("the environment names a CPU")
    assert HOST - target_features() == set()


#: Feature -> LLVM code that may use it, and what the assembly then contains.
PROBES = {
    "avx": ("define <8 x float> @f(<8 x float> %a) { %r = fadd <8 x float> %a, %a", "<8 x float>", "ymm"),
    "avx2": ("define <8 x i32> @f(<8 x i32> %a) { %r = add <8 x i32> %a, %a", "<8 x i32>", "ymm"),
    "avx512f": (
        "define <16 x float> @f(<16 x float> %a) { %r = fadd <16 x float> %a, %a",
        "<16 x float>",
        "zmm",
    ),
    "fma": (
        "declare float @llvm.fma.f32(float, float, float) define float @f(float %a) { "
        "%r = call float @llvm.fma.f32(float %a, float %a, float %a)",
        "float",
        "vfmadd",
    ),
    "popcnt": (
        "declare i64 @llvm.ctpop.i64(i64) define i64 @f(i64 %a) { %r = call i64 @llvm.ctpop.i64(i64 %a)",
        "i64",
        "popcnt",
    ),
    "bmi2": ("define i64 @f(i64 %a, i64 %b) { %r = shl i64 %a, %b", "i64", "shlx"),
}


@pytest.mark.slow
@pytest.mark.skipif("x86_64" not in llvm.get_process_triple(), reason="these are the CPUs of x86-64")
@pytest.mark.parametrize("feature", PROBES)
@pytest.mark.parametrize("name", [name for name in BASELINES if KNOWN_SINCE.get(name, 0) <= LLVM])
def test_the_features_of_a_baseline_are_those_that_llvm_uses(name: str, feature: str) -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    code, result, sign = PROBES[feature]
    machine = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(cpu=name, opt=3)
    assembly = machine.emit_assembly(llvm.parse_assembly(f"{code} ret {result} %r }}"))
    assert (sign in assembly) == (feature in BASELINES[name])


def test_a_cpu_that_is_not_known_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match="there is no CPU 'haswel' to compile for; did you mean 'haswell'"):
        require_baseline("haswel", HOST, LLVM)
    with pytest.raises(UsageError, match="known are host, x86-64, "):
        require_baseline("zebra", HOST, LLVM)


def test_a_cpu_that_this_machine_cannot_stand_in_for_is_refused() -> None:
    with pytest.raises(UsageError, match=r"'haswell': it lacks avx2, fma$"):
        require_baseline("haswell", BASELINES["haswell"] - {"avx2", "fma"}, LLVM)


def test_a_cpu_with_which_the_compiler_would_end_the_process_is_refused() -> None:
    require_baseline("znver4", BASELINES["znver4"], KNOWN_SINCE["znver4"])
    with pytest.raises(UsageError, match=r"^LLVM 14, .*, does not know the CPU 'znver4'; choose another"):
        require_baseline("znver4", BASELINES["znver4"], 14)


@pytest.mark.slow
def test_settings_of_numba_in_the_environment_or_the_current_folder_change_nothing(tmp_path: Path) -> None:
    """They would disable the compiler, end the run, change what is compiled or print what it does."""
    (tmp_path / ".numba_config.yaml").write_text("disable_jit: 1\nboundscheck: 1\n")
    settings = {
        "NUMBA_NUM_THREADS": "0",
        "NUMBA_OPT": "banana",
        "NUMBA_DISABLE_JIT": "1",
        "NUMBA_DUMP_LLVM": "1",
        "NUMBA_CPU_NAME": "x86-64",
        "VS_PROFILER": "1",
    }
    ours = {"PYTHONPATH": str(PACKAGE.parent)}
    code = CALL + "import os, yaml; print(os.environ.get('NUMBA_OPT'), yaml.safe_load('1'))"
    hidden = start(tmp_path / "cache", code, tmp_path, **ours, **settings)
    stdout, stderr = hidden.communicate()
    assert (stdout, stderr) == (f"{COMPILED}banana 1\n", "")
    (tmp_path / ".numba_config.yaml").write_text("{")
    assert output(start(tmp_path / "cache", CALL, tmp_path, **ours)) == LOADED


@pytest.mark.slow
@needs_v3
def test_code_for_a_baseline_is_kept_apart_and_uses_no_feature_beyond_it(tmp_path: Path) -> None:
    assembly = CALL + "print(*absolute.inspect_asm().values())"
    texts = [output(start(tmp_path, assembly, CAFFE_LRP_CPU=name)) for name in ("x86-64", "x86-64-v3")]
    assert all(text.startswith(COMPILED) for text in texts)
    assert [bool(re.search("%ymm", text)) for text in texts] == [False, True]
    assert not any(re.search("%zmm|%k[0-7]", text) for text in texts)
    assert len(stored(tmp_path)) == 2
    assert output(start(tmp_path, CAFFE_LRP_CPU="x86-64-v3")) == LOADED


@pytest.mark.slow
@needs_v3
def test_the_features_of_the_target_are_those_of_the_baseline(tmp_path: Path) -> None:
    code = "from caffe_lrp.kernels._jit import target_features as features; print(*sorted(features()))"
    for name in ("x86-64", "x86-64-v3"):
        assert output(start(tmp_path, code, CAFFE_LRP_CPU=name)).split() == sorted(BASELINES[name])
    behind = start(tmp_path, f"import numba; {code}", CAFFE_LRP_CPU="x86-64")
    assert output(behind).split() == sorted(BASELINES["x86-64"])


def test_read_only_arrays_have_code_of_their_own(tmp_path: Path) -> None:
    def total(values: Any) -> float:
        return float(values.sum())

    compiled = cached(total, tmp_path)
    values = np.ones(3, np.float32)
    assert compiled(values) == 3
    values.flags.writeable = False
    assert compiled(values) == 3
    assert len(list(tmp_path.iterdir())) == 2
