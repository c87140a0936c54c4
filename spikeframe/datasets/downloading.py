"""Fetching published archives: HTTPS only, hash and size checked before anything is opened, extracted inside a folder.

An archive's members are all judged before the first is written. Refused are absolute paths, ``..``, names that differ
only in case or spelling of one place, links that point outside, devices and pipes, and archives with too many members,
too many bytes, or far more bytes than a packed file of their size plausibly holds.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import http.client
import lzma
import os
import stat
import sys
import tarfile
import tempfile
import unicodedata
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any

from spikeframe.errors import ArchiveError, DataNotFoundError

_BLOCK = 1 << 20
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    EOFError,
    OSError,
    RuntimeError,
    NotImplementedError,
    ValueError,
)
_OPENERS: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}


@dataclass(frozen=True)
class RemoteFile:
    """A published file.

    Args:
        url: where it is; HTTPS.
        filename: its name here.
        folder: folder below the data root it belongs in.
        size: its length in bytes, where the publisher's is known.
        sha256: its SHA-256 in hexadecimal, where known.
        md5: the publisher's MD5, which finds damage but not forgery; used where no SHA-256 is known.
    """

    url: str
    filename: str
    folder: str
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None


@dataclass(frozen=True)
class Limits:
    """What an archive may hold.

    Args:
        members: files and folders.
        bytes: sum of the members' sizes.
        ratio: that sum over the archive's own length.
    """

    members: int = 1_000_000
    bytes: int = 200 << 30
    ratio: float = 200.0


@dataclass(frozen=True)
class _Member:
    """One entry of an archive, of either kind."""

    name: str
    kind: str
    size: int
    entry: Any


def fetch_and_extract(file: RemoteFile, folder: Path) -> None:
    """Fetch an archive into a folder, check it and extract it there.

    Raises:
        DataNotFoundError: the server does not give it.
        ArchiveError: it does not match its hash or size, or is unsafe to extract.
    """
    archive = fetch(file, folder)
    extract(archive, folder)


def fetch(file: RemoteFile, folder: Path) -> Path:
    """Fetch a file, taking up an earlier attempt where it stopped, and check it; a whole one is not fetched again.

    Args:
        file: what to fetch.
        folder: where to put it; made if need be.

    Returns:
        Path of the checked file.

    Raises:
        DataNotFoundError: the server does not give it.
        ArchiveError: its address is not HTTPS, it has no hash, or hash or size do not match.
    """
    if not file.url.startswith("https://"):
        raise ArchiveError(f"{file.url}: only https:// addresses are fetched.")
    if not (file.sha256 or file.md5):
        raise ArchiveError(
            f"{file.filename}: no hash is known for {file.url}; it cannot be checked, so is not fetched."
        )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file.filename
    if path.is_file():
        check_file(path, file)
        return path
    part = path.with_name(path.name + ".part")
    _receive(file, part)
    try:
        check_file(part, file)
    except ArchiveError:
        part.unlink()
        raise
    return part.replace(path)


def check_file(path: Path, file: RemoteFile) -> None:
    """Raise ArchiveError unless the file has the published size and hash."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        raise ArchiveError(f"{path}: {size} bytes; the published file has {file.size}. Delete it and fetch it again.")
    kind, expected = ("SHA-256", file.sha256) if file.sha256 else ("MD5", file.md5)
    digest = hashlib.sha256() if file.sha256 else hashlib.md5(usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    if digest.hexdigest() != expected:
        raise ArchiveError(
            f"{path}: {kind} {digest.hexdigest()}; the published one is {expected}. Delete it and fetch it again."
        )


def extract(archive: Path, folder: Path, limits: Limits | None = None) -> None:
    """Extract a tar (plain, gzip, bzip2, xz) or zip archive, all of it inside a folder or nothing.

    Members are written to a temporary folder beside the target and moved into it at the end.

    Args:
        archive: the archive.
        folder: where to put its members; made if need be. Files of the same name are replaced.
        limits: what the archive may hold; None is the defaults.

    Raises:
        ArchiveError: it is unsafe, damaged or of no known kind.
    """
    limits = limits or Limits()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".extract-", dir=folder) as temporary:
        staging = Path(temporary).resolve()
        try:
            if zipfile.is_zipfile(archive):
                _extract_zip(archive, staging, limits)
            else:
                _extract_tar(archive, staging, limits)
            _move_in(staging, folder)
        except ArchiveError:
            raise
        except _DAMAGE as error:
            raise ArchiveError(f"{archive}: cannot be extracted ({type(error).__name__}: {error}).") from None


