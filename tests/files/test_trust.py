"""Whose work a file can be: who owns it and can write to it, and to all that leads to it."""

import grp
import os
import pwd
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from caffe_lrp.files import trust
from caffe_lrp.files.reading import NotRegularError
from caffe_lrp.files.trust import (
    Distrust,
    UntrustedError,
    create_trusted,
    make_trusted_folder,
    open_trusted,
    why_untrusted,
)

STRANGER = 54321


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder within a folder, both of which nobody else can write to; no group counts as private."""
    monkeypatch.setattr(trust, "_is_private_group", lambda path, state: False)
    found = tmp_path / "outer" / "inner"
    found.mkdir(parents=True)
    found.chmod(0o755)
    found.parent.chmod(0o755)
    return found


def test_what_the_user_alone_can_write_is_trusted_and_so_is_what_is_not_there_yet(folder: Path) -> None:
    (folder / "file").write_text("")
    (folder / "file").chmod(0o644)
    for path in (folder, folder / "file", folder / "absent" / "file", folder / ".." / "inner"):
        assert why_untrusted(path) is None
    os.close(open_trusted(folder / "file"))


@pytest.mark.parametrize("is_parent", [False, True])
@pytest.mark.parametrize(
    ("mode", "who", "remedy"),
    [(0o777, "every user", "go-w"), (0o757, "every user", "go-w"), (0o775, "the group 'lab'", "g-w")],
)
def test_a_folder_that_others_can_write_to_is_not_trusted_nor_is_what_is_in_it(
    mode: int, who: str, remedy: str, is_parent: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_to_others = folder.parent if is_parent else folder
    open_to_others.chmod(mode)
    monkeypatch.setattr(grp, "getgrgid", lambda number: SimpleNamespace(gr_name="lab"))
    assert why_untrusted(folder) == Distrust(
        f"{who} can write to {open_to_others}", f"run 'chmod {remedy} {open_to_others}'"
    )


def test_a_folder_with_the_sticky_bit_may_be_on_the_way_but_not_be_the_cache(folder: Path) -> None:
    folder.parent.chmod(0o1777)
    assert why_untrusted(folder) is None
    assert why_untrusted(folder.parent / "absent") is None
    assert why_untrusted(folder.parent) is not None


def test_what_belongs_to_others_is_not_trusted_wherever_it_is_on_the_way(
    folder: Path, give: Callable[[Path, int], None]
) -> None:
    give(folder.parent, STRANGER)
    assert why_untrusted(folder) == Distrust(f"{folder.parent} belongs to the user {STRANGER}")
    assert why_untrusted(folder, owners={STRANGER}) is None
    assert why_untrusted(folder, below=folder.parent) is None


def test_a_link_is_trusted_if_its_owner_and_its_target_are(
    folder: Path, give: Callable[[Path, int], None]
) -> None:
    link = folder / "link"
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir()
    link.symlink_to("../elsewhere")
    assert why_untrusted(link / "absent") is None
    elsewhere.chmod(0o777)
    assert why_untrusted(link) is not None
    elsewhere.chmod(0o755)
    link.unlink()
    link.symlink_to(elsewhere.absolute())
    assert why_untrusted(link, below=folder) is None
    give(link, STRANGER)
    assert why_untrusted(link, below=folder) == Distrust(f"{link} belongs to the user {STRANGER}")


def test_links_that_go_round_in_circles_lead_nowhere(folder: Path) -> None:
    (folder / "one").symlink_to("other")
    (folder / "other").symlink_to("one")
    with pytest.raises(OSError, match="Too many levels"):
        why_untrusted(folder / "one" / "file")


@pytest.mark.parametrize(
    ("members", "group", "list_of_rights", "is_trusted"),
    [
        ([], "ada", b"", True),
        (["ada"], "ada", b"", True),
        (["ada", "bob"], "ada", b"", False),
        ([], "lab", b"", False),
        ([], "ada", b"\2", False),
    ],
)
def test_a_group_that_is_its_owner_alone_is_nobody_else(
    members: list[str], group: str, list_of_rights: bytes, is_trusted: bool, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    gid = tmp_path.stat().st_gid
    monkeypatch.setattr(pwd, "getpwuid", lambda number: SimpleNamespace(pw_name="ada", pw_gid=gid))
    monkeypatch.setattr(
        grp, "getgrgid", lambda number: SimpleNamespace(gr_name=group, gr_gid=gid, gr_mem=members)
    )
    monkeypatch.setattr(os, "getxattr", lambda path, name: list_of_rights)
    tmp_path.chmod(0o775)
    doubt = why_untrusted(tmp_path)
    assert (doubt is None) == is_trusted
    if doubt:
        others = "users on its access list" if list_of_rights else f"the group '{group}'"
        assert doubt.reason == f"{others} can write to {tmp_path}"


def test_in_a_user_namespace_folders_of_unknown_users_may_be_on_the_way_but_hold_no_cache(
    folder: Path, give: Callable[[Path, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    give(folder.parent, 65534)
    numbers = {"": "0 0 4294967295\n", "namespace": "1000 1000 1\n"}
    for kind, text in numbers.items():
        monkeypatch.setattr(Path, "read_text", lambda path, text=text: text)
        assert (why_untrusted(folder) is None) == bool(kind)
        assert why_untrusted(folder.parent) is not None


@pytest.mark.parametrize("mode", [0o666, 0o664])
def test_a_file_that_others_can_write_to_is_not_opened(mode: int, folder: Path) -> None:
    path = folder / "file"
    path.write_text("")
    path.chmod(mode)
    with pytest.raises(UntrustedError, match=f"can write to {path}"):
        open_trusted(path)


def test_a_file_of_another_user_is_not_opened(folder: Path, give: Callable[[Path, int], None]) -> None:
    path = folder / "file"
    path.write_text("")
    path.chmod(0o644)
    give(path, STRANGER)
    with pytest.raises(UntrustedError, match="belongs to the user 54321"):
        open_trusted(path)
    file = open_trusted(path, owners={STRANGER})
    assert stat.S_ISREG(os.fstat(file).st_mode)
    os.close(file)


def test_a_link_or_a_pipe_in_place_of_a_file_is_not_opened(folder: Path) -> None:
    (folder / "file").write_text("")
    (folder / "link").symlink_to("file")
    os.mkfifo(folder / "pipe")
    for name in ("link", "pipe"):
        with pytest.raises(NotRegularError):
            open_trusted(folder / name)


def test_what_is_made_is_open_to_nobody_else_whatever_the_umask(folder: Path) -> None:
    usual = os.umask(0)
    try:
        make_trusted_folder(folder / "one" / "two")
        path = folder / "one" / "two" / "file"
        os.close(create_trusted(path))
    finally:
        os.umask(usual)
    assert [stat.S_IMODE(made.stat().st_mode) for made in (folder / "one", path.parent, path)] == [
        0o755,
        0o755,
        0o644,
    ]
    with pytest.raises(FileExistsError):
        create_trusted(path)


def test_where_something_on_the_way_is_no_folder_it_cannot_be_told(folder: Path) -> None:
    (folder / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        why_untrusted(folder / "file" / "cache")
