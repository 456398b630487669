"""Reads CSV files, including those that a spreadsheet has saved or a power cut has truncated."""

import csv
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atari_dqn.errors import UserError, nearest
from atari_dqn.files.reading import check_encoding, open_file, read_bytes

# Larger than the logs of a hundred million agent steps, in bytes.
LARGEST_LOG = 2 * 2**30
# Longer than any row that a run writes.
LAST_BYTES = 65_536
MARK = "\ufeff"  # byte order mark


def read_columns(path: Path, names: Sequence[str]) -> NDArray[np.float64]:
    """Returns columns of a CSV file as an array (len(names), rows).

    A row is skipped if a cell in these columns is not a finite number, or if the row is not as wide
    as the header. A last row without a line end is incomplete, and skipped as well.

    Args:
        path: The file. If it does not exist, the array has no rows.
        names: The columns.

    Raises:
        UserError: The file cannot be read, or lacks a column.
    """
    empty = np.empty((len(names), 0))
    if not os.path.lexists(path):
        return empty
    rows = _rows(_lines(path, read_bytes(path, LARGEST_LOG)))
    header = next(rows, None)
    if header is None:
        return empty
    indices = _indices(path, header, names)
    table = []
    for row in rows:
        numbers = _numbers(row, indices, len(header))
        if numbers is not None:
            table.append(numbers)
    return np.array(table, np.float64).reshape(-1, len(names)).T


def last_row(path: Path) -> dict[str, float]:
    """Returns the numbers in the last complete row of a CSV file, by column.

    The result is empty without such a row. The function reads only the beginning and the end of
    the file, since it is called often during a run.

    Raises:
        UserError: The file exists and cannot be read.
    """
    if not os.path.lexists(path):
        return {}
    with open_file(path) as file:
        try:
            beginning = file.readline(LAST_BYTES)
            first_row = file.tell()
            size = file.seek(0, os.SEEK_END)
            file.seek(max(first_row, size - LAST_BYTES))
            end = file.read(LAST_BYTES)
        except OSError as error:
            raise UserError(f"'{path}' could not be read: {error.strerror}") from None
    header = next(_rows(_lines(path, beginning)), [])
    rows = [row for row in _rows(_lines(path, end)) if len(row) == len(header)]
    if not rows:
        return {}
    numbers = {name: _number(cell) for name, cell in zip(header, rows[-1], strict=True)}
    return {name: number for name, number in numbers.items() if number is not None}


def _lines(path: Path, content: bytes) -> list[str]:
    """Returns the complete lines, without line ends and zero bytes."""
    check_encoding(path, content)
    text = content.decode("utf-8", errors="replace")
    text = text.removeprefix(MARK).replace("\0", "")
    return [line.removesuffix("\r") for line in text.split("\n")[:-1]]


def _rows(lines: Sequence[str]) -> Iterator[list[str]]:
    """Yields the cells of each nonempty line. An unclosed quote affects only its own line."""
    for line in lines:
        if '"' in line:
            try:
                yield next(csv.reader([line]), [])
            except csv.Error:  # a cell exceeds the size limit of the csv module
                continue
        elif line:
            yield line.split(",")


def _indices(path: Path, header: Sequence[str], names: Sequence[str]) -> list[int]:
    """Returns the indices of columns in a header; raises a UserError if one is missing."""
    missing = [name for name in names if name not in header]
    if not missing:
        return [header.index(name) for name in names]
    expected = f"expected columns named {', '.join(names)}, separated by commas"
    if len(header) == 1 and ";" in header[0]:
        reason = "separates its columns with semicolons, as some spreadsheets do"
    else:
        reason = f"has no column '{missing[0]}'{nearest(missing[0], header)}"
    raise UserError(f"'{path}' {reason}: {expected}")


def _numbers(row: Sequence[str], indices: Sequence[int], width: int) -> list[float] | None:
    """Returns the numbers in the given cells of a row, or None if one is not a finite number."""
    if len(row) != width:
        return None
    numbers = []
    for index in indices:
        number = _number(row[index])
        if number is None or not math.isfinite(number):
            return None
        numbers.append(number)
    return numbers


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
