"""The WebSocket gateway: game engines, goggles and operators come in here."""
