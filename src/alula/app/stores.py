"""What every part of a server stands on: the database, the object store, and the keys of both."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from dataclasses import replace as changed
from urllib.parse import quote, urlsplit, urlunsplit

from alula.app.keys import cipher, credentials
from alula.base.clock import system_clock
from alula.base.settings import Settings
from alula.blobs.account import Account
from alula.blobs.folder import Folder
from alula.blobs.sigv4 import Credentials
from alula.blobs.store import Blobs
from alula.core.errors import Conflict, DomainError
from alula.secrets.cipher import Cipher
from alula.storage import heartbeat
from alula.storage.address import Address, SqliteFile, parse
from alula.storage.changes import Changes
from alula.storage.database import Database


@dataclass(frozen=True, slots=True)
class Stores:
    """They are open. ``folder``: what objects are in, if that is no bucket. ``account``: how they are reached.

    ``keys`` are those of the embedded store; their secret is this server's own, also without one.
    """

    address: Address
    database: Database
    changes: Changes
    blobs: Blobs
    folder: Folder | None
    keys: Credentials
    account: Account
    cipher: Cipher

    async def check(self) -> None:
        """Really use all of it.

        Raises:
            DomainError: something cannot be used, or is of another version.
        """
        if missing := await self.address.migrate(dry_run=True):
            raise Conflict(f"the database lacks {missing[0]}: run `alula migrate` first")
        await self.database.write(lambda tx: heartbeat.write(tx, system_clock()))
        await self.blobs.ping()


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Stores]:
    """The stores that the settings name. A SQLite file is brought up to date; a server waits for `alula migrate`.

    Raises:
        Conflict: the database is of another version, or a key is none.
        Unavailable: something cannot be reached.
    """
    where = address(settings)
    if isinstance(where, SqliteFile):
        await where.migrate()
    folder, kept = None, settings.home
    if settings.objects.remote:
        from alula.blobs.remote import remote  # it takes a while, and most have a folder

        blobs = remote(settings.objects)
    else:
        root = settings.objects.folder or settings.home / "objects"
        folder = Folder(root, settings.objects.bucket)
        blobs = Blobs(folder, settings.objects.uri)
        if settings.shared:
            kept = root  # what all replicas see: not in the bucket's own folder, so it is no object
    keys = _credentials(settings) or credentials(kept / "keys.json")
    encryption = cipher(kept, settings.encryption.key)
    changes = Changes()
    async with where.database(changes) as database:
        yield Stores(where, database, changes, blobs, folder, keys, _account(settings, keys), encryption)


def address(settings: Settings) -> Address:
    """Where the database is.

    Raises:
        Invalid: that is no address.
    """
    found = parse(settings.database.url or str(settings.home / "alula.db"))
    if isinstance(found, SqliteFile):
        return SqliteFile(settings.home / found.path)
    if not settings.database.password:
        return found
    parts = urlsplit(found.dsn)
    user, at, host = parts.netloc.rpartition("@")
    name = user.partition(":")[0] if at else ""
    netloc = f"{name}:{quote(settings.database.password, safe='')}@{host}"
    return changed(found, dsn=urlunsplit(parts._replace(netloc=netloc)))


def reader(blobs: Blobs) -> Callable[[str], Awaitable[bytes | None]]:
    """Reads objects for the executor; ``None`` for what the attempt has to download itself."""

    async def read(uri: str) -> bytes | None:
        try:
            return await blobs.get(uri)
        except DomainError:
            return None

    return read


def _credentials(settings: Settings) -> Credentials | None:
    """Without keys of the store, replicas have the key in common that encrypts secrets."""
    objects = settings.objects
    secret = str(objects.secret)
    if objects.remote and not secret and settings.encryption.key:
        secret = hashlib.sha256(b"server " + settings.encryption.key.encode()).hexdigest()
    return Credentials(str(objects.key_id), secret, objects.region) if secret else None


def _account(settings: Settings, keys: Credentials) -> Account:
    objects = settings.objects
    if not objects.remote:
        return Account(region=keys.region, key_id=keys.key_id, secret=keys.secret)
    return Account.of(objects)
