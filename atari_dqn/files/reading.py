"""Files that are read: whatever is wrong with one is a UserError of one line that names it.

A path may lead anywhere, and a file may come from anybody. So nothing here waits for a pipe, reads
without an end, or trusts that text is text.
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

# Far more than any text that a run, a recipe or a recording has.
LARGEST_TEXT = 64 * 2**20
# Whole numbers of more digits are in no file of ours, and are slow to read and impossible to print.
MOST_DIGITS = 100

_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
# UTF-32 first: its little-endian mark begins as that of UTF-16 does.
_OTHER_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


def open_file(path: Path) -> BufferedReader:
    """Opens a regular file for reading, and never waits for it.

    Raises:
        UserError: it is missing, something else than a file, or not to be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from None
    except ValueError:  # a name with a zero byte, or one that no file system can hold
        raise UserError(f"{str(path)!r} is no name of a file") from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        kind = next((kind for is_kind, kind in _KINDS if is_kind(mode)), "something else")
        raise _unreadable(path, f"it is {kind}, not a file")
    return os.fdopen(descriptor, "rb")


def read_bytes(path: Path, at_most: int = LARGEST_TEXT) -> bytes:
    """Returns the content of a file.

    Args:
        path: of the file.
        at_most: bytes that it may have.

    Raises:
        UserError: it cannot be read, or is larger.
    """
    with open_file(path) as file:
        try:
            if os.fstat(file.fileno()).st_size > at_most:
                raise _too_large(path, at_most)
            # Some files, such as those of /proc, have more in them than they say.
            content = file.read(at_most + 1)
        except OSError as error:
            raise _unreadable(path, error.strerror or str(error)) from None
    if len(content) > at_most:
        raise _too_large(path, at_most)
    return content


def read_text(path: Path, at_most: int = LARGEST_TEXT) -> str:
    """Returns the text of a file in UTF-8, without the mark that some programs begin it with.

    Args:
        path: of the file.
        at_most: bytes that it may have.

    Raises:
        UserError: it cannot be read, is larger, or is in another encoding.
    """
    content = read_bytes(path, at_most)
    check_encoding(path, content)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        reason = f"byte {error.start} cannot be decoded"
        raise UserError(f"'{path}' is not UTF-8 text: {reason}") from None


def check_encoding(path: Path, content: bytes) -> None:
    """Raises a UserError where a file begins with the mark of UTF-16 or UTF-32."""
    for mark, name in _OTHER_MARKS:
        if content.startswith(mark):
            advice = ""
            if name == "UTF-16":
                advice = ", as PowerShell writes it: save it as UTF-8 (Out-File -Encoding utf8)"
            raise UserError(f"'{path}' is not UTF-8 text but {name}{advice}")


def read_toml(path: Path, at_most: int = LARGEST_TEXT) -> dict[str, Any]:
    """Returns the tables of a TOML file.

    Raises:
        UserError: it cannot be read, or is no valid TOML.
    """
    text = read_text(path, at_most)
    try:
        tables = tomllib.loads(text)
        check_numbers(tables)
    except ValueError as error:
        raise UserError(f"{path} is no valid TOML: {_first_line(error)}") from None
    except RecursionError:
        raise UserError(f"{path} is no valid TOML: it is nested too deeply") from None
    return tables


def read_json(path: Path, at_most: int = LARGEST_TEXT) -> Any:
    """Returns what a JSON file holds; of a name that is there twice, the last counts.

    Raises:
        UserError: it cannot be read, or is no valid JSON.
    """
    text = read_text(path, at_most)
    try:
        return parse_json(text)
    except ValueError as error:
        raise UserError(f"'{path}' is no valid JSON: {_first_line(error)}") from None


def parse_json(text: str | bytes) -> Any:
    """Returns what JSON text holds.

    Raises:
        ValueError: it is no JSON, holds a number of too many digits, or is nested too deeply.
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
    """Raises a ValueError for whole numbers of too many digits, which TOML can have in base 16."""
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
