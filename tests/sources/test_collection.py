"""Folders and tar archives in place of a list: which images, in what order, where, and what is refused."""

import gzip
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from caffe_lrp.batch.job import OutputPaths
from caffe_lrp.errors import FileListError, ImageError
from caffe_lrp.files.imagefile import ArchiveMember, read_image
from caffe_lrp.imaging.decode import FORMATS, decode
from caffe_lrp.imaging.preprocess import Preprocessor
from caffe_lrp.model.stages import load_image
from caffe_lrp.quirks import REFERENCE
from caffe_lrp.relevance.target import Target
from caffe_lrp.sources.collection import ENDINGS, ImageCollection, is_image_name, read_images

BEST = Target(-1)
LAYOUT = OutputPaths("images", "out", "nowhere in these paths")

Member = tuple[tarfile.TarInfo, bytes]


def picture(seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(picture())
    return folder


def file(name: str, content: bytes = b"content") -> Member:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    return member, content


def other(name: str, kind: bytes, target: str = "") -> Member:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b""


def pack(path: Path, *members: Member, form: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=form) as archive:
        for member, content in members:
            archive.addfile(member, io.BytesIO(content))
    return path


def names(images: ImageCollection) -> list[str]:
    assert [entry.line for entry in images] == [*range(1, len(images) + 1)]
    return [entry.inside for entry in images]


# ---- Folders ---------------------------------------------------------------------------------------


def test_all_images_below_a_folder_are_found_in_the_order_of_their_paths(tmp_path: Path) -> None:
    fill(tmp_path, "b.jpg", "a/z.PNG", "a-1/x.webp", "a/b/c.Jpeg", "a/notes.txt", "a/list", "a/b/x.jpg.txt")
    images = read_images(tmp_path, Target(7))
    assert names(images) == ["a-1/x.webp", "a/b/c.Jpeg", "a/z.PNG", "b.jpg"]
    assert [entry.path for entry in images][-1] == f"{tmp_path}/b.jpg"
    assert {entry.target for entry in images} == {Target(7)}
    assert (images.source, images.unit) == (str(tmp_path), "image")


def test_what_is_hidden_is_passed_over(tmp_path: Path) -> None:
    fill(tmp_path / ".root", "a.jpg", ".b.jpg", "._a.jpg", ".git/c.jpg", "d/.e/f.jpg")
    assert names(read_images(tmp_path / ".root", BEST)) == ["a.jpg"]


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    fill(tmp_path / "elsewhere", "x.jpg")
    fill(tmp_path / "root", "a/a.jpg")
    (tmp_path / "root/b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root/a/up").symlink_to("..")
    (tmp_path / "root/link.jpg").symlink_to("a/a.jpg")
    (tmp_path / "root/dangling.jpg").symlink_to("gone.jpg")
    images = read_images(tmp_path / "root", BEST)
    assert names(images) == ["a/a.jpg", "b/x.jpg", "dangling.jpg", "link.jpg"]
    with pytest.raises(ImageError, match=r"it is a link to 'gone\.jpg', which does not exist"):
        decode(Path(images[2].path))


def test_a_folder_with_two_names_gives_its_images_under_both(tmp_path: Path) -> None:
    fill(tmp_path / "root", "a/deep/x.jpg")
    (tmp_path / "root/b").symlink_to("a")
    images = read_images(tmp_path / "root", BEST)
    assert (names(images), images.notices) == (["a/deep/x.jpg", "b/deep/x.jpg"], ())


def test_of_folders_that_link_to_each_other_few_ways_are_gone(tmp_path: Path) -> None:
    count = 12
    for place in range(count):
        fill(tmp_path, f"{place:02d}/x.jpg")
        for other in range(count):
            if other != place:
                (tmp_path / f"{place:02d}/to{other:02d}").symlink_to(f"../{other:02d}")
    images = read_images(tmp_path, BEST)
    found = names(images)
    assert len(found) == 11 * count
    assert {f"{place:02d}/x.jpg" for place in range(count)} <= {*found}
    assert [name for name in found if name.endswith("/to00/x.jpg")] == [
        f"{place:02d}/to00/x.jpg" for place in range(1, 11)
    ]
    (notice,) = images.notices
    assert notice.startswith(f"{tmp_path}: 1,212 folders behind links left out, such as '10/to11', as links")


def test_a_folder_is_found_where_it_is_however_many_links_there_are(tmp_path: Path) -> None:
    fill(tmp_path, "a/b/c/x.jpg")
    for place in range(20):
        (tmp_path / f"link{place:02d}").symlink_to("a/b/c")
    found = names(read_images(tmp_path, BEST))
    assert found == ["a/b/c/x.jpg", *(f"link{place:02d}/x.jpg" for place in range(10))]


def test_a_path_that_is_too_long_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(20):
        Path("d" * 250).mkdir()
        os.chdir("d" * 250)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileListError, match="File name too long; a path has 4,095 bytes at most"):
        read_images(tmp_path, BEST)


