"""HTTP/1.1 connections to the server: kept alive, safe for threads, with retries."""

import http.client
import json
import os
import random
import socket
import ssl
import threading
import time
import urllib.parse
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Tuple, Union

from . import _trace
from .errors import ConnectionLost, GaleError, ResponseError, response_error

Body = Union[None, bytes, Iterable[bytes]]
_LOST = (OSError, http.client.HTTPException)
_TEMPORARY = (502, 503, 504)


class Response:
    """A response whose body has not been read. Close it, or read it to the end."""

    def __init__(self, raw: http.client.HTTPResponse, done: Callable[[bool], None]) -> None:
        self._raw = raw
        self._done: Optional[Callable[[bool], None]] = done
        self.status = raw.status

    def header(self, name: str, default: str = "") -> str:
        """Return a header field, or default."""
        return self._raw.getheader(name) or default

    def read(self, size: int = -1) -> bytes:
        """Return up to size bytes of the body, or all of it; b"" is its end."""
        try:
            data = self._raw.read() if size < 0 else self._raw.read(size)
            if size >= 0 and not data and size > 0 and self._raw.length:
                raise http.client.IncompleteRead(b"", self._raw.length)
        except _LOST as err:
            self.close()
            raise ConnectionLost(f"read the response: {err!r}") from err
        if size < 0 or (size > 0 and not data):
            self._finish(True)
        return data

    def readline(self) -> bytes:
        """Return the next line of the body with its end; b"" is the end of the body."""
        try:
            return self._raw.readline()
        except _LOST as err:
            self.close()
            raise ConnectionLost(f"read the response: {err!r}") from err

    def json(self) -> Any:
        """Return the body, decoded as JSON."""
        text = self.read()
        try:
            return json.loads(text)
        except ValueError as err:
            raise GaleError(f"the response is not JSON: {text[:200]!r}") from err

    def close(self) -> None:
        """Close the response. If its body has not been read, the connection is closed."""
        self._finish(False)

    def _finish(self, complete: bool) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(complete and not self._raw.will_close)

    def __enter__(self) -> "Response":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: Optional[float]) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.settimeout(self.timeout)
            self.sock.connect(self._path)
        except BaseException:
            self.sock.close()
            self.sock = None  # type: ignore[assignment]
            raise


