"""The metrics tell what the server knows, in the format of Prometheus."""

from collections.abc import AsyncIterator

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from scentrt.entrypoints.http.metrics import Metrics, Reading
from simulators.client import open_client
from tests.conftest import House
from tests.e2e.shop import Shop, enter_shop
from tests.e2e.test_hostile_bytes import exchange


@pytest.fixture
async def shop(house: House) -> AsyncIterator[Shop]:
    async with enter_shop(house.http_url) as opened:
        yield opened


def parsed(text: str) -> dict[str, float]:
    """Return the samples by name and labels, as `name{a,b}`."""
    return {
        f"{sample.name}{{{','.join(sample.labels.values())}}}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def read(shop: Shop) -> dict[str, float]:
    answer = await shop.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return parsed(answer.text)


async def read_when_all_is_written(shop: Shop) -> dict[str, float]:
    """Read until the ledger is not behind: with what a start has it write, it may be."""
    with trio.fail_after(30):
        while True:
            found = await read(shop)
            if found["scentrt_ledger_behind_seconds{}"] == 0:
                return found


async def test_every_name_begins_with_ours_and_the_house_is_told_as_it_is(
    house: House, shop: Shop
) -> None:
    async with open_client(house.gateway_url, role="goggles", name="player-1"):
        found = await read_when_all_is_written(shop)
    assert all(name.startswith("scentrt_") for name in found)
    assert found["scentrt_seats_online{A}"] == 24
    assert found["scentrt_seats_online{goggles}"] == 1
    assert found["scentrt_zone_open{A}"] == 1
    assert found["scentrt_late_cues_total{A}"] == 0
    assert found["scentrt_gateway_clients{}"] == 1
    assert found["scentrt_dropped_events_total{}"] == 0
    assert found["scentrt_panic{}"] == 0
    assert found["scentrt_ledger_failing{}"] == 0
    assert found["scentrt_ledger_lost_rows_total{}"] == 0
    assert found["scentrt_ledger_lost_lines_total{}"] == 0
    assert found["scentrt_products_in_memory{}"] == 0


async def test_requests_are_counted_by_route_and_not_by_path(shop: Shop) -> None:
    await shop.add_batch("b-1", "SEA", 5)
    for number in range(3):
        await shop.get(f"/allocations/o-{number}")
        await shop.get(f"/nothing-{number}")
        await shop.client.request(f"MADE-UP-{number}", "/products")
    found = await read(shop)
    requests = {name: n for name, n in found.items() if name.startswith("scentrt_http_requests_t")}
    assert requests == {
        "scentrt_http_requests_total{POST,/add_batch,201}": 1,
        "scentrt_http_requests_total{GET,/allocations/{orderid},404}": 3,
        "scentrt_http_requests_total{GET,unknown,404}": 3,
        "scentrt_http_requests_total{other,/products,405}": 3,
    }
    assert found["scentrt_http_request_seconds_count{POST}"] == 1


async def test_what_is_no_whole_request_is_counted_by_what_was_answered(
    house: House, shop: Shop
) -> None:
    for sent in (
        b"POST /allocate HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n",
        b"POST /allocate HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"\r\n\0\r\n\r\n",
    ):
        await trio.to_thread.run_sync(exchange, house.http_url, sent)
    found = await read(shop)
    requests = {name: n for name, n in found.items() if name.startswith("scentrt_http_requests_t")}
    assert requests == {
        "scentrt_http_requests_total{other,unknown,413}": 1,
        "scentrt_http_requests_total{other,unknown,400}": 2,
        "scentrt_http_requests_total{other,unknown,505}": 1,
    }


async def test_commands_are_counted_by_what_became_of_them(shop: Shop) -> None:
    await shop.add_batch("b-1", "SEA", 5)
    await shop.allocate("o-1", "SEA", 5)
    await shop.allocate("o-2", "SEA", 5)
    await shop.post("/allocate", orderid="o-3", sku="PINE", qty=1)
    found = await read(shop)
    assert found["scentrt_commands_total{CreateBatch,done}"] == 1
    assert found["scentrt_commands_total{Allocate,done}"] == 1
    assert found["scentrt_commands_total{Allocate,out-of-stock}"] == 1
    assert found["scentrt_commands_total{Allocate,refused}"] == 1


def test_a_reading_is_taken_whenever_somebody_looks() -> None:
    kinds = {"redis": 1.0}
    metrics = Metrics(
        [
            Reading("outbox_waiting", "Deliveries that wait.", lambda: kinds, "kind"),
            Reading("uptime", "Seconds.", lambda: 1, counts=True),
        ]
    )
    assert parsed(metrics.render().decode()) == {
        "scentrt_outbox_waiting{redis}": 1,
        "scentrt_uptime_total{}": 1,
    }
    kinds["email"] = 7
    assert parsed(metrics.render().decode())["scentrt_outbox_waiting{email}"] == 7
