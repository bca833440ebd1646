"""What all tests of security share."""

import socket

import pytest


@pytest.fixture
def connections(monkeypatch) -> list[str]:
    """What was asked of the network; nothing answers."""
    asked: list[str] = []

    def refuse(*words: object, **more: object) -> None:
        asked.append(str(words))
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return asked
