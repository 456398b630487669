"""Files that are written as a whole or not at all."""

from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that whatever interrupts this, and whoever reads meanwhile, finds the old one or the new one.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    temporary = path.with_name(f".writing-{path.name}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
