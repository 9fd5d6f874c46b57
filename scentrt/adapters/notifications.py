"""Mail: notifications as letters, by SMTP or into the log."""

import logging
import re
import smtplib
import ssl
import unicodedata
from abc import abstractmethod
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from uuid import UUID, uuid4, uuid5

import msgspec
import trio

from scentrt.domain.orders import EMAIL_ADDRESS
from scentrt.errors import ConfigError, Deferred, DeliveryFailed, Undeliverable
from scentrt.service_layer.deliveries import SUBJECT, Delivery
from scentrt.service_layer.notifications import AbstractNotifications

SENDER = "allocations@example.com"

TIMEOUT_S = 10.0
"""How long the mail server may take over one answer."""

ANSWERS = 3
"""How many of its answers may take so long; then the conversation is given up."""

FAREWELL_S = 1.0
"""How long it may take over its goodbye, when it has the letter."""

THREADS = 4
"""Of the mail's own: one in which a conversation hangs that was given up is free again when the
time for its answer is over, and takes no thread from anybody else till then."""

_LONGEST_PLAIN_LINE = 900
"""SMTP allows lines of 998; longer ones are encoded."""

log = logging.getLogger(__name__)


class Letter(msgspec.Struct, frozen=True):
    """What an ``email`` delivery of the outbox holds: one letter in plain text."""

    to: str
    subject: str
    body: str


class Post(AbstractNotifications):
    """Notifications that go as letters."""

    async def send(self, destination: str, message: str) -> None:
        """Post `message` under the usual subject, as an event of its own."""
        await self.post(Letter(destination, SUBJECT, message), str(uuid4()))

    @abstractmethod
    async def post(self, letter: Letter, event_id: str) -> None:
        """Send a letter off; raises as `send` does.

        The same `event_id` makes it the same letter, for whoever gets it twice.
        """


class EmailChannel:
    """The outbox's way to `post`; the payload is a `Letter`."""

    def __init__(self, post: Post) -> None:
        self._post = post

    async def deliver(self, delivery: Delivery) -> None:
        """Post a letter; raises `DeliveryFailed`, `Deferred` and `Undeliverable`."""
        try:
            letter = msgspec.json.decode(delivery.payload, type=Letter)
        except msgspec.DecodeError as error:
            raise Undeliverable(f"it holds no letter: {error}") from error
        await self._post.post(letter, delivery.event_id)


class LogNotifications(Post):
    """Write to the log what would be mailed, where there is no mail server."""

    async def post(self, letter: Letter, event_id: str) -> None:
        """Write a letter to the log, on one line."""
        await trio.lowlevel.checkpoint()
        log.warning("notification for %r: %r (%r)", letter.to, letter.body, letter.subject)


@dataclass(frozen=True, slots=True)
class Login:
    """What the mail server knows us by."""

    username: str
    password: str = field(repr=False)


