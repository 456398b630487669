"""The one error that a user can cause, and how a mistyped word is answered."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Bad input: one line that says what was wrong and what is allowed; the command line exits with 2."""


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
