"""What updates measure."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class UpdateMetrics(NamedTuple):
    """What updates measured, an array with one number for each."""

    loss: Any  # mean Huber loss of the batch
    mean_max_q: Any  # mean over the batch of max_a Q(s, a)
    td_error: Any  # mean absolute TD error
    gradient_norm: Any  # global norm before clipping

    @classmethod
    def joined(cls, parts: Sequence["UpdateMetrics"]) -> "UpdateMetrics":
        """Those of several calls as one."""
        fields = (np.concatenate(field, dtype=np.float64) for field in zip(*parts, strict=True))
        return cls(*fields) if parts else cls(*np.zeros((len(cls._fields), 0)))

    def means(self) -> dict[str, float]:
        """The mean of each, NaN where nothing was learnt."""
        return {
            name: float(np.mean(field)) if len(field) else float("nan")
            for name, field in self._asdict().items()
        }
