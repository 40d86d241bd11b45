"""The download script as a process, against a server on this machine that behaves as it is told."""

import fcntl
import hashlib
import importlib.util
import io
import os
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.error import HTTPError, URLError

import pytest

from caffe_lrp.config import read_config
from caffe_lrp.errors import ExitCode

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "fetch_model.py"

#: Runs the script with another table than its own, and less patience. SIGINT is ignored in processes
#: that a shell starts in the background, and this may be one.
DRIVER = f"""
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, {str(SCRIPT.parent)!r})
from fetch_model import File, Model, Patience, main
sys.exit(main(sys.argv[3:], eval(sys.argv[1]), eval(sys.argv[2])))
"""

PROXIES = {"http_proxy", "https_proxy", "all_proxy", "no_proxy", "request_method"}
ENVIRONMENT = {name: value for name, value in os.environ.items() if name.lower() not in PROXIES}

WEIGHTS = random.Random(1).randbytes(300_000)
OTHER = random.Random(2).randbytes(len(WEIGHTS))
MEAN = random.Random(3).randbytes(5_000)
SYNSET = b"n00000001 cat\nn00000002 dog\n"
HALF = len(WEIGHTS) // 2


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fetch_model", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


fetch_model: Any = load_script()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def tar_gz(**members: bytes) -> bytes:
    """An archive as Caffe's: names with a leading "./", and more in it than is wanted."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in {"train.txt": b"1 2 3", "../../outside.txt": b"evil", **members}.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


ARCHIVE = tar_gz(**{"mean.binaryproto": MEAN, "synset_words.txt": SYNSET})

# -- The server ---------------------------------------------------------------------------------------


@dataclass
class Reply:
    """What the server does with one request."""

    body: bytes = b""
    status: int = 200
    ranges: bool = True
    #: Bytes of the body that are sent before the connection is dropped.
    cut: int | None = None
    #: The rest comes only after this event.
    gate: threading.Event | None = None
    headers: dict[str, str] = field(default_factory=dict)


class Server(ThreadingHTTPServer):
    """A server with a list of replies by path, one a request; the last one stays."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies: dict[str, list[Reply]] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.encodings: set[str | None] = set()

    def serve(self, name: str, *replies: Reply) -> str:
        """Serve a file, or a 404 without replies, and return its address."""
        self.replies[f"/{name}"] = list(replies or [Reply(status=404)])
        return f"http://127.0.0.1:{self.server_port}/{name}"

    def ranges_asked(self) -> list[str | None]:
        return [asked for _, asked in self.requests]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.requests.append((self.path, asked))
        self.server.encodings.add(self.headers.get("Accept-Encoding"))
        replies = self.server.replies[self.path]
        self.send_reply(replies.pop(0) if len(replies) > 1 else replies[0], asked)

    def send_reply(self, reply: Reply, asked: str | None) -> None:
        status, body, headers = reply.status, reply.body, dict(reply.headers)
        if asked and reply.ranges and status == 200:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])  # type: ignore[index]
            total = len(body)
            if start >= total:
                status, body, headers = 416, b"", {"Content-Range": f"bytes */{total}"}
            else:
                status, body = 206, body[start:]
                headers.setdefault("Content-Range", f"bytes {start}-{total - 1}/{total}")
        headers.setdefault("Content-Type", "application/octet-stream")
        headers.setdefault("Content-Length", str(len(body)))
        self.send_response(status)
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        cut = len(body) if reply.cut is None else reply.cut
        self.wfile.write(body[:cut])
        if reply.gate:
            self.wfile.flush()
            reply.gate.wait(60)
            self.wfile.write(body[cut:])

    def log_message(self, *_: object) -> None:
        """Keep the tests' output clean."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


# -- The script ---------------------------------------------------------------------------------------


def published(*addresses: str, content: bytes = WEIGHTS, name: str = "net.caffemodel") -> Any:
    """A file of which everything is published."""
    sha1 = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    return fetch_model.File(name, addresses, len(content), sha1, sha256(content))


def table(*files: Any, **places: Any) -> dict[str, Any]:
    return {"tiny": fetch_model.Model("A tiny net", {"tiny/net.caffemodel": files[0]} if files else places)}


def with_archive(address: str, weights: Any) -> dict[str, Any]:
    archive = published(address, content=ARCHIVE, name="aux.tar.gz")
    places = {
        "tiny/net.caffemodel": weights,
        "mean.binaryproto": fetch_model.File("mean.binaryproto", size=len(MEAN), archive=archive),
        "synset_words.txt": fetch_model.File("synset_words.txt", archive=archive),
    }
    return table(**places)


def command(models: dict[str, Any], *arguments: object, timeout: float = 30.0) -> list[str]:
    patience = fetch_model.Patience(attempts=3, timeout=timeout, first_wait=0.01)
    return [sys.executable, "-c", DRIVER, repr(models), repr(patience), *map(str, arguments)]


def run(
    models: dict[str, Any], folder: Path, *arguments: object, timeout: float = 30.0
) -> subprocess.CompletedProcess[str]:
    """Fetch the tiny net into a folder."""
    return subprocess.run(
        command(models, "tiny", "--folder", folder, *arguments, timeout=timeout),
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def weights_in(folder: Path) -> Path:
    return folder / "tiny" / "net.caffemodel"


def part_in(folder: Path, content: bytes = b"") -> Path:
    """The incomplete weights, with some content to start with."""
    part = folder / "tiny" / "net.caffemodel.part"
    if content:
        part.parent.mkdir()
        part.write_bytes(content)
    return part


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def assert_fetched(result: subprocess.CompletedProcess[str], folder: Path, content: bytes = WEIGHTS) -> None:
    assert result.returncode == 0, result.stderr
    assert weights_in(folder).read_bytes() == content
    assert not part_in(folder).exists()


def assert_refused(result: subprocess.CompletedProcess[str], *words: str) -> None:
    assert result.returncode == ExitCode.BAD_INPUT
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


# -- What is in the table -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["caffenet", "googlenet", "vgg16"])
def test_files_go_where_the_config_looks_for_them(name: str, tmp_path: Path) -> None:
    # Beside a copy nothing is in place, so that the paths stay as the config has them.
    config = read_config(Path(shutil.copy(ROOT / "configs" / f"{name}.txt", tmp_path)))
    expected = {str(path) for path in (config.caffemodel, config.mean_file, config.synset_file)}
    assert set(fetch_model.MODELS[name].files) == expected


@pytest.mark.parametrize(
    ("name", "parameters"), [("caffenet", 60_965_224), ("googlenet", 6_998_552), ("vgg16", 138_357_544)]
)
def test_published_weights_are_large_enough_for_the_parameters_of_the_net(name: str, parameters: int) -> None:
    weights = next(iter(fetch_model.MODELS[name].files.values()))
    assert weights.size >= 4 * parameters


def test_published_figures_have_the_form_of_checksums_and_addresses() -> None:
    files = [file for model in fetch_model.MODELS.values() for file in model.files.values()]
    sources = {file.archive or file for file in files}
    assert len(sources) == 4
    for file in sources:
        assert re.fullmatch("[0-9a-f]{64}", file.sha256)
        assert file.sha1 is None or re.fullmatch("[0-9a-f]{40}", file.sha1)
        assert all(re.match(r"https?://[\w.]+/", address) for address in file.addresses)


def test_exit_codes_are_those_of_the_command_line() -> None:
    codes = (fetch_model.DONE, fetch_model.USAGE, fetch_model.FAILED, fetch_model.INTERRUPTED)
    assert codes == (ExitCode.DONE, ExitCode.USAGE, ExitCode.BAD_INPUT, ExitCode.INTERRUPTED)


# -- Usage --------------------------------------------------------------------------------------------


def script(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script itself, outside of any installation and folder."""
    alone = [sys.executable, "-I", "-S", str(SCRIPT), *arguments]
    return subprocess.run(alone, cwd="/", capture_output=True, text=True, timeout=60, check=False)


