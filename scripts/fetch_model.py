#!/usr/bin/env python3
"""Downloads a well-known model, with mean image and class labels, to the places that its config expects.

Needs only Python, so it runs before the package is installed. An interrupted download is kept and
resumed; a file gets its name only if its size and checksums are the published ones.
"""

import argparse
import difflib
import fcntl
import gzip
import hashlib
import os
import re
import shlex
import shutil
import signal
import socket
import ssl
import sys
import tarfile
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPException, HTTPResponse, InvalidURL
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

PROGRAM = "fetch_model.py"
CONFIGS = Path(__file__).resolve().parent.parent / "configs"

DONE, USAGE, FAILED, INTERRUPTED = 0, 2, 3, 130
"""Exit codes, those of `caffe_lrp.errors.ExitCode`."""

CHUNK = 1 << 18
"""Bytes that are read at a time, at most."""

HEADWAY = 1 << 20
"""A connection that breaks after this many new bytes is not a failure: the attempts are counted anew."""

LABELS = {"sha1": "SHA-1", "sha256": "SHA-256"}


@dataclass(frozen=True)
class File:
    """A published file, with its published size and checksums; None if not published.

    A file with an `archive` is a member of that tar.gz and has no address of its own.
    """

    name: str
    addresses: tuple[str, ...] = ()
    size: int | None = None
    sha1: str | None = None
    sha256: str | None = None
    archive: "File | None" = None

    @property
    def digests(self) -> dict[str, str]:
        """The published checksums by their name in hashlib."""
        published = {"sha1": self.sha1, "sha256": self.sha256}
        return {name: digest for name, digest in published.items() if digest is not None}


@dataclass(frozen=True)
class Model:
    """A model: its title, and its files by their places, relative to the folder of the config."""

    title: str
    files: Mapping[str, File]


@dataclass(frozen=True)
class Patience:
    """Number of attempts per address, timeout, and first wait; in seconds."""

    attempts: int = 5
    timeout: float = 30.0
    first_wait: float = 1.0


PATIENCE = Patience()

# Every number is in at least two public sources unless its line says otherwise:
# "readme"  BVLC/caffe, models/*/readme.md
# "OMZ"     openvinotoolkit/open_model_zoo, models/public/*/model.yml (caffenet: commit 7ba8d9eb, the
#           last with SHA-256)
# "LFS"     the Git LFS pointer alexnet/caffe_model/imagenet_mean.binaryproto of
#           foss-for-synopsys-dwc-arc-processors/synopsys-caffe-models
# Addresses: first where the authors published the file, then copies that other projects document:
# heatmapping.org is the LRP Toolbox's own (caffe-master-lrp/demonstrator), deepdetect.com DeepDetect's,
# openmmlab.com OpenMMLab's.
# The checksums make it safe to use copies, even over plain http.
ILSVRC12 = File(
    name="caffe_ilsvrc12.tar.gz",
    addresses=(
        "http://dl.caffe.berkeleyvision.org/caffe_ilsvrc12.tar.gz",
        "http://heatmapping.org/files/lrp_toolbox/models/bvlc_caffe_reference_model/caffe_ilsvrc12.tar.gz",
        "https://download.openmmlab.com/mmclassification/datasets/imagenet/meta/caffe_ilsvrc12.tar.gz",
    ),
    size=17_858_008,  # tensorpack, dataflow/dataset/ilsvrc.py, which checks it; no other source
    # Two Yocto recipes, of caffe and of an OpenCV test; their MD5 is also in Qualcomm's setup_alexnet.py.
    sha256="e35c0c1994a21f7d8ed49d01881ce17ab766743d3b0372cdc0183ff4d0dfc491",
)

COMMON = {
    # LFS; and what the fields of a BlobProto of 1 x 3 x 256 x 256 take. LFS has a SHA-256, which no other
    # source confirms: none is asked for, the archive vouches for its members.
    "imagenet_mean.binaryproto": File("imagenet_mean.binaryproto", size=786_446, archive=ILSVRC12),
    "synset_words.txt": File("synset_words.txt", archive=ILSVRC12),
}

