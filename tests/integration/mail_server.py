"""A real mail server in a thread, which keeps what it gets and refuses on request."""

import email
import email.policy
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


class MailServer:
    """What the server does with mail: `rcpt` and `data` are what it answers there."""

    def __init__(self) -> None:
        self.host = "127.0.0.1"
        self.port = 0
        self.rcpt = "250 OK"
        self.data = "250 OK"
        self.messages: list[EmailMessage] = []
        self.envelopes: list[tuple[str | None, list[str]]] = []
        self.logins: list[tuple[bytes, bytes]] = []

    async def handle_RCPT(  # noqa: N802 (the library looks for this name)
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take a recipient, or refuse it."""
        if self.rcpt.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.rcpt

    async def handle_DATA(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        """Take a message, or refuse it."""
        if self.data.startswith("250"):
            content = envelope.original_content or b""
            self.messages.append(email.message_from_bytes(content, policy=email.policy.default))
            self.envelopes.append((envelope.mail_from, envelope.rcpt_tos))
        return self.data

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object
    ) -> AuthResult:
        """Let in whoever knows the password."""
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == b"open sesame", handled=False)

    @contextmanager
    def running(self, tls: ssl.SSLContext | None = None) -> Iterator[None]:
        """Serve while the block lasts, on a free port, or on that of the last time."""
        if not self.port:
            with socket.create_server((self.host, 0)) as probe:
                self.port = probe.getsockname()[1]
        controller = Controller(
            self,
            hostname=self.host,
            port=self.port,
            tls_context=tls,
            require_starttls=tls is not None,
            authenticator=self.authenticate,
        )
        controller.start()
        try:
            yield
        finally:
            controller.stop()
