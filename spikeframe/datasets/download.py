"""stub"""
from dataclasses import dataclass


@dataclass(frozen=True)
class RemoteFile:
    url: str
    filename: str
    folder: str
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None


def fetch_and_extract(file, folder):
    raise NotImplementedError
