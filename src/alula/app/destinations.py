"""What goes to which cluster, and how tasks reach this server from there."""

import hashlib
import json
import sys
from collections.abc import Mapping
from urllib.parse import urlsplit

from alula.app.keys import surroundings
from alula.app.stores import Stores
from alula.base.settings import Cluster, Settings
from alula.blobs.account import KEYS, Account, keys, variables
from alula.core.route import HERE, Claim, Routes
from alula.executors.process import near
from alula.reconciler.places import Destinations
from alula.wire.jobs import CONNECTORS, Asking
from alula.wire.taskactions import Destination


def destinations(settings: Settings, stores: Stores) -> Destinations:
    """How tasks reach this server from wherever they run."""
    here = surroundings(settings, stores.account)
    there = {
        name: Destination(
            name,
            _around(settings, stores.account, here, told),
            _kept(settings, stores, told),
            told.service_account,
            webhook=told.secrets == "webhook",
        )
        for name, told in elsewhere(settings).items()
    }
    return Destinations(here, there, routes(settings), asking=_asking(settings))


def _asking(settings: Settings) -> Asking:
    """How tasks of connectors are carried out on this machine."""
    code = "import sys; sys.path.pop(0); from alula.cli.job import main; main()"
    told = [
        {"url": one.url.rstrip("/"), "project": one.project, "domain": one.domain, "timeout": one.timeout}
        for one in settings.executor.connectors.values()
    ]
    return Asking((sys.executable, "-c", code), {CONNECTORS: json.dumps(told)})


def routes(settings: Settings) -> Routes:
    """Which cluster runs what."""
    return Routes({name: Claim(told.queues, told.projects, told.default) for name, told in settings.clusters.items()})


def elsewhere(settings: Settings) -> Mapping[str, Cluster]:
    """Those that are not this machine."""
    return {name: told for name, told in settings.clusters.items() if name != HERE}


def common(settings: Settings, stores: Stores, told: Cluster) -> tuple[str, Mapping[str, str]]:
    """The Secret of keys that this server writes there, and what is in it; "" if it writes none."""
    if told.secret or told.credentials != "given":
        return "", {}
    return f"alula-objects-{installation(settings, stores)}", keys(variables(settings.objects.uri, stores.account))


def installation(settings: Settings, stores: Stores) -> str:
    """What tells this server and its replicas from others that use the same namespace: where they keep their rows."""
    where = settings.objects.endpoint + settings.objects.bucket if settings.objects.remote else stores.keys.key_id
    rows = settings.database.url if settings.shared else ""
    place = urlsplit(rows)
    return hashlib.sha256(f"{place.hostname}:{place.port}{place.path} {where}".encode()).hexdigest()[:16]


def _around(settings: Settings, account: Account, here: Mapping[str, str], told: Cluster) -> Mapping[str, str]:
    """Of a pod: it reaches this server by another name. Keys are not among them."""
    api = told.endpoint or settings.executor.endpoint or settings.server.public_url
    objects = told.objects or (settings.objects.endpoint if settings.objects.remote else api)
    left = {near.FOLDER, *keys(here)}
    around = {name: value for name, value in here.items() if name not in left}
    if api:
        scheme, _, place = api.partition("://")
        around |= {"_U_EP_OVERRIDE": place.rstrip("/"), "_U_INSECURE": str(scheme == "http").lower()}
    if objects:
        around |= variables(settings.objects.uri, Account(objects, account.region, account.name))
    return around


def _kept(settings: Settings, stores: Stores, told: Cluster) -> Mapping[str, str]:
    """Which Secret has which keys of the object store, for pods there."""
    if told.secret:
        return dict.fromkeys(KEYS[settings.objects.uri.partition("://")[0]], told.secret)
    secret, values = common(settings, stores, told)
    return dict.fromkeys(values, secret)
