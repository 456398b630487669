"""Tests environments that users register: constructors, ids, actions, observations, rendering."""

import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from atari_dqn.agent.pretrained import load_agent
from atari_dqn.config.resolve import ENDLESS_CAP, load_config
from atari_dqn.config.schema import Config
from atari_dqn.environments.environments import Environments, make_game, make_games
from atari_dqn.environments.gymnasium_game import GymnasiumGame
from atari_dqn.errors import UserError
from atari_dqn.evaluation.describe import describe
from atari_dqn.evaluation.evaluate import evaluate
from atari_dqn.evaluation.results import Evaluation
from atari_dqn.games import gymnasium_tasks
from atari_dqn.games.ids import GameSpec, all_ids, identify, resolve
from atari_dqn.recording.episode_file import EvaluatedEpisode, Origin, read_episode
from atari_dqn.recording.render import record_episode, replay_recording, replay_screens
from atari_dqn.runs import checkpoint
from atari_dqn.training.loop import Training
from atari_dqn.workflows.evaluate import transferred_config
from atari_dqn.workflows.release import training_command
from tests.acceptance.commands import run_in_process
from tests.own_environments import PlainEnvironment, Spaces, register_environment, register_variant

VECTORS = {"environment.stack": 1}
PICTURES = {"environment.height": 40, "environment.width": 40, "environment.stack": 2}


@pytest.fixture(autouse=True)
def _restored_registry() -> Iterator[None]:
    before = dict(gymnasium.registry)
    yield
    gymnasium.registry.clear()
    gymnasium.registry.update(before)


def settings(game: str, **overrides: Any) -> Config:
    """Returns settings with the recipe that fits the observations of an environment."""
    kwargs = overrides.get("environment.kwargs", {})
    vectors = resolve(game, kwargs).vectors
    usual = VECTORS if vectors else PICTURES
    return load_config(game, "cartpole" if vectors else "default", overrides=usual | overrides)[0]


def make_own_game(game: str, **overrides: Any) -> GymnasiumGame:
    return GymnasiumGame(game, settings(game, **overrides).environment, 100, render=True)


def ones(observations: np.ndarray) -> np.ndarray:
    return np.ones(len(observations), np.int32)


def evaluate_ones(game: str, **overrides: Any) -> Evaluation:
    return evaluate(ones, settings(game, **overrides), seed=1, episodes=2, epsilon=0.0)


# Constructors.


class Bare(PlainEnvironment):
    def __init__(self) -> None:
        self.render_mode = None


class BareWithRenderModes(Bare):
    pass


class RefusesRenderMode(PlainEnvironment):
    def __init__(self, render_mode: str | None = None) -> None:
        if render_mode is not None:
            raise TypeError("no pictures today")
        super().__init__(render_mode)


def bare_function() -> PlainEnvironment:
    return Bare()


@pytest.mark.parametrize(
    "entry_point", [Bare, BareWithRenderModes, RefusesRenderMode, bare_function]
)
def test_an_environment_without_a_render_mode_is_drawn_from_its_observations(
    entry_point: Any,
) -> None:
    game = register_environment("NoRenderMode", entry_point)
    result = evaluate_ones(game)
    assert result.statistics()["mean"] == 8
    screens = list(replay_screens(make_own_game(game), result.episodes[0]))
    assert {screen.image.shape for screen in screens} == {(32, 48, 3)}


