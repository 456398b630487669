"""The names of a training run's arrays in a checkpoint (format 4).

Every part with state has the methods ``arrays()`` and ``restore()``, which use the part's own
names. Most arrays are stored as ``part/name``. The checkpoint format gives the others the fixed
names listed here.
"""

from collections.abc import Mapping
from typing import Any

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


# The elements of the array "counters", in order.
COUNTERS = ("loop/steps", "loop/frames", "learner/steps_owed", "loop/evaluated_at")


def to_stored(parts: Mapping[str, Arrays]) -> dict[str, NDArray[Any]]:
    """Returns the arrays of all parts by their names in a checkpoint.

    Args:
        parts: The arrays of each part, by the name of the part.
    """
    named: dict[str, NDArray[Any]] = {}
    for part, arrays in parts.items():
        named |= {f"{part}/{name}": values for name, values in arrays.items()}
    counters = np.array([int(named.pop(name)) for name in COUNTERS])
    stored = {STORED_NAMES.get(name, name): values for name, values in named.items()}
    return stored | {"counters": counters}


def from_stored(stored: Arrays) -> dict[str, NDArray[Any]]:
    """Returns the arrays of a checkpoint as ``part/name``.

    Raises:
        KeyError: An array is missing.
        ValueError: The array of counters has the wrong shape or dtype.
    """
    missing = [name for name in STORED_NAMES.values() if name not in stored]
    # A checkpoint contains unfinished updates only after a stop.
    missing = [name for name in missing if not name.startswith("learning/")]
    if missing:
        raise KeyError(missing[0])
    own_names = {stored_name: name for name, stored_name in STORED_NAMES.items()}
    named = {own_names.get(name, name): values for name, values in stored.items()}
    counters = checkpoint.array(stored, "counters", (len(COUNTERS),), np.int64)
    return named | dict(zip(COUNTERS, counters, strict=True))
