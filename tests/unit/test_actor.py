"""An actor's mailbox keeps its order and its bounds, and whoever asks is always answered."""

import logging
from functools import partial
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from scentrt.actors.actor import (
    LONGEST_BACKOFF_S,
    Envelope,
    Mailbox,
    Ref,
    supervise,
)
from scentrt.errors import ActorCrashed, ActorError, ActorStopped, Busy
from tests.unit.recorder import Asker, Recorder, Say


def unasked(answer: object) -> None:
    raise AssertionError(answer)


def pauses(moments: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(moments)]


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def asker(nursery: trio.Nursery, recorder: Recorder) -> Asker:
    return Asker(nursery, recorder.ref)


class TestOrder:
    async def test_messages_are_taken_in_the_order_in_which_they_were_told(
        self, recorder: Recorder, nursery: trio.Nursery
    ) -> None:
        for text in "abc":
            recorder.ref.tell(Say(text))
        recorder.gate.set()
        nursery.start_soon(recorder.supervised)
        await wait_all_tasks_blocked()
        assert recorder.heard == ["a", "b", "c"]

    async def test_an_urgent_message_comes_before_all_ordinary_ones_and_behind_urgent_ones(
        self, recorder: Recorder, nursery: trio.Nursery
    ) -> None:
        for text in ("a", "b", "STOP", "c", "PANIC"):
            recorder.ref.tell(Say(text), urgent=text.isupper())
        recorder.gate.set()
        nursery.start_soon(recorder.supervised)
        await wait_all_tasks_blocked()
        assert recorder.heard == ["STOP", "PANIC", "a", "b", "c"]

    async def test_what_an_actor_was_woken_for_is_not_lost_over_an_urgent_message(
        self, recorder: Recorder, nursery: trio.Nursery
    ) -> None:
        recorder.gate.set()
        nursery.start_soon(recorder.supervised)
        await wait_all_tasks_blocked()
        recorder.ref.tell(Say("a"))
        recorder.ref.tell(Say("STOP"), urgent=True)
        await wait_all_tasks_blocked()
        assert recorder.heard == ["STOP", "a"]

    @pytest.mark.parametrize("urgent", [False, True])
    async def test_a_message_wakes_an_actor_that_waits_for_nothing_else(
        self, recorder: Recorder, nursery: trio.Nursery, urgent: bool
    ) -> None:
        recorder.gate.set()
        nursery.start_soon(recorder.supervised)
        for text in ("a", "b"):
            await wait_all_tasks_blocked()
            recorder.ref.tell(Say(text), urgent=urgent)
        await wait_all_tasks_blocked()
        assert recorder.heard == ["a", "b"]

    async def test_of_messages_under_one_key_only_the_newest_is_taken_in_the_place_of_the_first(
        self, recorder: Recorder, nursery: trio.Nursery
    ) -> None:
        recorder.ref.tell_newest("pine", Say("pine 1"))
        recorder.ref.tell(Say("a"))
        recorder.ref.tell_newest("tar", Say("tar 1"))
        recorder.ref.tell_newest("pine", Say("pine 2"))
        recorder.gate.set()
        nursery.start_soon(recorder.supervised)
        await wait_all_tasks_blocked()
        assert recorder.heard == ["pine 2", "a", "tar 1"]

        recorder.ref.tell_newest("pine", Say("pine 3"))
        await wait_all_tasks_blocked()
        assert recorder.heard[3:] == ["pine 3"]

    async def test_who_is_cancelled_while_waiting_loses_nothing(
        self, recorder: Recorder, autojump_clock: MockClock
    ) -> None:
        with trio.move_on_after(5):
            await recorder.mailbox.wait()
        assert trio.current_time() == 5
        assert recorder.mailbox.take() is None
        recorder.ref.tell(Say("a"))
        with trio.move_on_after(0):
            await recorder.mailbox.wait()
        envelope = recorder.mailbox.take()
        assert envelope is not None
        assert envelope.message == Say("a")


