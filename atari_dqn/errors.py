"""The one error that a user can cause, and how a mistyped word or a missing package is answered."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from importlib.util import find_spec


class UserError(Exception):
    """Bad input: one line that says what was wrong and what is allowed; the command line exits with 2."""


def describe_failure(error: Exception) -> str:
    """One line about an error of any kind: a UserError's own words, or its type and first line.

    >>> describe_failure(UserError("no such game")), describe_failure(KeyError("x"))
    ('no such game', "KeyError: 'x'")
    """
    if isinstance(error, UserError):
        return str(error)
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def nearest(word: str, allowed: Iterable[str]) -> str:
    """Returns ``"; did you mean 'x'?"`` for the closest allowed word, or an empty string.

    >>> nearest("brekout", ["breakout", "pong"])
    "; did you mean 'breakout'?"
    >>> nearest("zzz", ["breakout", "pong"])
    ''
    """
    by_lower = {candidate.lower(): candidate for candidate in allowed}
    matches = get_close_matches(word.lower(), by_lower, n=1)
    return f"; did you mean '{by_lower[matches[0]]}'?" if matches else ""


def check_installed(what: str, packages: Sequence[str], target: str, extras: str) -> None:
    """Raises a UserError that says how to install packages of optional extras, where one of them is missing.

    Args:
        what: cannot do without them.
        packages: by the names under which they are imported.
        target: of make, which installs them.
        extras: of this package that bring them.
    """
    if not all(find_spec(package) for package in packages):
        names, them = " and ".join(packages), "them" if len(packages) > 1 else "it"
        raise UserError(f"{what} needs {names}: 'make {target}' installs {them}, as does pip install 'atari-dqn[{extras}]'")
