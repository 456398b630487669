"""Runs commands with random arguments and on randomly damaged files, and checks how they end.

    python -m tests.fuzz --commands 500 --files 300

Every command has to end within a minute, without a traceback, and without changing any file outside
its run. All commands run in one process and in a folder of their own, so that hundreds of them take
only minutes.
"""

import argparse
import contextlib
import hashlib
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import NamedTuple
from unittest import mock

from atari_dqn import cli
from atari_dqn.backend import startup
from atari_dqn.runs import checkpoint
from tests.acceptance.commands import GAME, SMALL

SECONDS = 60
RUN = f"checkpoints/{GAME}/first"
TRAIN = ("train", "--game", GAME, "--run-dir", "first", *SMALL)
# A few more agent steps than the run has, so that it continues but ends soon.
MORE = ("--total-steps", "496")


class HangError(BaseException):
    """A command took longer than ``SECONDS``."""


class Fault(NamedTuple):
    """A command that behaved as no command may."""

    words: list[str]
    what: str


class Workplace:
    """A folder with a small run, its recordings, and files that commands must not touch.

    Args:
        folder: is created.
    """

    def __init__(self, folder: Path) -> None:
        self.user = folder / "user"
        self.victims = folder / "victims"
        self._pristine = folder / "pristine"
        self._pristine.mkdir(parents=True)
        _make_victims(self.victims)
        self._run([*TRAIN, "--total-steps", "480"], self._pristine)
        self._run(["eval", RUN, "--episodes", "1"], self._pristine)
        (self._pristine / "mine.toml").write_text("[agent]\nn_step = 2\n", encoding="utf-8")
        (self._pristine / "plan.toml").write_text('games = ["nothing"]\n', encoding="utf-8")
        self._before = _contents(self.victims)
        self.renew()

    def renew(self) -> None:
        """Restores all files except the victims."""
        if self.user.exists():
            shutil.rmtree(self.user)
        shutil.copytree(self._pristine, self.user)

    def answer(self, words: Sequence[str]) -> str:
        """Runs a command and returns what went wrong, or an empty string."""
        errors = io.StringIO()
        wrong = ""
        try:
            code = self._run(list(words), self.user, errors)
            lines = [line for line in errors.getvalue().splitlines() if line.startswith("error: ")]
            if code not in (0, 2):
                wrong = f"exit code {code}: {errors.getvalue()[-300:]}"
            elif code == 2 and len(lines) != 1:
                wrong = f"{len(lines)} lines of error: {errors.getvalue()[-300:]}"
            elif any(not line.isprintable() for line in lines):
                wrong = f"unprintable: {lines}"
        except HangError:
            wrong = f"no answer within {SECONDS} s"
        except Exception:
            wrong = traceback.format_exc()
        if _contents(self.victims) != self._before:
            shutil.rmtree(self.victims)
            _make_victims(self.victims)
            wrong += " and it changed what lies outside of the run"
        return wrong

    def _run(self, words: list[str], cwd: Path, errors: io.StringIO | None = None) -> int:
        errors = errors or io.StringIO()
        started = mock.patch.object(startup, "start")
        output = contextlib.redirect_stdout(io.StringIO())
        with contextlib.chdir(cwd), output, contextlib.redirect_stderr(errors), started, _limited():
            return cli.main(words)


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    def ring(number: int, frame: FrameType | None) -> None:
        raise HangError

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _make_victims(folder: Path) -> None:
    (folder / "letters").mkdir(parents=True)
    (folder / "thesis.txt").write_text("years of work\n" * 9, encoding="utf-8")
    (folder / "000000480.npz").write_bytes(b"of another run")
    for number in range(3):
        (folder / "letters" / f"{number}.txt").write_text(f"dear {number}\n", encoding="utf-8")


