"""Uploads and downloads by signed URL. Values only."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Signed:
    """A URL that carries its own permission. ``headers`` have to be sent with it."""

    url: str = field(repr=False)
    uri: str
    expires_at: datetime
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload as its client asks for it."""

    project: str
    domain: str
    filename: str
    root: str  # a folder of the client's choice; without one the content decides
    md5: bytes
    expires: timedelta
