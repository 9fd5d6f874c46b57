"""An actor to try the core of actors with, and somebody who asks it."""

from dataclasses import dataclass
from functools import partial

import trio

from scentrt.actors.actor import Mailbox, Message, Ref, supervise
from scentrt.errors import ActorError


@dataclass(frozen=True, slots=True)
class Say(Message[str]):
    """The recorder writes it down and answers in capitals; on "boom" it crashes."""

    text: str


class Recorder:
    """An actor that writes down what it is told, one message a turn, while its `gate` is open."""

    def __init__(self, capacity: int = 10) -> None:
        self.mailbox = Mailbox("recorder", capacity)
        self.ref = Ref(self.mailbox)
        self.heard: list[str] = []
        self.started_at: list[float] = []
        self.gate = trio.Event()

    async def run(self) -> None:
        self.started_at.append(trio.current_time())
        while True:
            await self.gate.wait()
            await self.mailbox.wait()
            envelope = self.mailbox.take()
            if envelope is not None:
                assert isinstance(envelope.message, Say)
                text = envelope.message.text
                self.heard.append(text)
                if text == "boom":
                    raise ZeroDivisionError
                if text == "leave":
                    return
                envelope.answer(text.upper())

    async def supervised(self) -> None:
        await supervise(self.mailbox, self.run)


class Asker:
    """Somebody who asks, and what became of it."""

    def __init__(self, nursery: trio.Nursery, ref: Ref) -> None:
        self._nursery = nursery
        self._ref = ref
        self.answers: dict[str, object] = {}
        self._patience: list[trio.CancelScope] = []

    def asks(self, *texts: str, urgent: bool = False) -> "Asker":
        for text in texts:
            self._nursery.start_soon(partial(self._ask, text, urgent=urgent))
        return self

    def give_up(self) -> None:
        for scope in self._patience:
            scope.cancel()

    async def _ask(self, text: str, *, urgent: bool) -> None:
        with trio.CancelScope() as patience:
            self._patience.append(patience)
            try:
                answer = await self._ref.ask(Say(text), urgent=urgent)
                self.answers[text] = answer
            except ActorError as error:
                self.answers[text] = type(error)
