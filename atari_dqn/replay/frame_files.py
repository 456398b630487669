"""Files with compressed blocks of the replay memory's frames, which never change once written.

Each checkpoint adds a file with the blocks that were filled since the previous checkpoint. Its
manifest lists all files that contain blocks of the rings.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atari_dqn.files.atomic_write import create
from atari_dqn.replay.blocks import BLOCK, Block, block_length, blocks_in, full_blocks, unpack
from atari_dqn.replay.memory import ReplayMemory
from atari_dqn.runs import checkpoint


class FrameFiles:
    """The files with the full blocks of a run's replay memory.

    Args:
        run_directory: directory of the run.

    Attributes:
        entries: the manifest entries of the files that the memory needs, by file name, oldest
            first.
    """

    def __init__(self, run_directory: Path) -> None:
        self._run_directory = run_directory
        self.entries: dict[str, checkpoint.Entry] = {}
        # For each file: (N,) the number of each environment's first block after the file.
        self._ends: dict[str, NDArray[np.int64]] = {}

    def write(self, name: str, memory: ReplayMemory) -> None:
        """Writes the full blocks that no file contains yet, if there are any.

        Files whose blocks have all been overwritten in the rings are removed from ``entries``.

        Args:
            name: name of the new file.
            memory: the replay memory.

        Raises:
            UserError: the file cannot be written.
        """
        full = memory.full_blocks
        written = list(self._ends.values())[-1] if self._ends else np.zeros_like(full)
        blocks = list(memory.filled(written))
        if blocks:
            self.entries[name] = checkpoint.share(
                self._run_directory, name, lambda file: write_blocks(file, blocks)
            )
            self._ends[name] = full
        oldest = full - memory.blocks
        outdated = [file for file, end in self._ends.items() if (end <= oldest).all()]
        for file in outdated:
            del self.entries[file]
            del self._ends[file]

    def ends(self) -> NDArray[np.int64]:
        """Returns the state for ``restore``, besides ``entries``.

        For each file and environment, it is the number of the first block after the file: an array
        (files, N), or (0,) without files.
        """
        return np.array(list(self._ends.values()), np.int64)

    def restore(self, entries: Mapping[str, checkpoint.Entry], ends: NDArray[np.int64]) -> None:
        """Restores the list of files from a checkpoint.

        Args:
            entries: manifest entries of the files by name, oldest first.
            ends: result of ``ends``.

        Raises:
            ValueError: the numbers of files and of ends differ.
        """
        if len(ends) != len(entries):
            listed = f"it lists {len(entries)} files of frames"
            raise ValueError(f"{listed}, but the ends of {len(ends)}")
        self.entries = dict(entries)
        self._ends = dict(zip(entries, ends, strict=True))

    def read(self, advance: Callable[[int], object] = lambda files: None) -> Iterator[Block]:
        """Yields every block in the files, oldest first.

        Args:
            advance: called with 1 after each file.
        """
        for name in self.entries:
            yield from read_blocks(self._run_directory / checkpoint.SHARED / name)
            advance(1)

    def digest(
        self, added: NDArray[np.int64], rows: int, frame_bytes: int | None = None
    ) -> NDArray[np.uint8]:
        """Returns the SHA-256 (32,) of the full blocks in all rings.

        It does not depend on how the blocks are divided among files.

        Args:
            added: (N,) number of frames that each environment has added since the run started.
            rows: number of rows in each environment's ring.
            frame_bytes: size of an uncompressed frame, or None if it is unknown.

        Raises:
            KeyError: no file contains a block that is needed.
            ValueError: a block has the wrong size.
        """
        blocks = blocks_in(rows)
        full = full_blocks(added, rows)
        stored = {(block.env, block.number): block.packed for block in self.read()}
        total = hashlib.sha256()
        for env, end in enumerate(full.tolist()):
            for number in range(max(end - blocks, 0), end):
                if (env, number) not in stored:
                    raise KeyError(f"block {number} of environment {env}")
                packed = stored[env, number]
                if number == end - blocks:
                    # The frames of the unfinished block have overwritten the first frames of this
                    # block.
                    first = int(added[env]) % rows % BLOCK
                    length = block_length(number % blocks, rows)
                    frames = unpack(packed, frame_bytes and length * frame_bytes)
                    packed = frames[len(frames) // length * first :]
                total.update(packed)
        return np.frombuffer(total.digest(), np.uint8)


def write_blocks(file: Path, blocks: Iterable[Block]) -> None:
    """Writes blocks to a new file, as concatenated bytes and an index."""
    blocks = list(blocks)
    rows = [(block.env, block.number, len(block.packed)) for block in blocks]
    index = np.array(rows, np.int64).reshape(-1, 3)
    data = np.frombuffer(b"".join(block.packed for block in blocks), np.uint8)
    with create(file) as stream:
        np.savez(stream, index=index, data=data)


def read_blocks(file: Path) -> Iterator[Block]:
    """Yields the blocks in a file.

    Raises:
        UserError: the file is damaged or has other contents.
    """
    stored = checkpoint.read_arrays(file)
    with checkpoint.restoring(file):
        index = checkpoint.array(stored, "index", (None, 3), np.int64)
        data = checkpoint.array(stored, "data", (None,), np.uint8)
        lengths = index[:, 2]
        # Each length is checked first, so that the sum cannot overflow.
        if (lengths < 0).any() or (lengths > len(data)).any() or lengths.sum() != len(data):
            raise ValueError("the lengths of the blocks differ from their index")
    start = 0
    for env, number, length in index.tolist():
        yield Block(env, number, data[start : start + length].tobytes())
        start += length
