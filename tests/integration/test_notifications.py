"""Notifications reach a real mail server, and what becomes of them is told as it is."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from scentrt.actors.clock import ServerClock
from scentrt.actors.outbox import Outbox
from scentrt.adapters.notifications import (
    EmailChannel,
    EmailNotifications,
    Letter,
    Login,
    LogNotifications,
)
from scentrt.errors import ConfigError, Deferred, DeliveryFailed, Undeliverable
from scentrt.service_layer.deliveries import Delivery
from scentrt.service_layer.notifications import AbstractNotifications
from tests.e2e.speaking import until
from tests.integration.mail_server import MailServer
from tests.memory_deliveries import MemoryDeliveries

LETTER = Letter("stock@made.com", "allocation service notification", "Out of stock for SKU LAMP")

Script = Callable[[trio.SocketStream], Awaitable[None]]


@pytest.fixture
def server() -> Iterator[MailServer]:
    server = MailServer()
    with server.running():
        yield server


def mail(server: MailServer, timeout_s: float = 5) -> EmailNotifications:
    return EmailNotifications(server.host, server.port, timeout_s=timeout_s)


@asynccontextmanager
async def scripted(script: Script, timeout_s: float = 5) -> AsyncIterator[EmailNotifications]:
    """A mail server that does for each connection what the script says."""
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, script, [listener])
        port = listener.socket.getsockname()[1]
        yield EmailNotifications("127.0.0.1", port, timeout_s=timeout_s)
        nursery.cancel_scope.cancel()


async def test_a_notification_arrives_as_the_contract_says(server: MailServer) -> None:
    notifications: AbstractNotifications = mail(server)
    await notifications.send("stock@made.com", "Out of stock for SKU LAMP")
    [message] = server.messages
    assert server.envelopes == [("allocations@example.com", ["stock@made.com"])]
    assert message["From"] == "allocations@example.com"
    assert message["To"] == "stock@made.com"
    assert message["Subject"] == "allocation service notification"
    assert message.get_content() == "Out of stock for SKU LAMP\r\n"


async def test_the_sender_can_be_another(server: MailServer) -> None:
    notifications = EmailNotifications(server.host, server.port, sender="shop@scents.example")
    await notifications.send("stock@made.com", "Hello.")
    assert server.messages[0]["From"] == "shop@scents.example"


async def test_two_notifications_are_two_events(server: MailServer) -> None:
    for _ in range(2):
        await mail(server).send("stock@made.com", "Hello.")
    assert len({message["X-Event-Id"] for message in server.messages}) == 2
    assert len({message["Message-ID"] for message in server.messages}) == 2


async def test_lines_that_begin_with_a_dot_and_other_writing_survive(server: MailServer) -> None:
    body = ".\n..\nBestellung für 薔薇\n" + "long " * 400
    await mail(server).post(Letter("stock@made.com", "Grüße", body), "e-1")
    [message] = server.messages
    assert message["Subject"] == "Grüße"
    assert message.get_content().splitlines() == body.splitlines()


@pytest.mark.parametrize("code", [451, 421])
async def test_a_recipient_refused_for_now_is_tried_again(server: MailServer, code: int) -> None:
    server.rcpt = f"{code} come back later"
    with pytest.raises(DeliveryFailed, match="come back later"):
        await mail(server).post(LETTER, "e-1")


async def test_a_recipient_refused_for_good_is_undeliverable(server: MailServer) -> None:
    server.rcpt = "550 nobody is called so"
    with pytest.raises(Undeliverable, match="550 b'nobody is called so'"):
        await mail(server).post(LETTER, "e-1")


@pytest.mark.parametrize(
    ("answer", "error"), [("452 the disk is full", DeliveryFailed), ("554 spam", Undeliverable)]
)
async def test_a_refused_letter_is_told_from_one_that_may_go_later(
    server: MailServer, answer: str, error: type[Exception]
) -> None:
    server.data = answer
    with pytest.raises(error, match=answer[:3]):
        await mail(server).post(LETTER, "e-1")


async def test_a_server_that_is_not_there_fails_the_delivery() -> None:
    server = MailServer()
    with server.running():
        pass
    with pytest.raises(DeliveryFailed, match=f"127.0.0.1:{server.port}"):
        await mail(server).post(LETTER, "e-1")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "no..host", "x" * 300])
async def test_a_host_that_does_not_exist_fails_the_delivery(host: str) -> None:
    with pytest.raises(DeliveryFailed, match="cannot be used"):
        await EmailNotifications(host, 25).post(LETTER, "e-1")


async def test_a_server_that_hangs_fails_the_delivery_in_time() -> None:
    async def hang(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with scripted(hang, timeout_s=0.1) as notifications:
        with trio.fail_after(30), pytest.raises(DeliveryFailed):
            await notifications.post(LETTER, "e-1")


async def test_a_server_that_never_comes_to_an_end_fails_the_delivery_in_time() -> None:
    async def drip(stream: trio.SocketStream) -> None:
        while True:
            await stream.send_all(b"220-and another thing\r\n")
            await trio.sleep(0.02)

    async with scripted(drip, timeout_s=0.1) as notifications:
        with trio.fail_after(30), pytest.raises(DeliveryFailed, match="too long"):
            await notifications.post(LETTER, "e-1")


@pytest.mark.parametrize("said", [b"", b"220 hello\r\n", b"554 go away\r\n", b"garbage\r\n\0\xff"])
async def test_a_server_that_closes_or_turns_us_away_fails_the_delivery(said: bytes) -> None:
    async def close(stream: trio.SocketStream) -> None:
        await stream.send_all(said)
        await stream.aclose()

    async with scripted(close) as notifications:
        with pytest.raises(DeliveryFailed):
            await notifications.post(LETTER, "e-1")


ANSWERS = [b"220 hello", b"250 you", b"250 sender", b"250 recipient", b"354 go on"]


def closing_after(answers: list[bytes], *, at_last: bytes = b"") -> Script:
    """A server that answers so, one answer a command, takes the letter, and closes."""

    async def script(stream: trio.SocketStream) -> None:
        for answer in answers:
            await stream.send_all(answer + b"\r\n")
            await stream.receive_some()
        await stream.send_all(at_last)
        await stream.aclose()

    return script


@pytest.mark.parametrize("answered", range(1, len(ANSWERS) + 1))
async def test_a_server_that_closes_midway_fails_the_delivery(answered: int) -> None:
    async with scripted(closing_after(ANSWERS[:answered])) as notifications:
        with pytest.raises(DeliveryFailed):
            await notifications.post(LETTER, "e-1")


async def test_a_letter_that_was_taken_is_delivered_however_the_server_says_goodbye() -> None:
    async with scripted(closing_after(ANSWERS, at_last=b"250 thanks\r\n")) as notifications:
        await notifications.post(LETTER, "e-1")


async def test_a_refused_sender_is_ours_to_mend_and_loses_no_letter() -> None:
    script = closing_after([*ANSWERS[:2], b"550 who are you"], at_last=b"250 reset\r\n")
    async with scripted(script) as notifications:
        with pytest.raises(DeliveryFailed, match="who are you"):
            await notifications.post(LETTER, "e-1")


async def test_whoever_posts_can_be_cancelled_while_the_server_hangs() -> None:
    connected = trio.Event()

    async def hang(stream: trio.SocketStream) -> None:
        connected.set()
        await trio.sleep_forever()

    async with scripted(hang, timeout_s=60) as notifications, trio.open_nursery() as nursery:
        nursery.start_soon(notifications.post, LETTER, "e-1")
        await connected.wait()
        with trio.fail_after(30):
            nursery.cancel_scope.cancel()
            await trio.lowlevel.checkpoint_if_cancelled()


# Encryption and login


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("certificate") / "server.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def secret_server(certificate: Path) -> Iterator[MailServer]:
    """A mail server that talks to nobody without encryption."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    server = MailServer()
    with server.running(context):
        yield server