class Transport:
    """Connections to one server.

    url is http://…, https://… or unix:/path/of/socket; a path in an HTTP URL is put in front
    of all paths. retry_time is how many seconds in all a request is repeated when the
    connection is lost or the server responds 502, 503 or 504; Retry-After is honoured.
    """

    def __init__(
        self,
        url: str,
        token: Optional[str] = None,
        *,
        timeout: float = 30.0,
        retry_time: float = 30.0,
        ssl_context: Optional[ssl.SSLContext] = None,
    ) -> None:
        self.url = url
        self.timeout = timeout
        self.retry_time = retry_time
        self._token = token
        self._ssl = ssl_context
        self._lock = threading.Lock()
        self._idle: List[http.client.HTTPConnection] = []
        self._pid = os.getpid()
        self.prefix = ""
        self._unix = ""
        if url.startswith("unix:"):
            self._unix = url[len("unix://") :] if url.startswith("unix:///") else url[len("unix:") :]
            if not self._unix:
                raise ValueError("url: unix: without the path of a socket")
            return
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"url: {url!r} is not http://host, https://host or unix:/path")
        if parts.username or parts.password:
            raise ValueError("url: a user in the URL is not supported; use token")
        self._https, self._host, self._port = parts.scheme == "https", parts.hostname, parts.port
        self.prefix = parts.path.rstrip("/")

    def connect(self, timeout: Optional[float]) -> http.client.HTTPConnection:
        """Return a new connection, which connects with its first request."""
        if self._unix:
            return _UnixConnection(self._unix, timeout)
        if self._https:
            context = self._ssl or ssl.create_default_context()
            self._ssl = context
            return http.client.HTTPSConnection(self._host, self._port, timeout=timeout, context=context)
        return http.client.HTTPConnection(self._host, self._port, timeout=timeout)

    def headers(self, more: Optional[Mapping[str, str]] = None) -> Dict[str, str]:
        """Return the header fields of a request: the token, then more."""
        all_headers = dict(more or {})
        if self._token:
            all_headers["Authorization"] = "Bearer " + self._token
        return all_headers

    def _take(self, fresh: bool) -> Tuple[http.client.HTTPConnection, bool]:
        """Return an idle connection and True, or a new one and False."""
        with self._lock:
            if self._pid != os.getpid():  # after a fork, the connections belong to the parent
                self._idle, self._pid = [], os.getpid()
            while self._idle and not fresh:
                return self._idle.pop(), True
        return self.connect(self.timeout), False

    def _give(self, conn: http.client.HTTPConnection, reusable: bool) -> None:
        if reusable:
            with self._lock:
                if len(self._idle) < 16 and self._pid == os.getpid():
                    self._idle.append(conn)
                    return
        conn.close()

    def close(self) -> None:
        """Close idle connections. The transport can be used again."""
        with self._lock:
            idle, self._idle = self._idle, []
        for conn in idle:
            conn.close()

    def _once(
        self, method: str, path: str, body: Body, headers: Mapping[str, str], timeout: float, fresh: bool
    ) -> Response:
        conn, used = self._take(fresh)
        conn.timeout = timeout
        if conn.sock is not None:
            conn.sock.settimeout(timeout)
        try:
            chunked = body is not None and not isinstance(body, bytes) and "Content-Length" not in headers
            sending: Optional[OSError] = None
            try:
                conn.request(method, self.prefix + path, body=body, headers=dict(headers), encode_chunked=chunked)  # type: ignore[arg-type]
            except (BrokenPipeError, ConnectionResetError) as err:
                # A server that refuses a body may close its side after the response.
                if conn.sock is None:
                    raise
                sending = err
            try:
                raw = conn.getresponse()
            except _LOST as err:
                raise sending or err
        except _LOST as err:
            conn.close()
            lost = ConnectionLost(f"{method} {self.url}{path}: {err!r}")
            lost.reused = used  # type: ignore[attr-defined]
            lost.unsent = isinstance(err, (ConnectionRefusedError, FileNotFoundError))  # type: ignore[attr-defined]
            raise lost from err
        except BaseException:
            conn.close()
            raise
        if sending is not None:
            return Response(raw, lambda _complete: conn.close())
        return Response(raw, lambda complete: self._give(conn, complete))

    def open(
        self,
        method: str,
        path: str,
        *,
        query: Optional[Mapping[str, Any]] = None,
        body: Body = None,
        headers: Optional[Mapping[str, str]] = None,
        timeout: Optional[float] = None,
        repeat: bool = True,
        retry_time: Optional[float] = None,
    ) -> Response:
        """Send a request and return the response; the body is not read.

        repeat permits to repeat it after a lost connection or status 502, 503 or 504. Without it
        a request is repeated only if it cannot have been sent. timeout is the longest silence of
        the server in seconds. A status above 299 raises ResponseError. The request belongs to the
        trace in the environment variable TRACEPARENT, if there is one.
        """
        if query:
            given = {k: v for k, v in query.items() if v is not None}
            path += "?" + urllib.parse.urlencode(given, doseq=True) if given else ""
        all_headers = self.headers({**_trace.fields(), **(headers or {})})
        limit = time.monotonic() + (self.retry_time if retry_time is None else retry_time)
        repeat = repeat and (body is None or isinstance(body, bytes))
        delay, fresh = 0.1, not repeat
        while True:
            try:
                response = self._once(method, path, body, all_headers, timeout or self.timeout, fresh)
            except ConnectionLost as err:
                if repeat and getattr(err, "reused", False):
                    fresh = True  # the server had closed an idle connection
                    continue
                pause = delay * (0.5 + random.random() / 2)
                replay = body is None or isinstance(body, bytes)
                again = repeat or (replay and getattr(err, "unsent", False))
                if not again or time.monotonic() + pause > limit:
                    raise
            else:
                if response.status < 300:
                    return response
                refusal = self.refusal(response)
                pause = refusal.retry_after if refusal.retry_after is not None else delay * (0.5 + random.random() / 2)
                if not repeat or refusal.status not in _TEMPORARY or time.monotonic() + pause > limit:
                    raise refusal
            time.sleep(pause)
            delay = min(delay * 2, 5.0)

    @staticmethod
    def refusal(response: Response) -> ResponseError:
        """Read an error response and return its exception."""
        after = response.header("Retry-After")
        with response:
            try:
                text = response.read(65536)
                response.read(1)
            except ConnectionLost:
                text = b""
        code, reason = response.status, text.decode("utf-8", "replace").strip() or "no reason given"
        try:
            parsed = json.loads(text)
            code, reason = int(parsed.get("code", code)), str(parsed.get("reason", reason))
        except (ValueError, AttributeError, TypeError):
            pass
        return response_error(response.status, code, reason, float(after) if after.isdigit() else None)

    def call(self, method: str, path: str, data: Any = None, **options: Any) -> Any:
        """Send data as JSON and return the decoded response. Options are those of open."""
        body, headers = None, None
        if data is not None:
            body = json.dumps(data, allow_nan=False, separators=(",", ":"), ensure_ascii=False).encode()
            headers = {"Content-Type": "application/json"}
        with self.open(method, path, body=body, headers=headers, **options) as response:
            return response.json()
