"""The names that a training run's arrays have in a checkpoint (format 4).

Every part with state has ``arrays()`` and ``restore()`` with names of its own. Most arrays are
stored as ``part/name``. The others have had a name of their own since the format was made, and
keep it, so that every checkpoint of this format can be continued.
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


# The array "counters", in its order.
COUNTERS = ("loop/steps", "loop/frames", "learner/steps_owed", "loop/evaluated_at")


def to_stored(parts: Mapping[str, Arrays]) -> dict[str, NDArray[Any]]:
    """Returns the arrays of all parts by their names in a checkpoint.

    Args:
        parts: the arrays of each part, by the part's name.
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
        KeyError: an array is missing.
        ValueError: the counters are of another kind.
    """
    missing = [name for name in STORED_NAMES.values() if name not in stored]
    missing = [name for name in missing if not name.startswith("learning/")]  # after a stop only
    if missing:
        raise KeyError(missing[0])
    own_names = {stored_name: name for name, stored_name in STORED_NAMES.items()}
    named = {own_names.get(name, name): values for name, values in stored.items()}
    counters = checkpoint.array(stored, "counters", (len(COUNTERS),), np.int64)
    return named | dict(zip(COUNTERS, counters, strict=True))
