"""Sends e-mail through the SMTP server that the settings name."""

from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP

import aiosmtplib

from alula.base.settings import Mailing
from alula.core.message import Letter
from alula.core.notice import Delivered, Doubtful, Outcome, Postponed, Refused

_PATIENCE = 30.0  # seconds that the server may take for one command
_PERMANENT = 500  # SMTP's codes from here on say: never


class Mails:
    """A sender of e-mail. Each recipient gets a transaction of its own: what one of them refuses harms no other."""

    def __init__(self, server: Mailing | None) -> None:
        self._server = server

    async def send(self, letter: Letter) -> Outcome:
        """Send one letter; every way that it can end is an outcome."""
        server = self._server
        if server is None:
            return Refused("this server sends no e-mail: its settings name no SMTP server (notifications.mail)")
        try:
            body = _written(letter, server.sender).as_bytes()
            sender, recipient = _checked(_bare(server.sender)), _checked(letter.recipient)
        except (ValueError, IndexError, UnicodeError, AttributeError) as error:
            return Refused(f"it is no e-mail that can be sent: {error}")
        sent = taken = False
        try:
            async with _client(server) as client:
                await client.mail(sender)
                await client.rcpt(recipient)
                sent = True
                await client.data(body)
                taken = True
        except (aiosmtplib.SMTPAuthenticationError, aiosmtplib.SMTPNotSupported) as error:
            return Postponed(f"the SMTP server does not take what the settings say ({error})")
        except aiosmtplib.SMTPResponseException as error:
            said = f"the SMTP server answered {error.code} {error.message[:200]}"
            return Refused(said) if error.code >= _PERMANENT else Postponed(said)
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            if not sent:
                return Postponed(f"the SMTP server cannot be used ({error})")
            if not taken:
                return Doubtful(f"it was sent, and the SMTP server did not answer ({error})")
        return Delivered()


def _client(server: Mailing) -> aiosmtplib.SMTP:
    return aiosmtplib.SMTP(
        hostname=server.host,
        port=server.port,
        username=server.user or None,
        password=server.password or None,
        use_tls=server.security == "tls",
        start_tls=server.security == "starttls",
        local_hostname="localhost",  # the default asks the resolver, and waits for it
        timeout=_PATIENCE,
    )


def _written(letter: Letter, sender: str) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = [_address(*to) for to in letter.to]
    if letter.cc:
        message["Cc"] = [_address(*to) for to in letter.cc]
    message["Subject"] = letter.subject
    message["Message-ID"] = f"<{letter.id}@{_bare(sender).rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    if letter.text or not letter.html:
        message.set_content(letter.text)
        if letter.html:
            message.add_alternative(letter.html, subtype="html")
    else:
        message.set_content(letter.html, subtype="html")
    return message


def _address(name: str, address: str) -> Address:
    return Address(display_name=name, addr_spec=address)


def _checked(address: str) -> str:
    """An address that is one and no command beside it; `ValueError` for others."""
    address.encode("ascii")
    return Address(addr_spec=address).addr_spec


def _bare(sender: str) -> str:
    """The address of "Name <address>"."""
    return sender.rpartition("<")[2].rstrip("> ")
