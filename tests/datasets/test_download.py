"""Archives of every bad shape: nothing outside the target, nothing half-extracted; downloads checked before use."""

from __future__ import annotations

import contextlib
import email.message
import gzip
import hashlib
import io
import stat
import tarfile
import urllib.error
import urllib.request
import warnings
import zipfile

import numpy as np
import pytest

from spikeframe.datasets import downloading
from spikeframe.datasets.downloading import Limits, RemoteFile, extract, fetch, fetch_and_extract
from spikeframe.errors import ArchiveError, DataNotFoundError

TAR = {"tar": "w", "tar.gz": "w:gz", "tar.bz2": "w:bz2", "tar.xz": "w:xz"}
KINDS = (*TAR, "zip")

NOISE = np.random.Generator(np.random.Philox(key=3)).bytes(1_300_000)

BAD_NAMES = (
    "../x",
    "a/../../x",
    "..",
    "a/..",
    "a/../x",
    "/x",
    "//x",
    "/",
    "..\\x",
    "a\\..\\..\\x",
    "C:x",
    "C:\\x",
    "\\\\server\\share\\x",
    "x:stream",
    "a\nb",
    "a\x1b[31mb",
    "a\x7f",
    "right\u202eto-left",
    "n" * 256,
    "é" * 128,
)


def add(archive, name, content=b"text", kind=None, target=""):
    """Add one member of any kind to an open tar or zip archive."""
    if isinstance(archive, tarfile.TarFile):
        info = tarfile.TarInfo(name)
        info.type = kind or tarfile.REGTYPE
        info.linkname = target
        info.size = len(content) if info.isreg() else 0
        archive.addfile(info, io.BytesIO(content))
    else:
        info = zipfile.ZipInfo("placeholder")
        info.filename = name
        mode = {None: stat.S_IFREG, tarfile.SYMTYPE: stat.S_IFLNK, tarfile.FIFOTYPE: stat.S_IFIFO,
                tarfile.CHRTYPE: stat.S_IFCHR, tarfile.BLKTYPE: stat.S_IFBLK}.get(kind, stat.S_IFREG)  # fmt: skip
        info.external_attr = (mode | 0o644) << 16
        info.compress_type = zipfile.ZIP_DEFLATED
        with warnings.catch_warnings(action="ignore"):  # of a second member of one name
            archive.writestr(info, target.encode() if target else content)


@contextlib.contextmanager
def writing(path, kind):
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) if kind == "zip" else tarfile.open(path, TAR[kind]) as archive
    ):
        yield archive


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def place(tmp_path):
    """An archive's path and a target folder with nothing else around."""
    (tmp_path / "jail").mkdir()
    return tmp_path / "jail/archive", tmp_path / "jail/deep/target"


def assert_refused(place, match=None, limits=None):
    """Extraction is refused and writes nothing anywhere."""
    archive, target = place
    with pytest.raises(ArchiveError, match=match) as caught:
        extract(archive, target, limits)
    assert str(archive) in str(caught.value) or "link" in str(caught.value)
    assert [p for p in archive.parent.parent.rglob("*") if not p.is_dir()] == [archive]
    assert list(target.iterdir()) == []


def test_a_good_archive_is_extracted_whole(place, kind):
    archive, target = place
    with writing(archive, kind) as box:
        add(box, "./top.txt", b"1")
        add(box, "a/b/deep file é.bin", NOISE)
        add(box, "a/empty", b"")
    extract(archive, target)
    assert (target / "top.txt").read_bytes() == b"1"
    assert (target / "a/b/deep file é.bin").read_bytes() == NOISE
    assert sorted(p.name for p in target.iterdir()) == ["a", "top.txt"]


def test_extracting_again_replaces_files_and_keeps_others(place, kind):
    archive, target = place
    with writing(archive, kind) as box:
        add(box, "a/one", b"new")
    (target / "a").mkdir(parents=True)
    (target / "a/one").write_bytes(b"old")
    (target / "a/two").write_bytes(b"kept")
    extract(archive, target)
    assert ((target / "a/one").read_bytes(), (target / "a/two").read_bytes()) == (b"new", b"kept")


@pytest.mark.fault
@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_leads_elsewhere_is_refused_before_anything_is_written(place, kind, name):
    with writing(place[0], kind) as box:
        add(box, "good.txt")
        add(box, name)
    assert_refused(place)


@pytest.mark.fault
@pytest.mark.parametrize("target", ["/etc/passwd", "../../outside", "good.txt", "."])
def test_symbolic_links_are_refused_wherever_they_point(place, kind, target):
    with writing(place[0], kind) as box:
        add(box, "good.txt")
        add(box, "link", kind=tarfile.SYMTYPE, target=target)
        add(box, "link/x")
    assert_refused(place)