class EmailNotifications(Post):
    """Send letters by SMTP, each in a conversation of its own, in a thread.

    Args:
      host, port: of the mail server.
      sender: the address that the letters come from.
      timeout_s: how long it may take over one answer.
      tls: encrypt by STARTTLS, as this context says; refuse a server that does not.
      login: log in before sending; only with `tls`, since a password is never sent in the clear.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        sender: str = SENDER,
        timeout_s: float = TIMEOUT_S,
        tls: ssl.SSLContext | None = None,
        login: Login | None = None,
    ) -> None:
        if login is not None and tls is None:
            raise ConfigError("e-mail", "a login needs encryption, or its password could be read")
        try:
            _check_address(sender)
        except Undeliverable as error:
            raise ConfigError("e-mail sender", str(error)) from error
        self._host = host
        self._port = port
        self._sender = sender
        self._timeout_s = timeout_s
        self._tls = tls
        self._login = login
        self._threads = trio.CapacityLimiter(THREADS)

    async def post(self, letter: Letter, event_id: str) -> None:
        """Send a letter by SMTP; the mail server has it when this returns.

        When cancelled, it may have been sent or not.

        Raises:
          DeliveryFailed: the server cannot be reached, does not answer, is ending (421), or refuses
            us, our sender or encryption.
          Deferred: it refuses the recipient or the letter for now (any other 4xx).
          Undeliverable: it refuses the recipient or the letter for good (5xx); the address is none;
            or something in the letter could forge a header.
        """
        message = compose(letter, event_id, self._sender)
        try:
            with trio.fail_after(ANSWERS * self._timeout_s):
                await trio.to_thread.run_sync(
                    self._converse,
                    message,
                    letter.to,
                    abandon_on_cancel=True,
                    limiter=self._threads,
                )
        except trio.TooSlowError as error:
            raise DeliveryFailed(f"{self._name} takes too long") from error

    @property
    def _name(self) -> str:
        return f"the mail server at {self._host}:{self._port}"

    def _converse(self, message: bytes, to: str) -> None:
        smtp = self._connect()
        try:
            self._hand_in(smtp, message, to)
            # The server has the letter, and nothing that happens to the farewell changes that.
            if smtp.sock is not None:
                smtp.sock.settimeout(FAREWELL_S)
            with suppress(OSError):
                smtp.quit()
        finally:
            smtp.close()

    def _connect(self) -> smtplib.SMTP:
        try:
            smtp = smtplib.SMTP(self._host, self._port, timeout=self._timeout_s)
            try:
                if self._tls is not None:
                    smtp.starttls(context=self._tls)
                if self._login is not None:
                    smtp.login(self._login.username, self._login.password)
            except BaseException:
                smtp.close()
                raise
        except (OSError, UnicodeError) as error:  # the latter where a host cannot be a name
            raise DeliveryFailed(f"{self._name} cannot be used: {error}") from error
        return smtp

    def _hand_in(self, smtp: smtplib.SMTP, message: bytes, to: str) -> None:
        try:
            smtp.sendmail(self._sender, [to], message)
        except smtplib.SMTPRecipientsRefused as error:
            raise self._refusal(*error.recipients[to]) from error
        except smtplib.SMTPDataError as error:
            raise self._refusal(error.smtp_code, error.smtp_error) from error
        except OSError as error:  # the root of smtplib's errors too
            raise DeliveryFailed(f"{self._name} failed: {error}") from error

    def _refusal(self, code: int, reason: bytes | str) -> DeliveryFailed | Undeliverable:
        problem = f"{self._name} refuses the letter: {code} {reason!r}"
        if code >= 500:
            return Undeliverable(problem)
        return DeliveryFailed(problem) if code == _ENDING else Deferred(problem)


def compose(letter: Letter, event_id: str, sender: str) -> bytes:
    """Return a letter as it goes over the wire; raises `Undeliverable` where it cannot go.

    Its ``Message-ID`` is made from the event id, and ``X-Event-Id`` says that as it is, so that one
    letter is known for what it is wherever it arrives twice. A body in ASCII goes as it is.
    """
    _check_address(letter.to)
    for header, text in ("Subject", letter.subject), ("X-Event-Id", event_id):
        if any(unicodedata.category(character) in _BREAKING for character in text):
            raise Undeliverable(f"there is a control character in {header}: {text!r}")
    message = EmailMessage(SMTP)
    try:
        message["From"] = sender
        message["To"] = letter.to
        message["Subject"] = _without_encoded_words(letter.subject)
        message["Date"] = formatdate(usegmt=True)
        message["Message-ID"] = f"<{uuid5(_OURS, event_id)}@{sender.rpartition('@')[2]}>"
        message["X-Event-Id"] = _without_encoded_words(event_id)
        message.set_content(
            letter.body, cte="7bit" if _is_plain(letter.body) else "quoted-printable"
        )
        return message.as_bytes()
    except Exception as error:
        # Besides what it should raise, Python's own module raises IndexError and AttributeError for
        # some text that it did not expect, and no letter may stop those behind it.
        raise Undeliverable(f"it cannot be written: {error}") from error


_OURS = UUID("5ce70000-0000-4000-8000-00000000e411")
"""What makes the ids of our messages ours, in RFC 4122's way of deriving one from a name."""

_ENDING = 421
"""What a server says that closes the connection, whatever it was asked (RFC 5321, 3.8)."""

_BREAKING = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode's categories of what may end a line, or cannot be encoded."""


def _without_encoded_words(text: str) -> str:
    """Break up what Python would decode when a header is set, line ends and all (RFC 2047)."""
    return text.replace("=?", "= ?")


def _check_address(text: str) -> None:
    if re.fullmatch(EMAIL_ADDRESS, text) is None:
        raise Undeliverable(f"{text[:254]!r} is not the address of an e-mail")


def _is_plain(body: str) -> bool:
    return body.isascii() and all(
        len(line) <= _LONGEST_PLAIN_LINE and line.replace("\t", " ").isprintable()
        for line in body.split("\n")
    )
