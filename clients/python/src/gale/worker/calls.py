"""A call of the worker protocol that waits, and that another thread can interrupt."""

import contextlib
import http.client
import json
import socket
import threading
from typing import Any, Mapping, Optional

from ..errors import ConnectionLost, response_error
from ..transport import Transport


class WaitingCall:
    """A route of the server, for one calling thread. The connection is kept."""

    def __init__(self, transport: Transport, path: str) -> None:
        self._transport = transport
        self._path = path
        self._kept: Optional[http.client.HTTPConnection] = None
        self._lock = threading.Lock()
        self._sock: Optional[socket.socket] = None  # of the call that waits

    def send(self, body: Mapping[str, Any], wait: float, unless: Optional[threading.Event] = None) -> Any:
        """Make the call, which the server may hold for wait seconds. It is not repeated.

        With unless, interrupt ends the call, and it is not made if the event is set. So who sets
        the event and then interrupts ends every call. Without it, interrupt has no effect.
        """
        text = json.dumps(body, allow_nan=False, separators=(",", ":")).encode()
        headers = self._transport.headers({"Content-Type": "application/json"})
        conn, self._kept = self._kept or self._transport.connect(None), None
        conn.timeout = wait + 10
        try:
            if conn.sock is None:
                conn.connect()
            conn.sock.settimeout(wait + 10)
            with self._lock:
                if unless is not None and unless.is_set():
                    raise ConnectionError("interrupted")
                self._sock = conn.sock if unless is not None else None
            conn.request("POST", self._transport.prefix + self._path, body=text, headers=headers)
            response = conn.getresponse()
            data = response.read()
        except (OSError, http.client.HTTPException) as err:
            conn.close()
            raise ConnectionLost(f"POST {self._path}: {err!r}") from err
        finally:
            with self._lock:
                self._sock = None
        if not response.will_close:
            self._kept = conn
        return self._decode(response, data)

    def _decode(self, response: http.client.HTTPResponse, data: bytes) -> Any:
        try:
            parsed = json.loads(data)
        except ValueError as err:
            if response.status == 200:
                raise ConnectionLost(f"POST {self._path}: the response is not JSON") from err
            parsed = {"reason": data[:200].decode("utf-8", "replace")}
        if response.status == 200:
            return parsed
        raise response_error(response.status, int(parsed.get("code", response.status)), str(parsed.get("reason", "")))

    def interrupt(self) -> None:
        """End the call that waits, if any; it raises ConnectionLost."""
        with self._lock:
            if self._sock is not None:
                with contextlib.suppress(OSError):
                    self._sock.shutdown(socket.SHUT_RDWR)
