"""Run directories: their names, which one a command means, and what is written about the
circumstances of a run.
"""

import fcntl
import itertools
import json
import os
import platform
import re
import stat
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from atari_dqn.backend.machine import usable_cores
from atari_dqn.backend.startup import resolve_precision
from atari_dqn.config.resolve import read_config
from atari_dqn.config.schema import SECTIONS, Config
from atari_dqn.errors import UserError
from atari_dqn.files.atomic_write import TEMPORARY, check_no_link, create, write_whole
from atari_dqn.files.reading import read_json
from atari_dqn.runs import checkpoint

CONFIG = "config.toml"
LOCK = "run.lock"
OPEN_LOCK = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
CIRCUMSTANCES = "run.json"
# What a run writes into its directory beside its checkpoints, and beside its settings: a link in
# their place is replaced.
WRITTEN = (
    *(LOCK, CIRCUMSTANCES, "metrics.csv", "episodes.csv", "evaluations.csv", "errors.log"),
    *("train.log", "worker.json", checkpoint.SHARED, "plugins", "plugins/profile"),
)
PACKAGES = (
    "atari-dqn",
    "ale-py",
    "gymnasium",
    "imageio",
    "keras",
    "lz4",
    "numpy",
    "opencv-python",
    "tensorflow",
)
# What a continued run may be given anew, because nothing that it learns depends on it.
CHANGEABLE = (
    *(
        "training.total_steps",
        "training.evaluation_period",
        "training.evaluation_episodes",
        "training.log_period",
    ),
    *(
        "training.checkpoint_period",
        "training.keep_period",
        "replay.storage",
        "machine.trace_updates",
    ),
    *("machine.environment_threads", "machine.inter_op_threads"),
)
INTRA_OP_THREADS = (
    "machine.intra_op_threads"  # with more threads in an operation, it may add up in another order
)
THREADS = ("machine.environment_threads", INTRA_OP_THREADS, "machine.inter_op_threads")
SMALL_BATCH = 64


def game_directory(root: Path, game: str) -> Path:
    """Where the runs (or recordings) of a game lie below ``root``.

    >>> game_directory(Path("checkpoints"), "ALE/Pong-v5").as_posix()
    'checkpoints/ALE-Pong-v5'
    """
    return root / game.replace("/", "-")


def choose(root: Path, config: Config, name: str | None) -> Path:
    """The run directory that the user means.

    Args:
        root: of all runs, usually ``checkpoints``.
        config: of the run.
        name: None for a new one, ``last`` for the newest of the game, a name under the game's
            directory, or a path (anything with a slash).

    Raises:
        UserError: ``last``, and the game has no run yet.
    """
    if name is None:
        made = f"{config.recipe}-seed{config.machine.seed}-{time.strftime('%Y%m%d-%H%M%S')}"
        return game_directory(root, config.game) / made
    return _named(root, config.game, name)


def stored_arguments(root: Path, game: str, name: str | None) -> dict[str, Any]:
    """Arguments of the environment of a run that exists; none where it does not, or is not named.

    Args:
        root: of all runs.
        game: environment id.
        name: as for ``choose``.
    """
    try:
        return (
            {}
            if name is None
            else read_config(_named(root, game, name) / CONFIG).environment.kwargs
        )
    except UserError:  # whatever is wrong with it is said where it is continued
        return {}


def _named(root: Path, game: str, name: str) -> Path:
    directory = game_directory(root, game)
    if name == "last":
        runs = existing(directory)
        if not runs:
            raise UserError(f"there is no run in '{directory}' to continue")
        return runs[-1]
    return Path(name) if "/" in name or "\\" in name else directory / name


def check_writable(directory: Path) -> None:
    """Raises a UserError where a directory could not be made or written to, so that nobody learns
    it after an hour.
    """
    found = next((path for path in (directory, *directory.parents) if path.exists()), directory)
    if not found.is_dir():
        raise UserError(f"cannot write to '{directory}': '{found}' is no directory")
    if not os.access(found, os.W_OK | os.X_OK):
        raise UserError(f"cannot write to '{directory}': no permission to write in '{found}'")