def test_names_of_any_bytes_are_found(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9 #1\n.jpg")
    assert names(read_images(fill(tmp_path, name), BEST)) == [name]


def test_outputs_are_not_taken_for_images(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg", "out/a.jpg_heatmap.png")
    assert names(read_images(tmp_path, BEST, tmp_path / "out")) == ["a.jpg"]
    assert names(read_images(tmp_path, BEST, tmp_path / "not yet")) == ["a.jpg", "out/a.jpg_heatmap.png"]
    assert names(read_images(tmp_path / "out", BEST, tmp_path)) == ["a.jpg_heatmap.png"]
    with pytest.raises(FileListError, match="is also the output folder"):
        read_images(tmp_path, BEST, tmp_path / "out" / "..")


def test_a_source_without_images_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "notes", "notes.txt", ".hidden.jpg")
    with pytest.raises(FileListError, match="notes: contains no images"):
        read_images(tmp_path / "notes", BEST)
    with pytest.raises(
        FileListError, match=r"note: the images cannot be read: No such.*did you mean 'notes'"
    ):
        read_images(tmp_path / "note", BEST)
    with pytest.raises(FileListError, match="neither a folder nor a regular file"):
        read_images(Path("/dev/null"), BEST)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg", "locked/b.jpg")
    (tmp_path / "locked").chmod(0)
    with pytest.raises(
        FileListError, match=f"{tmp_path}/locked: the images cannot be read: Permission denied"
    ):
        read_images(tmp_path, BEST)


def test_the_endings_are_those_of_the_formats_that_are_decoded() -> None:
    Image.init()
    known = Image.registered_extensions()
    assert {known[ending] for ending in ENDINGS} == set(FORMATS)
    missing = {ending for ending, name in known.items() if name in FORMATS} - {*ENDINGS}
    assert missing <= {".pfm"}  # floating point, which is refused
    assert is_image_name("a.JPG")
    assert not is_image_name("jpg")


def test_the_digest_is_of_names_and_target_alone(tmp_path: Path) -> None:
    def digest(target: Target, *images: str, folder: str = "one") -> str:
        return read_images(fill(tmp_path / folder, *images), target).digest

    first = digest(BEST, "a.jpg", "b.jpg")
    assert len(first) == 64
    assert digest(BEST, "b.jpg", "a.jpg", "c.txt", folder="two") == first
    assert digest(Target(1)) != first
    assert digest(BEST, "c.jpg") != first


# ---- Archives --------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_images_of_an_archive_come_in_its_order_and_are_found_by_their_place(
    tmp_path: Path, form: int
) -> None:
    long = "/".join(["folder with a rather long name"] * 4) + "/é.png"
    contents = {"./b.jpg": picture(1), "a/x.PNG": picture(2), long: picture(3), "a/notes.txt": b"notes"}
    members = [other("a", tarfile.DIRTYPE), *(file(name, content) for name, content in contents.items())]
    path = pack(tmp_path / "set.tar", *members, file("a/.hidden.jpg"), file("._b.jpg"), form=form)
    images = read_images(path, BEST)
    assert names(images) == ["b.jpg", "a/x.PNG", long]
    assert images[1].path == f"{path}/a/x.PNG"
    for entry, content in zip(images, contents.values(), strict=False):
        assert entry.member is not None
        assert (entry.fault, read_image(entry.member)) == ("", content)


def test_an_image_of_an_archive_is_decoded_as_its_file_is(tmp_path: Path) -> None:
    fill(tmp_path, "file.png")
    member = read_images(pack(tmp_path / "set.tar", file("a.png", picture())), BEST)[0].member
    assert member is not None
    one, two = decode(tmp_path / "file.png"), decode(member)
    np.testing.assert_array_equal(one.samples, two.samples)
    prepare = Preprocessor(16, 10, 10, np.zeros((3, 10, 10), np.float32), REFERENCE)
    assert prepare(member).blob.tobytes() == prepare(tmp_path / "file.png").blob.tobytes()


def test_of_members_with_one_name_the_last_counts(tmp_path: Path) -> None:
    path = pack(
        tmp_path / "set.tar",
        file("a.jpg", b"old"),
        file("c.jpg", b"older"),
        file("b.jpg"),
        other("c.jpg", tarfile.SYMTYPE, "b.jpg"),
        file("./a.jpg", b"new"),
    )
    images = read_images(path, BEST)
    assert names(images) == ["b.jpg", "c.jpg", "a.jpg"]
    assert [bool(entry.fault) for entry in images] == [False, True, False]
    assert images[2].member is not None
    assert read_image(images[2].member) == b"new"


