"""Leases: two runs that would write the same files never both may, and the dead keep nobody out."""

import contextlib
import errno
import fcntl
import json
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from caffe_lrp.batch import claim as claims
from caffe_lrp.batch import lease as leases
from caffe_lrp.batch.claim import Claim, Holder, claim_of, find_leases, hash_of, lease_content, lease_path
from caffe_lrp.batch.lease import leased, running
from caffe_lrp.batch.records import Header
from caffe_lrp.batch.shards import Shard
from caffe_lrp.errors import OutputError

ONE, OTHER = "0123456789ab", "ba9876543210"
WHOLE = Shard()
ELSEWHERE = Holder("node7", "another machine", 1, "1")


def claiming(
    fingerprint: str = ONE, *stems: str, outputs: tuple[str, ...] = ("npy",), shard: Shard = WHOLE
) -> Claim:
    return claim_of(
        Header(fingerprint, shard, 9, 0, 9, outputs, {}), np.array([*map(hash_of, stems)], np.uint64)
    )


def untold(*_: object) -> None:
    raise AssertionError("nobody has to wait here")


def left(root: Path, claim: Claim, holder: Holder, *, seconds_ago: float, ticket: str = "0" * 32) -> Path:
    """A lease that somebody else holds, who does not lock it."""
    path = lease_path(root, claim, ticket)
    path.write_bytes(claims.HOLDS + lease_content(claim, holder)[len(claims.ASKS) :])
    os.utime(path, (time.time() - seconds_ago,) * 2)
    return path


@contextlib.contextmanager
def without_locks(monkeypatch: pytest.MonkeyPatch, number: int) -> Iterator[None]:
    def failing(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(fcntl, "flock", failing)
        yield


@pytest.mark.parametrize(
    ("first", "second", "meet"),
    [
        (claiming(ONE, "a", "b"), claiming(OTHER, "b", "c"), True),
        (claiming(ONE, "a", "b"), claiming(OTHER, "c", "d"), False),
        (claiming(ONE, "a"), claiming(OTHER, "a", outputs=("rawhm",)), False),
        (claiming(ONE, "a", outputs=("h5",)), claiming(OTHER, "b", outputs=("npy", "h5")), True),
        (
            claiming(ONE, "a", outputs=("h5",)),
            claiming(OTHER, "b", outputs=("h5",), shard=Shard(0, 2)),
            False,
        ),
        (claiming(ONE, "a", shard=Shard(0, 2)), claiming(OTHER, "a", shard=Shard(1, 2)), True),
        # Parts of one run have lines of their own; the same part, or another number of parts, has not.
        (claiming(ONE, "a", shard=Shard(0, 2)), claiming(ONE, "a", shard=Shard(1, 2)), False),
        (claiming(ONE, "a", shard=Shard(0, 2)), claiming(ONE, "z", shard=Shard(0, 2)), True),
        (claiming(ONE, "a", shard=Shard(0, 2)), claiming(ONE, "a", shard=Shard(1, 3)), True),
        (Claim(ONE, "0of1", ("npy",), None), claiming(OTHER, "a"), True),
    ],
)
def test_claims_meet_where_both_may_write_one_file(first: Claim, second: Claim, meet: bool) -> None:
    assert (first.meets(second), second.meets(first)) == (meet, meet)


@pytest.mark.parametrize("number", [None, errno.ENOLCK, errno.EIO, errno.EPERM, errno.ESTALE])
def test_who_comes_second_is_refused_with_and_without_locks(
    number: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other, apart = claiming(ONE, "a", "b"), claiming(OTHER, "b"), claiming(OTHER, "c")
    locks = without_locks(monkeypatch, number) if number else contextlib.nullcontext()
    umask = os.umask(0o077)
    with locks, leased(tmp_path, mine, untold):
        os.umask(umask)
        assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()] == [0o644]
        assert running(tmp_path) == {(ONE, "0of1")}
        with pytest.raises(
            OutputError, match=f"{ONE}-0of1.jsonl: a run that writes the same files is in progress"
        ):
            leased(tmp_path, other, untold).__enter__()
        with pytest.raises(
            OutputError, match=f"another process is already doing this run .process {os.getpid()} on "
        ):
            leased(tmp_path, mine, untold).__enter__()
        with leased(tmp_path, apart, untold):
            assert len(find_leases(tmp_path)) == 2
    assert list(tmp_path.iterdir()) == []
    with leased(tmp_path, other, untold):
        assert running(tmp_path) == {(OTHER, "0of1")}


def dead_process() -> Holder:
    child = os.fork()
    if child == 0:
        os._exit(0)
    while (started := claims._start_of(child)) is not None and started:
        time.sleep(0.01)
    holder = Holder("here", claims._machine(), child, "12345")
    os.waitpid(child, 0)
    return holder


@pytest.mark.parametrize(
    "holder",
    [
        dead_process,
        lambda: Holder("here", claims._machine(), os.getpid(), "of a process that had this number before"),
    ],
)
def test_a_run_of_this_machine_that_died_keeps_nobody_out(
    holder: Callable[[], Holder], tmp_path: Path
) -> None:
    path = left(tmp_path, claiming(ONE, "a"), holder(), seconds_ago=0)
    assert running(tmp_path) == set()
    with leased(tmp_path, claiming(OTHER, "a"), untold):
        assert not path.exists()


def test_a_process_that_is_over_but_not_asked_how_is_dead(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    try:
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        assert claims._start_of(child) is None
    finally:
        os.waitpid(child, 0)


def test_a_run_of_another_machine_is_waited_for_until_it_must_be_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "_SECONDS_OF_DOUBT", 0.01)
    told: list[tuple[Holder, float]] = []
    path = left(tmp_path, claiming(ONE, "a"), ELSEWHERE, seconds_ago=20)

    def let_time_pass(holder: Holder, seconds: float) -> None:
        told.append((holder, seconds))
        os.utime(path, (time.time() - seconds - 1,) * 2)

    with leased(tmp_path, claiming(OTHER, "a"), let_time_pass):
        assert told == [(ELSEWHERE, claims.SECONDS_TO_LIVE)]
        assert not path.exists()


def test_a_lease_of_the_future_that_nobody_renews_keeps_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "_SECONDS_OF_DOUBT", 0.01)
    monkeypatch.setattr(leases, "SECONDS_TO_LIVE", 0.1)
    path = left(tmp_path, claiming(ONE, "a"), ELSEWHERE, seconds_ago=-3600)
    with leased(tmp_path, claiming(OTHER, "a"), lambda *_: None):
        assert not path.exists()


