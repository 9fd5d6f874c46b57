"""The protocol client, before servers that behave and servers that do not."""

from functools import partial

import msgspec
import pytest
import trio
from trio_websocket import WebSocketRequest, serve_websocket
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Ping, Request, TextMessage

from simulators.client import (
    JSON,
    MSGPACK,
    Client,
    Closed,
    Message,
    NotConnected,
    Refused,
    open_client,
)
from tests.integration.scripted import SERVER_TIME, WELCOME, Peer, raw_server, server, silent

engine = partial(open_client, role="engine", name="test")


class TestOpening:
    @pytest.mark.parametrize("subprotocol", [JSON, MSGPACK])
    async def test_hello_says_what_was_given_and_no_more(self, subprotocol: str) -> None:
        hellos: list[Message] = []

        async def script(peer: Peer) -> None:
            hellos.append(await peer.welcome())

        async with server(script) as url:
            async with engine(url, subprotocol=subprotocol, token="t", resume="s-1") as client:
                assert client.session == "s-1"
                assert client.zones == WELCOME["zones"]
            slots = {"slots": [{"slot": 0, "scent": "pine", "remaining_s": 200}]}
            async with open_client(url, role="goggles", name="player-7", dispenser=slots):
                pass
        for hello in hellos:
            assert hello.pop("id")
        both = {"type": "hello", "protocol": 1}
        assert hellos == [
            both | {"role": "engine", "name": "test", "token": "t", "resume": "s-1"},
            both | {"role": "goggles", "name": "player-7", "dispenser": slots},
        ]

    @pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9.6\r\n\r\n", b"\x15\x03\x01"])
    async def test_what_speaks_no_websocket_is_no_connection(self, answer: bytes) -> None:
        async def serve(stream: trio.SocketStream) -> None:
            await stream.receive_some()
            await stream.send_all(answer)
            await stream.aclose()

        async with raw_server(serve) as url:
            with pytest.raises(NotConnected, match="as a WebSocket server"), trio.fail_after(30):
                async with engine(url):
                    pass

    async def test_a_refused_hello_is_told_as_such(self) -> None:
        async def script(peer: Peer) -> None:
            hello = await peer.hear()
            refusal = {"code": "not-authenticated", "message": "who are you", "retryable": False}
            await peer.say(type="error", re=hello["id"], **refusal)
            await peer.socket.aclose(1008)

        async with server(script) as url:
            with pytest.raises(Refused, match="not-authenticated: who are you") as refused:
                async with engine(url):
                    pass
        assert (refused.value.retryable, refused.value.retry_after_ms) == (False, None)

    async def test_a_refusal_is_told_also_where_a_ping_and_the_close_come_along(self) -> None:
        async def serve(stream: trio.SocketStream) -> None:
            server = WSConnection(ConnectionType.SERVER)
            server.receive_data(await stream.receive_some())
            (request,) = server.events()
            assert isinstance(request, Request)
            accepted = AcceptConnection(subprotocol=request.subprotocols[0])
            await stream.send_all(server.send(accepted))
            server.receive_data(await stream.receive_some())
            (frame,) = server.events()
            assert isinstance(frame, TextMessage)
            re = msgspec.json.decode(frame.data)["id"]
            refusal = {"code": "forbidden", "message": "not you", "retryable": False}
            error = msgspec.json.encode({"type": "error", "re": re, **refusal}).decode()
            frames = (Ping(), TextMessage(error), CloseConnection(1008))
            await stream.send_all(b"".join(map(server.send, frames)))
            await stream.receive_some()

        async with raw_server(serve) as url:
            with pytest.raises(Refused, match="forbidden: not you"):
                async with engine(url):
                    pass

    async def test_a_server_that_closes_before_the_welcome_is_closed(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.socket.aclose(1001, "going away")

        async with server(script) as url:
            with pytest.raises(Closed, match="1001: going away"):
                async with engine(url):
                    pass

    async def test_where_nobody_listens_there_is_no_connection(self) -> None:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        await listener.aclose()
        with pytest.raises(NotConnected, match="does not answer"):
            async with engine(f"ws://127.0.0.1:{port}/"):
                pass

    async def test_a_refused_upgrade_tells_its_status(self) -> None:
        async def refuse(request: WebSocketRequest) -> None:
            await request.reject(403)

        async with trio.open_nursery() as nursery:
            listening = await nursery.start(partial(serve_websocket, refuse, "127.0.0.1", 0, None))
            with pytest.raises(NotConnected) as refused:
                async with engine(f"ws://127.0.0.1:{listening.port}/"):
                    pass
            nursery.cancel_scope.cancel()
        assert refused.value.status == 403

    @pytest.mark.parametrize("url", ["http://127.0.0.1/", "127.0.0.1:8765", "ws:///"])
    async def test_what_is_no_websocket_address_is_said(self, url: str) -> None:
        with pytest.raises(NotConnected, match="not a WebSocket address"):
            async with engine(url):
                pass


class TestRequests:
    async def test_replies_reach_who_asked_in_whatever_order(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.welcome()
            asked = [await peer.hear() for _ in range(20)]
            for request in reversed(asked):
                await peer.say(type="cancelled", re=request["id"], cue="c", stopped=request["cue"])

        got: dict[int, int] = {}

        async def ask(client: Client, number: int) -> None:
            got[number] = await client.cancel(number)

        async with server(script) as url, engine(url) as client, trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(ask, client, number)
        assert got == {number: number for number in range(20)}

    async def test_an_error_tells_when_to_try_again(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.welcome()
            cue = await peer.hear()
            fault = {"code": "busy", "message": "full", "retryable": True, "retry_after_ms": 20}
            await peer.say(type="error", re=cue["id"], **fault)

        async with server(script) as url, engine(url) as client:
            with pytest.raises(Refused) as refused:
                await client.cue("forest", {"all": True})
        error = refused.value
        assert (error.code, error.retryable, error.retry_after_ms) == ("busy", True, 20)

    async def test_a_cue_says_only_what_was_given(self) -> None:
        cues: list[Message] = []

        async def script(peer: Peer) -> None:
            await peer.welcome()
            cues.append(await peer.hear())
            await peer.say(type="accepted", re="c-1", due=0, targets=0, skipped={}, duplicate=False)

        async with server(script) as url, engine(url) as client:
            await client.cue("forest", {"zones": ["A"]}, intensity=0.5, ttl_ms=100, cue_id="c-1")
        assert cues == [
            {
                "type": "cue",
                "id": "c-1",
                "scent": "forest",
                "intensity": 0.5,
                "duration_ms": 1000,
                "to": {"zones": ["A"]},
                "ttl_ms": 100,
            }
        ]

    async def test_one_who_no_longer_waits_does_not_disturb_the_others(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.welcome()
            first, second = await peer.hear(), await peer.hear()
            await peer.say(type="stopped", re=first["id"], stopped=1)
            await peer.say(type="stopped", re=second["id"], stopped=2)

        async with server(script) as url, engine(url) as client:
            with trio.move_on_after(0.05):
                await client.stop()
            assert await client.stop() == 2
            assert (await anext(client.events()))["stopped"] == 1

    async def test_ids_are_never_used_again_after_a_resume(self) -> None:
        ids: list[str] = []

        async def script(peer: Peer) -> None:
            ids.append((await peer.welcome())["id"])
            for _ in range(3):
                ids.append((request := await peer.hear())["id"])
                await peer.say(type="released", re=request["id"])

        async with server(script) as url:
            for _ in range(2):
                async with engine(url, resume="s-1") as client:
                    for _ in range(3):
                        await client.release()
        assert len(set(ids)) == 8

    async def test_a_zone_is_read_with_all_its_pages(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.welcome()
            for page in (1, 2, 3):
                request = await peer.hear()
                assert request.get("page", 1) == page
                seats = [{"seat": f"A-{page}-1"}]
                state = {"zone": "A", "revision": 40 + page, "page": page, "pages": 3}
                await peer.say(type="state", re=request["id"], seats=seats, **state)

        async with server(script) as url, engine(url) as client:
            state = await client.state("A")
        assert [seat["seat"] for seat in state["seats"]] == ["A-1-1", "A-2-1", "A-3-1"]
        assert state["revision"] == 41

    async def test_a_ping_tells_the_servers_time(self) -> None:
        hour_ms = 3_600_000.0

        async def script(peer: Peer) -> None:
            await peer.welcome()
            ping = await peer.hear()
            then = SERVER_TIME + hour_ms
            await peer.say(type="pong", re=ping["id"], t0=ping["t0"], t1=then, t2=then + 200)
            await trio.sleep_forever()

        async with server(script) as url, engine(url) as client:
            await client.ping()
            # The 200 ms that the server held it count as none of the way: the shortest trip.
            assert client.server_now() == pytest.approx(SERVER_TIME + hour_ms, abs=500)


class TestEvents:
    async def test_they_come_in_order_beside_the_replies(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.welcome()
            request = await peer.hear()
            await peer.say(type="scent", revision=1)
            await peer.say(type="released", re=request["id"])
            await peer.say(type="scent", revision=2)

        async with server(script) as url, engine(url) as client:
            await client.release()
            assert [(await anext(client.events()))["revision"] for _ in range(2)] == [1, 2]

    async def test_where_nobody_takes_them_the_oldest_go_and_replies_still_come(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.welcome()
            for revision in range(10):
                await peer.say(type="scent", revision=revision)
            await peer.say(type="released", re=(await peer.hear())["id"])

        async with server(script) as url, engine(url, event_buffer=3) as client:
            await client.release()
            assert [(await anext(client.events()))["revision"] for _ in range(3)] == [7, 8, 9]
            assert client.missed == 7


class TestEnding:
    async def test_all_who_wait_learn_why_and_what_came_before_is_kept(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.welcome()
            await peer.hear()
            await peer.hear()
            await peer.say(type="scent", revision=1)
            await peer.socket.aclose(1013, "too slow")

        async with server(script) as url, engine(url) as client:
            with pytest.RaisesGroup(Closed, Closed):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(client.release)
                    nursery.start_soon(client.release)
            assert (await anext(client.events()))["revision"] == 1
            with pytest.raises(Closed, match="1013: too slow"):
                await anext(client.events())
            with pytest.raises(Closed) as closed:
                await client.release()
            assert (closed.value.code, closed.value.reason) == (1013, "too slow")

    @pytest.mark.parametrize("frame", ["{", "[1]", b"\xc1", '{"type":"scent"} x'])
    async def test_a_frame_that_holds_no_message_is_the_end(self, frame: str | bytes) -> None:
        codes: list[int] = []

        async def script(peer: Peer) -> None:
            await peer.welcome()
            await peer.socket.send_message(frame)
            codes.append(await peer.hear_the_end())

        async with server(script) as url, engine(url) as client:
            with pytest.raises(Closed, match="no message"):
                await anext(client.events())
        assert codes == [1007]

    @pytest.mark.parametrize("hurried", [False, True])
    async def test_leaving_closes_cleanly_also_when_cancelled(self, hurried: bool) -> None:
        codes, sent_codes = trio.open_memory_channel[int](1)

        async def script(peer: Peer) -> None:
            await peer.welcome()
            await codes.send(await peer.hear_the_end())

        async with server(script) as url:
            with trio.CancelScope() as scope:
                async with engine(url):
                    if hurried:
                        scope.cancel()
                        await trio.lowlevel.checkpoint()
            with trio.fail_after(30):
                assert await sent_codes.receive() == 1000

    async def test_vanishing_is_no_clean_close(self) -> None:
        codes, sent_codes = trio.open_memory_channel[int](1)

        async def script(peer: Peer) -> None:
            await peer.welcome()
            await codes.send(await peer.hear_the_end())

        async with server(script) as url, engine(url) as client:
            await client.vanish()
            assert await sent_codes.receive() == 1006
            with pytest.raises(Closed) as closed:
                await anext(client.events())
            assert closed.value.code == 1006

    async def test_an_error_of_the_users_own_comes_out_as_it_is(self) -> None:
        async with server(silent) as url:
            with pytest.raises(KeyError, match="mine"):
                async with engine(url):
                    raise KeyError("mine")

    async def test_a_request_that_nobody_answers_can_be_given_up(self) -> None:
        async with server(silent) as url, engine(url) as client:
            with pytest.raises(trio.TooSlowError), trio.fail_after(0.05):
                await client.release()