MODELS = {
    "caffenet": Model(
        "BVLC Reference CaffeNet",
        {
            "caffenet/bvlc_reference_caffenet.caffemodel": File(
                name="bvlc_reference_caffenet.caffemodel",
                addresses=(
                    "http://dl.caffe.berkeleyvision.org/bvlc_reference_caffenet.caffemodel",
                    "http://heatmapping.org/files/lrp_toolbox/models/bvlc_caffe_reference_model/"
                    "bvlc_reference_caffenet.caffemodel",
                ),
                size=243_862_418,  # OMZ; 232 MB in mexopencv
                sha1="4c8d77deb20ea792f84eb5e6d0a11ca0a8660a46",  # readme; mexopencv
                # OMZ; Homebrew's and Nix's recipes of Caffe
                sha256="472d4a06035497b180636d8a82667129960371375bd10fcb6df5c6c7631f25e0",
            ),
            **COMMON,
        },
    ),
    "googlenet": Model(
        "BVLC GoogLeNet",
        {
            "googlenet/bvlc_googlenet.caffemodel": File(
                name="bvlc_googlenet.caffemodel",
                addresses=(
                    "http://dl.caffe.berkeleyvision.org/bvlc_googlenet.caffemodel",
                    "https://www.deepdetect.com/downloads/platform/pretrained/caffe/googlenet/"
                    "bvlc_googlenet.caffemodel",
                ),
                size=53_533_754,  # OMZ; notes on jetson-inference
                sha1="405fc5acd08a3bb12de8ee5e23a96bec22f08204",  # readme; opencv_extra
                # OMZ; EXPECTED_HASH of a CMake project that downloads it with OpenCV's prototxt
                sha256="6f7101e3a2183738a7125a0c5021ba82a1feb4228c5ca0924d991b6daf6f6fad",
            ),
            **COMMON,
        },
    ),
    "vgg16": Model(
        "VGG ILSVRC 16 layers",
        {
            "vgg16/VGG_ILSVRC_16_layers.caffemodel": File(
                name="VGG_ILSVRC_16_layers.caffemodel",
                addresses=(
                    "http://www.robots.ox.ac.uk/~vgg/software/very_deep/caffe/VGG_ILSVRC_16_layers.caffemodel",
                    "https://deepdetect.com/models/vgg_16/VGG_ILSVRC_16_layers.caffemodel",
                ),
                size=553_432_081,  # OMZ; logs of Caffe that loads it
                sha1="9363e1f6d65f7dba68c4f27a1e62105cdf6c4e24",  # opencv_extra; mexopencv; MXNet
                # OMZ; no other source
                sha256="a6196bc498e45ea4cb2637114ae8db9410cf1556fd60a55ae93272371beba197",
            ),
            **COMMON,
        },
    ),
}


class FetchError(Exception):
    """The files cannot be put in place; the message says what to do."""


class UnusableError(Exception):
    """An address does not serve the file, and trying again would not help."""


class UnknownHostError(UnusableError):
    """The name of a host cannot be looked up."""


class TransientError(Exception):
    """An error that may not occur at the next attempt."""


def say(text: str) -> None:
    """Print progress to standard error; standard output is for finished files."""
    print(text, file=sys.stderr, flush=True)


def report(what: str, finding: "Finding") -> None:
    """Print a finished file."""
    print(f"{what}: {finding.text}", flush=True)


def shown(path: Path) -> str:
    """Return a path as the user would type it: relative if it is inside the current folder."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def megabytes(count: int) -> str:
    """Return a number of bytes in MB."""
    return f"{count / 1e6:,.1f} MB"


def size_of(path: Path) -> int:
    """Return the number of bytes in a file, 0 if there is none."""
    return path.stat().st_size if path.exists() else 0


# -- Comparing a file with what was published ---------------------------------------------------------


@dataclass(frozen=True)
class Finding:
    """The result of checking a file: a text, and whether it contradicts the published values."""

    text: str
    wrong: bool = False


def inspect(path: Path, file: File) -> Finding:
    """Return whether a file has the published size and checksums."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return Finding(f"has {size:,} bytes, published are {file.size:,}", wrong=True)
    found = digests_of(path)
    for name, published in file.digests.items():
        if found[name] != published:
            return Finding(f"its {LABELS[name]} is {found[name]}, published is {published}", wrong=True)
    if file.sha256:
        return Finding(f"{size:,} bytes, SHA-256 as published")
    confirmed = "SHA-1 as published, " if file.sha1 else ""
    unconfirmed = f"SHA-256 {found['sha256']} (none is published to compare it to)"
    return Finding(f"{size:,} bytes, {confirmed}{unconfirmed}")


