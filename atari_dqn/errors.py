"""Errors that a user can cause, printed in one line with the likely remedy."""

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from importlib.util import find_spec

# Longest value that a message quotes, and longest message, in characters.
LONGEST_VALUE = 200
LONGEST_MESSAGE = 2_000
# Quotes around a phrase. An apostrophe inside a word does not count.
_QUOTED = re.compile(r"""(?<![^\s(\[{=:,])(['"])(.*?)\1(?![^\s)\]}:;.,?!])""")
# The margin leaves room for quotes and punctuation around a word.
_LONG_WORD = re.compile(rf"\S{{{LONGEST_VALUE + 20},}}")


class UserError(Exception):
    """An error that the user can fix. Its message says in one line what is wrong and allowed.

    A command that raises it exits with code 2.
    """


def describe_failure(error: BaseException) -> str:
    """Returns one line about an error: the message of a UserError, otherwise type and first line.

    >>> describe_failure(UserError("no such game")), describe_failure(KeyError("x"))
    ('no such game', "KeyError: 'x'")
    """
    if isinstance(error, UserError):
        return str(error)
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def shorten(text: str, longest: int = LONGEST_VALUE) -> str:
    """Returns a text, cut and ended with three dots if it is too long.

    >>> shorten("breakout"), shorten("breakout", longest=6)
    ('breakout', 'bre...')
    """
    return text if len(text) <= longest else text[: longest - 3] + "..."


def one_line(message: str, typed: Iterable[str] = ()) -> str:
    r"""Returns a message as one line that is safe in a terminal; very long values are shortened.

    A message may quote a user, a file or another program. Control characters in such a quote could
    move the cursor or change the window, and some Unicode characters reverse the text direction.

    Args:
        message: The message.
        typed: The words of the command line. Long ones are shortened wherever the message quotes
            them.

    >>> one_line("unknown game 'a\x1b[2Jb'\nis here")
    "unknown game 'a\\x1b[2Jb' is here"
    """
    for word in typed:
        for text in _forms(word):
            if len(text) > LONGEST_VALUE:
                message = message.replace(text, shorten(text))
    line = re.sub(r"\s*\n\s*", " ", message.strip())
    line = "".join(letter if letter.isprintable() else _escaped(letter) for letter in line)
    line = _QUOTED.sub(lambda match: f"{match[1]}{shorten(match[2])}{match[1]}", line)
    line = _LONG_WORD.sub(lambda match: shorten(match[0]), line)
    return shorten(line, LONGEST_MESSAGE)


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


def _forms(word: str) -> Iterator[str]:
    """Yields the forms in which a message may quote a word of the command line."""
    option, _, value = word.partition("=")
    for text in (word, word.strip(), option, value):
        yield text
        yield repr(text)[1:-1]
        name = text.removeprefix("--")
        yield name
        yield name.replace("-", "_")


def nearest(word: str, allowed: Iterable[str]) -> str:
    """Returns ``"; did you mean 'x'?"`` for the closest allowed word, or an empty string.

    Upper case and the dashes of options make no difference.

    >>> nearest("brekout", ["breakout", "pong"])
    "; did you mean 'breakout'?"
    >>> nearest("zzz", ["breakout", "pong"])
    ''
    >>> nearest("--foo", ["--root"])
    ''
    """
    candidates = {candidate.lower().lstrip("-"): candidate for candidate in allowed}
    matches = get_close_matches(word.lower().lstrip("-"), candidates, n=1)
    return f"; did you mean '{candidates[matches[0]]}'?" if matches else ""


def check_installed(what: str, packages: Sequence[str], target: str, extras: str) -> None:
    """Raises a UserError with installation instructions if an optional package is missing.

    Args:
        what: The feature that needs the packages.
        packages: The import names of the packages.
        target: The make target that installs them.
        extras: The extras of this package that contain them.
    """
    if not all(find_spec(package) for package in packages):
        *others, last = packages
        names = f"{', '.join(others)} and {last}" if others else last
        them = "them" if len(packages) > 1 else "it"
        installation = f"'make {target}' installs {them}, as does pip install 'atari-dqn[{extras}]'"
        raise UserError(f"{what} needs {names}: {installation}")