def test_a_fault_of_a_member_is_forgotten_where_a_sound_one_replaces_it(tmp_path: Path) -> None:
    path = pack(tmp_path / "set.tar", other("a.jpg", tarfile.SYMTYPE, "b.jpg"), file("a.jpg", b"sound"))
    (image,) = read_images(path, BEST)
    assert (image.fault, bool(image.member)) == ("", True)


@pytest.mark.parametrize(
    ("member", "fault"),
    [
        (file("/etc/a.jpg"), "is absolute or has '..'"),
        (file("../../a.jpg"), "is absolute or has '..'"),
        (file("a/../b.jpg"), "is absolute or has '..'"),
        (other("a.jpg", tarfile.SYMTYPE, "/etc/passwd"), "only a link in the archive; pack the file itself"),
        (other("a.jpg", tarfile.LNKTYPE, "good.jpg"), "only a link in the archive; pack the file itself"),
        (other("a.jpg", tarfile.CHRTYPE), "not a regular file in the archive"),
        (other("a.jpg", tarfile.FIFOTYPE), "not a regular file in the archive"),
    ],
)
def test_a_member_that_is_no_plain_image_fails_alone(tmp_path: Path, member: Member, fault: str) -> None:
    good, bad = read_images(pack(tmp_path / "set.tar", file("good.jpg"), member), BEST)
    assert good.fault == ""
    assert fault in bad.fault
    (job,) = LAYOUT.jobs(0, bad, (0,), (BEST,))
    assert (job.fault, job.stem) == (bad.fault, None)


def test_another_file_than_an_archive_is_named(tmp_path: Path) -> None:
    path = pack(tmp_path / "set.tar", file("a.jpg"))
    zipped = tmp_path / "set.tar.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(
        FileListError, match=r"is a gzip archive, but images are read only.*uncompressed.*; unpack"
    ):
        read_images(zipped, BEST)
    (tmp_path / "list.txt").write_text("a.jpg 1\n")
    with pytest.raises(
        FileListError, match=r"list\.txt: is not a folder or tar.*; give a list of images with -f"
    ):
        read_images(tmp_path / "list.txt", BEST)
    fill(tmp_path, "a.png")
    with pytest.raises(FileListError, match=r"a\.png: is a picture, not a folder or tar archive of images"):
        read_images(tmp_path / "a.png", BEST)


@pytest.mark.parametrize("kept", [700, 1024, 1536, 1600])
def test_an_archive_that_is_cut_short_is_refused(tmp_path: Path, kept: int) -> None:
    path = pack(tmp_path / "set.tar", file("a.jpg"), file("b.jpg", b"x" * 600))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(FileListError, match="the archive is damaged or cut short"):
        read_images(path, BEST)


def test_a_damaged_member_does_not_pass_for_the_end(tmp_path: Path) -> None:
    path = pack(tmp_path / "set.tar", file("a.jpg"), file("b.jpg"))
    content = bytearray(path.read_bytes())
    content[1024] ^= 1
    path.write_bytes(content)
    with pytest.raises(FileListError, match="neither a member nor the end at byte 1024"):
        read_images(path, BEST)


ARCHIVE = [file("a.jpg"), file("x" * 150 + ".jpg"), other("b.jpg", tarfile.SYMTYPE, "a.jpg"), file("c.png")]


@given(st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]), st.data())
def test_no_archive_causes_anything_but_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, form: int, data: st.DataObject
) -> None:
    path = pack(tmp_path_factory.mktemp("archive") / "set.tar", *ARCHIVE, form=form)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, 6000))] = data.draw(st.integers(0, 255))
    for start in range(0, 6144, 512):  # else nearly all damage would be found by the checksum
        if any(content[start : start + 512]) and content[start + 257 : start + 262] == b"ustar":
            block = content[start : start + 512]
            block[148:156] = b" " * 8
            content[start + 148 : start + 156] = b"%06o\0 " % sum(block)
    path.write_bytes(content)
    try:
        images = read_images(path, BEST)
    except FileListError as error:
        assert str(path) in str(error)
        return
    for entry in images:
        LAYOUT.jobs(0, entry, (0,), (BEST,))
        if entry.member and not entry.fault:
            try:
                read_image(entry.member)
            except ImageError as error:
                assert entry.path in str(error)