class NeedsSize(PlainEnvironment):
    def __init__(self, size: int, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.length = size


class ImagesOrVectors(PlainEnvironment):
    """Shows images or vectors, depending on its argument."""

    def __init__(self, pictures: bool = False, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        if pictures:
            self.observation_space = Spaces.Box(0, 255, (48, 48), np.uint8)

    def observe(self) -> Any:
        return (
            np.zeros((48, 48), np.uint8)
            if len(self.observation_space.shape) == 2
            else super().observe()
        )


def test_required_constructor_arguments_come_from_the_settings(tmp_path: Path) -> None:
    game = register_environment("NeedsSize", NeedsSize)
    config = settings(game, **{"environment.kwargs": {"size": 3}})
    assert config.spec == GameSpec(game, None, vectors=True)
    result = evaluate(ones, config, seed=1, episodes=1)
    assert result.statistics()["mean_length_steps"] == 3
    with pytest.raises(
        UserError,
        match=r"NeedsSize-v0 cannot be made with environment.kwargs = {}: TypeError: .*'size'",
    ):
        load_config(game, "cartpole")
    origin = Origin("record", "run", "cartpole", None, 0)
    record_episode(
        {"gif": tmp_path / "e.gif"}, EvaluatedEpisode(result, result.episodes[0], origin)
    )
    assert read_episode(tmp_path / "e.json").config().environment.kwargs == {"size": 3}
    assert replay_recording(tmp_path / "e.json", tmp_path / "again.gif").episode.steps == 3


def test_keyword_arguments_of_recipe_protocol_and_overrides_reach_the_constructor(
    tmp_path: Path,
) -> None:
    game = register_environment("NeedsSize", NeedsSize)
    (tmp_path / "recipe.toml").write_text(
        "[environment]\nkwargs = {size = 4}\n[network]\ntorso = 'mlp'\n"
    )
    (tmp_path / "protocol.toml").write_text("[environment]\nkwargs = {size = 5}\nframe_skip = 1\n")
    recipe = tmp_path / "recipe.toml"
    protocol = tmp_path / "protocol.toml"

    def sizes(*arguments: Any, **more: Any) -> Any:
        return load_config(game, *arguments, **more)[0].environment.kwargs["size"]

    assert sizes(recipe) == 4
    assert sizes(recipe, protocol) == 5
    assert sizes(recipe, protocol, overrides={"environment.kwargs": {"size": 6}}) == 6


def test_arguments_that_change_the_observations_change_the_default_protocol() -> None:
    game = register_environment("Chooses", ImagesOrVectors)
    for pictures in (True, False, True):
        config = settings(game, **{"environment.kwargs": {"pictures": pictures}})
        assert (config.spec.vectors, config.protocol) == (
            not pictures,
            "tutorial" if pictures else "classic",
        )
        assert make_own_game(
            game, **{"environment.kwargs": {"pictures": pictures}}
        ).observation_shape[0] == (2 if pictures else 1)
    assert settings(game).spec.vectors


def test_keyword_arguments_that_are_not_a_table_are_refused() -> None:
    for game in (register_environment("NeedsSize", NeedsSize), "breakout"):
        with pytest.raises(UserError, match=r"environment.kwargs = 3: .*dictionary"):
            load_config(game, overrides={"environment.kwargs": 3})


def test_an_id_that_is_registered_again_is_inspected_again() -> None:
    assert settings(register_environment("Anew", PlainEnvironment)).spec.vectors
    assert not settings(
        register_environment("Anew", ImagesOrVectors, kwargs={"pictures": True})
    ).spec.vectors


def test_identifying_a_game_does_not_create_its_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    game = register_environment("Costly", NeedsSize)

    def make(*arguments: Any, **more: Any) -> Any:
        raise AssertionError("the environment was created")

    monkeypatch.setattr(gymnasium_tasks, "make", make)
    assert identify(game) == GameSpec(game, None)
    assert Config(game=game, recipe="cartpole", protocol="classic").rom is None
    assert identify("LunarLander-v2").id == "LunarLander-v3"


def test_another_protocol_keeps_the_keyword_arguments_of_a_checkpoint() -> None:
    game = register_environment("NeedsSize", NeedsSize)
    stored = settings(game, **{"environment.kwargs": {"size": 3}})
    transferred = transferred_config(Path("run"), stored, game, "classic")
    assert (transferred.environment.kwargs, transferred.game) == ({"size": 3}, game)


def test_the_command_on_a_card_contains_the_keyword_arguments() -> None:
    game = register_environment("NeedsSize", NeedsSize)
    config, _ = load_config(game, "cartpole", overrides={"environment.kwargs": {"size": 3}})
    assert training_command(config).endswith("ARGS='--environment.kwargs {size=3}'")


def fails(error: Exception) -> Any:
    def make(render_mode: str | None = None) -> Any:
        raise error

    return make


@pytest.mark.parametrize(
    ("entry_point", "message"),
    [
        (
            fails(RuntimeError("the maze\nhas no exit")),
            r"Fails-v0 cannot be made with environment.kwargs = {}: RuntimeError: the maze$",
        ),
        (fails(KeyError("size")), "cannot be made .*: KeyError: 'size'$"),
        (fails(ValueError()), "cannot be made .*: ValueError$"),
        (fails(AssertionError("\n\n  late")), "cannot be made .*: AssertionError: late$"),
        (
            fails(ModuleNotFoundError("No module named 'maze'")),
            "needs a package that does not load: ModuleNotFoundError: .*'maze'$",
        ),
        (
            "no_such_package.envs:Maze",
            "needs a package that does not load: ModuleNotFoundError: .*no_such_package",
        ),
        (lambda render_mode=None: object(), "cannot be made .*: TypeError: .*gymnasium.Env"),
        (
            type("Spaceless", (PlainEnvironment,), {"observation_space": None}),
            "has no valid Gymnasium observation_space: None",
        ),
    ],
)
def test_any_exception_of_a_constructor_is_a_one_line_error(entry_point: Any, message: str) -> None:
    game = register_environment("Fails", entry_point)
    with pytest.raises(UserError, match=message) as error:
        load_config(game)
    assert "\n" not in str(error.value)


# Ids.


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("LongCar-v0", 20),
        ("LongCar-v1", 50),
        ("MountainCar-v1", 50),
        ("MountainCar-v0", 200),
        ("CartPole-v0", 200),
        ("CartPole-v1", 500),
    ],
)
def test_a_registered_id_is_not_replaced_by_another(name: str, limit: int) -> None:
    car = "gymnasium.envs.classic_control:MountainCarEnv"
    gymnasium.register("LongCar-v0", car, max_episode_steps=20)
    gymnasium.register("LongCar-v1", car, max_episode_steps=50)
    gymnasium.register("MountainCar-v1", car, max_episode_steps=50)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config, notes = load_config(name, recipe="mountaincar")
        game = make_game(config.spec, config.environment, 1_000)
    assert (config.game, notes, resolve(name).id) == (name, [], name)
    assert isinstance(game, GymnasiumGame)
    assert game._env.spec.max_episode_steps == limit


