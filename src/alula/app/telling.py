"""What tells people something: the loop that sends notifications, and the links that answer conditions."""

import random

from alula.api.callbacks import Callbacks
from alula.base.clock import system_clock
from alula.base.settings import Settings
from alula.control.conditions import Conditions
from alula.control.notices import Notices
from alula.core import callback
from alula.core.destination import reach
from alula.core.ids import ActionId
from alula.reconciler.mails import Mails
from alula.reconciler.outbox import Outbox, post
from alula.reconciler.webhooks import Webhooks
from alula.storage.changes import Changes
from alula.storage.database import Database
from alula.wire import notices as wire


def outbox(settings: Settings, database: Database, changes: Changes, secret: str) -> Outbox:
    """The loop that sends notifications. ``secret`` is the server's own: its links are signed with a key made from it.

    Raises:
        Invalid: the settings of notifications are not of their form.
    """
    told = settings.notifications
    server = settings.server.url
    key = callback.key(secret)

    def link(action: ActionId) -> str:
        return callback.uri(server, key, action)

    book = wire.book(told.rules, told.deliveries, told.mails)
    notices = Notices(database, system_clock, book, link, random.random)
    send = post(Webhooks(reach(told.allow, private=told.private)), Mails(told.mail))
    return Outbox(notices, changes, send, system_clock)


def callbacks(conditions: Conditions, secret: str) -> Callbacks:
    """What answers under `callback.PATH`."""
    return Callbacks(conditions, callback.key(secret))
