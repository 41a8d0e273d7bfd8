"""Sends ends of attempts, logs, progress and artifacts to the server, in batches."""

import contextlib
import json
import os
import shutil
import threading
import time
from collections import deque
from typing import Any, Deque, Dict, List

from ..errors import ConnectionLost, GaleError, ResponseError
from ..transport import Transport
from . import log
from .held import Held, Leases

_BATCH = 200  # entries of a request
_BYTES = 4 << 20  # of a request; the server permits 8 MiB
_GATHER = 0.005  # seconds to gather ends when there are many
_REPORTS = 0.5  # seconds between reports of logs and progress


class Courier:
    """Delivers what happened to attempts. A lease is forgotten when the server has its end."""

    def __init__(self, transport: Transport, leases: Leases) -> None:
        self._transport = transport
        self._leases = leases
        self._wake = threading.Condition()
        self._finishes: Deque[Dict[str, Any]] = deque()
        self._releases: Deque[Dict[str, Any]] = deque()
        self._busy = False
        self._stopped = False

    def finish(self, entry: Dict[str, Any]) -> None:
        """Deliver the end of an attempt: an entry of POST /workers/finish."""
        with self._wake:
            self._finishes.append(entry)
            self._wake.notify_all()

    def release(self, id: str, delay: float = 0.0) -> None:
        """Give a lease back; its task is due again after delay seconds."""
        with self._wake:
            self._releases.append({"lease": id, "delay": delay})
            self._wake.notify_all()

    def stop(self, seconds: float) -> None:
        """Deliver what is left for at most so many seconds, and end the thread."""
        limit = time.monotonic() + seconds
        with self._wake:
            while (self._finishes or self._releases or self._busy) and time.monotonic() < limit:
                self._wake.wait(0.05)
            self._stopped = True
            self._wake.notify_all()

    def loop(self) -> None:
        """Deliver until stop."""
        reported, pause = 0.0, 0.0
        while True:
            time.sleep(pause)
            with self._wake:
                self._busy = False
                self._wake.notify_all()
                if not (self._finishes or self._releases or self._stopped):
                    self._wake.wait(_REPORTS)
                if self._stopped:
                    return
                finishes = self._take_finishes()
                releases = [self._releases.popleft() for _ in range(min(len(self._releases), _BATCH))]
                self._busy = bool(finishes or releases)
            pause = _GATHER if len(finishes) > 2 else 0.0
            if finishes:
                self._deliver(finishes)
            if releases:
                self._post("release", releases)
                for entry in releases:
                    self._forget(entry["lease"])
            if time.monotonic() - reported >= _REPORTS:
                reported = time.monotonic()
                self._report(self._leases.select(lambda h: bool(h.output) or h.report is not None), last=False)

    def _take_finishes(self) -> List[Dict[str, Any]]:
        taken, size = [], 0
        while self._finishes and len(taken) < _BATCH:
            size += len(json.dumps(self._finishes[0].get("result"))) if self._finishes[0].get("result") else 0
            if taken and size > _BYTES:
                break
            taken.append(self._finishes.popleft())
        return taken

    # Reports

    def _report(self, all_held: List[Held], *, last: bool) -> None:
        lines = [{"lease": h.id, "lines": h.output.take(last)} for h in all_held if h.output]
        self._send_reports("log", [e for e in lines if e["lines"]])
        reports = []
        for h in all_held:
            report, h.report = h.report, None
            if report is not None:
                reports.append({"lease": h.id, **{k: v for k, v in report.items() if v is not None}})
        self._send_reports("progress", reports)

    def _send_reports(self, route: str, entries: List[Dict[str, Any]]) -> None:
        """Send logs or progress. What the server cannot take is dropped."""
        for i in range(0, len(entries), 50):
            with contextlib.suppress(ConnectionLost):
                try:
                    self._transport.call("POST", f"/workers/{route}", entries[i : i + 50])
                except GaleError as err:
                    log.write("WARN", f"{route} of tasks was dropped", error=err)

    # Ends

    def _deliver(self, entries: List[Dict[str, Any]]) -> None:
        ended = [h for h in (self._leases.get(e["lease"]) for e in entries) if h is not None]
        if any(h.output or h.report for h in ended):
            self._report(ended, last=True)
        entries = [self._with_artifacts(e) for e in entries]
        for entry, result in zip(entries, self._post("finish", entries)):
            self._conclude(entry, result)

    def _conclude(self, entry: Dict[str, Any], result: Dict[str, Any]) -> None:
        code, reason = result.get("code", 200), result.get("reason", "")
        held = self._leases.get(entry["lease"])
        task = held.task if held else ""
        if code in (429, 500, 502, 503, 504):
            with self._wake:  # at the end of the line, so that others are not held up
                self._finishes.append(entry)
            time.sleep(0.05)
            return
        if code == 409:
            log.write("WARN", "the end of an attempt came too late", task=task, reason=reason)
        elif code >= 400 and entry["state"] != "failed":
            log.write("WARN", "the server refused the end of an attempt", task=task, state=entry["state"], reason=reason)
            with self._wake:
                self._finishes.append({"lease": entry["lease"], "state": "failed", "error": f"{entry['state']}: {reason}"})
            return
        elif code >= 400:
            log.write("ERROR", "the server refused the end of an attempt", task=task, state=entry["state"], reason=reason)
        self._forget(entry["lease"])

    def _forget(self, id: str) -> None:
        held = self._leases.get(id)
        if held is not None and os.path.isdir(held.spool):
            shutil.rmtree(held.spool, ignore_errors=True)
        self._leases.remove(id)

    def _with_artifacts(self, entry: Dict[str, Any]) -> Dict[str, Any]:
        """Send the artifacts of an attempt; if that fails, so has the attempt."""
        held = self._leases.get(entry["lease"])
        if not entry.get("artifacts") or held is None:
            return entry
        for name in entry["artifacts"]:
            try:
                self._send_artifact(held, name)
            except ResponseError as err:
                return {"lease": entry["lease"], "state": "failed", "error": f"artifact {name}: {err.reason}"}
            except (OSError, GaleError) as err:
                return {"lease": entry["lease"], "state": "retry", "error": f"artifact {name}: {err}"}
        return entry

    def _send_artifact(self, held: Held, name: str) -> None:
        path = os.path.join(held.spool, name)
        limit = time.monotonic() + self._transport.retry_time
        while True:
            with open(path, "rb") as file:
                headers = {"Content-Length": str(os.fstat(file.fileno()).st_size)}
                blocks = iter(lambda: file.read(1 << 16), b"")
                try:
                    self._transport.open(
                        "PUT", f"/workers/artifacts/{held.id}/{name}", body=blocks, headers=headers, repeat=False
                    ).read()
                    return
                except (ConnectionLost, ResponseError) as err:
                    if getattr(err, "status", 503) not in (502, 503, 504) or time.monotonic() > limit:
                        raise
            time.sleep(0.5)

    def _post(self, route: str, entries: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
        """Send entries until the server has responded, and return its results."""
        delay, reported = 0.1, False
        while True:
            try:
                results: List[Dict[str, Any]] = self._transport.call("POST", f"/workers/{route}", entries, retry_time=0.0)
                return results
            except ResponseError as err:
                if err.status in (400, 413) and len(entries) > 1:
                    middle = len(entries) // 2
                    return self._post(route, entries[:middle]) + self._post(route, entries[middle:])
                if err.status in (400, 404, 409, 413):
                    return [{"lease": entries[0]["lease"], "code": err.status, "reason": err.reason}]
                problem: GaleError = err
            except GaleError as err:
                problem = err
            if self._stopped:
                return [{"lease": e["lease"], "code": 409, "reason": "the worker has ended"} for e in entries]
            if delay > 1 and not reported:
                reported = True
                log.write("WARN", f"cannot {route}: trying again", error=problem, entries=len(entries))
            time.sleep(delay)
            delay = min(delay * 2, 3.0)
