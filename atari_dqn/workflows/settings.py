"""Resolves requested settings to the complete settings of a run or an evaluation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atari_dqn.config.resolve import load_config
from atari_dqn.config.schema import Config
from atari_dqn.runs.directory import game_directory


@dataclass(frozen=True)
class ResolvedSettings:
    """All settings of a run or an evaluation.

    Attributes:
        config: Every setting with its value.
        notes: Messages for the user about settings that override others.
        requested: Names of the settings that the request contains: ``section.key``, ``recipe``
            and ``protocol``.
    """

    config: Config
    notes: list[str]
    requested: frozenset[str]


@dataclass(frozen=True)
class SettingsRequest:
    """The requested settings; all others have their defaults.

    Attributes:
        game: Environment id or bare name of a game.
        recipe: Name or TOML file of a recipe, or None for the game's default recipe.
        protocol: Name or TOML file of a protocol, or None for the game's default protocol.
        overrides: Values by ``section.key``, which override recipe and protocol.
    """

    game: str
    recipe: str | None = None
    protocol: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def resolve(
        self, kwargs: Mapping[str, Any] | None = None, *, learns: bool = True
    ) -> ResolvedSettings:
        """Returns all settings that follow from the request.

        Args:
            kwargs: Arguments of the environment if the request contains none.
            learns: Whether a network is trained. Without a network, any recipe suits any game.

        Raises:
            UserError: A setting is unknown or out of range, or does not suit the game.
        """
        defaults = {"environment.kwargs": kwargs} if kwargs else {}
        overrides = {**defaults, **self.overrides}
        config, notes = load_config(self.game, self.recipe, self.protocol, overrides, learns=learns)
        requested = set(self.overrides)
        if self.recipe is not None:
            requested.add("recipe")
        if self.protocol is not None:
            requested.add("protocol")
        return ResolvedSettings(config, notes, frozenset(requested))


def start_tensorflow(config: Config) -> None:
    """Starts TensorFlow with the thread counts of the settings."""
    from atari_dqn.backend.startup import start

    start(config.machine.intra_op_threads, config.machine.inter_op_threads)


def video_directory(videos: Path, config: Config, run: str) -> Path:
    """Returns the directory of the recordings of a run."""
    return game_directory(videos, config.game) / run
