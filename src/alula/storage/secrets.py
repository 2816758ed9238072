"""Secrets. What is read for lists leaves the encrypted values where they are."""

from collections.abc import Sequence

from alula.core.pages import Order, Page
from alula.core.scope import Scope
from alula.core.secret import Sealed, Secret, SecretId, SecretType
from alula.storage import rows
from alula.storage.database import Row, Tx
from alula.storage.listing import Column, Listing


def _id(row: Row) -> SecretId:
    return SecretId(Scope(row["domain"], row["project"]), row["name"])


def _secret(row: Row) -> Secret:
    return Secret(_id(row), SecretType(row["type"]), rows.time(row["created_at"]))


async def insert(tx: Tx, secret: Secret, sealed: Sealed) -> bool:
    """Write a new secret; whether there was none of that name in its scope."""
    changed = await tx.execute(
        """
        INSERT INTO secrets (name, domain, project, type, key_id, nonce, sealed, created_at, updated_at)
        VALUES (:name, :domain, :project, :type, :key, :nonce, :sealed, :now, :now) ON CONFLICT DO NOTHING
        """,
        _values(secret, sealed),
    )
    return changed == 1


async def update(tx: Tx, secret: Secret, sealed: Sealed) -> bool:
    """Replace a secret's value and type; whether there was one."""
    changed = await tx.execute(
        """
        UPDATE secrets SET type = :type, key_id = :key, nonce = :nonce, sealed = :sealed, updated_at = :now
        WHERE name = :name AND domain = :domain AND project = :project
        """,
        _values(secret, sealed),
    )
    return changed == 1


def _values(secret: Secret, sealed: Sealed) -> dict[str, object]:
    return {
        **_place(secret.id),
        "type": int(secret.type),
        "key": sealed.key,
        "nonce": sealed.nonce,
        "sealed": sealed.text,
        "now": rows.micros(secret.created_at),
    }


def _place(secret: SecretId) -> dict[str, object]:
    return {"name": secret.name, "domain": secret.scope.domain, "project": secret.scope.project}


async def find(tx: Tx, secret: SecretId) -> Secret | None:
    """What is known of a secret."""
    row = await tx.one(
        """
        SELECT name, domain, project, type, created_at FROM secrets
        WHERE name = :name AND domain = :domain AND project = :project
        """,
        _place(secret),
    )
    return _secret(row) if row else None


async def delete(tx: Tx, secret: SecretId) -> bool:
    """Remove a secret; whether there was one."""
    changed = await tx.execute(
        "DELETE FROM secrets WHERE name = :name AND domain = :domain AND project = :project", _place(secret)
    )
    return changed == 1


async def visible(tx: Tx, scope: Scope, names: Sequence[str]) -> list[tuple[SecretId, Sealed]]:
    """The secrets of these names in a scope and in those it inherits from, broadest first."""
    named = {f"n{number}": name for number, name in enumerate(names)}
    found = await tx.all(
        f"""
        SELECT name, domain, project, key_id, nonce, sealed FROM secrets
        WHERE name IN ({", ".join(f":{key}" for key in named)}) AND domain IN ('', :domain)
            AND project IN ('', :project) ORDER BY name, domain, project
        """,  # noqa: S608 - the names of parameters
        {**named, "domain": scope.domain, "project": scope.project},
    )
    return [(_id(row), Sealed(row["key_id"], row["nonce"], row["sealed"])) for row in found]


async def in_domain(tx: Tx, domain: str) -> bool:
    """Whether a domain or a project in it has a secret of its own."""
    return await tx.one("SELECT 1 FROM secrets WHERE domain = :domain LIMIT 1", {"domain": domain}) is not None


_LISTING = Listing(
    select="SELECT name, domain, project, type, created_at /*keys*/ FROM secrets",
    columns={"name": Column("name"), "domain": Column("domain"), "project": Column("project")},
    unique=("name", "domain", "project"),
    default=(Order("name", descending=False),),
)


async def page(tx: Tx, scope: Scope, asked: Page) -> tuple[list[Secret], str]:
    """One page of the secrets in a scope and in all that is narrower, and the token of the next."""
    place = {"domain": scope.domain, "project": scope.project}
    conditions = " AND ".join(f"{column} = :{column}" for column, value in place.items() if value)
    sql, values, keys = _LISTING.query(asked, conditions, {column: value for column, value in place.items() if value})
    found, token = keys.cut(await tx.all(sql, values))
    return [_secret(row) for row in found], token
