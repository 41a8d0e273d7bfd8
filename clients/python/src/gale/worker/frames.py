"""Messages between the processes of a worker: a length of four bytes, then JSON."""

import json
import socket
import struct
from typing import Any, List

LONGEST = 64 << 20
BLOCK = 1 << 16  # bytes to read at once; malloc takes more than 128 KiB from the kernel each time

_LENGTH = struct.Struct(">I")


def encode(message: Any) -> bytes:
    """Return a message as bytes. ValueError: it has NaN or an infinity."""
    text = json.dumps(message, allow_nan=False, separators=(",", ":")).encode()
    return _LENGTH.pack(len(text)) + text


class Reader:
    """Cuts messages out of a stream."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> List[Any]:
        """Add data and return the messages that are complete. ValueError: it is not a message."""
        self._data += data
        messages, at = [], 0
        while len(self._data) - at >= 4:
            (size,) = _LENGTH.unpack_from(self._data, at)
            if size > LONGEST:
                raise ValueError(f"a message of {size} bytes")
            if len(self._data) - at - 4 < size:
                break
            at += 4 + size
            messages.append(json.loads(self._data[at - size : at]))
        del self._data[:at]
        return messages


class Messages:
    """The blocking end of a stream of messages, for one reading thread."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._reader = Reader()
        self._ready: "list[Any]" = []

    def receive(self) -> Any:
        """Return the next message, or None at the end of the stream."""
        while not self._ready:
            data = self.sock.recv(BLOCK)
            if not data:
                return None
            self._ready.extend(self._reader.feed(data))
        return self._ready.pop(0)

    def poll(self) -> None:
        """Read what has arrived without waiting."""
        try:
            data = self.sock.recv(BLOCK, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        self._ready.extend(self._reader.feed(data))

    def take(self, key: str) -> "list[Any]":
        """Remove and return the messages with this key that have been read."""
        taken = [m for m in self._ready if key in m]
        self._ready = [m for m in self._ready if key not in m]
        return taken
