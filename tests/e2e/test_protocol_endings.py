"""How connections end from the server's side: 1001 when it goes, 1013 for who does not read."""

from contextlib import suppress

import trio
from trio_websocket import ConnectionClosed

from tests.conftest import House, OpenHouse
from tests.e2e.speaking import MSGPACK, Speaker, connect, enter


async def test_when_the_server_goes_everybody_is_closed_with_1001(open_house: OpenHouse) -> None:
    async def stay(client: Speaker) -> None:
        assert await client.hear_the_end() == 1001

    async def play(url: str, task_status: trio.TaskStatus[None]) -> None:
        async with (
            enter(url) as engine,
            enter(url, "goggles", "player-7", subprotocol=MSGPACK) as goggles,
            connect(url) as nobody,
            trio.open_nursery() as clients,
        ):
            await engine.cue("runs", duration_ms=9000)
            await engine.cue("waits", "jungle", at=await engine.now() + 60_000)
            for client in (engine, goggles, nobody):
                clients.start_soon(stay, client)
            task_status.started()

    async with trio.open_nursery() as outside:
        async with open_house() as house:
            await outside.start(play, house.gateway_url)
            leaving = trio.current_time()
        assert trio.current_time() - leaving < 5
        assert house.memory("A").open_slots() == set()
        assert {told.spray.slot for told in house.memory("A").received} == {0}


async def test_when_the_server_goes_those_who_listen_are_told_before_that_what_has_ended(
    open_house: OpenHouse,
) -> None:
    async def listen(url: str, task_status: trio.TaskStatus[None]) -> None:
        async with enter(url) as engine, enter(url, "goggles", "player-7") as goggles:
            await goggles.ask("subscribe", events=["scent"])
            await engine.cue("runs", to={"all": True}, duration_ms=9000)
            for _ in ("A", "goggles"):
                await goggles.hear("scent")
            task_status.started()
            ended = [await goggles.hear("scent-end") for _ in ("A", "goggles")]
            assert {event["zone"] for event in ended} == {"A", "goggles"}
            assert {event["reason"] for event in ended} == {"stopped"}
            assert await goggles.hear_the_end() == 1001

    async with trio.open_nursery() as outside, open_house() as house:
        await outside.start(listen, house.gateway_url)


# Who does not read


async def leave_unread(client: Speaker, pages: int) -> None:
    """Take nothing any more, and have so many pages of some 10 KiB sent."""
    client.line.hold()
    with suppress(ConnectionClosed):
        for n in range(pages):
            await client.say("state", id=n, zone="A")


async def test_who_leaves_too_much_unread_is_closed_with_1013(house: House) -> None:
    async with enter(house.gateway_url) as client, enter(house.gateway_url) as bystander:
        await leave_unread(client, 60)
        client.line.let_go()
        assert await client.hear_the_end() == 1013
        assert (await bystander.ask("ping", t0=1))["type"] == "pong"


async def test_a_subscriber_who_does_not_read_is_cut_within_5_s_and_delays_nobody(
    house: House,
) -> None:
    told = 0

    async def play(task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        """Send one cue after the other, as soon as those who read are told of it."""
        nonlocal told
        async with enter(house.gateway_url) as engine, enter(house.gateway_url) as reader:
            await reader.ask("subscribe", events=["scent"])
            with trio.CancelScope() as playing:
                task_status.started(playing)
                for n in range(1000):
                    with trio.CancelScope(shield=True):
                        await engine.cue(n, intensity=0.001, duration_ms=1, ttl_ms=60_000)
                        await reader.hear_until("scent", cue=n)
                    told += 1
                    await trio.sleep(0.02)

    async with (
        trio.open_nursery() as nursery,
        enter(house.gateway_url, "operator") as watch,
        enter(house.gateway_url, "goggles", "dozer") as dozer,
    ):
        await watch.ask("subscribe", events=["zone"], seats=["dozer"])
        await dozer.ask("subscribe", events=["scent"])
        await leave_unread(dozer, 32)  # more than the kernel takes, and not too much yet
        dozing = trio.current_time()
        playing = await nursery.start(play)

        assert (await watch.hear("zone"))["change"] == "seat-offline"
        assert trio.current_time() - dozing < 5
        playing.cancel()
        dozer.line.let_go()
        assert await dozer.hear_the_end() == 1013
    # Whoever waited for the one who dozes would have been told of one or two.
    assert told > 10


async def test_who_was_cut_still_reads_why_when_other_closings_would_be_over_for_long(
    house: House,
) -> None:
    async with enter(house.gateway_url) as client:
        await leave_unread(client, 60)
        await trio.sleep(2)
        client.line.let_go()
        assert await client.hear_the_end() == 1013