def _receive(file: RemoteFile, part: Path) -> None:
    """Append what is missing of a file to ``part``."""
    from tqdm import tqdm

    have = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(file.url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310
    opener = urllib.request.build_opener(_HttpsOnly())
    try:
        with opener.open(request, timeout=60) as answer:
            resumed = have > 0 and answer.status == 206
            have = have if resumed else 0
            length = answer.headers.get("Content-Length")
            total = have + int(length) if length else file.size
            with (
                part.open("ab" if resumed else "wb") as out,
                tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=file.filename,
                     disable=not sys.stderr.isatty()) as bar,
            ):  # fmt: skip
                while block := answer.read(_BLOCK):
                    have += len(block)
                    if file.size is not None and have > file.size:
                        raise ArchiveError(f"{file.url}: sends more than the published {file.size} bytes.")
                    out.write(block)
                    bar.update(len(block))
            if total is not None and have < total:
                raise DataNotFoundError(f"{file.url}: cut off after {have} of {total} bytes. Run it again to go on.")
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing is missing; the hash will tell
            return
        raise DataNotFoundError(f"{file.url}: the server answers {error.code} {error.reason}.") from None
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise DataNotFoundError(f"{file.url}: cannot be reached ({error}). Run it again to go on.") from None


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirections to HTTPS addresses only."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if not newurl.startswith("https://"):
            raise ArchiveError(f"{req.full_url}: redirected to {newurl}; only https:// addresses are fetched.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _extract_zip(archive: Path, staging: Path, limits: Limits) -> None:
    """Judge and write the members of a zip archive."""
    with zipfile.ZipFile(archive) as box:
        infos = box.infolist()
        for info in infos:
            if "\x00" in info.orig_filename:
                raise ArchiveError(f"{archive}: member {info.orig_filename!r} has a NUL in its name.")
        members = [_Member(info.orig_filename, _zip_kind(info), info.file_size, info) for info in infos]
        _judge(archive, members, limits)
        for member in members:
            target = _target(staging, member)
            if member.kind == "file":
                with box.open(member.entry) as source, target.open("xb") as out:
                    _copy(source, out, member.size, archive)


def _zip_kind(info: zipfile.ZipInfo) -> str:
    """``file``, ``folder`` or what else a zip member is, by its Unix mode where it has one."""
    mode = stat.S_IFMT(info.external_attr >> 16)
    if info.is_dir() or mode == stat.S_IFDIR:
        return "folder"
    return "file" if mode in (0, stat.S_IFREG) else "link or device"


def _extract_tar(archive: Path, staging: Path, limits: Limits) -> None:
    """Judge and write the members of a tar archive, which is first unpacked to a bounded temporary file."""
    with archive.open("rb") as raw:
        start = raw.read(6)
    opener = next(
        (opener for magic, opener in _OPENERS.items() if start.startswith(magic)), lambda path: path.open("rb")
    )
    with tempfile.TemporaryFile(dir=staging.parent) as plain:
        with opener(archive) as packed:
            _copy(packed, plain, None, archive, _allowed(archive, limits) + _BLOCK)
        plain.seek(0)
        with tarfile.open(fileobj=plain, mode="r:") as box:
            members = []
            for entry in box:
                members.append(_Member(entry.name, _tar_kind(entry), entry.size if entry.isreg() else 0, entry))
                if len(members) > limits.members:
                    break
            _judge(archive, members, limits)
            plain.seek(box.offset)
            if plain.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
                raise ArchiveError(f"{archive}: no member and no end where one should be; the archive is damaged.")
            for member in members:
                target = _target(staging, member)
                if member.kind == "file":
                    checked = tarfile.data_filter(member.entry, str(staging))
                    source = box.extractfile(checked)
                    if source is None:
                        raise ArchiveError(f"{archive}: member {member.name!r} has no content.")
                    with source, target.open("xb") as out:
                        _copy(source, out, member.size, archive)


def _tar_kind(entry: tarfile.TarInfo) -> str:
    """``file``, ``folder`` or what else a tar member is."""
    if entry.isreg() and not entry.issparse():
        return "file"
    return "folder" if entry.isdir() else "link, device or sparse file"


def _judge(archive: Path, members: list[_Member], limits: Limits) -> None:
    """Raise ArchiveError unless all members are plain files and folders inside the target, in sum within limits."""
    if len(members) > limits.members:
        raise ArchiveError(f"{archive}: more than {limits.members} members; accepted are at most that many.")
    total = sum(member.size for member in members)
    allowed = _allowed(archive, limits)
    if any(member.size < 0 for member in members) or total > allowed:
        raise ArchiveError(f"{archive}: its members claim {total} bytes; accepted for its size are {allowed}.")
    files: set[str] = set()
    folders: set[str] = set()
    for member in members:
        if member.kind not in ("file", "folder"):
            raise ArchiveError(f"{archive}: member {member.name!r} is a {member.kind}; accepted are files and folders.")
        parts = _safe_parts(archive, member.name)
        place = _same_place(parts)
        above = {_same_place(parts[:depth]) for depth in range(1, len(parts))}
        if member.kind == "folder":
            folders.add(place)
        elif place in files:
            raise ArchiveError(f"{archive}: member {member.name!r} is there twice.")
        else:
            files.add(place)
        folders |= above
    if both := files & folders:
        raise ArchiveError(f"{archive}: {min(both)!r} is both a file and a folder.")


def _allowed(archive: Path, limits: Limits) -> int:
    """Bytes that an archive of this length may hold."""
    return min(limits.bytes, int(limits.ratio * archive.stat().st_size))


def _safe_parts(archive: Path, name: str) -> tuple[str, ...]:
    """Parts of a member's path, or ArchiveError if it could lead outside or name something else on some system."""
    path = PurePosixPath(name)
    windows = PureWindowsPath(name)
    bad = (
        (not path.parts and name not in (".", "./"))
        or path.is_absolute()
        or windows.drive
        or windows.root
        or "\\" in name
        or ":" in name
        or ".." in path.parts
        or any(unicodedata.category(letter)[0] == "C" for letter in name)
        or any(len(os.fsencode(part)) > 255 for part in path.parts)
    )
    if bad:
        raise ArchiveError(f"{archive}: member {name!r} does not name a place inside the target folder.")
    return path.parts


def _same_place(parts: Iterable[str]) -> str:
    """One spelling for names that some file systems take for the same."""
    return unicodedata.normalize("NFC", "/".join(parts)).casefold()


def _target(staging: Path, member: _Member) -> Path:
    """Where a judged member goes; its folders are made."""
    target = staging.joinpath(*PurePosixPath(member.name).parts)
    (target if member.kind == "folder" else target.parent).mkdir(parents=True, exist_ok=True)
    return target


def _copy(source: IO[bytes], out: IO[bytes], size: int | None, archive: Path, bound: int | None = None) -> None:
    """Copy a stream that must have ``size`` bytes, or at most ``bound``."""
    limit = size if bound is None else bound
    done = 0
    while block := source.read(_BLOCK):
        done += len(block)
        if limit is not None and done > limit:
            raise ArchiveError(f"{archive}: unpacks to more than {limit} bytes, which is more than accepted.")
        out.write(block)
    if size is not None and done != size:
        raise ArchiveError(f"{archive}: a member has {done} bytes where {size} are announced; the archive is damaged.")


def _move_in(staging: Path, folder: Path) -> None:
    """Move everything below the staging folder to the same place below the target."""
    for source in sorted(staging.rglob("*")):
        target = folder / source.relative_to(staging)
        if target.is_symlink():
            raise ArchiveError(f"{target} is a link; nothing is written through links. Remove it first.")
        if source.is_dir():
            target.mkdir(exist_ok=True)
        else:
            source.replace(target)
