"""Serves the page on this machine, and keeps it up to date while runs go on."""

import asyncio
import logging
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.utils import formatdate
from http import HTTPStatus
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

from tornado.httpserver import HTTPServer
from tornado.iostream import StreamClosedError
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError, RequestHandler

from atari_dqn.errors import UserError
from atari_dqn.gallery.collect import collect
from atari_dqn.gallery.page import write_data, write_page
from atari_dqn.gallery.records import GalleryData
from atari_dqn.typed_commands import option

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
SECONDS_BETWEEN_LOOKS = 2.0
BLOCK = 2**16  # bytes to send at once
WAITING_CONNECTIONS = 512  # connections that the system holds until they are accepted
SECONDS_IDLE = 60  # after which a connection without a request is closed
LARGEST_BODY = 2**16  # bytes; requests for files have no body
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".gif": "image/gif",
    ".mp4": "video/mp4",
}


class Server:
    """Serves the files below one directory, to this machine only.

    One thread answers all connections, so that a hundred open pages cost no more threads than one.
    Use it as a context manager, which binds the port at once and answers requests after ``start``.

    Args:
        directory: Directory of the recordings.
        port: Port of the server, or 0 for any free port.

    Raises:
        UserError: The port is taken.
    """

    def __init__(self, directory: Path, port: int) -> None:
        try:
            self._sockets = bind_sockets(port, HOST, backlog=WAITING_CONNECTIONS)
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise UserError(
                f"port {port} cannot be used: {reason}; choose another with {option('port')}"
            ) from None
        self.host, self.port = self._sockets[0].getsockname()
        rules = [(".*", Handler, {"directory": directory.resolve()})]
        # Requests are not logged, because a live page sends one every two seconds.
        self._application = Application(rules, log_function=lambda handler: None)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._started = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._started.is_set():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
        for socket in self._sockets:
            socket.close()

    @property
    def address(self) -> str:
        """URL of the page."""
        return f"http://{HOST}:{self.port}/"

    def start(self) -> None:
        """Starts to answer requests, in a thread."""
        self._thread.start()
        self._started.wait()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        server = HTTPServer(
            self._application,
            idle_connection_timeout=SECONDS_IDLE,
            body_timeout=SECONDS_IDLE,
            max_body_size=LARGEST_BODY,
        )
        server.add_sockets(self._sockets)
        self._started.set()
        await self._stopping.wait()
        server.stop()
        await server.close_all_connections()


class Handler(RequestHandler):
    """Answers GET and HEAD requests for a file, or for a range, which seeking in a video needs."""

    def initialize(self, directory: Path) -> None:
        """Sets the directory of the files, resolved."""
        self._directory = directory

    def set_default_headers(self) -> None:
        """Sets the headers of every answer, errors included."""
        self.clear_header("Server")
        self.set_header("X-Content-Type-Options", "nosniff")

    def prepare(self) -> None:
        """Refuses requests that come from another site, or that would change something."""
        # Against DNS rebinding: another site could point its own name at this address.
        if self.request.headers.get("Host", "").rsplit(":", 1)[0] not in (HOST, "localhost"):
            raise HTTPError(HTTPStatus.MISDIRECTED_REQUEST)
        if self.request.method not in ("GET", "HEAD"):
            raise HTTPError(HTTPStatus.NOT_IMPLEMENTED)

    async def get(self) -> None:
        """Sends a file."""
        await self._answer(with_body=True)

    async def head(self) -> None:
        """Sends the headers of a file."""
        await self._answer(with_body=False)

    async def _answer(self, with_body: bool) -> None:
        path = find_file(self._directory, self.request.uri or "")
        try:
            file = path.open("rb") if path else None
        except OSError:
            file = None
        if path is None or file is None:
            raise HTTPError(HTTPStatus.NOT_FOUND)
        with file:
            await self._send(path, file, with_body)

    async def _send(self, path: Path, file: BufferedReader, with_body: bool) -> None:
        status = path.stat()
        headers = {
            "Content-Type": TYPES[path.suffix.lower()],
            "Accept-Ranges": "bytes",
            "Last-Modified": formatdate(status.st_mtime, usegmt=True),
            "ETag": f'"{status.st_mtime_ns:x}-{status.st_size:x}"',
            "Cache-Control": "no-cache",
        }
        for name, value in headers.items():
            self.set_header(name, value)
        if self.check_etag_header():
            self.set_status(HTTPStatus.NOT_MODIFIED)
            return
        try:
            part = requested_range(self.request.headers.get("Range"), status.st_size)
        except ValueError:
            self.set_status(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            self.set_header("Content-Range", f"bytes */{status.st_size}")
            return
        start, end = part or (0, status.st_size)
        if part:
            self.set_status(HTTPStatus.PARTIAL_CONTENT)
            self.set_header("Content-Range", f"bytes {start}-{end - 1}/{status.st_size}")
        self.set_header("Content-Length", str(end - start))
        if with_body:
            await self._send_part(file, start, end)

    async def _send_part(self, file: BufferedReader, start: int, end: int) -> None:
        """Sends the bytes [start, end) of a file, not faster than the reader takes them."""
        file.seek(start)
        with suppress(StreamClosedError):  # browsers close connections during videos
            while start < end and (block := file.read(min(end - start, BLOCK))):
                self.write(block)
                await self.flush()
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
        server.start()
        try:
            yield page
        finally:
            page.close()