def digests_of(path: Path) -> dict[str, str]:
    """Return the checksums of a file by their name in hashlib."""
    # Not for security: the model zoo publishes SHA-1.
    hashes = {name: hashlib.new(name, usedforsecurity=False) for name in LABELS}
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            for digest in hashes.values():
                digest.update(chunk)
    return {name: digest.hexdigest() for name, digest in hashes.items()}


# -- One address -------------------------------------------------------------------------------------


class Progress:
    """One line that changes on a terminal, else a line every ten seconds."""

    def __init__(self, total: int | None, start: int) -> None:
        self.total, self.start = total, start
        self.live = sys.stderr.isatty()
        self.began = self.last = time.monotonic()
        self.width = 0

    def update(self, done: int) -> None:
        """Show the number of bytes, unless it was shown a moment ago."""
        now = time.monotonic()
        if now - self.last >= (0.2 if self.live else 10.0):
            self.last = now
            self.show(done)

    def show(self, done: int) -> None:
        """Show the number of bytes and the speed."""
        rate = (done - self.start) / max(time.monotonic() - self.began, 1e-3)
        share = f"{100 * done / self.total:3.0f} % of {megabytes(self.total)}" if self.total else ""
        line = f"  {share or megabytes(done)}, {megabytes(int(rate))}/s"
        # Spaces clear the rest of a longer line.
        before, after = (f"\r{line:<{self.width}}", "") if self.live else (line, "\n")
        print(before, end=after, file=sys.stderr, flush=True)
        self.width = len(line)

    def close(self, done: int) -> None:
        """Leave the final state and end the line."""
        if self.live:
            self.show(done)
            print(file=sys.stderr)


RETRIED_STATUSES = {408, 425, 429, 500, 502, 503, 504}

CONNECTION_FAULTS: tuple[tuple[type[Exception], str], ...] = (
    (ssl.SSLCertVerificationError, "its certificate is not valid"),
    (TimeoutError, "does not answer"),
    (ConnectionRefusedError, "refuses the connection"),
)
"""Faults in words; the first that fits."""

BROKEN_CONNECTIONS = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError, ssl.SSLEOFError)


def connection_fault(reason: object) -> Exception:
    """Return the error for a failed connection."""
    if isinstance(reason, BROKEN_CONNECTIONS):
        return TransientError(f"the connection broke off ({reason})")
    if isinstance(reason, socket.gaierror):
        return UnknownHostError(f"its name cannot be looked up ({reason})")
    words = (words for kind, words in CONNECTION_FAULTS if isinstance(reason, kind))
    return UnusableError(f"{next(words, 'cannot be reached')} ({reason})")


def status_fault(error: HTTPError) -> Exception:
    """Return the error for an answer that is not the file."""
    if error.code in RETRIED_STATUSES:
        return TransientError(f"answers {error.code} {error.reason}")
    if error.code == 416:
        return UnusableError("serves another file: it ends before the part that is already here")
    return UnusableError(f"answers {error.code} {error.reason}")


def ask(address: str, offset: int, timeout: float) -> HTTPResponse:
    """Return the answer of a server that is asked for a file from byte `offset` on."""
    # http.client itself asks for the file as it is: "Accept-Encoding: identity".
    headers = {"User-Agent": f"caffe-lrp/{PROGRAM}"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    try:
        response: HTTPResponse = urlopen(Request(address, headers=headers), timeout=timeout)
    except HTTPError as error:
        error.close()
        raise status_fault(error) from error
    except URLError as error:
        raise connection_fault(error.reason) from error
    except InvalidURL as error:
        raise UnusableError(f"is not a valid address ({error})") from error
    except (OSError, HTTPException) as error:
        raise TransientError(f"the connection broke off ({error})") from error
    return response


def first_and_total(response: HTTPResponse, offset: int) -> tuple[int, int | None]:
    """Return the offset of an answer's bytes, and the size of the whole file, None if not stated."""
    if response.status != 206:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isdecimal() else None
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip())
    if match is None or int(match[1]) != offset:
        raise UnusableError("sends another part of the file than requested")
    return offset, None if match[2] == "*" else int(match[2])