@pytest.mark.fault
@pytest.mark.parametrize("form", [tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_hard_links_pipes_and_devices_are_refused(place, kind, form):
    if kind == "zip" and form == tarfile.LNKTYPE:
        pytest.skip("zip has no hard links")
    with writing(place[0], kind) as box:
        add(box, "good.txt")
        add(box, "special", kind=form, target="good.txt" if form == tarfile.LNKTYPE else "")
    assert_refused(place, "accepted are files and folders")


@pytest.mark.fault
@pytest.mark.parametrize("names", [("a", "a"), ("a", "A"), ("a", "a/b"), ("a/b", "a"), ("é", "e\u0301"), ("a/b", "A")])
def test_two_members_at_one_place_are_refused(place, kind, names):
    with writing(place[0], kind) as box:
        for name in names:
            add(box, name)
    assert_refused(place)


@pytest.mark.fault
def test_too_many_members_are_refused(place, kind):
    with writing(place[0], kind) as box:
        for number in range(11):
            add(box, f"{number}", b"")
    assert_refused(place, "more than 10 members", Limits(members=10))


@pytest.mark.fault
def test_too_many_bytes_are_refused(place, kind):
    with writing(place[0], kind) as box:
        add(box, "a", b"x" * 600)
        add(box, "b", b"x" * 600)
    assert_refused(place, "1200 bytes; accepted for its size are 1000", Limits(bytes=1000, ratio=1e9))


@pytest.mark.fault
def test_a_bomb_is_refused_by_its_ratio(place, kind):
    if kind == "tar":
        pytest.skip("not packed")
    with writing(place[0], kind) as box:
        add(box, "zeros", bytes(30_000_000))
    assert_refused(place, limits=Limits(ratio=100))


@pytest.mark.fault
def test_a_zip_that_lies_about_a_size_is_refused(place):
    with writing(place[0], "zip") as box:
        add(box, "zeros", bytes(100_000))
    content = bytearray(place[0].read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = content.index(signature) + offset
        content[at : at + 4] = (10).to_bytes(4, "little")
    place[0].write_bytes(content)
    assert_refused(place)


@pytest.mark.fault
def test_a_zip_with_a_nul_in_a_name_is_refused(place):
    with writing(place[0], "zip") as box:
        add(box, "nameXend")
    place[0].write_bytes(place[0].read_bytes().replace(b"nameXend", b"name\x00end"))
    assert_refused(place)


@pytest.mark.fault
def test_a_cut_archive_is_refused_and_leaves_nothing(place, kind):
    with writing(place[0], kind) as box:
        for number in range(4):
            add(box, f"{number}", bytes(range(256)) * 8)
    content = place[0].read_bytes()
    last = len(content) - (10240 if kind == "tar" else 30)
    for length in (0, 5, 100, last // 3, last // 2, last - 600):
        place[0].write_bytes(content[: max(length, 0)])
        assert_refused(place)


@pytest.mark.fault
def test_a_tar_with_a_damaged_second_header_is_not_silently_shortened(place):
    with writing(place[0], "tar") as box:
        add(box, "a", b"x" * 512)
        add(box, "b", b"x" * 512)
    content = bytearray(place[0].read_bytes())
    content[1024 + 150] ^= 1
    place[0].write_bytes(content)
    assert_refused(place, "damaged|cannot be extracted")


@pytest.mark.fault
def test_text_gzip_of_text_and_a_missing_file_are_no_archives(place):
    for content in (b"", b"text", gzip.compress(b"text"), b"\x1f\x8bxx", b"\xfd7zXZ\x00xx", b"BZh9xx"):
        place[0].write_bytes(content)
        assert_refused(place)
    place[0].unlink()
    with pytest.raises(ArchiveError, match="archive"):
        extract(*place)


@pytest.mark.fault
def test_nothing_is_written_through_a_link_in_the_target(place, tmp_path, kind):
    archive, target = place
    outside = tmp_path / "outside"
    outside.mkdir()
    target.mkdir(parents=True)
    (target / "a").symlink_to(outside)
    with writing(archive, kind) as box:
        add(box, "a/b")
    with pytest.raises(ArchiveError, match="is a link"):
        extract(archive, target)
    assert list(outside.iterdir()) == []


class Server:
    """Answers as the opener would: content from an offset, optionally cut short or without ranges."""

    def __init__(self, content, cut=None, ranges=True, code=200):
        self.content, self.cut, self.ranges, self.code = content, cut, ranges, code
        self.asked = []

    def open(self, request, timeout):
        assert timeout > 0
        self.asked.append(request.get_header("Range"))
        if self.code >= 400:
            raise urllib.error.HTTPError(request.full_url, self.code, "reason", email.message.Message(), None)
        start = int(self.asked[-1][6:-1]) if self.asked[-1] and self.ranges else 0
        answer = io.BytesIO(self.content[start : self.cut])
        answer.status = 206 if start else 200
        answer.headers = {"Content-Length": str(len(self.content) - start)}
        return answer


@pytest.fixture
def serve(monkeypatch):
    def start(*args, **options):
        server = Server(*args, **options)
        monkeypatch.setattr(urllib.request, "build_opener", lambda *_: server)
        return server

    return start


CONTENT = bytes(range(256)) * 40
FILE = RemoteFile("https://example.org/f", "f.bin", "F", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


def test_a_file_is_fetched_checked_and_not_fetched_again(serve, tmp_path):
    server = serve(CONTENT)
    for _ in range(2):
        assert fetch(FILE, tmp_path / "new").read_bytes() == CONTENT
    assert server.asked == [None]
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["f.bin"]


@pytest.mark.fault
@pytest.mark.parametrize("ranges", [True, False])
def test_a_cut_transfer_is_taken_up_where_it_stopped(serve, tmp_path, ranges):
    serve(CONTENT, cut=5000)
    with pytest.raises(DataNotFoundError, match="cut off after 5000 of 10240 bytes"):
        fetch(FILE, tmp_path)
    assert not (tmp_path / "f.bin").exists()
    server = serve(CONTENT, ranges=ranges)
    assert fetch(FILE, tmp_path).read_bytes() == CONTENT
    assert server.asked == ["bytes=5000-"]
    assert [file.name for file in tmp_path.iterdir()] == ["f.bin"]


@pytest.mark.fault
def test_a_file_of_another_hash_is_refused_and_removed(serve, tmp_path):
    changed = CONTENT[:-1] + b"!"
    serve(changed)
    with pytest.raises(ArchiveError, match=r"SHA-256 .* the published one is"):
        fetch(FILE, tmp_path)
    assert list(tmp_path.iterdir()) == []
    md5 = RemoteFile(FILE.url, "f.bin", "F", md5=hashlib.md5(CONTENT).hexdigest())
    with pytest.raises(ArchiveError, match="MD5"):
        fetch(md5, tmp_path)
    serve(CONTENT)
    assert fetch(md5, tmp_path).read_bytes() == CONTENT


@pytest.mark.fault
def test_a_file_of_another_size_is_refused(serve, tmp_path):
    serve(CONTENT + b"more")
    with pytest.raises(ArchiveError, match="more than the published 10240 bytes"):
        fetch(FILE, tmp_path)
    (tmp_path / "f.bin").write_bytes(b"short")
    with pytest.raises(ArchiveError, match="5 bytes; the published file has 10240"):
        fetch(FILE, tmp_path)


@pytest.mark.fault
def test_addresses_that_are_not_https_and_files_without_a_hash_are_not_fetched(serve, tmp_path):
    server = serve(CONTENT)
    for url in ("http://example.org/f", "file:///etc/passwd", "ftp://example.org/f"):
        with pytest.raises(ArchiveError, match="only https"):
            fetch(RemoteFile(url, "f.bin", "F", sha256=FILE.sha256), tmp_path)
    with pytest.raises(ArchiveError, match="no hash"):
        fetch(RemoteFile(FILE.url, "f.bin", "F"), tmp_path)
    assert server.asked == []


@pytest.mark.fault
def test_a_redirection_away_from_https_is_refused():
    request = urllib.request.Request(FILE.url)
    handler = downloading._HttpsOnly()
    with pytest.raises(ArchiveError, match="redirected to http://example"):
        handler.redirect_request(request, None, 302, "Found", email.message.Message(), "http://example.org/f")
    followed = handler.redirect_request(request, None, 302, "Found", email.message.Message(), "https://example.com/f")
    assert followed.full_url == "https://example.com/f"


@pytest.mark.fault
@pytest.mark.parametrize("code", [403, 404, 500])
def test_a_server_s_refusal_is_passed_on(serve, tmp_path, code):
    serve(CONTENT, code=code)
    with pytest.raises(DataNotFoundError, match=f"the server answers {code}"):
        fetch(FILE, tmp_path)


@pytest.mark.fault
def test_an_archive_of_the_wrong_hash_is_never_opened(serve, tmp_path, monkeypatch):
    serve(CONTENT[::-1])
    monkeypatch.setattr(downloading, "extract", lambda *_: pytest.fail("opened"))
    with pytest.raises(ArchiveError, match="SHA-256"):
        fetch_and_extract(FILE, tmp_path)


def test_a_fetched_archive_is_extracted_beside_it(serve, tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as box:
        box.writestr("Test/1/00001.bin", b"12345")
    content = buffer.getvalue()
    serve(content)
    fetch_and_extract(RemoteFile(FILE.url, "t.zip", "F", sha256=hashlib.sha256(content).hexdigest()), tmp_path)
    assert (tmp_path / "Test/1/00001.bin").read_bytes() == b"12345"
