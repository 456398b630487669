"""The command that prints what training would give in some times on this machine."""

import argparse

from atari_dqn.commands.arguments import Command, add_game, add_hours, requested_settings
from atari_dqn.config.resolve import DEFAULT_RECIPE
from atari_dqn.console import say_notes
from atari_dqn.games.ids import reference_scores
from atari_dqn.games.measured_scores import measured_score
from atari_dqn.typed_commands import command
from atari_dqn.workflows.time_budget import Plan, Planner, in_words

USUAL_HOURS = (0.5, 1.0, 8.0)
MEASURING_SECONDS = 6.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``plan``."""
    add_game(parser)
    parser.add_argument(
        "--config",
        metavar="NAME|FILE",
        help=f"recipe (default: the best that fits; the task's own, or {DEFAULT_RECIPE})",
    )
    add_hours(parser, "plan for this time (default: half an hour, an hour and a night)")


def run(options: argparse.Namespace) -> int:
    """Prints a table of runs that fit into some times; writes nothing."""
    request = requested_settings(options, recipe=options.config)
    planner = Planner(request, MEASURING_SECONDS)
    hours = USUAL_HOURS if options.hours is None else (options.hours,)
    plans = [planner.plan(number) for number in hours]
    print("\n".join(describe(plans, options.game)))
    notes = {plan.config.recipe: plan.notes() for plan in plans}  # the longest run of each recipe
    say_notes(note for of_recipe in notes.values() for note in of_recipe)
    return 0


def describe(plans: list[Plan], game: str) -> list[str]:
    """Returns the lines of the table, and what follows it.

    Args:
        plans: The runs.
        game: The game as the user wrote it.
    """
    config = plans[0].config
    rows = [("time", "recipe", "agent steps", "frames", "score of this project's runs")]
    rows += [_row(plan) for plan in plans]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:>{widths[2]}}  "
        f"{row[3]:>{widths[3]}}  {row[4]}".rstrip()
        for row in rows
    ]
    speeds = {plan.config.versioned_recipe: f"{plan.speeds.learning:,.0f}" for plan in plans}
    measured = ", ".join(f"{recipe} {speed} steps/s" for recipe, speed in speeds.items())
    lines += ["", f"Measured now on this machine: {measured}."]
    if config.rom in reference_scores():
        random, human = reference_scores()[config.rom]
        lines.append(f"Random play scores {random:,.1f}, a human {human:,.1f}.")
    start = command("train", game=game, hours=f"{plans[-1].hours:g}")
    return [*lines, f"To start one: {start}"]


def _row(plan: Plan) -> tuple[str, str, str, str, str]:
    config = plan.config
    steps = config.training.total_steps
    skip = config.environment.frame_skip
    skips = skip if isinstance(skip, list) else [skip]
    frames = steps * sum(skips) // len(skips)
    known = measured_score(config.versioned_recipe, config.rom or config.game, steps)
    score = f"about {known[0]:.1f} ({known[1]})" if known else "not measured"
    return in_words(plan.hours), config.versioned_recipe, f"{steps:,}", f"{frames:,}", score


COMMANDS = {"plan": Command(add_arguments, run, takes_settings=True)}
