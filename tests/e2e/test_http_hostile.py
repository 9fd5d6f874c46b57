"""Bodies that do not fit are answered with 422, saying where; bytes of any kind harm nobody."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import House, OpenHouse
from tests.e2e.hostility import undisturbed, witness
from tests.e2e.shop import Shop, enter_shop
from tests.e2e.test_hostile_bytes import FEWER, edited, exchange

JSON = {"Content-Type": "application/json"}
BATCH: dict[str, object] = {"ref": "b", "sku": "SEA", "qty": 100, "eta": "2026-03-03"}
LINE: dict[str, object] = {"orderid": "o", "sku": "SEA", "qty": 1}
ORDER: dict[str, object] = {"orderid": "o", "lines": [{"sku": "SEA", "qty": 1}]}
CUSTOMER: dict[str, object] = {"name": "n", "address": "a", "email": "e@x"}

NO_NAMES: tuple[object, ...] = (
    None,
    5,
    True,
    [],
    {},
    "",
    " ",
    " a",
    "a\0",
    "a\nb",
    "\x7f",
    "\x85",
    "a\u2028",
    "x" * 256,
)
NO_NUMBERS: tuple[object, ...] = (None, True, "1", 1.0, 1.5, -1, [], 2**53, 2**63, 10**400)
NO_DATES: tuple[object, ...] = (
    5,
    True,
    "",
    "tomorrow",
    "2026-13-01",
    "2026-02-30",
    "2026-03-02T00:00:00",
    "1772409600",
)


@pytest.fixture
async def shop(house: House) -> AsyncIterator[Shop]:
    async with enter_shop(house.http_url) as opened:
        await opened.add_batch("first", "SEA", 100)
        yield opened


@pytest.mark.parametrize(
    ("path", "body", "values"),
    [
        (
            "/add_batch",
            BATCH,
            {"ref": NO_NAMES, "sku": NO_NAMES, "qty": NO_NUMBERS, "eta": NO_DATES},
        ),
        ("/allocate", LINE, {"orderid": NO_NAMES, "sku": NO_NAMES, "qty": (*NO_NUMBERS, 0)}),
        ("/batches/first/quantity", {"qty": 1}, {"qty": NO_NUMBERS}),
        ("/batches/first/eta", {"eta": None}, {"eta": NO_DATES}),
        (
            "/orders",
            ORDER,
            {
                "orderid": NO_NAMES,
                "customer": NO_NAMES[1:],
                "lines": (None, 5, "SEA", {}, [], [None], ORDER["lines"] * 1001),  # type: ignore[operator]
            },
        ),
        (
            "/customers",
            CUSTOMER,
            {
                "name": NO_NAMES,
                "address": (None, "", "\0", "x" * 1001),
                "email": (None, "", "e", "@", "e@", "a b@c", "e@x\nBcc: y@z", "x" * 300 + "@x"),
            },
        ),
    ],
)
async def test_each_field_is_of_its_type_and_within_its_bounds(
    shop: Shop, path: str, body: dict[str, object], values: dict[str, tuple[object, ...]]
) -> None:
    wrong: list[Any] = []
    before = (await shop.get("/products")).json()
    for field, bad in values.items():
        for value in bad:
            text = json.dumps({**body, field: value})
            answer = await shop.client.post(path, content=text, headers=JSON)
            told = answer.json()["detail"][0]["loc"] if answer.status_code == 422 else []
            if told[:2] != ["body", field]:
                wrong.append((field, value, answer.status_code, answer.text))
    assert wrong == []
    for field in body:
        rest = {name: value for name, value in body.items() if name != field}
        answer = await shop.post(path, **rest)
        if field != "eta" or path != "/add_batch":
            assert answer.json()["detail"][0]["loc"] == ["body", field]
    answer = await shop.post(path, **body, unasked=1)
    assert answer.json()["detail"][0]["loc"] == ["body", "unasked"]
    after = (await shop.get("/products")).json()
    assert [product["sku"] for product in after["products"]] == ["SEA"]
    assert after["products"][0]["allocated"] == before["products"][0]["allocated"]


async def test_where_a_line_of_an_order_does_not_fit_is_said_to_the_field(shop: Shop) -> None:
    lines = [{"sku": "SEA", "qty": 1}, {"sku": "SEA", "qty": 0, "eta": None}]
    answer = await shop.post("/orders", orderid="o", lines=lines)
    assert [problem["loc"] for problem in answer.json()["detail"]] == [
        ["body", "lines", 1, "qty"],
        ["body", "lines", 1, "eta"],
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"OK"',
        b"{",
        b"{}x",
        b"{'ref': 1}",
        b'{"qty": NaN}',
        b'{"qty": Infinity}',
        b'{"qty": 1e999}',
        b'{"qty": 01}',
        b'{"ref": "\xff"}',
        b'{"ref": "\\ud800"}',
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\0}\0",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"qty": ' + b"9" * 100_000 + b"}",
        b'{"ref": "' + b"x" * 1_000_000 + b'"}',
    ],
    ids=lambda body: repr(body[:20]),
)
async def test_what_is_no_json_object_is_told_shortly(shop: Shop, body: bytes) -> None:
    for path in "/add_batch", "/allocate", "/orders", "/batches/first/quantity":
        answer = await shop.client.post(path, content=body, headers=JSON)
        assert answer.status_code == 422
        assert all(problem["loc"][0] == "body" for problem in answer.json()["detail"])
        assert len(answer.content) < 1_000


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 201),
        ("Application/JSON; charset=utf-8", 201),
        ("application/vnd.shop+json", 201),
        ("text/plain", 422),
        ("application/x-www-form-urlencoded", 422),
        ("multipart/form-data; boundary=x", 422),
        ("", 422),
        ("\xff", 422),
    ],
)
async def test_json_has_to_be_called_json(shop: Shop, content_type: str, status: int) -> None:
    headers = {b"Content-Type": content_type.encode("latin-1")}
    answer = await shop.client.post("/add_batch", content=json.dumps(BATCH), headers=headers)
    assert answer.status_code == status
    if status == 422:
        assert answer.json()["detail"][0]["loc"] == ["header", "content-type"]


async def test_pages_of_other_sites_may_not_ask_and_our_own_and_those_allowed_may(
    house: House, shop: Shop
) -> None:
    port = house.http_url.rpartition(":")[2]
    asked = {
        "https://elsewhere.example": 403,
        "null": 403,
        f"http://localhost:{port}": 403,  # it was called 127.0.0.1
        house.http_url: 201,
    }
    for origin, status in asked.items():
        answer = await shop.client.post("/add_batch", json=BATCH, headers={"Origin": origin})
        assert (origin, answer.status_code) == (origin, status)
    named = {"Origin": f"http://rebound.example:{port}", "Host": f"rebound.example:{port}"}
    assert (await shop.client.post("/add_batch", json=BATCH, headers=named)).status_code == 403


async def test_an_origin_of_the_settings_may_ask(open_house: OpenHouse) -> None:
    page = "https://shop.example"
    async with (
        open_house(gateway={"origins": [page]}) as house,
        enter_shop(house.http_url) as shop,
    ):
        answer = await shop.client.post("/add_batch", json=BATCH, headers={"Origin": page})
        assert answer.status_code == 201


async def test_paths_that_nothing_is_at_are_told(shop: Shop) -> None:
    for path in "/", "/nothing", "/allocations/%FF", "/products/%00", "/products/", "/../etc":
        answer = await shop.client.get(path)
        assert answer.status_code == 404
        assert set(answer.json()) == {"message"}
    answer = await shop.client.get("/allocate")
    message = "/allocate takes POST and no GET"
    assert (answer.status_code, answer.json()) == (405, {"message": message})
    assert answer.headers["allow"] == "POST"


REQUEST = (
    b"POST /allocate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b'Content-Length: 39\r\n\r\n{"orderid":"o","sku":"SEA","qty":1}    '
)
HOSTILE = {
    "anything": st.binary(max_size=300),
    "a request, edited": edited(REQUEST),
    "two requests, edited": edited(REQUEST + b"GET /products HTTP/1.1\r\nHost: x\r\n\r\n"),
    "a chunked request, edited": edited(
        b"POST /add_batch HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5\r\nabcde\r\n0\r\n\r\n"
    ),
    "another protocol": st.binary(max_size=100).map(
        lambda data: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + data
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
async def test_no_bytes_harm_the_theatre_or_the_stock(house: House, kind: str) -> None:
    @FEWER
    @given(HOSTILE[kind])
    def attack(data: bytes) -> None:
        answer = exchange(house.http_url, data)
        assert b" 500 " not in answer
        assert b"Traceback" not in answer

    async with undisturbed(house.gateway_url):
        await trio.to_thread.run_sync(attack)
    async with enter_shop(house.http_url) as shop:
        await shop.add_batch("b", "PINE", 1)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["SEA", "first", "o", "2026-03-03", 0, 1]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=5,
)
names = st.sampled_from(sorted({*BATCH, *LINE, *ORDER, *CUSTOMER}))


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Draw a request with a body that is in order but for a few fields."""
    path = draw(st.sampled_from(["add_batch", "allocate", "orders", "customers", "batches/b/eta"]))
    template = draw(st.sampled_from([BATCH, LINE, ORDER, CUSTOMER]))
    changes = draw(st.dictionaries(names, values, max_size=3))
    body = json.dumps({**template, **changes}, ensure_ascii=draw(st.booleans()))
    data = body.encode("utf-8", "surrogatepass")
    return (
        f"POST /{path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(data)}\r\n\r\n"
    ).encode() + data


@pytest.mark.usefixtures("shop")
async def test_whatever_json_is_sent_is_done_or_refused(house: House) -> None:
    @FEWER
    @given(requests())
    def attack(request: bytes) -> None:
        status = int(exchange(house.http_url, request).split(b" ", 2)[1])
        assert status in {201, 202, 400, 404, 409, 422}

    async with witness(house.gateway_url):
        await trio.to_thread.run_sync(attack)
