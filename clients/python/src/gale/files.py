"""Files of a server: upload by PUT or tus, download, removal."""

import base64
import os
import urllib.parse
import uuid
from typing import Any, BinaryIO, Callable, Dict, Iterable, Iterator, Optional, Union

from .errors import Conflict, ConnectionLost, GaleError, ResponseError
from .transport import Transport

Path = Union[str, "os.PathLike[str]"]
Source = Union[bytes, Path, BinaryIO, Iterable[bytes]]

_BLOCK = 1 << 16
_TUS = {"Tus-Resumable": "1.0.0"}


def _file_path(directory: str, filename: str) -> str:
    return "/upload/" + urllib.parse.quote(directory, safe="/") + "/" + urllib.parse.quote(filename, safe="")


def _blocks(stream: BinaryIO) -> Iterator[bytes]:
    while True:
        block = stream.read(_BLOCK)
        if not block:
            return
        yield block


class Files:
    """The methods of Client that deal with files."""

    transport: Transport

    def upload(self, directory: str, filename: str, source: Source) -> Dict[str, Any]:
        """Store a file by PUT /upload and return the response's object of it.

        source is bytes, the path of a file, an open binary file or an iterable of bytes; all but
        bytes are streamed. Conflict: a file with this name exists. The keys are directory, filename,
        size, sha256, code, reason and, if a task was started for it, task.

        A request is not repeated after it may have been sent. Use upload_resumable where
        connections are lost.
        """
        headers: Dict[str, str] = {"Content-Type": "application/octet-stream"}
        opened: Optional[BinaryIO] = None
        body: Union[bytes, Iterable[bytes]]
        if isinstance(source, (str, os.PathLike)):
            opened = open(source, "rb")
            headers["Content-Length"] = str(os.fstat(opened.fileno()).st_size)
            body = _blocks(opened)
        elif isinstance(source, bytes):
            body = source
        elif hasattr(source, "read"):
            body = _blocks(source)  # type: ignore[arg-type]
        else:
            body = source
        try:
            with self.transport.open(
                "PUT", _file_path(directory, filename), body=body, headers=headers, repeat=False
            ) as response:
                stored: Dict[str, Any] = response.json()["files"][0]
                return stored
        finally:
            if opened is not None:
                opened.close()

    def upload_resumable(
        self,
        directory: str,
        filename: str,
        source: Union[Path, BinaryIO],
        *,
        upload: Optional[str] = None,
        chunk: int = 8 << 20,
        on_progress: Optional[Callable[[int, int, str], None]] = None,
    ) -> Dict[str, Any]:
        """Store a file by tus 1.0 (https://tus.io/protocols/resumable-upload).

        source is the path of a file, or an open file that can seek. After a lost connection the
        upload continues at the offset that the server has. on_progress is called with the bytes
        received, the size and the address of the upload; give that address as upload to continue
        in another process. chunk is the size of a request in bytes. The result is that of
        upload.
        """
        if isinstance(source, (str, os.PathLike)):
            with open(source, "rb") as opened:
                return self.upload_resumable(
                    directory, filename, opened, upload=upload, chunk=chunk, on_progress=on_progress
                )
        size = source.seek(0, os.SEEK_END)
        if upload is None:
            upload = self._create(directory, filename, size)
        offset = self._offset(upload)
        failures = 0
        while offset < size:
            source.seek(offset)
            block = source.read(min(chunk, size - offset))
            if not block:
                raise GaleError(f"{filename}: the file became shorter during the upload")
            headers = {**_TUS, "Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
            try:
                with self.transport.open("PATCH", upload, body=block, headers=headers, repeat=False) as response:
                    response.read()
                    offset = int(response.header("Upload-Offset"))
                failures = 0
            except (ConnectionLost, ResponseError) as err:
                if isinstance(err, ResponseError) and not isinstance(err, Conflict) and err.status < 500:
                    raise
                failures += 1
                before, offset = offset, self._offset(upload)  # repeated for retry_time
                if failures > 5 and offset == before:
                    raise
            if on_progress is not None:
                on_progress(offset, size, upload)
        with self.transport.open("GET", upload, headers=_TUS) as response:
            stored: Dict[str, Any] = response.json()
        return stored["files"][0] if "files" in stored else stored

    def _create(self, directory: str, filename: str, size: int) -> str:
        pairs = {"directory": directory, "filename": filename}
        metadata = ",".join(f"{k} {base64.b64encode(v.encode()).decode()}" for k, v in pairs.items())
        headers = {**_TUS, "Upload-Length": str(size), "Upload-Metadata": metadata, "Content-Length": "0"}
        with self.transport.open("POST", "/tus/", headers=headers) as response:
            response.read()
            path = urllib.parse.urlsplit(response.header("Location")).path
        prefix = self.transport.prefix
        return path[len(prefix) :] if prefix and path.startswith(prefix + "/") else path

    def _offset(self, upload: str) -> int:
        with self.transport.open("HEAD", upload, headers=_TUS) as response:
            response.read()
            return int(response.header("Upload-Offset"))

    def download(self, directory: str, filename: str, target: Path) -> int:
        """Store a file of the server in the file target and return its size in bytes.

        target appears only when it is complete; a file with its name is replaced.
        """
        return self._download(_file_path(directory, filename), target)

    def _download(self, path: str, target: Path) -> int:
        folder = os.path.dirname(os.path.abspath(target))
        temporary = os.path.join(folder, f".gale-{uuid.uuid4().hex}")
        try:
            with open(temporary, "xb") as out, self.transport.open("GET", path) as response:
                size = 0
                while True:
                    block = response.read(_BLOCK)
                    if not block:
                        break
                    out.write(block)
                    size += len(block)
            os.replace(temporary, target)
            return size
        finally:
            if os.path.exists(temporary):
                os.unlink(temporary)

    def delete(self, directory: str, filename: str) -> None:
        """Remove a file. It is not an error if there is none."""
        query = {"directory": directory, "filename": filename}
        self.transport.open("DELETE", "/upload", query=query).read()