def receive(address: str, file: File, part: Path, timeout: float) -> None:
    """Append the missing bytes to `part`, or write it anew if the server cannot resume."""
    offset = size_of(part)
    with ask(address, offset, timeout) as response:
        # All of this is checked before the first byte is written, so that a good part is not lost.
        if response.headers.get_content_type() == "text/html":
            raise UnusableError("sends a web page, not the file: a login, or the site has moved")
        start, total = first_and_total(response, offset)
        if file.size is not None and total not in {None, file.size}:
            raise UnusableError(f"serves another file: of {total:,} bytes, published are {file.size:,}")
        expected = total if file.size is None else file.size
        say(f"  going on after {megabytes(start)}" if start else "  from the start")
        with part.open("ab" if start else "wb") as stream:
            copy(response, stream, Progress(expected, start), limit=file.size)
    if expected is not None and size_of(part) < expected:
        raise TransientError(f"the connection broke off after {size_of(part):,} of {expected:,} bytes")


def copy(response: HTTPResponse, stream: BinaryIO, progress: Progress, limit: int | None) -> None:
    """Write what a server sends, and no more than `limit` bytes in all."""
    done = progress.start
    try:
        while chunk := read(response):
            done += len(chunk)
            if limit is not None and done > limit:
                raise UnusableError(f"serves another file: of more than the published {limit:,} bytes")
            stream.write(chunk)
            progress.update(done)
    finally:
        progress.close(done)


def read(response: HTTPResponse) -> bytes:
    """Return the received bytes of an answer. Network errors are transient, disk errors are not."""
    try:
        return response.read1(CHUNK)
    except (OSError, HTTPException) as error:
        raise TransientError(f"the connection broke off ({error})") from error


def receive_patiently(address: str, file: File, part: Path, patience: Patience) -> bool:
    """Complete `part` from an address, trying again after transient faults.

    Returns whether it was put together from several pieces.
    """
    pieces = size_of(part) > 0
    furthest, failures = size_of(part), 0
    while file.size is None or size_of(part) < file.size:
        try:
            receive(address, file, part, patience.timeout)
            break
        except TransientError as error:
            if size_of(part) >= furthest + HEADWAY:
                furthest, failures = size_of(part), 0
            failures += 1
            if failures >= patience.attempts:
                raise UnusableError(f"{error}, {failures} times") from error
            wait = patience.first_wait * 2 ** (failures - 1)
            say(f"  {error}: again in {wait:g} s (attempt {failures + 1} of {patience.attempts})")
            time.sleep(wait)
            forget_unless_continuable(part, file)
            pieces = size_of(part) > 0
    return pieces


def forget_unless_continuable(part: Path, file: File) -> None:
    """Remove a part that cannot be resumed: nothing shows whether its pieces are from the same file."""
    if not file.digests or file.size is None or size_of(part) > file.size:
        part.unlink(missing_ok=True)


def complete(address: str, file: File, part: Path, patience: Patience) -> Finding:
    """Complete and check `part`. If its pieces do not fit together, it is downloaded again, once."""
    forget_unless_continuable(part, file)
    pieces = receive_patiently(address, file, part, patience)
    finding = inspect(part, file)
    if finding.wrong and pieces:
        say("  the pieces are from different files")
        part.unlink()
        receive_patiently(address, file, part, patience)
        finding = inspect(part, file)
    if finding.wrong:
        part.unlink()
        raise UnusableError(f"serves another file: {finding.text}")
    return finding


# -- All addresses of a download ---------------------------------------------------------------------