@pytest.mark.parametrize("own", ["LunarLander-v9", "LunarLander-v4"])
def test_a_users_version_is_not_taken_as_the_successor_of_an_outdated_id(
    own: str,
) -> None:
    gymnasium.register(own, "gymnasium.envs.classic_control:MountainCarEnv")
    assert load_config("LunarLander-v2")[0].game == "LunarLander-v3"


def test_an_emulator_under_a_custom_id_is_treated_as_an_image_environment() -> None:
    gymnasium.register("MyPong-v0", "ale_py.env:AtariEnv", kwargs={"game": "pong", "frameskip": 4})
    config, _ = load_config("MyPong-v0", overrides={"evaluation.frame_cap": 20})
    assert (config.spec, config.recipe) == (GameSpec("MyPong-v0", None), "default")
    result = evaluate(ones, config, seed=1, episodes=1, epsilon=0.0)
    assert result.action_names == ("NOOP", "FIRE", "RIGHT", "LEFT", "RIGHTFIRE", "LEFTFIRE")
    screens = list(
        replay_screens(make_game(config.spec, config.environment, 20), result.episodes[0])
    )
    assert screens[0].image.shape == (210, 160, 3)


def test_registered_environments_do_not_override_the_ids_of_atari_games() -> None:
    gymnasium.registry["Pong-v4"] = gymnasium.registry["CartPole-v1"]
    assert resolve("Pong-v4").rom == "pong"
    assert {identify(game).rom is None for game in all_ids()} == {False}


# Actions.


SIX = ["NOOP", "FIRE", "RIGHT", "LEFT", "RIGHTFIRE", "LEFTFIRE"]


