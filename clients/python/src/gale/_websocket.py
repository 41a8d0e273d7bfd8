"""The part of RFC 6455 that a client needs to receive JSON messages."""

import base64
import hashlib
import json
import os
import struct
from typing import Any, BinaryIO, Iterator, Tuple

from .errors import ConnectionLost
from .transport import Transport

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_SILENCE = 90.0  # seconds; the server sends a ping every 30
_LONGEST = 64 << 20


def messages(transport: Transport, path: str) -> Iterator[Any]:
    """Connect, and yield the messages decoded as JSON until the server closes the connection."""
    key = base64.b64encode(os.urandom(16))
    conn = transport.connect(_SILENCE)
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": key.decode(),
    }
    try:
        conn.request("GET", transport.prefix + path, headers=transport.headers(headers))
        sock = conn.sock
        response = conn.getresponse()
        if response.status != 101:
            from .transport import Response

            raise transport._refusal(Response(response, lambda _complete: None))
        accept = base64.b64encode(hashlib.sha1(key + _GUID).digest()).decode()
        if response.getheader("Sec-WebSocket-Accept") != accept:
            raise ConnectionLost("the handshake of the WebSocket failed")
        stream = response.fp
        while True:
            code, data = _frame(stream)
            if code == 9:
                _send(sock, 10, data)
            elif code == 8:
                _send(sock, 8, data[:2])
                return
            elif code == 1:
                yield json.loads(data)
    except OSError as err:
        raise ConnectionLost(f"WebSocket {path}: {err!r}") from err
    finally:
        conn.close()


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise ConnectionLost("the WebSocket ended without a close frame")
    return data


def _frame(stream: BinaryIO) -> Tuple[int, bytes]:
    """Read a message, or a control frame between its fragments."""
    parts, code = b"", 0
    while True:
        first, second = _exactly(stream, 2)
        length = second & 127
        if length == 126:
            (length,) = struct.unpack(">H", _exactly(stream, 2))
        elif length == 127:
            (length,) = struct.unpack(">Q", _exactly(stream, 8))
        if second & 128 or length + len(parts) > _LONGEST:
            raise ConnectionLost("the WebSocket sent an unacceptable frame")
        data = _exactly(stream, length)
        if first & 15 >= 8:
            return first & 15, data
        code = code or first & 15
        parts += data
        if first & 128:
            return code, parts


def _send(sock: Any, code: int, data: bytes) -> None:
    """Send a control frame; those of a client are masked (RFC 6455 section 5.3)."""
    mask = os.urandom(4)
    masked = bytes(b ^ mask[i % 4] for i, b in enumerate(data[:125]))
    sock.sendall(bytes([128 | code, 128 | len(masked)]) + mask + masked)
