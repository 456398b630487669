"""Connects to an existing Ray cluster, or starts one that only this machine can reach."""

import logging
import os
import socket
from typing import Any

from atari_dqn.backend.machine import usable_cores
from atari_dqn.console import waiting
from atari_dqn.errors import UserError, check_installed

# Size of Ray's shared memory for data between tasks. Runs exchange little data.
OBJECT_STORE_BYTES = 200_000_000


def connect(address: str | None, what: str, at_least: int = 0) -> Any:
    """Connects to a Ray cluster, or starts one on this machine, and returns the package ``ray``.

    A cluster that is started here listens on 127.0.0.1 only.

    Args:
        address: ``HOST:PORT``, ``auto`` for the cluster that this machine belongs to, or None to
            start a cluster.
        what: Name of the feature that needs Ray, for the message if Ray is not installed.
        at_least: Minimum number of CPUs of a cluster that is started here, even if the machine has
            fewer.

    Raises:
        UserError: Ray is not installed, or the cluster cannot be reached.
    """
    check_installed(what, ["ray"], "sweep", "distributed")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Without this setting, every worker prints a warning about GPUs that it does not use.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if address is None:
        # This setting makes Ray use 127.0.0.1 instead of the machine's public address.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    elif address != "auto":
        _check_reachable(address)
    with waiting("starting Ray" if address is None else "connecting to Ray"):
        return _initialize(address, at_least)


def _initialize(address: str | None, at_least: int) -> Any:
    """Returns the package ``ray`` after connecting it; the arguments are those of ``connect``."""
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
        raise UserError(f"cannot connect to a Ray cluster at '{address}': {reason}") from None
    return ray


def _check_reachable(address: str) -> None:
    """Raises a UserError if nothing answers at an address. Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise UserError(
            f"'{address}' is not the address of a Ray cluster: must be HOST:PORT or auto"
        )
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UserError(f"cannot connect to a Ray cluster at '{address}': {reason}") from None


def check_room(ray: Any, cpus: int, gpus: float) -> int:
    """Returns the number of runs that the cluster can currently execute in parallel.

    Args:
        ray: The package, connected to the cluster.
        cpus: CPUs of each run.
        gpus: GPUs of each run, possibly a fraction.

    Raises:
        UserError: No machine of the cluster has enough CPUs and GPUs for a run.
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
            f"a run needs {cpus} CPUs and {gpus:g} GPUs, but the machines of the cluster "
            f"have at most {most_cpus:g} CPUs and {most_gpus:g} GPUs"
        )
    return room
