"""What a client's connection makes of frames, and of a server that is slow."""

from functools import partial

import pytest
import trio
import trio.testing
from trio.testing import wait_all_tasks_blocked
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection

from simulators.client import Client, Closed, open_client
from simulators.connection import GOODBYE_WITHIN_S, WRITE_WITHIN_S, open_connection
from tests.integration.scripted import Peer, raw_server, server

engine = partial(open_client, role="engine", name="test")


class TestASlowServer:
    async def test_a_cancelled_message_goes_out_whole_or_not_at_all(self) -> None:
        reading = trio.Event()
        heard: list[int] = []
        heard_all = trio.Event()

        async def script(peer: Peer) -> None:
            await peer.welcome()
            await reading.wait()
            while (message := await peer.hear())["type"] == "pad":
                heard.append(message["number"])
            heard_all.set()

        async def cancel_half_way(scope: trio.CancelScope) -> None:
            await wait_all_tasks_blocked(cushion=0.05)
            scope.cancel()
            await wait_all_tasks_blocked(cushion=0.05)
            reading.set()

        async with (
            server(script) as url,
            engine(url) as client,
            trio.open_nursery() as nursery,
        ):
            sent = 0
            with trio.CancelScope() as scope:
                nursery.start_soon(cancel_half_way, scope)
                while True:
                    await client.send({"type": "pad", "number": sent, "pad": "x" * 60_000})
                    sent += 1
            assert reading.is_set()
            await client.send({"type": "end"})
            await heard_all.wait()
        # The one that was cancelled half-way went out whole, and the next one not at all.
        assert heard == list(range(sent))

    async def test_a_server_that_never_reads_is_given_up(
        self, mock_clock: trio.testing.MockClock
    ) -> None:
        async def script(peer: Peer) -> None:
            await peer.welcome()
            await trio.sleep_forever()

        async def send_without_end(client: Client) -> None:
            while True:
                await client.send({"type": "pad", "pad": "x" * 60_000})

        async def be_given_up(client: Client) -> None:
            with pytest.raises(Closed, match="reads nothing"):
                await send_without_end(client)

        async with (
            server(script) as url,
            engine(url) as client,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(be_given_up, client)
            await wait_all_tasks_blocked(cushion=0.05)
            mock_clock.jump(WRITE_WITHIN_S)


async def open_the_websocket(stream: trio.SocketStream) -> None:
    """Take one request to upgrade, in one segment."""
    websocket = WSConnection(ConnectionType.SERVER)
    websocket.receive_data(bytes(await stream.receive_some()))
    await stream.send_all(websocket.send(AcceptConnection()))


class TestFrames:
    PING = b"\x89\x00"
    CLOSE = b"\x88\x02\x03\xe8"

    async def test_a_message_may_come_in_pieces_with_a_ping_between(self) -> None:
        pongs: list[int] = []

        async def serve(stream: trio.SocketStream) -> None:
            await open_the_websocket(stream)
            message = '{"type":"sént"}'.encode()
            cut = 11  # within the é
            await stream.send_all(bytes((0x01, cut)) + message[:cut] + self.PING)
            pongs.append((await stream.receive_some(1))[0])
            await stream.send_all(bytes((0x80, len(message) - cut)) + message[cut:] + self.CLOSE)
            await trio.sleep_forever()

        async with raw_server(serve) as url, open_connection(url) as connection:
            assert await connection.receive() == {"type": "sént"}
            with pytest.raises(Closed, match="1000"):
                await connection.receive()
        assert pongs == [0x8A]

    async def test_a_ping_in_the_middle_of_the_goodbye_is_nothing(self) -> None:
        async def serve(stream: trio.SocketStream) -> None:
            await open_the_websocket(stream)
            await stream.receive_some()
            await stream.send_all(self.PING + self.CLOSE)
            await trio.sleep_forever()

        async with raw_server(serve) as url:
            with trio.fail_after(0.9 * GOODBYE_WITHIN_S):
                async with open_connection(url):
                    pass

    async def test_a_server_that_says_no_goodbye_is_not_waited_for(self) -> None:
        async def serve(stream: trio.SocketStream) -> None:
            await open_the_websocket(stream)
            await trio.sleep_forever()

        async with raw_server(serve) as url:
            with trio.fail_after(3 * GOODBYE_WITHIN_S):
                async with open_connection(url):
                    pass
