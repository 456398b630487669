"""The names that a training run's arrays have in a checkpoint (format 1).

Every part with state has ``arrays()`` and ``restore()`` with names of its own. Most arrays are
stored as ``part/name``. The others have had a name of their own since the format was made, and
keep it, so that every checkpoint ever written can be continued.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atari_dqn.runs import checkpoint
from atari_dqn.runs.checkpoint import Arrays

STORED_NAMES = {
    "explorer/random": "random",
    "learner/metrics": "recent",
    "learner/priority": "surprise/size",
    "learner/priority_index": "surprise/place",
    "learner/unfinished/action": "learning/action",
    "learner/unfinished/count": "learning/count",
    "learner/unfinished/discount": "learning/discount",
    "learner/unfinished/indices": "learning/place",
    "learner/unfinished/next_observation": "learning/next_observation",
    "learner/unfinished/observation": "learning/observation",
    "learner/unfinished/reward": "learning/reward",
    "learner/unfinished/weight": "learning/weight",
    "loop/evaluation": "evaluation",
}


class Counters(NamedTuple):
    """The array ``counters``, in its order."""

    steps: int  # agent steps
    frames: int  # emulator frames
    steps_owed: int  # agent steps since the last update
    evaluated_at: int  # step of the last evaluation

    def arrays(self) -> dict[str, NDArray[np.int64]]:
        """Returns each number by the name that its part gives it."""
        return {name: np.array(getattr(self, key)) for name, key in _COUNTED.items()}


_COUNTED = {
    "loop/steps": "steps",
    "loop/frames": "frames",
    "learner/steps_owed": "steps_owed",
    "loop/evaluated_at": "evaluated_at",
}


def to_stored(parts: Mapping[str, Arrays]) -> dict[str, NDArray[Any]]:
    """Returns the arrays of all parts by their names in a checkpoint.

    Args:
        parts: the arrays of each part, by the part's name.
    """
    named: dict[str, NDArray[Any]] = {}
    for part, arrays in parts.items():
        named |= {f"{part}/{name}": values for name, values in arrays.items()}
    counters = Counters(**{key: int(named.pop(name)) for name, key in _COUNTED.items()})
    stored = {STORED_NAMES.get(name, name): values for name, values in named.items()}
    return stored | {"counters": np.array(counters)}


def from_stored(stored: Arrays) -> dict[str, NDArray[Any]]:
    """Returns the arrays of a checkpoint as ``part/name``.

    Raises:
        KeyError: an array is missing.
        ValueError: the counters are of another kind.
    """
    own_names = {stored_name: name for name, stored_name in STORED_NAMES.items()}
    named = {own_names.get(name, name): values for name, values in stored.items()}
    counters = checkpoint.array(stored, "counters", (len(Counters._fields),), np.int64)
    return named | Counters(*counters.tolist()).arrays()
