"""The devices that release scent, behind the protocol in `scentrt.actors.zone`."""