class TestFull:
    async def test_a_full_mailbox_is_busy_at_once_and_says_when_to_try_again(
        self, recorder: Recorder, asker: Asker
    ) -> None:
        for number in range(10):
            recorder.ref.tell(Say(str(number)))
        with pytest.raises(Busy, match="recorder has a full mailbox, try again in") as busy:
            recorder.ref.tell(Say("one too many"))
        assert busy.value.retry_after_ms > 0
        with pytest.raises(Busy):
            recorder.ref.request(Say("one too many"), unasked)
        with pytest.raises(Busy):
            recorder.ref.tell_newest("pine", Say("one too many"))
        asker.asks("one too many")
        await wait_all_tasks_blocked()
        assert asker.answers == {"one too many": Busy}

    async def test_what_was_refused_is_not_handled_and_the_same_fits_when_there_is_room(
        self, recorder: Recorder, nursery: trio.Nursery
    ) -> None:
        texts = [str(number) for number in range(10)]
        for text in texts:
            recorder.ref.tell(Say(text))
        with pytest.raises(Busy):
            recorder.ref.tell(Say("later"))
        recorder.gate.set()
        nursery.start_soon(recorder.supervised)
        await wait_all_tasks_blocked()
        recorder.ref.tell(Say("later"))
        await wait_all_tasks_blocked()
        assert recorder.heard == [*texts, "later"]

    async def test_a_newer_value_of_what_waits_fits_into_a_full_mailbox(
        self, recorder: Recorder, nursery: trio.Nursery
    ) -> None:
        recorder.ref.tell_newest("pine", Say("pine 1"))
        for number in range(9):
            recorder.ref.tell(Say(str(number)))
        recorder.ref.tell_newest("pine", Say("pine 2"))
        recorder.gate.set()
        nursery.start_soon(recorder.supervised)
        await wait_all_tasks_blocked()
        assert recorder.heard[0] == "pine 2"

    async def test_urgent_messages_are_never_refused_and_take_no_room_from_the_others(
        self, recorder: Recorder, nursery: trio.Nursery
    ) -> None:
        for number in range(1_000):
            recorder.ref.tell(Say(f"STOP {number}"), urgent=True)
        for number in range(9):  # one place is taken by the wake-up
            recorder.ref.tell(Say(str(number)))
        recorder.gate.set()
        nursery.start_soon(recorder.supervised)
        await wait_all_tasks_blocked()
        assert recorder.heard[999:1001] == ["STOP 999", "0"]
        assert len(recorder.heard) == 1_009


class TestAnswers:
    async def test_whoever_asks_gets_the_answer(
        self, recorder: Recorder, nursery: trio.Nursery
    ) -> None:
        recorder.gate.set()
        nursery.start_soon(recorder.supervised)
        assert await recorder.ref.ask(Say("a")) == "A"
        assert await recorder.ref.ask(Say("b"), urgent=True) == "B"

    async def test_a_request_has_its_answer_handed_over_in_the_turn_of_the_actor(
        self, recorder: Recorder, nursery: trio.Nursery
    ) -> None:
        recorder.gate.set()
        nursery.start_soon(recorder.supervised)
        answers: list[str | ActorError] = []
        for text in "ab":
            recorder.ref.request(Say(text), answers.append)
        assert answers == []
        await wait_all_tasks_blocked()
        assert answers == ["A", "B"]

    async def test_a_message_whose_asker_gave_up_is_handled_all_the_same(
        self, recorder: Recorder, nursery: trio.Nursery, asker: Asker
    ) -> None:
        nursery.start_soon(recorder.supervised)
        asker.asks("a")
        await wait_all_tasks_blocked()
        asker.give_up()
        await wait_all_tasks_blocked()
        recorder.gate.set()
        await wait_all_tasks_blocked()
        assert recorder.heard == ["a"]
        assert asker.answers == {}
        assert await recorder.ref.ask(Say("b")) == "B"

    async def test_a_crash_answers_for_the_message_in_hand_and_for_all_that_wait(
        self, recorder: Recorder, nursery: trio.Nursery, asker: Asker
    ) -> None:
        recorder.ref.request(Say("boom"), partial(asker.answers.__setitem__, "boom"))
        asker.asks("b").asks("STOP", urgent=True)
        newest: list[object] = []
        recorder.mailbox.post_newest("pine", Envelope(Say("pine"), newest.append))
        await wait_all_tasks_blocked()
        nursery.start_soon(recorder.supervised)
        recorder.gate.set()
        await wait_all_tasks_blocked()
        assert recorder.heard == ["STOP", "boom"]
        assert asker.answers.pop("STOP") == "STOP"
        assert isinstance(asker.answers.pop("boom"), ActorCrashed)
        assert asker.answers == {"b": ActorCrashed}
        assert isinstance(newest[0], ActorCrashed)

    async def test_what_comes_while_a_crashed_actor_is_away_waits_for_it(
        self, recorder: Recorder, nursery: trio.Nursery, autojump_clock: MockClock
    ) -> None:
        recorder.gate.set()
        nursery.start_soon(recorder.supervised)
        recorder.ref.tell(Say("boom"))
        await wait_all_tasks_blocked()
        assert recorder.heard == ["boom"]
        assert await recorder.ref.ask(Say("a")) == "A"

    async def test_when_an_actor_stops_whoever_waits_is_told_and_nothing_more_is_taken(
        self, recorder: Recorder, nursery: trio.Nursery, asker: Asker
    ) -> None:
        asker.asks("leave")
        await wait_all_tasks_blocked()
        asker.asks("b")
        await wait_all_tasks_blocked()
        recorder.gate.set()
        await recorder.supervised()
        await wait_all_tasks_blocked()
        assert asker.answers == {"leave": ActorStopped, "b": ActorStopped}
        for tell in (
            recorder.ref.tell,
            partial(recorder.ref.tell, urgent=True),
            partial(recorder.ref.tell_newest, "pine"),
        ):
            with pytest.raises(ActorStopped, match="recorder has stopped"):
                tell(Say("too late"))
        with pytest.raises(ActorStopped):
            await recorder.ref.ask(Say("too late"))

    async def test_when_an_actor_is_cancelled_whoever_waits_is_told(
        self, recorder: Recorder, nursery: trio.Nursery, asker: Asker
    ) -> None:
        with trio.CancelScope() as scope:
            asker.asks("a").asks("STOP", urgent=True)
            await wait_all_tasks_blocked()
            scope.cancel()
            await recorder.supervised()
        await wait_all_tasks_blocked()
        assert scope.cancelled_caught
        assert asker.answers == {"a": ActorStopped, "STOP": ActorStopped}

    async def test_a_fault_of_who_asked_does_not_become_one_of_the_actor(
        self, recorder: Recorder, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
    ) -> None:
        def faulty(_: object) -> None:
            raise KeyError

        recorder.gate.set()
        recorder.ref.request(Say("a"), faulty)
        recorder.ref.request(Say("boom"), faulty)
        recorder.ref.request(Say("c"), faulty)
        nursery.start_soon(recorder.supervised)
        await wait_all_tasks_blocked()
        assert recorder.heard == ["a", "boom"]
        not_taken = [record for record in caplog.records if "could not be taken" in record.message]
        assert len(not_taken) == 3


