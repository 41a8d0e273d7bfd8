"""Log lines of the parent, in the form of the server's: time, level, msg and attributes."""

import datetime
import json
import re
import sys
import threading

_PLAIN = re.compile(r"[^\s\"=\\]+")
_lock = threading.Lock()


def write(level: str, message: str, **attributes: object) -> None:
    """Write a line to the standard error. A failure is ignored: there is no other place."""
    now = datetime.datetime.now().astimezone().isoformat(timespec="milliseconds")
    fields = {"time": now, "level": level, "msg": message, **attributes}
    line = " ".join(f"{k}={_quote(str(v))}" for k, v in fields.items() if v not in (None, ""))
    try:
        with _lock:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()
    except (OSError, ValueError):
        pass


def _quote(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
