"""The page on this machine's own address, kept up to date while runs go on."""

import logging
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedReader
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from atari_dqn.errors import UserError
from atari_dqn.gallery.collect import collect
from atari_dqn.gallery.page import write_data, write_page

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
SECONDS_BETWEEN_LOOKS = 2.0
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".gif": "image/gif",
    ".mp4": "video/mp4",
}


class Server(ThreadingHTTPServer):
    """Serves the files below one directory, and to this machine only.

    Args:
        directory: of the recordings.
        port: 0 for any that is free.

    Raises:
        UserError: the port is taken.
    """

    daemon_threads = True

    def __init__(self, directory: Path, port: int) -> None:
        self.directory = directory.resolve()
        try:
            super().__init__((HOST, port), Handler)
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise UserError(
                f"port {port} cannot be used: {reason}; choose another with --port (make: PORT=)"
            ) from None

    @property
    def address(self) -> str:
        """What to type into a browser."""
        return f"http://{HOST}:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that hangs up in the middle of a video is no error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """GET and HEAD of single files, or of a range of one, as videos need for seeking."""

    server: Server
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        """Sends a file."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Sends what is known about a file."""
        self._answer(with_body=False)

    def log_message(self, *args: Any) -> None:
        """Says nothing: a page that follows a run asks every other second."""

    def _answer(self, with_body: bool) -> None:
        # Another site could have its own name lead here, and would then be let in by the browser.
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
        for name, value in {
            "Content-Type": TYPES[path.suffix.lower()],
            "Content-Length": str(end - start),
            "Accept-Ranges": "bytes",
            "Last-Modified": formatdate(status.st_mtime, usegmt=True),
            "ETag": f'"{status.st_mtime_ns:x}-{status.st_size:x}"',
            "Cache-Control": "no-cache",
            "X-Content-Type-Options": "nosniff",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            file.seek(start)
            if part is None:
                shutil.copyfileobj(file, self.wfile)
            while (
                part is not None and start < end and (block := file.read(min(end - start, 2**16)))
            ):
                self.wfile.write(block)
                start += len(block)


def find_file(directory: Path, target: str) -> Path | None:
    """The file that a request means, or None for whatever lies outside, is hidden or is of no kind
    that the page uses.

    Args:
        directory: resolved.
        target: of the request: path and query.
    """
    parts = [part for part in unquote(urlsplit(target).path).split("/") if part] or ["index.html"]
    if any(part.startswith(".") or "\\" in part or "\0" in part for part in parts):
        return None
    path = directory.joinpath(*parts)
    try:
        allowed = (
            path.suffix.lower() in TYPES
            and path.is_file()
            and path.resolve().is_relative_to(directory)
        )
    except OSError:  # no file can have such a name
        return None
    return path if allowed else None


def requested_range(header: str | None, size: int) -> tuple[int, int] | None:
    """The bytes [start, end) that a Range header asks for; None for the whole file, as where it
    asks for several ranges.

    >>> requested_range("bytes=10-", 100), requested_range("bytes=-10", 100), requested_range("bytes=0-9", 5)
    ((10, 100), (90, 100), (0, 5))

    Raises:
        ValueError: the file is too short.
    """
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header or "")
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    start, end = (
        (int(first), int(last or size - 1) + 1) if first else (max(size - int(last), 0), size)
    )
    if start >= min(end, size):
        raise ValueError(header)
    return start, min(end, size)


def follow(root: Path, videos: Path, port: int, announce: Callable[[str], None]) -> int:
    """Serves the page, and looks every other second for what runs have written; until Ctrl-C."""
    with Server(videos, port) as server:
        data, notes = collect(root, videos)
        write_page(videos, data, live=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        followed = f"the runs in '{root}' and the recordings in '{videos}'"
        announce(f"{server.address} follows {followed}; Ctrl-C ends it")
        said = _say(notes, set())
        try:
            while True:
                time.sleep(SECONDS_BETWEEN_LOOKS)
                if not videos.is_dir():
                    raise UserError(f"'{videos}' has been deleted, and the page with it")
                newest, notes = collect(root, videos)
                said = _say(notes, said)
                if newest != data:
                    data = newest
                    write_data(videos, data, live=True)
        except KeyboardInterrupt:
            return 0
        finally:
            server.shutdown()
            if videos.is_dir():
                # Opened from disk later, it has nobody to ask.
                write_page(videos, data)


def _say(notes: list[str], said: set[str]) -> set[str]:
    for note in notes:
        if note not in said:
            logger.warning(note)
    return said | set(notes)