class TestSupervision:
    async def test_a_crashed_actor_is_back_within_a_second_however_often_it_crashes(
        self,
        recorder: Recorder,
        nursery: trio.Nursery,
        caplog: pytest.LogCaptureFixture,
        autojump_clock: MockClock,
    ) -> None:
        nursery.start_soon(recorder.supervised)
        recorder.gate.set()
        for _ in range(8):
            with pytest.raises(ActorCrashed, match="recorder failed"):
                await recorder.ref.ask(Say("boom"))
        assert await recorder.ref.ask(Say("a")) == "A"
        assert pauses(recorder.started_at) == pytest.approx(
            [0.05, 0.1, 0.2, 0.4, 0.8, 0.8, 0.8, 0.8]
        )
        assert caplog.text.count("recorder crashed") == 8

    async def test_an_actor_that_crashes_as_it_starts_is_started_again_and_again(
        self, nursery: trio.Nursery, autojump_clock: MockClock
    ) -> None:
        mailbox = Mailbox("stumbler", 10)
        starts: list[float] = []

        async def stumble() -> None:
            starts.append(trio.current_time())
            raise ZeroDivisionError

        nursery.start_soon(supervise, mailbox, stumble)
        with pytest.raises(ActorCrashed), trio.fail_after(1):
            await Ref(mailbox).ask(Say("a"))
        await trio.sleep(100)
        assert len(starts) > 100
        assert max(pauses(starts)) == pytest.approx(LONGEST_BACKOFF_S)

    async def test_an_actor_that_ran_steadily_comes_back_quickly_again(
        self, recorder: Recorder, nursery: trio.Nursery, autojump_clock: MockClock
    ) -> None:
        nursery.start_soon(recorder.supervised)
        recorder.gate.set()
        for wait_s in (0, 0, 0, 11, 0):
            await trio.sleep(wait_s)
            with pytest.raises(ActorCrashed):
                await recorder.ref.ask(Say("boom"))
        assert await recorder.ref.ask(Say("a")) == "A"
        assert pauses(recorder.started_at) == pytest.approx([0.05, 0.1, 0.2, 11.05 - 0.2, 0.1])

    async def test_an_actor_can_be_cancelled_while_it_waits_to_be_restarted(
        self, recorder: Recorder, asker: Asker, autojump_clock: MockClock
    ) -> None:
        recorder.gate.set()
        recorder.ref.tell(Say("boom"))
        async with trio.open_nursery() as actors:
            actors.start_soon(recorder.supervised)
            await wait_all_tasks_blocked()
            asker.asks("a")
            await wait_all_tasks_blocked()
            actors.cancel_scope.cancel()
        await wait_all_tasks_blocked()
        assert recorder.heard == ["boom"]
        assert asker.answers == {"a": ActorStopped}

    async def test_an_actor_that_ends_by_itself_is_not_started_again(
        self, recorder: Recorder, caplog: pytest.LogCaptureFixture
    ) -> None:
        recorder.gate.set()
        recorder.ref.tell(Say("leave"))
        await recorder.supervised()
        assert len(recorder.started_at) == 1
        assert caplog.record_tuples == []

    async def test_a_crash_is_logged_with_the_name_and_the_traceback(
        self, recorder: Recorder, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
    ) -> None:
        nursery.start_soon(recorder.supervised)
        recorder.gate.set()
        recorder.ref.tell(Say("boom"))
        await wait_all_tasks_blocked()
        (record,) = caplog.records
        assert record.levelno == logging.ERROR
        assert "recorder crashed" in record.getMessage()
        assert record.exc_info is not None