@dataclass(frozen=True)
class Errand:
    """A download, its target, and for an archive the targets of its required members."""

    source: File
    target: Path
    members: Mapping[Path, File]

    @property
    def part(self) -> Path:
        """The name that the download has until it is complete."""
        return part_of(self.target)


class UnavailableError(Exception):
    """No address serves a download; `faults` has the error of each, which has been printed."""

    def __init__(self, errand: Errand, faults: Mapping[str, UnusableError]) -> None:
        super().__init__(errand.source.name)
        self.errand, self.faults = errand, faults


def part_of(target: Path) -> Path:
    """Return the name that a file has while it is not complete."""
    return target.with_name(target.name + ".part")


def download(errand: Errand, patience: Patience) -> Finding:
    """Complete and check the part of an errand, from the first address that serves it."""
    errand.target.parent.mkdir(parents=True, exist_ok=True)
    faults: dict[str, UnusableError] = {}
    for address in errand.source.addresses:
        say(f"{errand.source.name} from {address}")
        try:
            return complete(address, errand.source, errand.part, patience)
        except UnusableError as error:
            say(f"  {error}")
            faults[address] = error
        except OSError as error:
            # Those of the network are no longer OSErrors here. One of writing does not name the file.
            kept = "; what has come so far is kept" if size_of(errand.part) else ""
            raise FetchError(f"{shown(errand.part)}: {error.strerror}{kept}") from error
    raise UnavailableError(errand, faults)


def unpack(archive: Path, wanted: Mapping[Path, File]) -> None:
    """Extract only the required members of a tar.gz; print the files written."""
    targets = {file.name: target for target, file in wanted.items()}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for info in tar:
                name = info.name.removeprefix("./")
                stream = tar.extractfile(info) if name in targets and info.isfile() else None
                if stream:
                    target = targets.pop(name)
                    with stream, part_of(target).open("wb") as output:
                        shutil.copyfileobj(stream, output)
                    settle(target, wanted[target], archive)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise FetchError(f"{shown(archive)}: is damaged ({error}); remove it and run this again") from error
    if targets:
        raise FetchError(f"{shown(archive)}: does not hold {', '.join(targets)}")


def settle(target: Path, file: File, archive: Path) -> None:
    """Give a member of an archive its name if it is right."""
    part = part_of(target)
    finding = inspect(part, file)
    if finding.wrong:
        part.unlink()
        raise FetchError(f"{shown(archive)}: {file.name} {finding.text}")
    part.replace(target)
    report(f"{shown(target)} from {archive.name.removesuffix('.part')}", finding)


# -- All files of a model ----------------------------------------------------------------------------


def lacking(model: Model, folder: Path, force: bool) -> dict[Path, File]:
    """Return the files to download; raise FetchError if a wrong file is in the way."""
    missing: dict[Path, File] = {}
    in_the_way = []
    for place, file in model.files.items():
        target = folder / place
        if not target.exists():
            missing[target] = file
            continue
        finding = inspect(target, file)
        if force and (finding.wrong or not file.digests):
            missing[target] = file
        elif finding.wrong:
            in_the_way.append(f"{shown(target)}: {finding.text}")
        else:
            report(f"{shown(target)} already exists", finding)
    if in_the_way:
        raise FetchError("\n".join([*in_the_way, "Move or rename it, or replace it with --force."]))
    return missing


def errands_for(missing: Mapping[Path, File], folder: Path) -> list[Errand]:
    """Return the downloads that bring the missing files."""
    errands = [Errand(file, target, {}) for target, file in missing.items() if not file.archive]
    for archive in dict.fromkeys(file.archive for file in missing.values() if file.archive):
        members = {target: file for target, file in missing.items() if file.archive == archive}
        errands.append(Errand(archive, folder / archive.name, members))
    return errands


def require_space(errands: Sequence[Errand], folder: Path) -> None:
    """Raise FetchError if the disk has too little space for the rest of the download."""
    needed = sum(max((errand.source.size or 0) - size_of(errand.part), 0) for errand in errands)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise FetchError(f"{shown(folder)}: {megabytes(needed)} are needed, {megabytes(free)} are free")


