"""Metrics of gradient steps."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class UpdateMetrics(NamedTuple):
    """The metrics of N updates, each an array (N,)."""

    loss: Any  # weighted mean loss of the batch, plus regularization
    mean_max_q: Any  # mean over the batch of max_a Q(s, a)
    td_error: Any  # mean absolute TD error
    gradient_norm: Any  # global norm before clipping

    @classmethod
    def joined(cls, parts: Sequence["UpdateMetrics"]) -> "UpdateMetrics":
        """Returns the metrics of several calls, joined into float64 arrays (N,)."""
        if not parts:
            return cls(*np.zeros((len(cls._fields), 0)))
        fields = [np.concatenate(field, dtype=np.float64) for field in zip(*parts, strict=True)]
        return cls(*fields)

    def means(self) -> dict[str, float]:
        """Returns the mean of each metric by name, or NaN if there was no update."""
        return {
            name: float(np.mean(field)) if len(field) else float("nan")
            for name, field in self._asdict().items()
        }
