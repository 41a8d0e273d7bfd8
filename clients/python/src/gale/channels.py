"""Server-sent events of a channel (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

import json
import time
from dataclasses import dataclass
from typing import Dict, Iterator, List, Optional, Tuple

from .errors import ConnectionLost, ResponseError
from .transport import Response, Transport

_SILENCE = 90.0  # seconds; the server sends a comment more often


@dataclass(frozen=True)
class Message:
    """A message of a channel. gap: messages before this point are no longer kept, data is empty."""

    channel: str
    seq: int
    data: str
    gap: bool = False


def fields(response: Response) -> Iterator[Tuple[str, str, str]]:
    """Yield type, id and data of each event of a stream."""
    kind, last, data = "message", "", []  # type: str, str, List[str]
    while True:
        raw = response.readline()
        if not raw:
            return
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if not line:
            if data:
                yield kind, last, "\n".join(data)
            kind, data = "message", []
            continue
        name, _, value = line.partition(":")
        value = value[1:] if value.startswith(" ") else value
        if name == "data":
            data.append(value)
        elif name == "event":
            kind = value
        elif name == "id":
            last = value


def events(transport: Transport, path: str, channel: str, since: Optional[int]) -> Iterator[Message]:
    """Yield the messages of a channel; reconnect with Last-Event-ID when the connection ends."""
    last = since
    lost_at: Optional[float] = None
    delay = 0.1
    while True:
        headers: Dict[str, str] = {"Accept": "text/event-stream"}
        if last is not None:
            headers["Last-Event-ID"] = str(last)
        try:
            with transport.open("GET", path, headers=headers, timeout=_SILENCE) as response:
                for kind, number, data in fields(response):
                    lost_at, delay = None, 0.1
                    if number.isdigit():
                        last = int(number)
                    message = _message(channel, kind, last, data)
                    if message is not None:
                        last = message.seq
                        yield message
        except ConnectionLost:
            lost_at = lost_at or time.monotonic()
            if time.monotonic() - lost_at > transport.retry_time:
                raise
        except ResponseError as err:
            lost_at = lost_at or time.monotonic()
            if err.status < 500 or time.monotonic() - lost_at > transport.retry_time:
                raise
        time.sleep(delay)
        delay = min(delay * 2, 5.0)


def _message(channel: str, kind: str, last: Optional[int], data: str) -> Optional[Message]:
    if kind in ("subscribed", "gap"):
        parsed = json.loads(data)
        seq = int(parsed.get("seq", last or 0))
        if parsed.get("gap"):
            return Message(channel, seq, "", gap=True)
        return None
    return Message(channel, last or 0, data)
