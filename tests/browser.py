"""Whoever asks a server over HTTP."""

import ssl
from typing import Any

import httpx


def browse(http_url: str, **options: Any) -> httpx.AsyncClient:
    """Return a client of a server, with options of `httpx`; it knows no certificate.

    To read those of all the world, for which there is no use here, would take longer than what
    most tests ask.
    """
    nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return httpx.AsyncClient(base_url=http_url, verify=nobody, **options)
