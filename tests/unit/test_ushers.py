"""The ushers bring vials in small parts, and clear what a crashed zone has read again."""

from scentrt.actors import ushers
from scentrt.actors.actor import Mailbox, Message, Ref
from scentrt.actors.herald import Herald
from scentrt.actors.messages import PutVials, TakeVials
from scentrt.actors.ushers import Ushers
from scentrt.domain.cues import SeatId, ZoneId
from scentrt.domain.events import VialsUnloaded
from scentrt.domain.names import BatchRef, OrderId, Sku
from scentrt.domain.vials import Place, SeatedVial, VialId, Whereabouts

A, B, CLOSED = ZoneId("A"), ZoneId("B"), ZoneId("closed-long-ago")
ORDER, SKU, BATCH = OrderId("o-1"), Sku("SEABREEZE"), BatchRef("b-1")


def vial(id: int, zone: ZoneId = A) -> SeatedVial:
    return SeatedVial(VialId(id), Place(zone, SeatId(f"{zone}-1-{id}"), 0), SKU, BATCH, 9, 9)


def heard(mailbox: Mailbox) -> list[Message[object]]:
    messages = []
    while (envelope := mailbox.take()) is not None:
        messages.append(envelope.message)
    return messages


async def test_many_vials_come_in_parts_so_that_no_cue_waits_for_all_of_them() -> None:
    mailbox = Mailbox("zone A", 1)
    many = [vial(id) for id in range(2 * ushers.AT_A_TIME + 1)]
    Ushers({A: Ref(mailbox)}).put(many)
    parts = heard(mailbox)
    assert all(isinstance(part, PutVials) for part in parts)
    assert [len(part.vials) for part in parts if isinstance(part, PutVials)] == [100, 100, 1]
    assert [each for part in parts if isinstance(part, PutVials) for each in part.vials] == many


async def test_each_zone_hears_of_its_own_and_those_of_no_zone_are_left() -> None:
    mailboxes = {A: Mailbox("zone A", 1), B: Mailbox("zone B", 1)}
    zones = {id: Ref(mailbox) for id, mailbox in mailboxes.items()}
    Ushers(zones).put([vial(1), vial(2, B), vial(3), vial(4, CLOSED)])
    assert heard(mailboxes[A]) == [PutVials((vial(1), vial(3)))]
    assert heard(mailboxes[B]) == [PutVials((vial(2, B),))]


async def test_a_zone_is_told_of_vials_that_are_out_though_it_may_have_read_them_again() -> None:
    mailbox, herald = Mailbox("zone A", 1), Herald(lambda: 0.0)
    Ushers({A: Ref(mailbox)}).listen_to(herald)
    out = (vial(1), vial(2))
    herald.proclaim([VialsUnloaded(ORDER, SKU, BATCH, out, Whereabouts.DISCARDED)])
    assert heard(mailbox) == [TakeVials(((SeatId("A-1-1"), 0), (SeatId("A-1-2"), 0)))]


async def test_vials_of_a_zone_that_is_gone_are_as_they_are() -> None:
    assert await Ushers({}).take(CLOSED, [vial(1, CLOSED)]) == (vial(1, CLOSED),)