def test_a_run_of_another_machine_that_gives_a_sign_of_life_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "_SECONDS_OF_DOUBT", 0.01)
    path = left(tmp_path, claiming(ONE, "a"), ELSEWHERE, seconds_ago=20)
    with pytest.raises(
        OutputError, match=(r"is in progress \(process 1 on node7\); wait until it ends, or stop it")
    ):
        leased(tmp_path, claiming(OTHER, "a"), lambda *_: os.utime(path)).__enter__()
    assert list(tmp_path.iterdir()) == [path]


def test_a_run_renews_its_lease_until_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "SECONDS_BETWEEN_RENEWALS", 0.005)
    with leased(tmp_path, claiming(ONE, "a"), untold) as lease:
        (path,) = tmp_path.iterdir()
        os.utime(path, (0, 0))
        while path.stat().st_mtime == 0:
            time.sleep(0.005)
        lease.require()
        path.unlink()
        with pytest.raises(OutputError, match="the lease of this run is gone"):
            lease.require()
        path.write_bytes(b"of another run")
        with pytest.raises(OutputError, match="deleted or replaced during the run"):
            lease.require()
    assert path.read_bytes() == b"of another run"


def test_of_many_that_ask_at_once_never_two_hold(tmp_path: Path) -> None:
    """In threads of one process, which see each other as processes do: by the lock and the folder."""
    chance = random.Random(14)
    holding: set[str] = set()
    collisions: list[object] = []
    served: list[str] = []

    def run(fingerprint: str, pauses: list[float]) -> None:
        for pause in pauses:
            time.sleep(pause)
            with contextlib.suppress(OutputError), leased(tmp_path, claiming(fingerprint, "a"), untold):
                collisions.extend(holding)
                holding.add(fingerprint)
                served.append(fingerprint)
                time.sleep(pause / 2)
                holding.discard(fingerprint)

    threads = [
        threading.Thread(target=run, args=(f"{number:012x}", [chance.uniform(0, 0.01) for _ in range(25)]))
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert collisions == []
    assert len(set(served)) > 1
    assert list(tmp_path.iterdir()) == []


def damaged(**changes: Any) -> bytes:
    state, line, hashes = lease_content(claiming(ONE, "a"), ELSEWHERE).split(b"\n", 2)
    fields = json.loads(line) | changes
    return b"\n".join([state, json.dumps(fields).encode(), hashes])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"asks \n",
        b"holds\n[]\n",
        b"holds\n" + b"[" * 100_000 + b"\n",
        b"boasts" + damaged()[6:],
        damaged()[:-1],
        damaged() + b"x",
        damaged(stems=2**62),
        damaged(stems="1"),
        damaged(stems=True),
        damaged(outputs="npy"),
        damaged(process=-1),
        damaged(process=10**20),
        damaged(host=None),
    ],
)
def test_what_is_no_lease_keeps_nobody_out_and_is_left_alone(content: bytes, tmp_path: Path) -> None:
    path = lease_path(tmp_path, claiming(ONE, "a"), "0" * 32)
    path.write_bytes(content)
    with leased(tmp_path, claiming(OTHER, "a"), untold):
        assert running(tmp_path) == {(OTHER, "0of1")}
    assert path.read_bytes() == content


@pytest.mark.parametrize("stands", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_no_lease(stands: Callable[[Path], None], tmp_path: Path) -> None:
    stands(lease_path(tmp_path, claiming(ONE, "a"), "0" * 32))
    with leased(tmp_path, claiming(ONE, "a"), untold):
        assert len(find_leases(tmp_path)) == 1


def test_a_folder_that_cannot_be_written_is_said_by_the_journal(tmp_path: Path) -> None:
    with pytest.raises(
        OutputError, match=f"none/caffe-lrp-{ONE}-0of1.jsonl: the journal cannot be written: "
    ):
        leased(tmp_path / "none", claiming(ONE, "a"), untold).__enter__()