@contextmanager
def claimed(run_directory: Path) -> Iterator[Path]:
    """Makes the directory of a new run for this process alone, and yields it.

    Runs that begin in the same second would have the same name: where it is taken, the next of
    NAME-2, NAME-3 and so on is made. It goes again if nothing was written into it.

    Raises:
        UserError: it cannot be made.
    """
    check_writable(run_directory.parent)
    missing = [path for path in run_directory.parents if not path.exists()]
    try:
        directory = _made(run_directory)
    except OSError as error:
        raise UserError(f"cannot write to '{run_directory}': {error.strerror}") from None
    try:
        yield directory
    finally:
        with suppress(OSError):
            for path in (directory, *missing):
                path.rmdir()


def _made(wanted: Path) -> Path:
    for number in itertools.count(1):
        directory = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        # Only one process can make it, where two that look first would both find it free.
        with suppress(FileExistsError):
            directory.mkdir(parents=True)
            return directory
    raise AssertionError("numbers never end")


@contextmanager
def held(run_directory: Path) -> Iterator[None]:
    """Holds a run directory for this process; it is made, and goes again if nothing was written
    into it.

    Raises:
        UserError: another process holds it, it cannot be written, or something in it is a link.
    """
    check_writable(run_directory)
    if run_directory.is_symlink() and not run_directory.exists():
        advice = "make the directory that it names"
        raise UserError(f"'{run_directory}' is a link that leads nowhere: {advice}")
    missing = [path for path in (run_directory, *run_directory.parents) if not path.exists()]
    try:
        run_directory.mkdir(parents=True, exist_ok=True)
        check_links(run_directory)
        lock = _locked(run_directory / LOCK)
    except OSError as error:
        raise UserError(f"cannot write to '{run_directory}': {error.strerror}") from None
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        yield
    finally:
        if _is_at(lock, run_directory / LOCK):
            _remove_unused(run_directory, missing)
        os.close(lock)


def check_links(run_directory: Path) -> None:
    """Raises a UserError where something in a run's directory that a run writes is a link."""
    for name in WRITTEN:
        check_no_link(run_directory / name)
    for path in run_directory.glob("events.out.tfevents.*"):
        check_no_link(path)
    for path in (run_directory / checkpoint.SHARED).glob("*"):
        if checkpoint.SHARED_NAME.fullmatch(path.name):
            check_no_link(path)


def _locked(path: Path) -> int:
    """Opens a lock file and locks it.

    Raises:
        UserError: another process holds it.
        OSError: it cannot be opened or locked.
    """
    while True:
        descriptor = os.open(path, OPEN_LOCK | os.O_CREAT, 0o666)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise UserError(f"'{path}' is no file: delete it, or choose another run directory")
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode(errors="replace")
            os.close(descriptor)
            raise UserError(
                f"'{path.parent}' is in use by process {holder}: stop that one, or choose another run directory"
            ) from None
        except BaseException:
            os.close(descriptor)
            raise
        if not _is_at(descriptor, path):  # who held it has deleted it meanwhile
            os.close(descriptor)
            continue
        if status.st_nlink == 1:
            return descriptor
        try:
            return _locked_copy(path)
        finally:
            os.close(descriptor)


def _locked_copy(path: Path) -> int:
    """Puts a new file, locked already, in the place of a lock that somebody's backup has too."""
    temporary = path.with_name(f"{TEMPORARY}{path.name}")
    with create(temporary) as file:
        descriptor = os.dup(file.fileno())
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    temporary.replace(path)
    return descriptor


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is the one that a path names."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except OSError:
        return False


