"""What becomes of frames on real sockets: slow, silent, vanishing and hostile peers."""

import socket
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from trio_websocket import (
    ConnectionClosed,
    WebSocketConnection,
    WebSocketRequest,
    wrap_client_stream,
    wrap_server_stream,
)

from scentrt.entrypoints.gateway.stream import FAREWELL_S, FrameStream
from scentrt.entrypoints.gateway.wire import BINARY, CLOSE, TEXT, encode_frame

PING = 0x9
GOING_AWAY = encode_frame(CLOSE, (1001).to_bytes(2, "big"))
TOO_SLOW = (CLOSE, (1013).to_bytes(2, "big") + b"too slow")
FILLER = encode_frame(BINARY, bytes(20_000))


class Viewer:
    """A raw client, whose receive buffer is as small as the system allows."""

    def __init__(self, sock: trio.socket.SocketType) -> None:
        self.sock = sock
        self._got = bytearray()

    def frames(self) -> list[tuple[int, bytes]]:
        """Take the whole frames that have arrived, as opcode and payload."""
        found = []
        while len(self._got) >= 2:
            head, size = 2, self._got[1]
            if size == 126:
                head, size = 4, int.from_bytes(self._got[2:4], "big")
            elif size == 127:
                head, size = 10, int.from_bytes(self._got[2:10], "big")
            if len(self._got) < head + size:
                break
            found.append((self._got[0] & 0x0F, bytes(self._got[head : head + size])))
            del self._got[: head + size]
        return found

    async def read(self, count: int, *, at_most: int = 65_536) -> list[tuple[int, bytes]]:
        """Return so many frames, or fewer where the connection ends before."""
        found = self.frames()
        while len(found) < count:
            data = await self.sock.recv(at_most)
            if not data:
                break
            self._got += data
            found += self.frames()
        return found

    async def read_to_the_end(self) -> list[tuple[int, bytes]]:
        """Return every frame there is, and see to it that the last one is whole."""
        found = await self.read(1_000_000)
        assert not self._got
        return found

    def vanish(self) -> None:
        """Close so that the other side is told by a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


async def pair(**limits: Any) -> tuple[FrameStream, Viewer]:
    sock = trio.socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        await sock.connect(listener.socket.getsockname())
        return FrameStream.adopt(await listener.accept(), **limits), Viewer(sock)


@asynccontextmanager
async def connected(**limits: Any) -> AsyncIterator[tuple[FrameStream, Viewer]]:
    stream, viewer = await pair(**limits)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.run)
            try:
                yield stream, viewer
            finally:
                viewer.sock.close()
                await trio.aclose_forcefully(stream)


async def clog(stream: FrameStream) -> int:
    """Push frames until nothing more goes out; return how many."""
    pushed = 0
    while True:
        stream.push(FILLER)
        pushed += 1
        await trio.testing.wait_all_tasks_blocked(0.005)
        if stream.waiting:
            return pushed


def text(number: int) -> bytes:
    return encode_frame(TEXT, str(number).encode().ljust(number % 700))


def number(frame: tuple[int, bytes]) -> int:
    return int(frame[1])


class TestOrder:
    async def test_frames_arrive_whole_and_in_order_however_slowly_they_are_read(self) -> None:
        async with connected(max_waiting=2**20) as (stream, viewer), trio.open_nursery() as nursery:

            async def send_pings() -> None:
                for n in range(50):
                    await stream.send_all(encode_frame(PING, b"%d" % n))

            for n in range(1000):
                stream.push(text(n))
            nursery.start_soon(send_pings)
            got = await viewer.read(500, at_most=997)
            for n in range(1000, 2000):
                stream.push(text(n))
            got += await viewer.read(2050 - len(got), at_most=4999)

        assert [number(frame) for frame in got if frame[0] == TEXT] == list(range(2000))
        assert [number(frame) for frame in got if frame[0] == PING] == list(range(50))

    async def test_a_cancelled_send_leaves_the_frames_whole(self) -> None:
        large = encode_frame(BINARY, bytes(5_000_000))
        async with connected(max_waiting=2**23) as (stream, viewer):
            with trio.move_on_after(0.05) as patience:
                await stream.send_all(large)
            assert patience.cancelled_caught
            with trio.move_on_after(0.01):
                await stream.send_all(encode_frame(PING, b"cancelled"))
            stream.push(text(2))
            got = await viewer.read(3)
        assert len(got[0][1]) == 5_000_000
        assert got[1] == (PING, b"cancelled")
        assert number(got[2]) == 2

    async def test_trio_websocket_and_pushes_share_the_stream(self) -> None:
        """Pings both ways, messages, pushes and the closing handshake, with a real client."""
        pushed, echoed = 500, 50

        async def handle(tcp: trio.SocketStream) -> None:
            stream = FrameStream.adopt(tcp)
            async with stream, trio.open_nursery() as nursery:
                nursery.start_soon(stream.run)
                request: WebSocketRequest = await wrap_server_stream(nursery, stream)
                ws = await request.accept()
                nursery.start_soon(push, stream, ws)
                nursery.start_soon(send_pings, ws)
                with suppress(ConnectionClosed):
                    while True:
                        await ws.send_message(await ws.get_message())

        async def push(stream: FrameStream, ws: WebSocketConnection) -> None:
            for n in range(pushed):
                stream.push(text(n))
                await trio.lowlevel.checkpoint()
            await everything_echoed.wait()
            await ws.aclose(1001, "good night")
            stream.push(text(-1))

        async def send_pings(ws: WebSocketConnection) -> None:
            for _ in range(20):
                await ws.ping()

        async def talk(ws: WebSocketConnection) -> None:
            for n in range(echoed):
                await ws.ping()
                await ws.send_message(f"echo {n}")

        everything_echoed = trio.Event()
        messages: list[str | bytes] = []
        async with trio.open_nursery() as nursery:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, handle, [listener])
            port = listener.socket.getsockname()[1]
            async with await trio.open_tcp_stream("127.0.0.1", port) as tcp:
                ws = await wrap_client_stream(nursery, tcp, "127.0.0.1", "/")
                nursery.start_soon(talk, ws)
                while len(messages) < pushed + echoed:
                    messages.append(await ws.get_message())
                everything_echoed.set()
                with pytest.raises(ConnectionClosed) as closed:
                    await ws.get_message()
            nursery.cancel_scope.cancel()
        assert closed.value.reason is not None
        assert closed.value.reason.code == 1001
        echoes = [message for message in messages if str(message).startswith("echo")]
        assert echoes == [f"echo {n}" for n in range(echoed)]
        assert [int(message) for message in messages if message not in echoes] == list(
            range(pushed)
        )

    async def test_nothing_is_taken_after_a_close_frame(self) -> None:
        async with connected() as (stream, viewer), trio.open_nursery() as nursery:
            stream.push(text(1))
            await stream.send_all(GOING_AWAY)
            stream.push(text(2))
            stream.push_latest("pine", text(3))
            nursery.start_soon(stream.aclose)
            assert [opcode for opcode, _ in await viewer.read_to_the_end()] == [TEXT, CLOSE]
            viewer.sock.close()
        stream.push(text(4))


class TestTheLatest:
    async def test_of_frames_with_one_key_a_slow_peer_gets_the_newest(self) -> None:
        async with connected(max_waiting=2**20) as (stream, viewer):
            fillers = await clog(stream)
            for n in range(10, 20):
                stream.push_latest("pine", text(n))
                stream.push_latest("tar", text(n + 100))
            stream.push(text(1))
            stream.push_latest("pine", text(20))
            got = await viewer.read(fillers + 3)
            assert [number(frame) for frame in got[fillers:]] == [20, 119, 1]

    async def test_a_stop_is_not_overtaken_by_a_level(self) -> None:
        async with connected(max_waiting=2**20) as (stream, viewer):
            fillers = await clog(stream)
            stream.push_latest("pine", text(1))
            stream.push_latest("tar", text(2))
            stream.push_latest("rum", text(3))
            stream.forget("pine")
            stream.forget("never seen")
            stream.push(text(4))
            stream.push_latest("pine", text(5))
            got = await viewer.read(fillers + 4)
            assert [number(frame) for frame in got[fillers:]] == [2, 3, 4, 5]

            fillers = await clog(stream)
            stream.push_latest("pine", text(6))
            stream.push_latest("tar", text(7))
            stream.forget_latest()
            stream.push(text(8))
            got = await viewer.read(fillers + 1)
            assert number(got[-1]) == 8

    async def test_a_frame_that_has_gone_out_in_part_is_neither_replaced_nor_dropped(self) -> None:
        large = encode_frame(BINARY, bytes(5_000_000))
        async with connected(max_waiting=2**23) as (stream, viewer):
            stream.push_latest("pine", large)
            stream.push_latest("pine", text(1))
            stream.push_latest("pine", text(2))
            stream.forget("tar")
            got = await viewer.read(2)
            assert len(got[0][1]) == 5_000_000
            assert number(got[1]) == 2


class TestWhoDoesNotRead:
    async def test_a_peer_who_accepts_not_one_byte_is_cut_in_time(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        stream, viewer = await pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.run)
            while not stream.waiting:
                stream.push(FILLER)
                await trio.lowlevel.checkpoint()
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()
            assert trio.current_time() == pytest.approx(3.0)
            assert stream.stalled.is_set()
        # `run` has closed the socket
        assert trio.current_time() == pytest.approx(3.0 + FAREWELL_S)
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"")
        viewer.sock.close()

    async def test_a_peer_who_reads_slowly_is_not_cut(
        self, mock_clock: trio.testing.MockClock
    ) -> None:
        async def pass_by(seconds: float) -> None:
            mock_clock.jump(seconds)
            await trio.testing.wait_all_tasks_blocked(0.005)

        stream, viewer = await pair(max_waiting=2**20)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.run)
            await clog(stream)
            for _ in range(5):
                for _ in range(3):
                    stream.push(FILLER)
                await pass_by(2.5)
                await viewer.read(3)
                assert stream.waiting > 0
            assert not stream.stalled.is_set()
            # Whatever room was left, the second time there is none.
            await pass_by(3.1)
            await pass_by(3.1)
            assert stream.stalled.is_set()
            await pass_by(FAREWELL_S)
        viewer.sock.close()

    async def test_a_peer_who_leaves_too_much_waiting_is_cut_at_once(self) -> None:
        async with connected(max_waiting=100_000) as (stream, _):
            await clog(stream)
            while stream.waiting + len(FILLER) <= 100_000:
                stream.push(FILLER)
            assert not stream.stalled.is_set()
            stream.push(FILLER)
            assert stream.stalled.is_set()

    async def test_who_is_cut_gets_whole_frames_and_the_reason(self) -> None:
        async with connected(max_waiting=100_000) as (stream, viewer):
            pushed = await clog(stream)
            while not stream.stalled.is_set():
                stream.push(FILLER)
                pushed += 1
            *frames, last = await viewer.read_to_the_end()
        assert last == TOO_SLOW
        assert 0 < len(frames) < pushed
        assert {len(payload) for _, payload in frames} == {20_000}

    async def test_who_is_cut_while_closing_gets_one_close_frame(self) -> None:
        async with connected(stall_s=0.05) as (stream, viewer):
            await clog(stream)
            with trio.move_on_after(0.01):
                await stream.send_all(GOING_AWAY)
            await stream.stalled.wait()
            frames = await viewer.read_to_the_end()
        assert [opcode for opcode, _ in frames].count(CLOSE) == 1
        assert frames[-1] == TOO_SLOW

    async def test_the_others_are_not_delayed(self) -> None:
        async with (
            connected(max_waiting=50_000) as (slow, _),
            connected() as (good, viewer),
            trio.open_nursery() as nursery,
        ):
            got: list[tuple[int, bytes]] = []

            async def read() -> None:
                got.extend(await viewer.read(500))

            await clog(slow)
            nursery.start_soon(read)
            for n in range(500):
                slow.push(text(n))
                good.push(text(n))
                await trio.lowlevel.checkpoint()
            assert slow.stalled.is_set()
        assert [number(frame) for frame in got] == list(range(500))


class TestWhoIsGone:
    async def test_a_reset_by_the_peer_is_no_trouble_for_who_pushes(self) -> None:
        async with connected() as (stream, viewer):
            viewer.vanish()
            for n in range(10):
                stream.push(text(n))
                stream.push_latest("pine", text(n))
            with pytest.raises(trio.BrokenResourceError):
                await stream.send_all(text(1))
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()

    @pytest.mark.skipif(sys.platform != "linux", reason="other kernels forget what was not read")
    async def test_what_a_peer_said_before_it_vanished_can_still_be_read(self) -> None:
        async with connected() as (stream, viewer):
            await viewer.sock.send(b"good bye")
            viewer.vanish()
            stream.push(text(1))
            with pytest.raises(trio.BrokenResourceError):
                await stream.send_all(text(2))
            assert await stream.receive_some() == b"good bye"
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()

    async def test_a_reset_wakes_who_waits(self) -> None:
        async with connected() as (stream, viewer), trio.open_nursery() as nursery:

            async def expect_broken() -> None:
                with pytest.raises(trio.BrokenResourceError):
                    await stream.receive_some()

            await clog(stream)
            nursery.start_soon(expect_broken)
            await trio.testing.wait_all_tasks_blocked()
            viewer.vanish()
            with pytest.raises(trio.BrokenResourceError):
                await stream.send_all(text(1))

    async def test_a_peer_who_has_said_everything_may_still_listen(self) -> None:
        async with connected() as (stream, viewer):
            viewer.sock.shutdown(socket.SHUT_WR)
            assert await stream.receive_some() == b""
            stream.push(text(1))
            assert number((await viewer.read(1))[0]) == 1


class TestClosing:
    async def test_it_keeps_the_promises_of_a_trio_stream(self) -> None:
        async with trio.open_nursery() as nursery:

            async def make() -> tuple[FrameStream, FrameStream]:
                stream, viewer = await pair(grace_s=0.01)
                other = FrameStream.adopt(trio.SocketStream(viewer.sock), grace_s=0.01)
                nursery.start_soon(stream.run)
                nursery.start_soon(other.run)
                return stream, other

            await trio.testing.check_two_way_stream(make, None)

    async def test_whoever_waits_is_told_at_once(self) -> None:
        async with connected(grace_s=0.01) as (stream, _), trio.open_nursery() as nursery:

            async def expect_closed(use: Callable[[], Awaitable[object]]) -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await use()

            await clog(stream)
            nursery.start_soon(expect_closed, stream.receive_some)
            nursery.start_soon(expect_closed, partial(stream.send_all, text(1)))
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(stream.aclose)
            nursery.start_soon(stream.aclose)
        await stream.aclose()

    async def test_closing_waits_no_longer_than_its_grace_and_when_cancelled_not_at_all(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        polite, viewer = await pair(grace_s=0.5)
        await polite.aclose()
        assert trio.current_time() == pytest.approx(0.5)
        forced, other = await pair(grace_s=0.5)
        await trio.aclose_forcefully(forced)
        assert trio.current_time() == pytest.approx(0.5)
        viewer.sock.close()
        other.sock.close()

    async def test_the_last_word_arrives_though_the_peer_is_still_talking(self) -> None:
        async with connected() as (stream, viewer), trio.open_nursery() as nursery:

            async def talk() -> None:
                with suppress(OSError):
                    while True:
                        await viewer.sock.send(bytes(65_536))

            nursery.start_soon(talk)
            await stream.receive_some()
            await stream.send_all(GOING_AWAY)
            nursery.start_soon(stream.aclose)
            assert await viewer.read_to_the_end() == [(CLOSE, (1001).to_bytes(2, "big"))]
            nursery.cancel_scope.cancel()

    async def test_it_can_say_whom_it_talks_to(self) -> None:
        async with connected() as (stream, viewer):
            host, port = viewer.sock.getsockname()
            assert stream.peer == f"{host}:{port}"
            assert stream.peer in repr(stream)
