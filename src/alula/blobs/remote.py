"""The buckets that a configuration names, of a server's or of a Manager's."""

from alula.base.settings import Objects
from alula.blobs.account import Account, store
from alula.blobs.cloud import Cloud
from alula.blobs.store import Blobs
from alula.blobs.uri import check_bucket


def remote(told: Objects) -> Blobs:
    """All of them; nothing is asked of them yet.

    Raises:
        Invalid: a name is none of a bucket.
    """
    account = Account.of(told)
    others = {bucket: Cloud(store(bucket, account)) for bucket in map(check_bucket, told.buckets)}
    return Blobs(Cloud(store(check_bucket(told.uri), account)), told.uri, others)