def test_without_a_name_the_models_are_listed() -> None:
    result = script()
    assert result.returncode == ExitCode.USAGE
    for words in ["caffenet", "googlenet", "553.4 MB", "vgg16/VGG_ILSVRC_16_layers.caffemodel"]:
        assert words in result.stderr
    assert result.stderr.count("17.9 MB  caffe_ilsvrc12.tar.gz with ") == 3


def test_a_near_name_is_suggested() -> None:
    result = script("VGG-16")
    assert result.returncode == ExitCode.USAGE
    assert "did you mean vgg16?" in result.stderr


@pytest.mark.parametrize("address", ["mirror.example/models", "ftp://mirror.example", "http://a b/"])
def test_a_mirror_must_be_an_http_address(address: str) -> None:
    result = script("vgg16", "--base-url", address)
    assert result.returncode == ExitCode.USAGE
    assert "not an http or https address" in result.stderr


# -- Success ------------------------------------------------------------------------------------------


def test_a_model_is_fetched_with_mean_and_labels_and_the_command_that_runs_it(
    server: Server, tmp_path: Path
) -> None:
    models = with_archive(
        server.serve("aux.tar.gz", Reply(ARCHIVE)), published(server.serve("net", Reply(WEIGHTS)))
    )
    result = run(models, tmp_path)
    assert_fetched(result, tmp_path)
    assert files_below(tmp_path) == ["mean.binaryproto", "synset_words.txt", "tiny/net.caffemodel"]
    assert (tmp_path / "mean.binaryproto").read_bytes() == MEAN
    assert (tmp_path / "synset_words.txt").read_bytes() == SYNSET
    assert f"{tmp_path}/synset_words.txt from aux.tar.gz: 28 bytes" in result.stdout
    assert f"{tmp_path}/tiny/net.caffemodel: 300,000 bytes, SHA-256 as published" in result.stdout
    assert f"cd {tmp_path} && caffe-lrp -c {ROOT}/configs/tiny.txt -f FILELIST" in result.stdout


