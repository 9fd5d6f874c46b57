"""A letter says what it was asked to say, and nothing that it was not."""

import base64
import email
import email.policy
import re
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scentrt.adapters.notifications import SENDER, Letter, compose
from scentrt.errors import Undeliverable


def letter(to: str = "stock@made.com", subject: str = "news", body: str = "Hello.") -> Letter:
    return Letter(to, subject, body)


def arrived(wire: bytes) -> EmailMessage:
    """Return a message as its receiver reads it."""
    return email.message_from_bytes(wire, policy=email.policy.default)


def test_a_letter_says_from_whom_to_whom_and_about_what() -> None:
    message = arrived(compose(letter(subject="news"), "e-1", SENDER))
    assert message["From"] == "allocations@example.com"
    assert message["To"] == "stock@made.com"
    assert message["Subject"] == "news"
    assert message["Date"].datetime is not None


def test_the_same_event_makes_the_same_message_id_and_another_event_another() -> None:
    messages = [arrived(compose(letter(), event_id, SENDER)) for event_id in ("a", "a", "b")]
    ids = [message["Message-ID"] for message in messages]
    assert ids[0] == ids[1] != ids[2]
    assert ids[0].endswith("@example.com>")


def test_the_event_id_is_in_a_header_of_its_own() -> None:
    assert arrived(compose(letter(), "out-of-stock:7", SENDER))["X-Event-Id"] == "out-of-stock:7"


def test_a_plain_body_can_be_read_without_decoding() -> None:
    body = "Out of stock for SKU " + "VERY-LONG-" * 20
    assert body.encode() in compose(letter(body=body), "e-1", SENDER)


def test_what_is_not_ascii_survives_in_subject_and_body() -> None:
    message = arrived(compose(letter(subject="Nachschub für Öl", body="薔薇 🌹"), "e-1", SENDER))
    assert message["Subject"] == "Nachschub für Öl"
    assert message.get_content() == "薔薇 🌹\r\n"


@given(st.text(max_size=300))
def test_any_body_that_can_be_written_arrives_as_it_was(body: str) -> None:
    message = arrived(compose(letter(body=body), "e-1", SENDER))
    lines = body.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n") + "\n"
    assert message.get_content().replace("\r\n", "\n") == lines


@pytest.mark.parametrize("breaking", ["\r\nBcc: all@made.com", "\n", "\r", "\0", "\x1b", "\u2028"])
@pytest.mark.parametrize("place", ["to", "subject", "event id"])
def test_a_control_character_in_a_header_makes_a_letter_undeliverable(
    place: str, breaking: str
) -> None:
    text = "a@made.com" + breaking
    headers = {"to": letter(to=text), "subject": letter(subject=text)}
    with pytest.raises(Undeliverable, match=r"control character|not the address"):
        compose(headers.get(place, letter()), text if place == "event id" else "e-1", SENDER)


def encoded_word(hidden: str, encoding: str, charset: str) -> str:
    """Return text as RFC 2047 hides it."""
    raw = hidden.encode("utf-8", "replace")
    if encoding in "bB":
        return f"=?{charset}?{encoding}?{base64.b64encode(raw).decode()}?="
    return f"=?{charset}?{encoding}?{''.join(f'={byte:02x}' for byte in raw)}?="


_HIDDEN = st.text(max_size=20) | st.sampled_from(
    ["\r\nBcc: all@made.com\r\n\r\nPay here", "\n", "\r", "\r\n\r\n", ", b@c", "@b"]
)
_ENCODED = st.builds(
    encoded_word, _HIDDEN, st.sampled_from("qQbB"), st.sampled_from(["utf-8", "latin-1", "x"])
)
_PIECES = st.text(max_size=40) | _ENCODED | st.sampled_from(["=?", "?=", " ", "=", "a", "\t"])
HOSTILE = st.lists(_PIECES, max_size=6).map("".join)


def parts_on_the_wire(wire: bytes) -> tuple[list[bytes], bytes]:
    """Return the names of the headers, and the body, as bytes and without decoding anything."""
    head, _, body = wire.partition(b"\r\n\r\n")
    lines = re.split(rb"\r\n|\r|\n", head)
    return [line.split(b":")[0] for line in lines if not line.startswith((b" ", b"\t"))], body


def forges_nothing(forged: Letter, event_id: str) -> None:
    usual = compose(letter(), "e-1", SENDER)
    try:
        wire = compose(forged, event_id, SENDER)
    except Undeliverable:
        return
    assert parts_on_the_wire(wire) == parts_on_the_wire(usual)
    message = arrived(wire)
    assert [address.addr_spec for address in message["To"].addresses] == [forged.to]
    assert message["From"] == SENDER
    assert message.get_content() == "Hello.\r\n"


@given(HOSTILE, HOSTILE, HOSTILE)
def test_nothing_in_a_letter_forges_a_header_or_touches_the_body(
    to: str, subject: str, event_id: str
) -> None:
    forges_nothing(letter(to=f"a{to}@made.com"), "e-1")
    forges_nothing(letter(subject=subject), "e-1")
    forges_nothing(letter(), event_id)


@pytest.mark.parametrize("encoding", ["q", "B"])
def test_an_encoded_word_brings_in_neither_headers_nor_a_body(encoding: str) -> None:
    word = encoded_word("a\r\nBcc: all@x.y\r\n\r\nPay here", encoding, "utf-8")
    forges_nothing(letter(subject=f"Your order {word} is here"), f"e{word}")
    with pytest.raises(Undeliverable, match="address"):
        compose(letter(to=f"{word}@made.com"), "e-1", SENDER)


@pytest.mark.parametrize(
    "to",
    [
        "",
        "stock",
        "@made.com",
        "stock@",
        "a@b@c",
        "a@b, c@d",
        "a@b c@d",
        "Stock <a@b>",
        "ö@made.com",
    ],
)
def test_what_is_not_one_address_is_undeliverable(to: str) -> None:
    with pytest.raises(Undeliverable, match="address"):
        compose(letter(to=to), "e-1", SENDER)


def test_text_that_no_encoding_can_hold_is_undeliverable() -> None:
    with pytest.raises(Undeliverable, match="cannot be written"):
        compose(letter(body="\ud800"), "e-1", SENDER)
