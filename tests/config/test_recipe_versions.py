"""A recipe has a version, which goes up when its values change and is stored with every run."""

import hashlib
import json
from pathlib import Path

import pytest

from atari_dqn.config.resolve import load_config, read_config, read_recipe
from atari_dqn.errors import UserError
from tests.config.test_resolve import RECIPES

# The version of each recipe, and the start of a SHA-256 over its values. When a value changes, the
# version goes up, and docs/lab/recipe_versions.md says what changed.
VERSIONS = {
    "breakout-tutorial": (1, "bf1418de7155"),
    "c51": (1, "a0c74b215605"),
    "cartpole": (3, "23ecf0878d1f"),
    "default": (18, "c66fff8d1042"),
    "double": (1, "2c47d58192f7"),
    "dueling": (1, "517a8b097862"),
    "iqn": (1, "064ec92b5708"),
    "long": (1, "44e4bb862963"),
    "lunarlander": (3, "a4e78b5e18a8"),
    "mountaincar": (2, "d98a64f38004"),
    "mountaincar-boltzmann": (3, "d23b13cfeb15"),
    "munchausen-iqn": (1, "69e5071ad00b"),
    "nature": (1, "3189cde6f56d"),
    "prioritized": (1, "6c2b2ce11dd0"),
    "qrdqn": (1, "457e7e546132"),
    "rainbow": (1, "ea6f4225fb33"),
}


def fingerprint(recipe: str) -> str:
    """Returns the start of a SHA-256 over a recipe's values."""
    values = json.dumps(read_recipe(recipe).tables, sort_keys=True)
    return hashlib.sha256(values.encode()).hexdigest()[:12]


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_values_of_a_recipe_change_only_with_its_version(recipe: str) -> None:
    assert (read_recipe(recipe).version, fingerprint(recipe)) == VERSIONS[recipe]


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_page_of_versions_lists_the_current_version(recipe: str) -> None:
    page = Path(__file__).parent.parent.parent / "docs" / "lab" / "recipe_versions.md"
    assert f"`{recipe}@{read_recipe(recipe).version}`" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_resolved_settings_hold_the_version(recipe: str, tmp_path: Path) -> None:
    game = "CartPole-v1" if read_recipe(recipe).tables["network"].get("torso") == "mlp" else "pong"
    config, _ = load_config(game, recipe)
    version, _ = VERSIONS[recipe]
    assert config.versioned_recipe == f"{recipe}@{version}"
    stored = tmp_path / "config.toml"
    stored.write_text(config.to_toml(), encoding="utf-8")
    assert read_config(stored) == config


def test_a_recipe_of_the_user_may_have_a_version_or_none(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text("[agent]\nn_step = 5\n", encoding="utf-8")
    config, _ = load_config("pong", mine)
    assert config.versioned_recipe == "mine"
    assert "recipe_version" not in config.to_toml()
    mine.write_text("version = 2\n[agent]\nn_step = 5\n", encoding="utf-8")
    assert load_config("pong", mine)[0].versioned_recipe == "mine@2"


def test_settings_stored_without_a_version_are_read(tmp_path: Path) -> None:
    config, _ = load_config("pong")
    lines = [line for line in config.to_toml().splitlines() if "recipe_version" not in line]
    stored = tmp_path / "config.toml"
    stored.write_text("\n".join(lines), encoding="utf-8")
    assert read_config(stored).versioned_recipe == "default"


@pytest.mark.parametrize("version", ["0", "-1", "1.5", "true", '"two"', "[1]", "nan"])
def test_a_version_is_a_whole_number(version: str, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(f"version = {version}\n", encoding="utf-8")
    with pytest.raises(UserError, match="version"):
        load_config("pong", mine)