def test_correct_files_are_not_downloaded_again(server: Server, tmp_path: Path) -> None:
    models = with_archive(
        server.serve("aux.tar.gz", Reply(ARCHIVE)), published(server.serve("net", Reply(WEIGHTS)))
    )
    assert_fetched(run(models, tmp_path), tmp_path)
    server.requests.clear()
    result = run(models, tmp_path)
    assert_fetched(result, tmp_path)
    assert server.requests == []
    assert result.stdout.count("already exists") == 3


def test_a_file_is_asked_for_as_it_is_not_compressed(server: Server, tmp_path: Path) -> None:
    assert_fetched(run(table(published(server.serve("net", Reply(WEIGHTS)))), tmp_path), tmp_path)
    assert server.encodings == {"identity"}


def test_a_redirect_is_followed(server: Server, tmp_path: Path) -> None:
    there = server.serve("there", Reply(WEIGHTS))
    here = server.serve("here", Reply(status=302, headers={"Location": there}))
    assert_fetched(run(table(published(here)), tmp_path), tmp_path)


def test_an_answer_without_a_length_is_taken(server: Server, tmp_path: Path) -> None:
    address = server.serve("net", Reply(WEIGHTS, headers={"Content-Length": ""}))
    assert_fetched(run(table(published(address)), tmp_path), tmp_path)


def test_the_next_address_is_tried_when_one_is_dead(server: Server, tmp_path: Path) -> None:
    gone, alive = server.serve("gone", Reply(status=404)), server.serve("net", Reply(WEIGHTS))
    result = run(table(published(gone, alive)), tmp_path)
    assert_fetched(result, tmp_path)
    assert "answers 404" in result.stderr
    assert len(server.requests) == 2


def test_a_mirror_of_ones_own_takes_the_place_of_all_addresses(server: Server, tmp_path: Path) -> None:
    mirror = server.serve("mirror/", Reply())
    server.serve("mirror/net.caffemodel", Reply(WEIGHTS))
    server.serve("mirror/aux.tar.gz", Reply(ARCHIVE))
    models = with_archive("http://127.0.0.1:1/aux.tar.gz", published("http://127.0.0.1:1/net"))
    assert_fetched(run(models, tmp_path, "--base-url", mirror), tmp_path)
    assert [path for path, _ in server.requests] == ["/mirror/net.caffemodel", "/mirror/aux.tar.gz"]


def test_where_no_sha256_is_published_the_computed_one_is_shown(server: Server, tmp_path: Path) -> None:
    address = server.serve("net", Reply(WEIGHTS))
    result = run(table(replace(published(address), sha256=None)), tmp_path)
    assert_fetched(result, tmp_path)
    words = f"SHA-1 as published, SHA-256 {sha256(WEIGHTS)} (none is published to compare it to)"
    assert words in result.stdout


