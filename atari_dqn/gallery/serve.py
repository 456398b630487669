"""Serves the page on this machine, and keeps it up to date while runs go on."""

import logging
import re
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedReader
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from atari_dqn.errors import UserError
from atari_dqn.gallery.collect import GalleryData, collect
from atari_dqn.gallery.page import write_data, write_page
from atari_dqn.typed_commands import option

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
SECONDS_BETWEEN_LOOKS = 2.0
BLOCK = 2**16  # bytes to send at once
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".gif": "image/gif",
    ".mp4": "video/mp4",
}


class Server(ThreadingHTTPServer):
    """Serves the files below one directory, to this machine only.

    Args:
        directory: Directory of the recordings.
        port: Port of the server, or 0 for any free port.

    Raises:
        UserError: The port is taken.
    """

    daemon_threads = True

    def __init__(self, directory: Path, port: int) -> None:
        self.directory = directory.resolve()
        try:
            super().__init__((HOST, port), Handler)
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise UserError(
                f"port {port} cannot be used: {reason}; choose another with {option('port')}"
            ) from None

    @property
    def address(self) -> str:
        """URL of the page."""
        return f"http://{HOST}:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Reports an error, unless a browser closed its connection during a video."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD requests for a file, or for a range, which seeking in a video needs."""

    server: Server
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        """Sends a file."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Sends the headers of a file."""
        self._answer(with_body=False)

    def log_message(self, *args: Any) -> None:
        """Does nothing, because a live page sends a request every two seconds."""

    def _answer(self, with_body: bool) -> None:
        # Against DNS rebinding: another site could point its own name at this address.
        if self.headers.get("Host", "").rsplit(":", 1)[0] not in (HOST, "localhost"):
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
            return
        path = find_file(self.server.directory, self.path)
        try:
            file = path.open("rb") if path else None
        except OSError:
            file = None
        if path is None or file is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        with file:
            self._send(path, file, with_body)

    def _send(self, path: Path, file: BufferedReader, with_body: bool) -> None:
        status = path.stat()
        try:
            part = requested_range(self.headers.get("Range"), status.st_size)
        except ValueError:
            self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            self.send_header("Content-Range", f"bytes */{status.st_size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start, end = part or (0, status.st_size)
        self.send_response(HTTPStatus.PARTIAL_CONTENT if part else HTTPStatus.OK)
        if part:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{status.st_size}")
        headers = {
            "Content-Type": TYPES[path.suffix.lower()],
            "Content-Length": str(end - start),
            "Accept-Ranges": "bytes",
            "Last-Modified": formatdate(status.st_mtime, usegmt=True),
            "ETag": f'"{status.st_mtime_ns:x}-{status.st_size:x}"',
            "Cache-Control": "no-cache",
            "X-Content-Type-Options": "nosniff",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if not with_body:
            return
        if part:
            self._send_part(file, start, end)
        else:
            shutil.copyfileobj(file, self.wfile)

    def _send_part(self, file: BufferedReader, start: int, end: int) -> None:
        """Sends the bytes [start, end) of a file."""
        file.seek(start)
        while start < end and (block := file.read(min(end - start, BLOCK))):
            self.wfile.write(block)
            start += len(block)


def find_file(directory: Path, target: str) -> Path | None:
    """Returns the file that a request names.

    Args:
        directory: Directory to serve, resolved.
        target: Target of the request: path and query.

    Returns:
        The path, or None for a file that is missing, outside the directory, hidden, or of a type
        that the page does not use.
    """
    parts = [part for part in unquote(urlsplit(target).path).split("/") if part] or ["index.html"]
    if any(part.startswith(".") or "\\" in part or "\0" in part for part in parts):
        return None
    path = directory.joinpath(*parts)
    try:
        is_inside = path.is_file() and path.resolve().is_relative_to(directory)
    except OSError:  # no file can have such a name
        return None
    return path if is_inside and path.suffix.lower() in TYPES else None


def requested_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Returns the bytes [start, end) that a Range header requests.

    None means the whole file, which is also the answer to a request for several ranges.

    >>> requested_range("bytes=10-", 100), requested_range("bytes=-10", 100)
    ((10, 100), (90, 100))
    >>> requested_range("bytes=0-9", 5)
    (0, 5)

    Raises:
        ValueError: No byte of the file is in the range.
    """
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header or "")
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if first:
        start = int(first)
        end = min(int(last or size - 1) + 1, size)
    else:
        start = max(size - int(last), 0)
        end = size
    if start >= end:
        raise ValueError(header)
    return start, end


class LivePage:
    """A page that is updated while runs write curves and recordings.

    Args:
        root: Directory of all runs.
        videos: Directory of all recordings.
        address: URL of the page.
    """

    def __init__(self, root: Path, videos: Path, address: str) -> None:
        self.address = address
        self._root = root
        self._videos = videos
        self._notes: list[str] = []
        self._logged: set[str] = set()
        self._data = self._collect()
        write_page(videos, self._data, live=True)

    def follow(self) -> None:
        """Updates the page every two seconds, until Ctrl-C.

        Raises:
            UserError: The directory of the recordings has been deleted.
        """
        try:
            self._log_notes()
            while True:
                time.sleep(SECONDS_BETWEEN_LOOKS)
                self._update()
                self._log_notes()
        except KeyboardInterrupt:
            return

    def close(self) -> None:
        """Writes the page in the form to open from disk, which does not ask for newer data."""
        if self._videos.is_dir():
            write_page(self._videos, self._data)

    def _update(self) -> None:
        if not self._videos.is_dir():
            raise UserError(f"'{self._videos}' has been deleted, and the page with it")
        data = self._collect()
        if data != self._data:
            self._data = data
            write_data(self._videos, data, live=True)

    def _collect(self) -> GalleryData:
        """Collects the data of the page, and the notes on files that it leaves out."""
        data, notes = collect(self._root, self._videos)
        self._notes = notes
        return data

    def _log_notes(self) -> None:
        """Logs each note once."""
        for note in self._notes:
            if note not in self._logged:
                logger.warning(note)
        self._logged |= set(self._notes)


@contextmanager
def live_page(root: Path, videos: Path, port: int) -> Iterator[LivePage]:
    """Serves the page during a ``with`` block.

    Args:
        root: Directory of all runs.
        videos: Directory of all recordings.
        port: Port of the server, or 0 for any free port.

    Raises:
        UserError: The port is taken, or the page cannot be written.
    """
    with Server(videos, port) as server:
        page = LivePage(root, videos, server.address)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield page
        finally:
            server.shutdown()
            page.close()