def test_an_archive_that_shrinks_or_goes_is_an_error_of_the_image(tmp_path: Path) -> None:
    path = pack(tmp_path / "set.tar", file("a.jpg"))
    member = ArchiveMember(path, "a.jpg", 512, 10**6)
    with pytest.raises(ImageError, match=r"set\.tar/a\.jpg: the archive shrank"):
        read_image(member)
    path.unlink()
    with pytest.raises(ImageError, match=r"set\.tar/a\.jpg: no such image; check the path"):
        read_image(member)


def test_the_digest_of_an_archive_changes_with_it(tmp_path: Path) -> None:
    path = pack(tmp_path / "set.tar", file("a.jpg"))
    before = read_images(path, BEST).digest
    assert read_images(path, BEST).digest == before
    os.utime(path, (1, 1))
    assert read_images(path, BEST).digest != before


def extended(kind: bytes, content: bytes, size: int | None = None) -> bytes:
    """A header of blocks and what extends it, which says that it has ``size`` bytes."""
    info = tarfile.TarInfo("extension")
    info.type, info.size = kind, len(content) if size is None else size
    padding = bytes(-len(content) % 512)
    return info.tobuf(tarfile.GNU_FORMAT) + content + padding


def stored(member: tarfile.TarInfo, content: bytes = b"") -> bytes:
    return member.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (
            extended(tarfile.XHDTYPE, b"", 10**12),
            "an extension of 1,000,000,000,000 bytes, the limit is 131,072",
        ),
        (extended(tarfile.XGLTYPE, b"", 2**17 + 1), "an extension of 131,584 bytes"),
        (extended(tarfile.GNUTYPE_LONGNAME, b"", -600), "an extension of -512 bytes"),
        (extended(tarfile.XHDTYPE, b"1" * 2000), "a header before byte 2560 makes no sense"),
        (extended(tarfile.XHDTYPE, b"22 size=1000000000000\n"), "unexpected end of data"),
    ],
)
def test_absurd_extensions_of_headers_are_refused(tmp_path: Path, content: bytes, fault: str) -> None:
    path = tmp_path / "set.tar"
    path.write_bytes(content + stored(file("a.jpg")[0], b"content") + bytes(1024))
    with pytest.raises(FileListError, match=f"damaged or cut short .*{fault}"):
        read_images(path, BEST)


def test_a_member_larger_than_the_archive_is_refused(tmp_path: Path) -> None:
    member = tarfile.TarInfo("a.jpg")
    member.size = 10**12
    (tmp_path / "set.tar").write_bytes(stored(member) + bytes(1024))
    with pytest.raises(FileListError, match="unexpected end of data"):
        read_images(tmp_path / "set.tar", BEST)


def test_sparse_members_fail_alone_and_the_next_is_found(tmp_path: Path) -> None:
    old = tarfile.TarInfo("old.jpg")
    old.type, old.size = tarfile.GNUTYPE_SPARSE, 7
    head = bytearray(stored(old)[:512])
    head[482] = 1  # another block of the map follows
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    pax = extended(
        tarfile.XHDTYPE, b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n29 GNU.sparse.name=new.jpg..\n"
    )
    content = bytes(head) + bytes(512) + b"content".ljust(512, b"\0")
    new = b"1\n0\n7\n".ljust(512, b"\0") + b"content"  # the map of its pieces, and the only one
    content += pax + stored(file("x", new)[0], new) + stored(file("good.jpg")[0], b"content") + bytes(1024)
    (tmp_path / "set.tar").write_bytes(content)
    images = read_images(tmp_path / "set.tar", BEST)
    assert [(entry.inside, bool(entry.fault)) for entry in images] == [("old.jpg", True), ("good.jpg", False)]
    assert images[1].member is not None
    assert read_image(images[1].member) == b"content"


# ---- On to the jobs --------------------------------------------------------------------------------


@pytest.mark.parametrize("whole_path", [False, True])
@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_outputs_are_named_by_the_path_inside_and_images_are_loaded(
    tmp_path: Path, kind: str, whole_path: bool
) -> None:
    source: dict[str, Callable[[], Path]] = {
        "folder": lambda: fill(tmp_path / "folder", "a/b.png"),
        "archive": lambda: pack(tmp_path / "set.tar", file("a/b.png", picture())),
    }
    path = source[kind]()
    (entry,) = read_images(path, BEST)
    layout = OutputPaths("images", "out", "nowhere", whole_path=whole_path)
    (job,) = layout.jobs(0, entry, (0,), (entry.target,))
    assert (job.image, job.stem, job.fault) == (path / "a/b.png", "out/a/b.png", "")

    class Explainer:
        preprocessor = Preprocessor(16, 10, 10, np.zeros((3, 10, 10), np.float32), REFERENCE)

    loaded = load_image(Explainer(), [job])  # type: ignore[arg-type]
    assert loaded.error is None
    assert loaded.image is not None