def test_an_archive_that_was_placed_by_hand_is_used_and_stays(server: Server, tmp_path: Path) -> None:
    (tmp_path / "aux.tar.gz").write_bytes(ARCHIVE)
    models = with_archive(server.serve("gone"), published(server.serve("net", Reply(WEIGHTS))))
    assert_fetched(run(models, tmp_path), tmp_path)
    assert (tmp_path / "synset_words.txt").read_bytes() == SYNSET
    assert (tmp_path / "aux.tar.gz").exists()


# -- Resuming and trying again ------------------------------------------------------------------------


def test_a_part_of_an_earlier_run_is_continued(server: Server, tmp_path: Path) -> None:
    part_in(tmp_path, WEIGHTS[:HALF])
    result = run(table(published(server.serve("net", Reply(WEIGHTS)))), tmp_path)
    assert_fetched(result, tmp_path)
    assert server.ranges_asked() == [f"bytes={HALF}-"]
    assert "going on after 0.1 MB" in result.stderr or "going on after 0.2 MB" in result.stderr


def test_a_complete_part_is_checked_and_not_fetched_again(server: Server, tmp_path: Path) -> None:
    part_in(tmp_path, WEIGHTS)
    assert_fetched(run(table(published(server.serve("net", Reply(WEIGHTS)))), tmp_path), tmp_path)
    assert server.requests == []


def test_a_dropped_connection_is_continued_where_it_broke(server: Server, tmp_path: Path) -> None:
    address = server.serve("net", Reply(WEIGHTS, cut=HALF), Reply(WEIGHTS))
    result = run(table(published(address)), tmp_path)
    assert_fetched(result, tmp_path)
    assert server.ranges_asked() == [None, f"bytes={HALF}-"]
    assert "broke off after 150,000 of 300,000 bytes: again" in result.stderr


def test_a_server_without_ranges_is_asked_for_all_of_it(server: Server, tmp_path: Path) -> None:
    part_in(tmp_path, OTHER[:HALF])
    address = server.serve("net", Reply(WEIGHTS, ranges=False))
    assert_fetched(run(table(published(address)), tmp_path), tmp_path)


def test_pieces_of_a_file_that_changed_meanwhile_are_not_joined(server: Server, tmp_path: Path) -> None:
    part_in(tmp_path, OTHER[:HALF])
    result = run(table(published(server.serve("net", Reply(WEIGHTS)))), tmp_path)
    assert_fetched(result, tmp_path)
    assert server.ranges_asked() == [f"bytes={HALF}-", None]
    assert "from different files" in result.stderr


def test_a_part_is_not_continued_where_no_checksum_would_show_a_wrong_joint(
    server: Server, tmp_path: Path
) -> None:
    part_in(tmp_path, OTHER[:HALF])
    file = replace(published(server.serve("net", Reply(WEIGHTS))), sha1=None, sha256=None)
    assert_fetched(run(table(file), tmp_path), tmp_path)
    assert server.ranges_asked() == [None]


def test_a_part_that_is_longer_than_the_file_is_given_up(server: Server, tmp_path: Path) -> None:
    part_in(tmp_path, WEIGHTS + b"more")
    assert_fetched(run(table(published(server.serve("net", Reply(WEIGHTS)))), tmp_path), tmp_path)


def test_a_server_error_is_tried_again(server: Server, tmp_path: Path) -> None:
    address = server.serve("net", Reply(status=500), Reply(status=503), Reply(WEIGHTS))
    result = run(table(published(address)), tmp_path)
    assert_fetched(result, tmp_path)
    assert "answers 500" in result.stderr
    assert "attempt 3 of 3" in result.stderr


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_status_that_may_pass_is_tried_again(status: int) -> None:
    error = fetch_model.status_fault(HTTPError("http://a/b", status, "reason", Message(), None))
    assert isinstance(error, fetch_model.TransientError)