async def test_with_tls_letters_go_encrypted_and_a_login_before_them(
    secret_server: MailServer, certificate: Path
) -> None:
    tls = ssl.create_default_context(cafile=certificate)
    notifications = EmailNotifications(
        "localhost", secret_server.port, tls=tls, login=Login("shop", "open sesame")
    )
    await notifications.post(LETTER, "e-1")
    assert len(secret_server.messages) == 1
    assert secret_server.logins == [(b"shop", b"open sesame")]


async def test_a_server_whose_certificate_nobody_vouches_for_gets_nothing(
    secret_server: MailServer,
) -> None:
    notifications = EmailNotifications(
        "localhost", secret_server.port, tls=ssl.create_default_context()
    )
    with pytest.raises(DeliveryFailed, match="certificate"):
        await notifications.post(LETTER, "e-1")


async def test_with_tls_a_server_that_has_none_gets_nothing(server: MailServer) -> None:
    notifications = EmailNotifications(
        server.host, server.port, tls=ssl.create_default_context(), login=Login("shop", "secret")
    )
    with pytest.raises(DeliveryFailed, match="STARTTLS"):
        await notifications.post(LETTER, "e-1")
    assert server.messages == []


async def test_a_wrong_password_loses_no_letter(
    secret_server: MailServer, certificate: Path
) -> None:
    tls = ssl.create_default_context(cafile=certificate)
    notifications = EmailNotifications(
        "localhost", secret_server.port, tls=tls, login=Login("shop", "wrong")
    )
    with pytest.raises(DeliveryFailed):
        await notifications.post(LETTER, "e-1")


