"""Objects that are put in parts.

Parts are objects of a folder of their own, ``<upload>/<number>``, beside one ``<upload>/about``: it has the key of the
object to be as its data, and its headers. Synchronous, like `Folder`.
"""

import hashlib
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from alula.blobs.folder import Condition, Folder
from alula.blobs.record import Meta
from alula.blobs.staged import Staged
from alula.core.errors import Invalid, NotFound

MAX_PARTS = 10_000  # S3's limit
KEPT = timedelta(days=7)  # an upload that is not completed by then is given up
_CHUNK = 1024 * 1024
_ID = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload under way, as a request names it."""

    key: str
    id: str


class Multipart:
    """The uploads in parts to a folder. An unknown upload is `NotFound`, everywhere."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self._parts = Folder(folder.root / ".multipart", folder.bucket)

    def sweep(self, now: datetime) -> int:
        """Remove what crashes and forgetful clients left; how many uploads. For the start, like `Folder.sweep`."""
        self._parts.sweep()
        known = {name.partition("/")[0] for name, _ in self._parts.list("")}
        dead = [upload for upload in known if not self._is_alive(upload, now)]
        for upload in dead:
            self._remove(upload)
        return len(dead)

    def begin(self, key: str, headers: Mapping[str, str]) -> Upload:
        """Begin an upload of an object with these headers."""
        upload = Upload(key, secrets.token_hex(16))
        with self._parts.stage(durable=False) as staged:
            staged.write(key.encode())
            self._parts.commit(staged, f"{upload.id}/about", headers)
        return upload

    def stage(self, upload: Upload) -> Staged:
        """Begin a part; `keep` makes it one."""
        self._about(upload)
        return self._parts.stage(durable=False)

    def keep(self, upload: Upload, number: int, staged: Staged) -> None:
        """Make a staged file part ``number`` of the upload, instead of what was it before."""
        self._about(upload)
        self._parts.commit(staged, _part(upload, number), {})

    def copy(self, upload: Upload, number: int, source: str, span: tuple[int, int] | None) -> Meta:
        """Make a part of an object that is there: of all of it, or of the bytes from ``span[0]`` up to ``span[1]``."""
        with self.folder.open(source) as opened, self.stage(upload) as staged:
            start, end = span or (0, opened.meta.size)
            if not 0 <= start < end <= opened.meta.size:
                raise Invalid(f"x-amz-copy-source-range: the object has {opened.meta.size} bytes")
            for at in range(start, end, _CHUNK):
                staged.write(opened.read(at, min(_CHUNK, end - at)))
            self.keep(upload, number, staged)
            return Meta(staged.size, opened.meta.modified, staged.md5.hex())

    def parts(self, upload: Upload) -> Iterator[tuple[int, Meta]]:
        """The parts that are there, by number."""
        self._about(upload)
        for name, meta in self._parts.list(f"{upload.id}/"):
            number = name.rpartition("/")[2]
            if number != "about":
                yield int(number), meta

    def complete(self, upload: Upload, chosen: Sequence[tuple[int, str]], condition: Condition | None = None) -> str:
        """Put the object that the chosen parts (number, etag) are in this order, and forget the upload; its etag.

        Raises:
            Invalid: a part is missing or another than the caller means, or they are out of order.
            Conflict: the condition does not hold; the upload is still there.
        """
        about = self._about(upload)
        numbers = [number for number, _ in chosen]
        if not chosen or numbers != sorted(set(numbers)):
            raise Invalid("parts: name at least one, in ascending order")
        etag = hashlib.md5(usedforsecurity=False)
        with self.folder.stage() as staged:
            for number, expected in chosen:
                etag.update(bytes.fromhex(self._append(upload, number, expected, staged)))
            whole = f"{etag.hexdigest()}-{len(chosen)}"
            self.folder.commit(staged, upload.key, about.headers, etag=whole, condition=condition)
        self._remove(upload.id)
        return whole

    def abort(self, upload: Upload) -> None:
        """Forget an upload and its parts."""
        self._about(upload)
        self._remove(upload.id)

    def _append(self, upload: Upload, number: int, expected: str, staged: Staged) -> str:
        try:
            part = self._parts.open(_part(upload, number))
        except NotFound:
            raise Invalid(f"part {number} was not uploaded") from None
        with part:
            if part.meta.etag != expected:
                raise Invalid(f"part {number} has the etag {part.meta.etag}, not {expected}")
            for start in range(0, part.meta.size, _CHUNK):
                staged.write(part.read(start, _CHUNK))
            return part.meta.etag

    def _about(self, upload: Upload) -> Meta:
        if _ID.fullmatch(upload.id):
            try:
                with self._parts.open(f"{upload.id}/about") as about:
                    if about.read(0, about.meta.size).decode() == upload.key:
                        return about.meta
            except NotFound:
                pass
        raise NotFound(f"there is no upload {upload.id!r} of {upload.key!r}: it was completed, aborted or given up")

    def _is_alive(self, upload: str, now: datetime) -> bool:
        about = self._parts.stat(f"{upload}/about")
        return about is not None and now - about.modified < KEPT

    def _remove(self, upload: str) -> None:
        # `about` goes first: without it the upload is unknown, and what a crash leaves of it is swept.
        self._parts.delete(f"{upload}/about")
        for name, _ in list(self._parts.list(f"{upload}/")):
            self._parts.delete(name)


def _part(upload: Upload, number: int) -> str:
    if not 1 <= number <= MAX_PARTS:
        raise Invalid(f"partNumber: must be 1 to {MAX_PARTS}, is {number}")
    return f"{upload.id}/{number:05d}"