@pytest.mark.parametrize(
    ("gains", "waits"),
    [
        ([0, 0, 0, 0, 0], [1, 2, 4, 8]),
        ([0, 0, fetch_model.HEADWAY - 1, 1, 0], [1, 2, 4, 1]),
        ([0, fetch_model.HEADWAY, 0, 0, 0, 0], [1, 1, 2, 4, 8]),
    ],
    ids=["none", "too few bytes, then enough", "enough bytes"],
)
def test_waits_double_until_enough_has_come(
    gains: list[int],
    waits: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A connection breaks off again and again, each time after so many new bytes."""
    part, slept, left = tmp_path / "net.part", list[float](), iter(gains)
    part.touch()

    def receive(*_: object) -> None:
        if (gain := next(left, None)) is None:
            raise fetch_model.UnusableError("the end of this test")
        os.truncate(part, part.stat().st_size + gain)
        raise fetch_model.TransientError("broke off")

    monkeypatch.setattr(fetch_model, "receive", receive)
    monkeypatch.setattr(fetch_model.time, "sleep", slept.append)
    file = replace(published(), size=100 * fetch_model.HEADWAY)
    with pytest.raises(fetch_model.UnusableError):
        fetch_model.receive_patiently("http://a/b", file, part, fetch_model.PATIENCE)
    assert slept[: len(waits)] == waits
    assert re.findall(r"again in (\d+) s", capsys.readouterr().err)[: len(waits)] == list(map(str, waits))


def test_attempts_are_bounded_and_the_part_is_kept(server: Server, tmp_path: Path) -> None:
    address = server.serve("net", Reply(WEIGHTS, cut=HALF, ranges=False))
    result = run(table(published(address)), tmp_path)
    assert_refused(result, "3 times", "no address serves net.caffemodel")
    assert len(server.requests) == 3
    assert part_in(tmp_path).read_bytes() == WEIGHTS[:HALF]


def test_a_silent_server_is_left_and_tried_again(server: Server, tmp_path: Path) -> None:
    never = threading.Event()
    address = server.serve("net", Reply(WEIGHTS, cut=HALF, gate=never), Reply(WEIGHTS))
    result = run(table(published(address)), tmp_path, timeout=1.0)
    never.set()
    assert_fetched(result, tmp_path)
    assert "timed out" in result.stderr


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_its_part_and_the_next_goes_on(
    ending: signal.Signals, server: Server, tmp_path: Path
) -> None:
    gate = threading.Event()
    models = table(published(server.serve("net", Reply(WEIGHTS, cut=HALF, gate=gate), Reply(WEIGHTS))))
    process = subprocess.Popen(
        command(models, "tiny", "--folder", tmp_path), env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
    )
    part = part_in(tmp_path)
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(ending)
    _, errors = process.communicate(timeout=60)
    gate.set()
    assert process.returncode == ExitCode.INTERRUPTED
    assert "run the same command again to continue" in errors
    assert "Traceback" not in errors
    kept = part.stat().st_size
    assert 0 < kept <= HALF
    assert_fetched(run(models, tmp_path), tmp_path)
    assert server.ranges_asked()[1] == f"bytes={kept}-"


# -- Refusals -----------------------------------------------------------------------------------------


def test_a_dead_address_is_named_with_its_fault_and_what_to_place_where(
    server: Server, tmp_path: Path
) -> None:
    gone, refusing = server.serve("gone"), "http://127.0.0.1:1/net.caffemodel"
    models = with_archive(
        server.serve("aux.tar.gz", Reply(status=410)),
        published(gone, refusing),
    )
    result = run(models, tmp_path)
    assert_refused(result, gone, "answers 404", refusing, "refuses the connection", "answers 410")
    assert_refused(result, str(weights_in(tmp_path)), "300,000 bytes", sha256(WEIGHTS), sha256(ARCHIVE))
    assert_refused(result, str(tmp_path / "aux.tar.gz"), str(tmp_path / "synset_words.txt"), "--base-url")
    assert [path for path, _ in server.requests] == ["/gone", "/aux.tar.gz"]  # each once
    assert result.stderr.count("refuses the connection") == 1
    assert "no network" not in result.stderr


def test_the_command_that_checks_works_as_it_is_printed(tmp_path: Path) -> None:
    def in_folder(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False
        )

    arguments = ["googlenet", "--folder", "my models", "--base-url", "http://127.0.0.1:1"]
    refused = in_folder(sys.executable, str(SCRIPT), *arguments)
    (printed,) = [line for line in refused.stderr.splitlines() if line.endswith("--check")]
    result = in_folder("sh", "-c", printed)
    assert result.returncode == ExitCode.BAD_INPUT
    assert result.stderr == ""
    assert result.stdout.splitlines()[0] == "my models/googlenet/bvlc_googlenet.caffemodel: missing"


@pytest.mark.parametrize(
    ("addresses", "said"),
    [
        (["http://a.example/net", "http://b.example/net"], True),
        (["http://a.example/net", "http://a.example/net2"], False),
        (["http://a.example/net", "http://refusing.example/net"], False),
    ],
    ids=["all hosts unknown", "one host unknown", "one host known"],
)
def test_a_missing_network_is_distinguished_from_a_dead_host(
    addresses: list[str],
    said: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def urlopen(request: Any, **_: object) -> None:
        known = "refusing" in request.full_url
        raise URLError(ConnectionRefusedError() if known else socket.gaierror(-2, "Name not known"))

    monkeypatch.setattr(fetch_model, "urlopen", urlopen)
    model = table(published(*addresses))["tiny"]
    assert fetch_model.run("tiny", model, tmp_path, False, fetch_model.PATIENCE) == fetch_model.FAILED
    errors = capsys.readouterr().err
    assert errors.count("there seems to be no network here") == said
    assert all(errors.count(f"{address}\n") == 1 for address in addresses)


def test_a_dead_host_is_no_missing_network_where_another_file_has_come(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = server.serve("aux.tar.gz", Reply(ARCHIVE))
    urlopen = fetch_model.urlopen

    def partly(request: Any, timeout: float) -> Any:
        if request.full_url != archive:
            raise URLError(socket.gaierror(-2, "Name not known"))
        return urlopen(request, timeout=timeout)

    monkeypatch.setattr(fetch_model, "urlopen", partly)
    model = with_archive(archive, published("http://a.example/net", "http://b.example/net"))["tiny"]
    assert fetch_model.run("tiny", model, tmp_path, False, fetch_model.PATIENCE) == fetch_model.FAILED
    assert "no network" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (socket.gaierror(-2, "Name or service not known"), "its name cannot be looked up"),
        (ssl.SSLCertVerificationError("self-signed"), "its certificate is not valid"),
        (TimeoutError("timed out"), "does not answer"),
        (OSError(113, "No route to host"), "cannot be reached"),
    ],
)
def test_faults_that_stay_are_not_tried_again(reason: OSError, words: str) -> None:
    error = fetch_model.connection_fault(reason)
    assert isinstance(error, fetch_model.UnusableError)
    assert words in str(error)


def test_one_dead_file_does_not_keep_the_others_away(server: Server, tmp_path: Path) -> None:
    models = with_archive(server.serve("aux.tar.gz", Reply(ARCHIVE)), published(server.serve("gone")))
    assert_refused(run(models, tmp_path), "no address serves net.caffemodel\n")
    assert files_below(tmp_path) == ["mean.binaryproto", "synset_words.txt"]


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(b"<html>", headers={"Content-Type": "text/html; charset=utf-8"}), "sends a web page"),
        (Reply(WEIGHTS[:-1]), "of 299,999 bytes, published are 300,000"),
        (Reply(WEIGHTS + b"more", headers={"Content-Length": ""}), "of more than the published 300,000"),
        (Reply(OTHER), f"its SHA-1 is {hashlib.sha1(OTHER, usedforsecurity=False).hexdigest()}"),
    ],
    ids=["web page", "wrong length", "endless", "wrong bytes"],
)
def test_another_file_is_not_taken(reply: Reply, words: str, server: Server, tmp_path: Path) -> None:
    result = run(table(published(server.serve("net", reply))), tmp_path)
    assert_refused(result, words)
    assert len(server.requests) == 1
    assert not weights_in(tmp_path).exists()


def test_bytes_that_are_known_to_be_wrong_are_not_kept(server: Server, tmp_path: Path) -> None:
    run(table(published(server.serve("net", Reply(OTHER)))), tmp_path)
    assert files_below(tmp_path) == []


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(WEIGHTS[: HALF - 1]), "it ends before the part that is already here"),
        (Reply(b"<html>", ranges=False, headers={"Content-Type": "text/html"}), "sends a web page"),
        (Reply(WEIGHTS, headers={"Content-Range": "bytes 0-299999/300000"}), "sends another part"),
    ],
    ids=["shorter", "web page", "other range"],
)
def test_another_file_does_not_spoil_a_good_part(
    reply: Reply, words: str, server: Server, tmp_path: Path
) -> None:
    part_in(tmp_path, WEIGHTS[:HALF])
    addresses = server.serve("dud", reply), server.serve("net", Reply(WEIGHTS))
    result = run(table(published(*addresses)), tmp_path)
    assert_fetched(result, tmp_path)
    assert server.ranges_asked() == [f"bytes={HALF}-"] * 2
    assert words in result.stderr


def test_a_wrong_file_in_place_is_left_alone_and_replaced_by_force(server: Server, tmp_path: Path) -> None:
    models = table(published(server.serve("net", Reply(WEIGHTS))))
    weights_in(tmp_path).parent.mkdir()
    weights_in(tmp_path).write_bytes(OTHER)
    result = run(models, tmp_path)
    assert_refused(result, f"{weights_in(tmp_path)}: its SHA-1 is", "--force")
    assert weights_in(tmp_path).read_bytes() == OTHER
    assert server.requests == []
    assert_fetched(run(models, tmp_path, "--force"), tmp_path)


@pytest.mark.parametrize(
    ("archive", "words"),
    [
        (ARCHIVE[: len(ARCHIVE) // 2], "is damaged"),
        (tar_gz(**{"synset_words.txt": SYNSET}), "does not hold mean.binaryproto"),
        (tar_gz(**{"mean.binaryproto": b"?", "synset_words.txt": SYNSET}), "mean.binaryproto has 1 bytes"),
    ],
    ids=["cut", "incomplete", "wrong member"],
)
def test_an_archive_without_the_right_members_is_refused(
    archive: bytes, words: str, server: Server, tmp_path: Path
) -> None:
    source = published(server.serve("aux", Reply(archive)), content=archive, name="aux.tar.gz")
    mean = fetch_model.File("mean.binaryproto", size=len(MEAN), archive=source)
    assert_refused(run(table(**{"mean.binaryproto": mean}), tmp_path), words)
    assert not (tmp_path / "mean.binaryproto").exists()


def test_a_wrong_member_of_an_archive_is_not_kept(server: Server, tmp_path: Path) -> None:
    archive = tar_gz(**{"mean.binaryproto": b"?"})
    source = published(server.serve("aux", Reply(archive)), content=archive, name="aux.tar.gz")
    mean = fetch_model.File("mean.binaryproto", size=len(MEAN), archive=source)
    run(table(**{"mean.binaryproto": mean}), tmp_path)
    assert files_below(tmp_path) == ["aux.tar.gz.part"]


def test_too_little_disk_space_is_reported_before_downloading(server: Server, tmp_path: Path) -> None:
    huge = replace(published(server.serve("net", Reply(WEIGHTS))), size=10**18)
    assert_refused(run(table(huge), tmp_path), "1,000,000,000,000.0 MB are needed")
    assert server.requests == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_disk_that_fills_up_is_said_with_the_file(server: Server, tmp_path: Path) -> None:
    part = part_in(tmp_path)
    part.parent.mkdir()
    part.symlink_to("/dev/full")
    result = run(table(published(server.serve("net", Reply(WEIGHTS)))), tmp_path)
    assert_refused(result, f"{part}: No space left on device")
    assert "again" not in result.stderr


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert_refused(run(table(published()), tmp_path / "file" / "folder"), f"{tmp_path}/file")


def test_two_runs_do_not_write_the_same_folder(server: Server, tmp_path: Path) -> None:
    handle = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH)  # even this much keeps it out
        result = run(table(published(server.serve("net", Reply(WEIGHTS)))), tmp_path)
    finally:
        os.close(handle)
    assert_refused(result, "another fetch_model.py is at work")


# -- Checking -----------------------------------------------------------------------------------------


def test_check_tells_right_from_wrong_and_missing_and_fetches_nothing(server: Server, tmp_path: Path) -> None:
    models = with_archive(server.serve("aux.tar.gz"), published(server.serve("net", Reply(WEIGHTS))))
    (tmp_path / "mean.binaryproto").write_bytes(b"short")
    weights_in(tmp_path).parent.mkdir()
    weights_in(tmp_path).write_bytes(WEIGHTS)
    result = run(models, tmp_path, "--check")
    assert result.returncode == ExitCode.BAD_INPUT
    assert result.stdout.splitlines() == [
        f"{weights_in(tmp_path)}: 300,000 bytes, SHA-256 as published",
        f"{tmp_path}/mean.binaryproto: has 5 bytes, published are 5,000",
        f"{tmp_path}/synset_words.txt: missing",
    ]
    assert server.requests == []
    assert run(table(published()), tmp_path, "--check").returncode == 0