def run_errand(errand: Errand, patience: Patience) -> None:
    """Put the files of one download in place; print each."""
    if not errand.members:
        finding = download(errand, patience)
        errand.part.replace(errand.target)
        report(shown(errand.target), finding)
    elif errand.target.exists():
        # The user put the archive there: it is used and kept.
        finding = inspect(errand.target, errand.source)
        if finding.wrong:
            raise FetchError(f"{shown(errand.target)}: {finding.text}; move or rename it")
        report(shown(errand.target), finding)
        unpack(errand.target, errand.members)
    else:
        report(errand.source.name, download(errand, patience))
        unpack(errand.part, errand.members)
        errand.part.unlink()


def fetch(model: Model, folder: Path, force: bool, patience: Patience) -> list[UnavailableError]:
    """Put all files of a model in place; return the downloads that no address serves."""
    folder.mkdir(parents=True, exist_ok=True)
    failures = []
    with alone_in(folder):
        errands = errands_for(lacking(model, folder, force), folder)
        require_space(errands, folder)
        for errand in errands:
            try:
                run_errand(errand, patience)
            except UnavailableError as error:
                failures.append(error)
    if len(failures) == len(errands) and no_host_is_known(failures):
        say("No name can be looked up: there seems to be no network here, or a proxy has to be set.")
    return failures


def no_host_is_known(failures: Sequence[UnavailableError]) -> bool:
    """Return whether the name lookup failed for all addresses, of more than one host."""
    faults = {address: fault for failure in failures for address, fault in failure.faults.items()}
    hosts = {urlsplit(address).hostname for address in faults}
    return len(hosts) > 1 and all(isinstance(fault, UnknownHostError) for fault in faults.values())


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep a second run out of a folder: two runs that write the same part would silently damage it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        lock(handle, folder)
        yield
    finally:
        os.close(handle)