def test_a_password_is_never_configured_to_go_in_the_clear() -> None:
    with pytest.raises(ConfigError, match="encryption"):
        EmailNotifications("localhost", 25, login=Login("shop", "secret"))
    assert "secret" not in repr(Login("shop", "secret"))


def test_a_sender_that_is_no_address_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="sender"):
        EmailNotifications("localhost", 25, sender="the shop")


# The outbox's channel, and the log


def delivery(payload: str) -> Delivery:
    return Delivery(1, "e-1", "email", payload, 0)


async def test_the_channel_posts_a_letter_with_its_event_id(server: MailServer) -> None:
    payload = '{"to":"stock@made.com","subject":"news","body":"Hello."}'
    await EmailChannel(mail(server)).deliver(delivery(payload))
    [message] = server.messages
    assert (message["Subject"], message["X-Event-Id"]) == ("news", "e-1")


@pytest.mark.parametrize(
    "payload",
    ["", "{", "[]", "{}", '{"to":"stock@made.com","subject":1,"body":""}', '{"to":"a\\nb"}'],
)
async def test_a_payload_that_is_no_letter_is_undeliverable(payload: str) -> None:
    with pytest.raises(Undeliverable, match="no letter"):
        await EmailChannel(LogNotifications()).deliver(delivery(payload))


async def test_without_a_mail_server_notifications_go_to_the_log_on_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await LogNotifications().send("stock@made.com", "Out of stock for SKU LAMP\nERROR forged")
    [record] = caplog.records
    assert "stock@made.com" in record.getMessage()
    assert "Out of stock for SKU LAMP" in record.getMessage()
    assert "\n" not in record.getMessage()


async def test_while_the_mail_server_is_away_letters_wait_and_then_all_go_in_order() -> None:
    server, store = MailServer(), MemoryDeliveries()
    with server.running():
        pass  # so that it has a port
    outbox = Outbox(store, {"email": EmailChannel(mail(server))}, ServerClock().now_ms)

    def post(*numbers: int) -> None:
        for number in numbers:
            letter = Letter("stock@made.com", str(number), "")
            store.put(f"e-{number}", "email", msgspec.json.encode(letter).decode())
        outbox.wake()

    async with trio.open_nursery() as nursery:
        await nursery.start(outbox.run)
        post(1, 2)
        await until(lambda: outbox.health["email"].failing)
        post(3)
        with server.running():
            await until(lambda: not store.event_ids)
        nursery.cancel_scope.cancel()
    assert [message["Subject"] for message in server.messages] == ["1", "2", "3"]


@pytest.mark.parametrize("place", ["rcpt", "data"])
async def test_a_letter_that_is_refused_for_now_is_put_off_and_no_other(
    server: MailServer, place: str
) -> None:
    setattr(server, place, "450 greylisted")
    with pytest.raises(Deferred, match="450"):
        await mail(server).post(LETTER, "e-1")
    setattr(server, place, "421 shutting down")
    with pytest.raises(DeliveryFailed, match="421") as caught:
        await mail(server).post(LETTER, "e-1")
    assert not isinstance(caught.value, Deferred)
