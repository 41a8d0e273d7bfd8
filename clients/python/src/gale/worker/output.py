"""The output of a task, within bounds."""

import threading
from typing import List

_KEPT = 64 << 10  # bytes between two reports; the server keeps as much of a log
_LINE = 8 << 10


class Output:
    """Collects the output of one attempt between two reports. The newest bytes are kept."""

    def __init__(self) -> None:
        self._data = b""
        self._dropped = 0
        self._lock = threading.Lock()  # one thread adds, another one takes

    def add(self, data: bytes) -> None:
        """Add bytes that the task has written."""
        with self._lock:
            self._data += data
            if len(self._data) > 2 * _KEPT:
                self._dropped += len(self._data) - _KEPT
                self._data = self._data[-_KEPT:]

    def take(self, last: bool) -> List[str]:
        """Return the complete lines and forget them; with last, the rest of a line as well."""
        with self._lock:
            end = len(self._data) if last or len(self._data) > _LINE else self._data.rfind(b"\n") + 1
            data, self._data = self._data[:end], self._data[end:]
            dropped, self._dropped = self._dropped, 0
        lines: List[str] = []
        room = _KEPT - 256
        for line in reversed(data.decode("utf-8", "replace").replace("\0", "\ufffd").splitlines()):
            line = line[:_LINE]
            size = len(line.encode()) + 1
            if size > room:
                break
            room -= size
            lines.append(line)
        if dropped:
            lines.append(f"gale: {dropped} bytes of output were dropped")
        return lines[::-1]

    def __bool__(self) -> bool:
        return bool(self._data) or self._dropped > 0