def lock(handle: int, folder: Path) -> None:
    """Lock a folder until its handle is closed, if the file system supports it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise FetchError(f"{shown(folder)}: another {PROGRAM} is at work there; wait for it") from error
    except OSError as error:
        # Some network file systems have no locks, or none for folders.
        say(f"{shown(folder)}: cannot be locked ({error.strerror}); do not run {PROGRAM} there twice at once")


# -- The command line --------------------------------------------------------------------------------


def figures(file: File) -> list[str]:
    """Return the published values of a file, one per line."""
    size = "not published" if file.size is None else f"{file.size:,} bytes"
    digests = [f"{LABELS[name]:<8} {digest}" for name, digest in file.digests.items()]
    return [f"{'size':<8} {size}", *(digests or [f"{'SHA-256':<8} not published"])]


def advice(failures: Sequence[UnavailableError], check_command: str) -> str:
    """Return which files to put where by hand if no address serves them."""
    names = ", ".join(failure.errand.source.name for failure in failures)
    lines = [f"no address serves {names}", "What to get in another way, and where to put it:"]
    for errand in (failure.errand for failure in failures):
        members = ", ".join(map(shown, errand.members))
        lines += [f"  {shown(errand.target)}" + (f", or what it holds: {members}" if members else "")]
        lines += [f"    {line}" for line in figures(errand.source)]
    unpacks = ", unpacks the archive" if any(failure.errand.members for failure in failures) else ""
    lines += [f"Then run the same command again: it checks them{unpacks} and continues. To check only:"]
    lines += [f"    {check_command}"]
    return "\n".join([*lines, "A mirror of your own: --base-url URL."])


def command_to_check(name: str, folder: Path) -> str:
    """Return the command that checks the files of a model, as it can be typed in the current folder."""
    where = [] if folder == CONFIGS else ["--folder", shown(folder)]
    return shlex.join(["python3", shown(Path(__file__).resolve()), name, *where, "--check"])


def next_command(name: str, folder: Path) -> str:
    """Return the command that uses a downloaded model."""
    config = CONFIGS / f"{name}.txt"
    if folder == CONFIGS:
        return f"caffe-lrp -c {shlex.quote(shown(config))} -f FILELIST -p OUTDIR"
    # The config's files are looked up in the current folder first, then in the config's folder.
    return f"cd {shlex.quote(str(folder))} && caffe-lrp -c {shlex.quote(str(config))} -f FILELIST -p OUTDIR"


def check(model: Model, folder: Path) -> int:
    """Say for each file whether it is in place and right; return the exit code."""
    bad = False
    for place, file in model.files.items():
        target = folder / place
        finding = inspect(target, file) if target.exists() else Finding("missing", wrong=True)
        bad |= finding.wrong
        report(shown(target), finding)
    return FAILED if bad else DONE


def overview(models: Mapping[str, Model], folder: Path) -> str:
    """Return the sizes and targets of the downloads of each model."""
    lines = []
    for name, model in models.items():
        lines.append(f"  {name}: {model.title}")
        for errand in errands_for({folder / place: file for place, file in model.files.items()}, folder):
            size = "" if errand.source.size is None else megabytes(errand.source.size)
            archive = f"{errand.source.name} with " if errand.members else ""
            targets = ", ".join(map(shown, errand.members or [errand.target]))
            lines.append(f"    {size:>10}  {archive}{targets}")
    return "\n".join(lines)


def base_url(text: str) -> str:
    """Return the address of a mirror from the command line."""
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.netloc or not re.fullmatch(r"[!-~]+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not an http or https address")
    return text.rstrip("/")


def command_line(models: Mapping[str, Model]) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Download a model, the mean image and the class labels to where the config expects them.",
        epilog="The environment's http_proxy, https_proxy and no_proxy are honoured.",
    )
    option = parser.add_argument
    option("name", nargs="?", metavar="NAME", help=", ".join(models))
    where = f"put the files there (default: {shown(CONFIGS)})"
    option("--folder", type=Path, default=CONFIGS, metavar="DIR", help=where)
    mirror = "take the files from URL/FILE, a mirror of your own, and from nowhere else"
    option("--base-url", type=base_url, metavar="URL", help=mirror)
    option("--check", action="store_true", help="only check the files that are in place")
    force = "replace files that are in place unless they are known to be right"
    option("--force", action="store_true", help=force)
    return parser


def mirrored(file: File, url: str) -> File:
    """Return a file that comes from one address only."""
    addresses = (f"{url}/{quote(file.name)}",) if file.addresses else ()
    archive = mirrored(file.archive, url) if file.archive else None
    return replace(file, addresses=addresses, archive=archive)


def unknown_name(name: str | None, models: Mapping[str, Model], folder: Path) -> str:
    """Return the message for an unknown model, with the list of models."""
    close = difflib.get_close_matches((name or "").lower(), models, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    problem = f"there is no model {name!r}{hint}" if name else "which model?"
    return f"{problem}\n{overview(models, folder)}"


def run(name: str, model: Model, folder: Path, force: bool, patience: Patience) -> int:
    """Download a model, print the next step, and return the exit code."""
    failures = fetch(model, folder, force, patience)
    if failures:
        say(f"{PROGRAM}: {advice(failures, command_to_check(name, folder))}")
        return FAILED
    print(f"{name} is in place. Run it with\n    {next_command(name, folder)}")
    return DONE


def main(
    arguments: Sequence[str] | None = None,
    models: Mapping[str, Model] = MODELS,
    patience: Patience = PATIENCE,
) -> int:
    """Download a model and return the exit code."""
    parser = command_line(models)
    options = parser.parse_args(arguments)
    folder = options.folder.resolve()
    if options.name not in models:
        parser.error(unknown_name(options.name, models, folder))
    model = models[options.name]
    if options.base_url:
        files = {place: mirrored(file, options.base_url) for place, file in model.files.items()}
        model = replace(model, files=files)
    # Batch systems and shutdowns send SIGTERM: handled like Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if options.check:
            return check(model, folder)
        return run(options.name, model, folder, options.force, patience)
    except FetchError as error:
        say(f"{PROGRAM}: {error}")
    except OSError as error:
        say(f"{PROGRAM}: {error.filename or folder}: {error.strerror}")
    except KeyboardInterrupt:
        say(f"{PROGRAM}: interrupted; the part so far is kept; run the same command again to continue")
        return INTERRUPTED
    return FAILED


if __name__ == "__main__":
    sys.exit(main())
