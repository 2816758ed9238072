"""Specs, stored once per content."""

import hashlib

from alula.storage.database import Tx


async def put(tx: Tx, body: bytes) -> bytes:
    """Store a spec if it is new; its digest."""
    digest = hashlib.sha256(body).digest()
    await tx.execute(
        "INSERT INTO specs VALUES (:digest, :body) ON CONFLICT DO NOTHING", {"digest": digest, "body": body}
    )
    return digest


async def get(tx: Tx, digest: bytes) -> bytes:
    """A spec by its digest; rows refer only to specs that exist."""
    row = await tx.one("SELECT body FROM specs WHERE digest = :digest", {"digest": digest})
    assert row is not None, "a referenced spec exists"
    body: bytes = row["body"]
    return body