def _remove_unused(run_directory: Path, made: Sequence[Path]) -> None:
    """Deletes a run's directory, and those that were made for it, if only the lock is in it."""
    with suppress(OSError):
        if list(run_directory.iterdir()) == [run_directory / LOCK]:
            (run_directory / LOCK).unlink()
            for path in made:
                path.rmdir()


def is_held(run_directory: Path) -> bool:
    """Whether a process holds a run directory; nothing is written to find out."""
    try:
        descriptor = os.open(run_directory / LOCK, OPEN_LOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def existing(directory: Path) -> list[Path]:
    """The runs in a game's directory, the one written to last at the end."""
    return sorted(
        (path.parent for path in directory.glob(f"*/{CONFIG}")),
        key=lambda path: path.stat().st_mtime,
    )


def unfinished(directory: Path) -> list[Path]:
    """The runs in a game's directory that could go on: they have a checkpoint, and it is not that
    of their last step.
    """
    return [run for run in existing(directory) if _can_go_on(run)]


def merge(stored: Config, asked: Config, given: set[str]) -> Config:
    """Settings with which a run is continued: as stored, but for the few that may change
    (``CHANGEABLE``).

    Args:
        stored: of the run so far.
        asked: of the command.
        given: what the command named itself, as ``section.key``, ``recipe`` or ``protocol``; the
            rest is not compared.

    Raises:
        UserError: the command names something else than the run has.
    """
    for name in sorted(given - set(CHANGEABLE)):
        had, wants = _value(stored, name), _value(asked, name)
        if had != wants:
            raise UserError(
                f"this run has {name} = {had}, so it cannot continue with {wants}; choose another run directory"
            )
    if stored.game != asked.game:
        raise UserError(
            f"this run plays {stored.game}, not {asked.game}; choose another run directory"
        )
    for name in given & set(CHANGEABLE):
        stored = _with_value(stored, name, _value(asked, name))
    return stored


def what_differs(
    configs: Sequence[Config], sections: Collection[str] = tuple(SECTIONS)
) -> list[str]:
    """Of each run what it sets otherwise than most of them, or where none are most, than the first:
    ", agent.n_step=1".

    Runs with the same words differ in no more than their seed, threads and what a continued run may
    change.
    """
    every = [f"{section}.{key}" for section in sections for key in SECTIONS[section].model_fields]
    names = [name for name in every if name not in (*CHANGEABLE, *THREADS, "machine.seed")]
    values = [
        {name: json.dumps(_value(config, name)).strip('"') for name in names} for config in configs
    ]
    usual = (
        {name: Counter(run[name] for run in values).most_common(1)[0][0] for name in names}
        if values
        else {}
    )
    return [
        "".join(f", {name}={run[name]}" for name in names if run[name] != usual[name])
        for run in values
    ]


def own_config(run_directory: Path, saved: Path) -> tuple[Config, list[str]]:
    """The settings of a run that is continued, and notes about them.

    Those of its own directory count, because what may change is kept there. All else has to be as
    in its checkpoint, whose copy was verified: otherwise the run would not be what it says it is.

    Args:
        run_directory: of the run.
        saved: the checkpoint that it goes on from.

    Raises:
        UserError: the two differ in what may not change.
    """
    verified, path = read_config(saved / CONFIG), run_directory / CONFIG
    try:
        own = read_config(path)
    except UserError as error:
        return verified, [f"{error}; the settings in '{saved}' are used"]
    names = ["game", "recipe", "protocol"]
    for section, settings in SECTIONS.items():
        names += [f"{section}.{key}" for key in settings.model_fields]
    for name in names:
        has, had = _value(own, name), _value(verified, name)
        if name not in CHANGEABLE and has != had:
            advice = "change it back, or begin another run"
            raise UserError(
                f"'{path}' has {name} = {has}, and the run was trained with {had}: {advice}"
            )
    return own, []


def for_this_machine(config: Config) -> Config:
    """Settings with the machine's thread counts and precision named: with others, sums may round
    differently.
    """
    cores = usable_cores()
    # Small operations beside each other keep two cores busier than one of them shared out:
    # docs/performance.md.
    shared = cores if config.agent.batch_size > SMALL_BATCH else max(1, cores // 2)
    for name in THREADS:
        automatic = shared if name == INTRA_OP_THREADS else cores
        config = _with_value(config, name, _value(config, name) or automatic)
    return _with_value(
        config,
        "machine.precision",
        resolve_precision(config.machine.precision, not config.spec.vectors),
    )


def notes_on_speed(config: Config) -> list[str]:
    """What the user should know of settings that this machine is slow with."""
    if config.machine.precision != "bfloat16" or resolve_precision("auto") == "bfloat16":
        return []
    return [
        "this machine has no units for bfloat16: it takes several times as long as float32, and gradients are less exact"
    ]


def write_circumstances(run_directory: Path, config: Config) -> list[str]:
    """Saves the resolved settings, and in ``run.json`` the circumstances of each start.

    These are the command, the versions of packages, the commit and the machine.

    Returns:
        Notes for the user. Where ``run.json`` cannot be read it begins anew.
    """
    run_directory.mkdir(parents=True, exist_ok=True)
    _replace(run_directory / CONFIG, config.to_toml())
    path, notes = run_directory / CIRCUMSTANCES, []
    check_no_link(path)
    starts: list[dict[str, Any]] = []
    if path.exists():
        try:
            starts = read_starts(path)
        except UserError as error:
            notes.append(f"{error}; it begins anew")
    starts.append(
        {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "command": sys.argv,
            "commit": _commit(),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "machine": _machine(),
            "packages": {name: _version(name) for name in PACKAGES},
        }
    )
    _replace(path, json.dumps({"starts": starts}, indent=1) + "\n")
    return notes


def read_starts(path: Path) -> list[dict[str, Any]]:
    """What a ``run.json`` says of each start of its run.

    Raises:
        UserError: it cannot be read, or says something else.
    """
    document = read_json(path)
    starts = document.get("starts") if isinstance(document, dict) else None
    if not isinstance(starts, list) or not all(isinstance(start, dict) for start in starts):
        raise UserError(f"'{path}' does not list the starts of a run")
    return starts


def _can_go_on(run_directory: Path) -> bool:
    saved = checkpoint.to_continue_from(run_directory)
    try:
        total = read_config(run_directory / CONFIG).training.total_steps
        return saved is not None and checkpoint.step_of(saved) < total
    except UserError:  # it cannot be read
        return False


def _value(config: Config, name: str) -> Any:
    section, _, key = name.partition(".")
    return (
        getattr(getattr(config, section), key) if section in SECTIONS else getattr(config, section)
    )


def _with_value(config: Config, name: str, value: Any) -> Config:
    section, _, key = name.partition(".")
    return config.model_copy(
        update={section: getattr(config, section).model_copy(update={key: value})}
    )


def _replace(path: Path, text: str) -> None:
    """Writes a file as a whole or not at all; a UserError where that is not possible."""
    try:
        write_whole(path, text.encode())
    except OSError as error:
        raise UserError(f"'{path}' could not be written: {error.strerror}") from error


def _machine() -> str:
    """Returns the processor, its cores and how many of them may be used, and the memory."""
    names: list[str] = []
    with suppress(OSError):
        names = re.findall(
            r"^model name\s*: (.*)$",
            Path("/proc/cpuinfo").read_text(encoding="utf-8"),
            re.MULTILINE,
        )
    name = names[0] if names else platform.processor() or platform.machine()
    cores = os.cpu_count() or 1
    usable = usable_cores()
    counted = f"{cores} cores" if usable == cores else f"{usable} of {cores} cores"
    return f"{name}, {counted}, {psutil.virtual_memory().total / 2**30:.0f} GiB"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Commit of the checkout that the package runs from, with ``-dirty`` for uncommitted changes;
    None outside of one.
    """
    here = Path(__file__).parent
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=here,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()
