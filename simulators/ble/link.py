"""Bumble's virtual link, made quick enough for a theatre and mended where it hangs."""

import asyncio

from bumble import hci, ll
from bumble.att import ATT_PDU
from bumble.controller import Controller
from bumble.device import Device
from bumble.gatt_client import Client
from bumble.hci import Address
from bumble.host import Host
from bumble.link import LocalLink


class VirtualLink(LocalLink):
    """Carry packets to who they are for.

    Bumble's own looks through every connection of every controller for each packet, and brings
    each advertisement to everybody: with a hundred devices, most of the time goes there.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Bumble leaves it untyped
        self._by_address: dict[Address, Controller] = {}

    def on_address_changed(self, controller: Controller) -> None:
        """Know a controller by its address from now on; controllers call this."""
        self._by_address[controller.random_address] = controller

    def find_le_controller(self, address: Address) -> Controller | None:
        """Return who has this address."""
        return self._by_address.get(address)

    def send_advertising_pdu(
        self, sender_controller: Controller, packet: ll.AdvertisingPdu
    ) -> None:
        """Bring an advertisement to those who listen, and a connection to the one it is for."""
        loop = asyncio.get_running_loop()
        if isinstance(packet, ll.ConnectInd):
            advertiser = self.find_le_controller(packet.advertiser_address)
            if advertiser is not None:
                loop.call_soon(advertiser.on_ll_advertising_pdu, packet)
            return
        for controller in self.controllers:
            if controller.le_scan_enable or controller.pending_le_connection:
                loop.call_soon(controller.on_ll_advertising_pdu, packet)


class VirtualController(Controller):
    """A controller that ends a connection attempt when it is told to.

    Bumble's own says that it does, and keeps waiting for the peer: whoever gave up on a device
    that is not there could never connect to any other.
    """

    def on_hci_le_create_connection_cancel_command(
        self, _command: hci.HCI_LE_Create_Connection_Cancel_Command
    ) -> hci.HCI_StatusReturnParameters:
        """End the attempt, if there is one: it fails for who waits for it."""
        attempt, self.pending_le_connection = self.pending_le_connection, None
        if attempt is None:
            return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.COMMAND_DISALLOWED_ERROR)
        # After the answer to the command itself, as the specification has it.
        asyncio.get_running_loop().call_soon(
            self.send_hci_packet,
            hci.HCI_LE_Connection_Complete_Event(
                status=hci.HCI_ErrorCode.UNKNOWN_CONNECTION_IDENTIFIER_ERROR,
                connection_handle=0,
                role=hci.Role.CENTRAL,
                peer_address_type=attempt.peer_address.address_type,
                peer_address=attempt.peer_address,
                connection_interval=0,
                peripheral_latency=0,
                supervision_timeout=0,
                central_clock_accuracy=0,
            ),
        )
        return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.SUCCESS)


class PatientClient(Client):
    """Ask a device one thing after the other, and hear each answer out.

    Bumble's own forgets a question when its caller is cancelled, and takes the answer, which comes
    all the same, for that to the next one.
    """

    async def send_request(self, request: ATT_PDU) -> ATT_PDU:
        """Ask, and return what is answered."""
        return await asyncio.shield(super().send_request(request))


def make_device(name: str, address: str, link: LocalLink) -> Device:
    """Return a device with a radio of its own on the link, still switched off."""
    host = Host()
    host.controller = VirtualController(name, host_source=host, host_sink=host, link=link)
    return Device(name=name, address=Address(address), host=host)
