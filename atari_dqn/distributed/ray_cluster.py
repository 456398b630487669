"""Ray: a cluster that exists, or one of this machine's own that nobody else can reach."""

import logging
import os
import socket
from typing import Any

from atari_dqn.backend.machine import usable_cores
from atari_dqn.errors import UserError, check_installed

# Ray keeps what tasks hand to each other in shared memory; runs hand over a few words.
OBJECT_STORE_BYTES = 200_000_000


def connect(address: str | None, what: str, at_least: int = 0) -> Any:
    """Joins the cluster at an address, or starts one on this machine, and returns the package.

    Without an address everything listens on 127.0.0.1 only.

    Args:
        address: ``HOST:PORT``, or ``auto`` for the cluster that this machine belongs to; None for
            one of its own.
        what: what needs Ray, for the message that it is not installed.
        at_least: CPUs that a cluster of this machine's own counts, even where it has fewer.

    Raises:
        UserError: Ray is not installed, or there is no cluster at the address.
    """
    check_installed(what, ["ray"], "sweep", "distributed")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Once for each worker it would say that it leaves the GPUs alone.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if address is None:
        # Ray's own way to take 127.0.0.1 for the machine's address instead of the one that others
        # know it by.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    elif address != "auto":
        _check_reachable(address)
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address is None:
            cpus = max(usable_cores(), at_least)
            ray.init(
                "local",
                num_cpus=cpus,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                **quiet,
            )
        else:
            ray.init(address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        lines = str(error).strip().splitlines()
        reason = lines[0] if lines else type(error).__name__
        raise UserError(f"there is no Ray cluster at '{address}': {reason}") from None
    return ray


def _check_reachable(address: str) -> None:
    """Raises a UserError where nobody answers; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise UserError(
            f"'{address}' is not the address of a Ray cluster: wanted is HOST:PORT, or auto"
        )
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UserError(f"there is no Ray cluster at '{address}': {reason}") from None


def check_room(ray: Any, cpus: int, gpus: float) -> int:
    """Returns the number of runs that the cluster takes at a time, as it is now.

    Args:
        ray: the package, connected to the cluster.
        cpus: CPUs of each run.
        gpus: GPUs of each run; may be a fraction.

    Raises:
        UserError: no machine of the cluster has that many.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    room = 0
    for node in nodes:
        by_cpus = node.get("CPU", 0) // cpus
        by_gpus = node.get("GPU", 0) // gpus if gpus else float("inf")
        room += int(min(by_cpus, by_gpus))
    if not room:
        most_cpus = max((node.get("CPU", 0) for node in nodes), default=0)
        most_gpus = max((node.get("GPU", 0) for node in nodes), default=0)
        raise UserError(
            f"a run wants {cpus} CPUs and {gpus:g} GPUs; "
            f"no machine of the cluster has more than {most_cpus:g} and {most_gpus:g}"
        )
    return room