def _contents(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# ---------------------------------------------------------------------------- command lines

ODD = (
    *("", " ", "-", "--", "0", "-1", "1", "3", "1e3", "2.5", "nan", "inf", "-inf", "1e999"),
    *("9" * 5000, "1_0", "0x10", "true", "[2, 4]", "[", "{", "{}", '"', "'", "a b", "a=b", "$HOME"),
    *("../..", "/", "/dev/null", "/dev/zero", "nowhere", "é", "日本", "\x1b[31mred", "a\nb"),
    *("\u202eabc", "x" * 3000, "breakout", "default", "nature.toml", "mine.toml", "%s", "{0}"),
)
GIVEN = {
    "train": ("--game", GAME),
    "eval": (RUN, "--episodes", "1"),
    "record": (RUN, "--out", "a.gif"),
    "random": ("--game", "pong", "--episodes", "1"),
    "frames": ("--game", "pong", "--out", "a.png"),
    "games": (),
    "config": ("default",),
    "plot": (RUN,),
    "report": (RUN,),
    "gallery": (),
    "export": (RUN, "--out", "a.keras"),
    "release": (RUN, "--out", "released"),
    "digest": (RUN,),
    "watch": (RUN,),
    "sweep": ("--games", "nothing"),
}
OPTIONS = (
    *("--game", "--config", "--protocol", "--total-steps", "--seed", "--run-dir", "--root"),
    *("--videos", "--init-from", "--address", "--episodes", "--epsilon", "--scale"),
    *("--out", "--replay", "--annotated", "--steps", "--after", "--markdown", "--port", "--plan"),
    *("--games", "--seeds", "--set", "--search", "--cpus", "--gpus", "--help", "--nonsense"),
    *("--agent.gamma", "--agent.n_step", "--agent.batch_size", "--environment.frame_skip"),
    *("--environment.kwargs", "--network.torso", "--network.mlp_layers", "--replay.capacity"),
    *("--optimizer.learning_rate", "--exploration.schedule", "--machine.seed", "--agent.gama"),
)


def command_lines(count: int, seed: int) -> Iterator[list[str]]:
    """Yields command lines with odd values, missing ones, and options of other commands.

    Args:
        count: number of command lines.
        seed: seed of the random choices.
    """
    choices = random.Random(seed)
    for _ in range(count):
        name = choices.choice([*GIVEN, "train", "train", choices.choice(ODD)])
        words = [name, *GIVEN.get(name, ())]
        for _ in range(choices.randint(0, 3)):
            option = choices.choice(OPTIONS)
            value = choices.choice(ODD)
            words += choices.choice([[option, value], [f"{option}={value}"], [option], [value]])
        if choices.random() < 0.3 and len(words) > 1:
            del words[choices.randrange(1, len(words))]
        if name == "train":  # these options come last, so that every run ends soon
            words += [*SMALL, "--total-steps", "64", "--training.environments=8"]
        if name in ("eval", "random", "release"):
            words += ["--episodes", "1"]
        if "--live" in words or name == "watch":
            continue
        yield words


def fuzz_commands(workplace: Workplace, count: int, seed: int) -> list[Fault]:
    """Runs random command lines and returns those that misbehaved."""
    faults = []
    for words in command_lines(count, seed):
        with contextlib.suppress(SystemExit):  # raised by --help
            if wrong := workplace.answer(words):
                faults.append(Fault(words, wrong))
        workplace.renew()
    return faults


# ---------------------------------------------------------------------------- damaged files


def _deep(path: Path) -> bytes:
    if path.suffix == ".toml":
        return b"a = " + b"[" * 100_000
    return b'{"a":' * 100_000


def _replaced(make: Callable[[Path], object]) -> Callable[[Path, random.Random], None]:
    """Returns a damage that replaces a file by something else."""

    def replace(path: Path, choices: random.Random) -> None:
        path.unlink()
        make(path)

    return replace


def _rewritten(change: Callable[[bytes, random.Random], bytes]) -> Callable[..., None]:
    """Returns a damage that changes the content of a file."""

    def rewrite(path: Path, choices: random.Random) -> None:
        path.write_bytes(change(path.read_bytes(), choices))

    return rewrite


def _flip(content: bytes, choices: random.Random) -> bytes:
    if not content:
        return b"\0"
    workplace = choices.randrange(len(content))
    return (
        content[:workplace]
        + bytes([content[workplace] ^ (1 << choices.randrange(8))])
        + content[workplace + 1 :]
    )


def _number(content: bytes, choices: random.Random) -> bytes:
    """Replaces a random digit by an unexpected number."""
    digits = [workplace for workplace, byte in enumerate(content) if byte in b"0123456789"]
    if not digits:
        return content
    workplace = choices.choice(digits)
    odd = choices.choice([b"9" * 5000, b"-1", b"1e999", b"NaN", b"10000000000000", b'"x"', b"[]"])
    return content[:workplace] + odd + content[workplace + 1 :]


DAMAGES: dict[str, Callable[[Path, random.Random], None]] = {
    "missing": lambda path, choices: path.unlink(),
    "empty": _rewritten(lambda content, choices: b""),
    "torn": _rewritten(lambda content, choices: content[: choices.randint(0, len(content))]),
    "one bit": _rewritten(_flip),
    "many bits": _rewritten(lambda content, choices: choices.randbytes(len(content) or 9)),
    "a number": _rewritten(_number),
    "no bytes but NUL": _rewritten(lambda content, choices: bytes(len(content))),
    "UTF-16": _rewritten(lambda content, choices: content.decode("latin-1").encode("utf-16")),
    "a mark before it": _rewritten(lambda content, choices: b"\xef\xbb\xbf" + content),
    "carriage returns": _rewritten(lambda content, choices: content.replace(b"\n", b"\r\n")),
    "semicolons": _rewritten(lambda content, choices: content.replace(b",", b";")),
    "twice": _rewritten(lambda content, choices: content + content),
    "nested": _replaced(lambda path: path.write_bytes(_deep(path))),
    "a folder": _replaced(lambda path: path.mkdir()),
    "a pipe": _replaced(lambda path: os.mkfifo(path)),
    "endless": _replaced(lambda path: path.symlink_to("/dev/zero")),
    "a loop": _replaced(lambda path: path.symlink_to(path.name)),
    "a dangling link": _replaced(lambda path: path.symlink_to("nowhere")),
}
FILES = (
    f"{RUN}/config.toml",
    f"{RUN}/run.json",
    f"{RUN}/run.lock",
    f"{RUN}/metrics.csv",
    f"{RUN}/episodes.csv",
    f"{RUN}/evaluations.csv",
    f"{RUN}/replay/000000480.npz",
    f"{RUN}/step-000000480/arrays.npz",
    f"{RUN}/step-000000480/config.toml",
    f"{RUN}/step-000000480/manifest.json",
    f"{RUN}/step-000000480/network.keras",
    f"videos/{GAME}/first/*_evaluation_*.json",
    f"videos/{GAME}/first/*_median_*.json",
    "mine.toml",
    "plan.toml",
)
COMMANDS: dict[str, tuple[str, ...]] = {
    "train": (*TRAIN, *MORE),
    "eval": ("eval", RUN, "--episodes", "1"),
    "init": ("train", "--game", GAME, "--init-from", RUN, *SMALL, "--total-steps", "16"),
    "digest": ("digest", RUN),
    "record": ("record", RUN, "--out", "a.gif", "--epsilon", "1"),
    "replay": ("record", "--replay", "{recording}", "--out", "a.gif"),
    "export": ("export", RUN, "--out", "a.keras"),
    "release": ("release", RUN, "--out", "released", "--episodes", "1"),
    "plot": ("plot", RUN, "--out", "curves"),
    "report": ("report", RUN, "--out", "all"),
    "gallery": ("gallery",),
    "config": ("config", "mine.toml"),
    "sweep": ("sweep", "--plan", "plan.toml", "--games", "nothing"),
}
# The commands that read a file. Files that are not listed are read by all commands in OF_THE_RUN.
READERS = {
    "mine.toml": ("config",),
    "plan.toml": ("sweep",),
    "_evaluation_": ("report", "gallery"),
    "_median_": ("replay", "gallery"),
    ".csv": ("train", "plot", "report", "gallery", "release"),
    "run.json": ("train", "release", "gallery"),
    "run.lock": ("train",),
    "replay/": ("train", "digest", "eval"),
}
READERS_OF_A_RUN = (
    "train",
    "eval",
    "init",
    "digest",
    "record",
    "export",
    "release",
    "report",
    "gallery",
)


def forge_checksums(run: Path) -> None:
    """Updates the checksums in the manifest to match the files, as an attacker would."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        path = checkpoint.in_run(run)[-1] / checkpoint.MANIFEST
        manifest = json.loads(path.read_text())
        manifest.pop("sha256", None)
        for folder, kind in ((path.parent, "files"), (run / "replay", "shared")):
            for name, entry in manifest[kind].items():
                if (folder / name).is_file():
                    content = (folder / name).read_bytes()
                    digest = hashlib.sha256(content).hexdigest()
                    entry.update(bytes=len(content), sha256=digest)
        seal = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
        path.write_text(json.dumps(manifest | {"sha256": seal}))


def fuzz_files(workplace: Workplace, count: int, seed: int) -> list[Fault]:
    """Damages one file at a time, runs a command that reads it, and returns the faults."""
    choices = random.Random(seed)
    faults = []
    for _ in range(count):
        pattern = choices.choice(FILES)
        (path,) = workplace.user.glob(pattern) if "*" in pattern else [workplace.user / pattern]
        readers = next((who for part, who in READERS.items() if part in pattern), READERS_OF_A_RUN)
        command = choices.choice(readers)
        damage = choices.choice(list(DAMAGES))
        if choices.random() < 0.15:
            damage = "a link to somebody's document"
            path.unlink()
            path.symlink_to(workplace.victims / "thesis.txt")
        else:
            DAMAGES[damage](path, choices)
        forged = choices.random() < 0.5 and "manifest" not in pattern
        if forged:
            forge_checksums(workplace.user / RUN)
        recording = next(iter(workplace.user.glob(FILES[12])), workplace.user / "none.json")
        words = [word.format(recording=recording) for word in COMMANDS[command]]
        if wrong := workplace.answer(words):
            faults.append(Fault([pattern, damage, f"checksums forged: {forged}", *words], wrong))
        workplace.renew()
    return faults


def main() -> int:
    """Runs the fuzzer, prints the faults, and returns 0 if there are none."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--commands", type=int, default=500)
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    startup.start()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        workplace = Workplace(Path(folder) / "fuzz")
        faults = fuzz_commands(workplace, options.commands, options.seed)
        faults += fuzz_files(workplace, options.files, options.seed)
    for words, what in faults:
        print(f"{words}\n    {what}\n")
    seconds = time.monotonic() - began
    tried = f"{options.commands} command lines and {options.files} damaged files"
    print(f"{tried} in {seconds:.0f} s: {len(faults)} not answered as they should be")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
