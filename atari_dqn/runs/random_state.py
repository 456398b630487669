"""Converts states of random generators to arrays and back, for checkpoints."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def generator_to_array(generator: np.random.Generator) -> NDArray[np.uint64]:
    """Returns the state of a PCG64 generator as an array of shape (6,)."""
    state: Any = generator.bit_generator.state
    words: list[int] = []
    for number in (state["state"]["state"], state["state"]["inc"]):
        words += divmod(number, 2**64)
    return np.array([*words, state["has_uint32"], state["uinteger"]], np.uint64)


def generator_from_array(generator: np.random.Generator, array: NDArray[np.uint64]) -> None:
    """Sets a PCG64 generator to a state that ``generator_to_array`` returned.

    Raises:
        ValueError: The array has the wrong shape or dtype.

    >>> one, other = np.random.default_rng(1), np.random.default_rng(2)
    >>> generator_from_array(other, generator_to_array(one))
    >>> one.random() == other.random()
    True
    """
    if array.shape != (6,) or array.dtype != np.uint64:
        kind = f"{array.dtype} with shape {array.shape}"
        raise ValueError(f"the state of a random generator cannot be {kind}")
    words = [int(word) for word in array]
    generator.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": (words[0] << 64) + words[1], "inc": (words[2] << 64) + words[3]},
        "has_uint32": words[4],
        "uinteger": words[5],
    }