class Three(gymnasium.ActionWrapper[Any, Any, Any]):
    """Reduces six actions to three."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.action_space = Spaces.Discrete(3)

    def action(self, action: int) -> int:
        return [0, 2, 3][action]


class NamedThree(Three):
    def get_action_meanings(self) -> Any:
        return ["NOOP", "RIGHT", "LEFT"]


def of_six(wrapper: Any) -> Any:
    inner = type(
        "Inner",
        (PlainEnvironment,),
        {"action_space": Spaces.Discrete(6), "get_action_meanings": lambda self: SIX},
    )
    return lambda render_mode=None: wrapper(inner(render_mode))


def test_the_space_gives_the_number_of_actions_and_a_wrapper_may_name_them() -> None:
    for wrapper, names in ((Three, ("0", "1", "2")), (NamedThree, ("NOOP", "RIGHT", "LEFT"))):
        game = register_environment("Wrapped", of_six(wrapper))
        assert make_own_game(game).action_names == names
        assert evaluate_ones(game).statistics()["episodes"] == 2


def raises() -> Any:
    raise RuntimeError("no names")


@pytest.mark.parametrize(
    ("meanings", "names"),
    [
        (lambda self: ["a", "b", "c"], ("a", "b", "c")),
        (lambda self: ("a", "b", "c"), ("a", "b", "c")),
        (lambda self: np.array(["a", "b", "c"]), ("a", "b", "c")),
        (lambda self: [1, 2.5, None], ("1", "2.5", "None")),
        (lambda self: ["a", "b"], ("0", "1", "2")),
        (lambda self: ["a", "b", "c", "d"], ("0", "1", "2")),
        (lambda self: ["a", "b", "a"], ("0", "1", "2")),
        (lambda self: {0: "a", 1: "b", 2: "c"}, ("0", "1", "2")),
        (lambda self: "abc", ("0", "1", "2")),
        (lambda self: None, ("0", "1", "2")),
        (lambda self: raises(), ("0", "1", "2")),
        ("no function", ("0", "1", "2")),
    ],
)
def test_action_names_are_used_only_if_every_action_has_a_distinct_one(
    meanings: Any, names: tuple[str, ...]
) -> None:
    assert (
        make_own_game(register_variant("Meanings", get_action_meanings=meanings)).action_names
        == names
    )


@pytest.mark.parametrize(
    ("count", "message"),
    [(256, None), (257, "has 257 actions; at most 256"), (300, "has 300 actions; at most 256")],
)
def test_more_than_256_actions_are_refused(count: int, message: str | None) -> None:
    game = register_variant("Many", action_space=Spaces.Discrete(count))
    config = settings(game)
    if message is None:
        assert len(make_games(config.spec, config.environment, 1, 100).action_names) == count
    else:
        with pytest.raises(UserError, match=message):
            make_games(config.spec, config.environment, 1, 100)


# Observations.


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "int16", "int64", "uint16", "float16", "float32", "float64"]
)
@pytest.mark.parametrize("shape", [(48, 48), (48, 48, 1), (48, 48, 3)])
def test_images_of_any_type_are_converted_to_bytes(dtype: str, shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).integers(0, 128, shape)
    members = {"observation_space": Spaces.Box(0, 255, shape, np.uint8)}
    of_bytes = make_own_game(
        register_variant("Bytes", observe=lambda self: values.astype(np.uint8), **members)
    ).reset(1)[0]
    observation, _ = make_own_game(
        register_variant("Other", observe=lambda self: values.astype(dtype), **members)
    ).reset(1)
    np.testing.assert_array_equal(observation, of_bytes)
    assert observation[-1].any()


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(48, 48), (48, 48, 1), (48, 48, 3)])
def test_a_box_from_0_to_255_is_an_image_space_for_any_dtype(
    dtype: Any, shape: tuple[int, ...]
) -> None:
    assert gymnasium_tasks.shows_pictures(Spaces.Box(0, 255, shape, dtype))


@pytest.mark.parametrize(
    "space",
    [
        Spaces.Box(0, 1, (48, 48), np.float32),
        Spaces.Box(0, 254, (48, 48), np.int64),
        Spaces.Box(-1, 255, (48, 48), np.int64),
        Spaces.Box(0, 255, (48, 48, 4), np.uint8),
        Spaces.Box(0, 255, (48,), np.uint8),
        Spaces.MultiBinary((48, 48)),
    ],
)
def test_other_spaces_are_not_image_spaces(space: Any) -> None:
    assert not gymnasium_tasks.shows_pictures(space)


def test_fractional_pixel_values_are_rounded() -> None:
    space = Spaces.Box(0, 255, (40, 40), np.float32)
    game = make_own_game(
        register_variant(
            "Fractions",
            observation_space=space,
            observe=lambda self: np.full((40, 40), 99.6, np.float32),
        )
    )
    assert set(game.reset(1)[0][-1].ravel().tolist()) == {100}


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (
            np.full((40, 40), 0.5, np.float32),
            "fractions from 0 to 1; its space promises bytes 0..255",
        ),
        (np.full((40, 40), -1, np.int64), "numbers from -1 to -1; its space promises bytes 0..255"),
        (np.full((40, 40), 256, np.int64), "numbers from 256 to 256; its space promises"),
        (np.full((40, 40), np.nan, np.float32), "numbers from nan to nan"),
        (np.full((40, 40), np.inf, np.float32), "numbers from inf to inf"),
        (np.zeros((40, 40, 4), np.uint8), r"shape \(40, 40, 4\); its space has \(40, 40\)"),
        (np.zeros(1600, np.uint8), r"shape \(1600,\); its space has \(40, 40\)"),
    ],
)
def test_an_image_outside_its_observation_space_is_refused(
    picture: np.ndarray, message: str
) -> None:
    game = make_own_game(
        register_variant(
            "Broken",
            observation_space=Spaces.Box(0, 255, (40, 40), np.uint8),
            observe=lambda self: picture,
        )
    )
    with pytest.raises(
        UserError,
        match=rf"Broken-v0, environment 0, step 0 of its episode: the observation .*{message}",
    ):
        game.reset(1)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf"), 1e300])
@pytest.mark.parametrize("what", ["reward", "observation"])
def test_an_error_about_a_non_finite_value_names_environment_copy_and_step(
    wrong: float, what: str
) -> None:
    def reward(self: PlainEnvironment, action: int) -> float:
        return wrong if self.elapsed == 3 and action == 2 else 0.0

    def observe(self: PlainEnvironment) -> Any:
        return np.full(3, wrong if self.elapsed == 3 else 0.0)

    game = register_variant(
        "Wrong", **({"reward": reward} if what == "reward" else {"observe": observe})
    )
    config = settings(game)
    environments = Environments(
        make_games(config.spec, config.environment, 2, 100), config.environment, seed=1
    )
    environments.reset()
    for _ in range(2):
        environments.send(np.array([0, 2]))
        environments.recv()
    environments.send(np.array([0, 2]))
    copy = 1 if what == "reward" else 0
    with pytest.raises(
        UserError, match=f"^Wrong-v0, environment {copy}, step 3 of its episode: the {what} .*"
    ) as error:
        environments.recv()
    assert "learning rate" not in str(error.value)


def test_a_vector_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"Short-v0, environment 0, step 0 .* has 2 numbers; its space has 3"
    ):
        make_own_game(register_variant("Short", observe=lambda self: np.zeros(2))).reset(1)


@pytest.mark.parametrize("pictures", [True, False])
def test_observations_and_screens_are_copies_of_the_environments_arrays(
    pictures: bool,
) -> None:
    shared = np.zeros((40, 40) if pictures else 3, np.uint8 if pictures else np.float32)

    def observe(self: PlainEnvironment) -> Any:
        shared[...] = self.elapsed
        return shared

    space = {"observation_space": Spaces.Box(0, 255, (40, 40), np.uint8)} if pictures else {}
    game = make_own_game(
        register_variant("Shared", observe=observe, render=lambda self: shared, **space)
    )
    observation, _ = game.reset(1)
    screen = game.screen()
    before = observation.copy(), screen.copy()
    game.step(1)
    np.testing.assert_array_equal(observation, before[0])
    np.testing.assert_array_equal(screen, before[1])
    bare = GymnasiumGame("Shared-v0", settings("Shared-v0").environment, 100)
    bare.reset(1)
    screen = bare.screen()
    before_screen = screen.copy()
    bare.step(1)
    np.testing.assert_array_equal(screen, before_screen)


@pytest.mark.parametrize(
    ("info", "lives"),
    [(None, 0), ({}, 0), ({"lives": None}, 0), ({"lives": 3}, 3), ({"lives": np.int64(2)}, 2)],
)
def test_the_number_of_lives_in_the_info_is_optional(info: Any, lives: int) -> None:
    game = make_own_game(register_variant("Lives", info=lambda self: info))
    assert game.reset(1)[1] == lives
    assert game.step(1).lives == lives


# Rendering.


def render_in_turn(*pictures: Any) -> Any:
    """Returns a render method that returns the pictures in turn and then repeats the last one.

    Exceptions among the pictures are raised.
    """

    def render(self: PlainEnvironment) -> Any:
        picture = pictures[min(self.elapsed, len(pictures) - 1)]
        if isinstance(picture, Exception):
            raise picture
        return picture

    return render


RED = np.tile(np.array([200, 100, 0], np.uint8), (20, 30, 1))
OPAQUE = np.dstack([RED, np.full((20, 30), 255, np.uint8)])
GRAY = np.full((20, 30), 51, np.uint8)
GRAY_RGB = np.full((20, 30, 3), 51, np.uint8)


@pytest.mark.parametrize(
    ("rendered", "expected"),
    [
        (RED, RED),
        ([GRAY, RED], RED),
        (OPAQUE, RED),
        (GRAY, GRAY_RGB),
        (GRAY[:, :, None], GRAY_RGB),
        (RED.astype(np.int64), RED),
        (RED.astype(np.float32), RED),
        (RED / 255, RED),
        (GRAY / np.float32(255), GRAY_RGB),
        (GRAY > 0, np.full((20, 30, 3), 255, np.uint8)),
        (np.full((20, 30), 300), np.full((20, 30, 3), 255, np.uint8)),
        (np.full((20, 30), np.nan), np.zeros((20, 30, 3), np.uint8)),
        (RED[:, ::-1], RED[:, ::-1]),
        (RED.tolist(), RED),
        ([[1, 2], [3]], None),
        ({"picture": RED}, None),
        (None, None),
        ([], None),
        ("a map", None),
        (np.zeros((20, 30, 2), np.uint8), None),
        (np.zeros((0, 0, 3), np.uint8), None),
        (np.zeros(5), None),
        (RuntimeError("no display"), None),
    ],
)
def test_a_screen_is_always_an_rgb_image_of_bytes(
    rendered: Any, expected: np.ndarray | None
) -> None:
    game = make_own_game(register_variant("Rendered", render=render_in_turn(rendered)))
    game.reset(1)
    screen = game.screen()
    assert (screen.dtype.name, screen.ndim, screen.shape[2]) == ("uint8", 3, 3)
    if expected is None:
        assert screen.shape == (32, 48, 3), "bars of the observation are drawn instead"
    else:
        np.testing.assert_array_equal(screen, expected)


@pytest.mark.parametrize(
    "pictures",
    [
        (RED, RED[:10], RED.repeat(2, axis=1), GRAY),
        (RED, None, RED),
        (None, RED),
        (RED, RuntimeError("lost"), RED),
        (RuntimeError("at first"), RED),
        ([RED], [], [RED]),
    ],
)
@pytest.mark.parametrize(
    "observed", [{}, {"observation_space": Spaces.Box(0, 255, (48, 48), np.uint8)}]
)
def test_screens_keep_their_size_for_a_whole_episode(
    pictures: tuple[Any, ...], observed: dict[str, Any]
) -> None:
    if observed:
        observed = observed | {"observe": lambda self: np.zeros((48, 48), np.uint8)}
    game = make_own_game(register_variant("Sizes", render=render_in_turn(*pictures), **observed))
    game.reset(1)
    screens = [game.screen()]
    for _ in range(5):
        game.step(1)
        screens.append(game.screen())
    assert len({screen.shape for screen in screens}) == 1
    assert {screen.dtype.name for screen in screens} == {"uint8"}


def test_after_a_rendering_error_the_observation_is_drawn_instead() -> None:
    calls = []

    def render(self: PlainEnvironment) -> Any:
        calls.append(self.elapsed)
        if self.elapsed == 1:
            raise RuntimeError("lost")
        return RED

    game = make_own_game(register_variant("Loses", render=render))
    game.reset(1)
    game.screen()
    for _ in range(3):
        game.step(1)
        game.screen()
    assert calls == [0, 1]


def test_the_scale_of_float_images_is_kept_from_frame_to_frame() -> None:
    game = make_own_game(
        register_variant(
            "Floats", render=render_in_turn(np.full((2, 2), 200.0), np.full((2, 2), 1.0))
        )
    )
    game.reset(1)
    assert game.screen().max() == 200
    game.step(1)
    assert game.screen().max() == 1


@pytest.mark.parametrize(
    ("metadata", "rate"),
    [
        ({"render_modes": ["rgb_array"], "render_fps": 12}, 12),
        ({"render_modes": ["rgb_array"], "render_fps": np.float32(2.5)}, 2.5),
        *[
            ({"render_modes": ["rgb_array"], "render_fps": wrong}, 30)
            for wrong in (None, 0, -5, float("nan"), float("inf"), "fast")
        ],
        ({"render_modes": ["rgb_array"]}, 30),
        ({"render_modes": None}, 30),
        ({}, 30),
        (None, 30),
    ],
)
@pytest.mark.parametrize("of_class", [True, False])
def test_an_invalid_frame_rate_is_replaced_by_the_default(
    metadata: Any, rate: float, of_class: bool
) -> None:
    if of_class:
        game = register_variant("Rate", metadata=metadata)
    else:
        game = register_environment(
            "Rate",
            lambda render_mode=None: type("Rate", (PlainEnvironment,), {"metadata": metadata})(
                render_mode
            ),
        )
    assert make_own_game(game).screens_per_second == rate
    assert evaluate_ones(game).statistics()["mean"] == 8


# Tasks without a step limit.


def test_an_endless_episode_is_truncated_after_10000_steps() -> None:
    config, _ = load_config("CliffWalking-v1", "cartpole")
    assert config.evaluation.frame_cap == ENDLESS_CAP == 10_000
    result = evaluate(
        lambda seen: np.zeros(len(seen), np.int32), config, seed=1, episodes=1, epsilon=0.0
    )
    assert (len(result.episodes[0].actions), result.episodes[0].truncated) == (10_000, True)
    assert "seed 1, at most 10,000 agent steps an episode" in describe(result, "up")
    assert json.dumps(result.to_json())


@pytest.mark.parametrize(
    ("game", "arguments", "cap"),
    [
        ("CliffWalking-v1", {}, 10_000),
        ("Blackjack-v1", {}, 10_000),
        ("CliffWalking-v1", {"protocol": "classic"}, 10_000),
        ("CliffWalking-v1", {"overrides": {"evaluation.frame_cap": 108_000}}, 108_000),
        (
            "CliffWalking-v1",
            {"overrides": {"environment.kwargs": {"max_episode_steps": 40}}},
            108_000,
        ),
        ("CartPole-v1", {}, 108_000),
        ("breakout", {"recipe": None}, 108_000),
    ],
)
def test_only_an_environment_without_a_step_limit_gets_the_lower_cap(
    game: str, arguments: dict[str, Any], cap: int
) -> None:
    assert load_config(game, **{"recipe": "cartpole"} | arguments)[0].evaluation.frame_cap == cap


@pytest.mark.parametrize("own", ["recipe", "protocol"])
def test_a_frame_cap_in_a_users_recipe_or_protocol_is_kept(own: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        "[evaluation]\nframe_cap = 108_000\n"
        + ("[network]\ntorso = 'mlp'\n" if own == "recipe" else "[environment]\nframe_skip = 1\n")
    )
    arguments: dict[str, Any] = {"recipe": "cartpole"} | {own: str(file)}
    assert load_config("CliffWalking-v1", **arguments)[0].evaluation.frame_cap == 108_000
    file.write_text(file.read_text().replace("frame_cap", "episodes").replace("108_000", "7"))
    assert load_config("CliffWalking-v1", **arguments)[0].evaluation.frame_cap == 10_000


def test_the_cap_of_an_atari_game_is_in_frames() -> None:
    config, _ = load_config("breakout", overrides={"evaluation.frame_cap": 40})
    result = evaluate(lambda seen: np.zeros(len(seen), np.int32), config, seed=1, episodes=1)
    assert "at most 40 frames an episode" in describe(result, "still")


# Continued runs.


def test_restoring_replays_episodes_without_stepping_beyond_their_end() -> None:
    """The copies are at different steps of their episodes, and are restored together."""

    def step(self: Any, action: int) -> Any:
        if self.elapsed >= self.length:
            raise AssertionError("a step after the end of the episode")
        return PlainEnvironment.step(self, action)

    game = register_variant("Strict", step=step, length=6)
    config = settings(game)
    games = make_games(config.spec, config.environment, 3, 100)
    environments = Environments(games, config.environment, 1)
    environments.reset()
    for _ in range(5):
        environments.send(np.ones(3, np.int32))
        observation = environments.recv().current
    arrays = {name: array.copy() for name, array in environments.arrays().items()}
    # The first copy has just started an episode, and the second is in the middle of one.
    arrays["lengths"] = np.array([0, 2, 5])
    arrays["actions"] = np.ones(7, np.uint8)
    arrays["life_lost"][:] = False
    again = Environments(make_games(config.spec, config.environment, 3, 100), config.environment, 1)
    restored = again.restore(arrays)
    np.testing.assert_array_equal(restored[2], observation[2])
    whole = make_games(config.spec, config.environment, 3, 100)
    first, _ = whole.reset(np.ones(3, np.bool_), arrays["seeds"])
    np.testing.assert_array_equal(restored[0], first[0])


def test_a_continued_run_keeps_its_keyword_arguments(tmp_path: Path) -> None:
    def init(self: Any, size: int, render_mode: str | None = None) -> None:
        PlainEnvironment.__init__(self, render_mode)
        self.length = size

    game = register_variant("Sized", __init__=init)
    small = ["--config", "cartpole", "--run-dir", "./run", "--training.evaluation_period", "0"]
    small += ["--training.warmup_steps", "400", "--training.environments", "4"]
    command = ["train", "--game", game, *small]
    arguments = ["--environment.kwargs", "{size = 3}"]
    run_in_process(*command, *arguments, "--total-steps", "40", cwd=tmp_path)
    answer = run_in_process(*command, "--total-steps", "80", cwd=tmp_path)
    assert "continuing at step 40" in answer.stderr
    assert "complete: 80 agent steps" in answer.stdout
    other = ["--environment.kwargs", "{size = 4}"]
    refused = run_in_process(*command, *other, "--total-steps", "120", cwd=tmp_path, expect=2)
    assert "environment.kwargs = {'size': 3} and cannot continue" in refused.stderr


def test_random_play_needs_no_recipe(tmp_path: Path) -> None:
    game = register_variant("Unknown")
    answer = run_in_process("random", "--game", game, "--episodes", "2", cwd=tmp_path)
    assert "length            mean 8 agent steps" in answer.stdout
    refused = run_in_process("train", "--game", game, cwd=tmp_path, expect=2)
    assert "choose a recipe for vectors with --config" in refused.stderr


# Failures of an environment while it is played.

MISBEHAVIOR: dict[str, tuple[dict[str, Any], str]] = {
    "an error of its own": (
        {"step": lambda self, action: 1 / 0},
        "ZeroDivisionError: division by zero",
    ),
    "an exit": ({"step": lambda self, action: sys.exit(3)}, "SystemExit: 3"),
    "four answers": (
        {"step": lambda self, action: (0, 1.0, False, {})},
        "ValueError: not enough values",
    ),
    "no reward": ({"reward": lambda self, action: None}, "TypeError: "),
    "several rewards": ({"reward": lambda self, action: np.ones(2)}, "ValueError: "),
    "no observation": (
        {"observe": lambda self: None},
        "the observation has 1 numbers; its space has 3",
    ),
}


@pytest.mark.parametrize("kind", MISBEHAVIOR)
def test_any_failure_of_an_environment_is_a_one_line_error_with_a_saved_traceback(
    kind: str, tmp_path: Path
) -> None:
    members, expected = MISBEHAVIOR[kind]
    begin = members.get("step", PlainEnvironment.step)
    late = {
        "step": lambda self, action: (begin if self.elapsed > 3 else PlainEnvironment.step)(
            self, action
        )
    }
    game = register_variant("Bad", **(members if "step" not in members else late))
    small = {"training.warmup_steps": 400, "training.total_steps": 400, "training.environments": 2}
    config, _ = load_config(game, "cartpole", overrides=small | {"replay.capacity": 2000})
    training = Training(config, tmp_path / "run", tmp_path / "videos")
    with pytest.raises(
        UserError, match=rf"Bad-v0, environment \d, step \d of its episode: {expected}"
    ):
        training.run()
    if training.steps:
        assert "Traceback" in (tmp_path / "run" / "errors.log").read_text()
        with pytest.raises(UserError, match="was interrupted in the middle of a step"):
            training.run()


def test_rewards_and_lives_may_be_numpy_arrays() -> None:
    game = register_variant(
        "Arrays",
        reward=lambda self, action: np.array([1.0]),
        info=lambda self: {"lives": np.array([3, 2])},
    )
    assert evaluate_ones(game).statistics()["mean"] == 8
    assert (
        evaluate_ones(register_variant("Lists", info=lambda self: ["lives", 3])).statistics()[
            "mean"
        ]
        == 8
    )


def test_an_environment_that_fails_to_close_or_render_can_still_be_played() -> None:
    def fails(self: Any) -> Any:
        raise RuntimeError("no")

    game = register_variant("Open", close=fails, render=lambda self: sys.exit(0))
    result = evaluate_ones(game)
    assert result.statistics()["mean"] == 8
    shown = make_own_game(game)
    shown.reset(1)
    assert shown.screen().dtype == np.uint8


def test_copies_with_different_spaces_are_refused() -> None:
    sizes = iter(range(2, 9))

    def init(self: Any, render_mode: str | None = None) -> None:
        PlainEnvironment.__init__(self, render_mode)
        self.observation_space = Spaces.Box(-1, 1, (next(sizes),), np.float32)

    game = register_variant("Different", __init__=init)
    config = settings(game)
    with pytest.raises(UserError, match="environment 1 has other actions or observations"):
        make_games(config.spec, config.environment, 2, 100)


def test_an_empty_observation_space_is_refused() -> None:
    game = register_variant("Nothing", observation_space=Spaces.Box(-1, 1, (0,), np.float32))
    with pytest.raises(UserError, match="has no numbers to learn from"):
        make_own_game(game)


def test_a_large_discrete_observation_is_saved_and_loaded(tmp_path: Path) -> None:
    game = register_variant(
        "Large", observation_space=Spaces.Discrete(70_000), observe=lambda self: self.elapsed
    )
    small: dict[str, Any] = {
        "training.warmup_steps": 40,
        "training.total_steps": 40,
        "training.environments": 2,
    }
    small |= {"replay.capacity": 100, "training.evaluation_episodes": 1, "network.mlp_layers": [4]}
    config, _ = load_config(game, "cartpole", overrides=small)
    training = Training(config, tmp_path / "run", tmp_path / "videos")
    assert training.run()
    stored = checkpoint.load(tmp_path / "run")
    assert stored.notes["evaluation"] == training.evaluation
    assert load_agent(tmp_path / "run").observation_shape == (1, 70_000)


def test_restoring_accepts_a_replayed_episode_that_ends_earlier(
    tmp_path: Path,
) -> None:
    """The seed does not determine an episode's length, and a step after its end is an error."""
    lengths = iter([9, 9, 4, 4, 4, 4])

    def reset(self: Any, *, seed: int | None = None, options: Any = None) -> Any:
        self.length = next(lengths)
        return PlainEnvironment.reset(self, seed=seed)

    def step(self: Any, action: int) -> Any:
        assert self.elapsed < self.length, "a step after the end"
        return PlainEnvironment.step(self, action)

    config = settings(register_variant("Moody", reset=reset, step=step))
    games = make_games(config.spec, config.environment, 2, 100)
    environments = Environments(games, config.environment, 1)
    environments.reset()
    for _ in range(6):
        environments.send(np.ones(2, np.int32))
        environments.recv()
    again = Environments(make_games(config.spec, config.environment, 2, 100), config.environment, 1)
    again.restore(environments.arrays())
    assert again.arrays()["lengths"].tolist() == [2, 2], (
        "only the actions after the earlier end count"
    )
