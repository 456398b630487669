"""Programs of the operating system that only tests need."""

import os
import shutil


def missing(*names: str) -> bool:
    """Whether none of these is installed; never in CI, where what needs them has to fail instead of
    being skipped.
    """
    return "CI" not in os.environ and not any(map(shutil.which, names))
