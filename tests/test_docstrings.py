"""Runs the worked examples in the docstrings, so that they stay true."""

import doctest
import importlib
import pkgutil

import pytest

import atari_dqn

MODULES = sorted(module.name for module in pkgutil.walk_packages(atari_dqn.__path__, "atari_dqn."))


@pytest.mark.parametrize("name", MODULES)
def test_the_docstring_examples_of_a_module_run(name: str) -> None:
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


def test_every_loss_has_a_worked_example() -> None:
    losses = importlib.import_module("atari_dqn.agent.losses")
    for name, function in vars(losses).items():
        if callable(function) and getattr(function, "__module__", "") == losses.__name__:
            assert ">>>" in (function.__doc__ or ""), name
