"""Reads files, and reports every problem as a UserError of one line that names the file.

Neither paths nor files are trusted. Therefore these functions never wait for a pipe, limit the
number of bytes that they read, and check the encoding.
"""

import codecs
import json
import os
import stat
import tomllib
from io import BufferedReader
from pathlib import Path
from typing import Any

from atari_dqn.errors import UserError

# In bytes; far larger than any text file of a run, a recipe or a recording.
LARGEST_TEXT = 64 * 2**20
# No file of this package has longer integers. Python is slow to parse very long ones, and refuses
# to print them.
MOST_DIGITS = 100

_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
# UTF-32 comes first, because its little-endian mark begins with the mark of UTF-16.
_OTHER_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


def open_file(path: Path) -> BufferedReader:
    """Opens a regular file for reading, without blocking.

    Raises:
        UserError: The file is missing, is not a regular file, or cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from None
    except ValueError:  # the name contains a zero byte, or cannot be encoded
        raise UserError(f"{str(path)!r} is not a valid file name") from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        kind = next((kind for is_kind, kind in _KINDS if is_kind(mode)), "something else")
        raise _unreadable(path, f"it is {kind}, not a file")
    return os.fdopen(descriptor, "rb")


def read_bytes(path: Path, at_most: int = LARGEST_TEXT) -> bytes:
    """Returns the content of a file.

    Args:
        path: The file.
        at_most: Largest allowed size in bytes.

    Raises:
        UserError: The file cannot be read, or is too large.
    """
    with open_file(path) as file:
        try:
            if os.fstat(file.fileno()).st_size > at_most:
                raise _too_large(path, at_most)
            # Some files, such as those in /proc, contain more bytes than their size says.
            content = file.read(at_most + 1)
        except OSError as error:
            raise _unreadable(path, error.strerror or str(error)) from None
    if len(content) > at_most:
        raise _too_large(path, at_most)
    return content


def read_text(path: Path, at_most: int = LARGEST_TEXT) -> str:
    """Returns the text of a UTF-8 file, without a byte order mark.

    Args:
        path: The file.
        at_most: Largest allowed size in bytes.

    Raises:
        UserError: The file cannot be read, is too large, or has another encoding.
    """
    content = read_bytes(path, at_most)
    check_encoding(path, content)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        reason = f"byte {error.start} cannot be decoded"
        raise UserError(f"'{path}' is not UTF-8 text: {reason}") from None


def check_encoding(path: Path, content: bytes) -> None:
    """Raises a UserError if a file begins with the byte order mark of UTF-16 or UTF-32."""
    for mark, name in _OTHER_MARKS:
        if content.startswith(mark):
            advice = ""
            if name == "UTF-16":
                advice = ", as PowerShell writes it: save it as UTF-8 (Out-File -Encoding utf8)"
            raise UserError(f"'{path}' is not UTF-8 text but {name}{advice}")


def read_toml(path: Path, at_most: int = LARGEST_TEXT) -> dict[str, Any]:
    """Returns the tables of a TOML file.

    Raises:
        UserError: The file cannot be read, or is not valid TOML.
    """
    text = read_text(path, at_most)
    try:
        tables = tomllib.loads(text)
        check_numbers(tables)
    except ValueError as error:
        raise UserError(f"{path} is not valid TOML: {_first_line(error)}") from None
    except RecursionError:
        raise UserError(f"{path} is not valid TOML: it is nested too deeply") from None
    return tables


def read_json(path: Path, at_most: int = LARGEST_TEXT) -> Any:
    """Returns the content of a JSON file. If a name occurs twice, the last value counts.

    Raises:
        UserError: The file cannot be read, or is not valid JSON.
    """
    text = read_text(path, at_most)
    try:
        return parse_json(text)
    except ValueError as error:
        raise UserError(f"'{path}' is not valid JSON: {_first_line(error)}") from None


def parse_json(text: str | bytes) -> Any:
    """Returns the content of a JSON text.

    Raises:
        ValueError: The text is not JSON, is nested too deeply, or has a number with too many
            digits.
    """
    try:
        return json.loads(text, parse_int=_whole_number)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _whole_number(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError(f"a number has {len(text)} digits")
    return int(text)


def check_numbers(tables: dict[str, Any]) -> None:
    """Raises a ValueError for integers with too many digits.

    TOML allows hexadecimal integers, which Python parses at any length.
    """
    waiting: list[Any] = [tables]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, int) and abs(value) >= 10**MOST_DIGITS:
            raise ValueError(f"a number has more than {MOST_DIGITS} digits")


def _unreadable(path: Path, reason: str) -> UserError:
    return UserError(f"'{path}' could not be read: {reason}")


def _too_large(path: Path, at_most: int) -> UserError:
    return UserError(f"'{path}' is too large: at most {at_most / 2**20:.3g} MiB are read")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
