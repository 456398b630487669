# Every target that needs the environment builds .venv once, from pyproject.toml with the versions in requirements.lock,
# and again only when one of these two files changes. What only developers need is added by the first target for developers.

.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEVELOPING := $(VENV)/.developing
BENCHING := $(VENV)/.benching
PLOTTING := $(VENV)/.plotting
BOX2D := $(VENV)/.box2d
GALLERY := $(VENV)/.gallery
DISTRIBUTED := $(VENV)/.distributed
ONNX := $(VENV)/.onnx
SITE := $(VENV)/.docs
PIP_INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check -c requirements.lock

GAME ?=
GAMES ?=
SEEDS ?=
SEARCH ?=
ADDRESS ?=
CKPT ?=
CONFIG ?=
PROTOCOL ?=
STEPS ?=
SEED ?=
RUN ?=
RUNS ?=
EPISODES ?=
OUT ?=
INIT_FROM ?=
REPLAY ?=
ANNOTATED ?=
LIVE ?=
ACTORS ?=
PORT ?=
ARGS ?=

# Recipes pass them on by themselves; to export them make would expand what looks like a variable of its own in them.
unexport GAME GAMES SEEDS SEARCH ADDRESS CKPT CONFIG PROTOCOL STEPS SEED RUN RUNS EPISODES OUT INIT_FROM REPLAY ANNOTATED LIVE \
  ACTORS PORT ARGS

define newline


endef
space := $(subst ,, )
comma := ,
# The value of a variable as one word of the shell, whatever is in it.
quoted = '$(subst $(newline),'$$'\n'',$(subst ','\'',$(value $(1))))'
# Passes an option on only where its variable was given.
option = $(if $(value $(1)),$(2) $(call quoted,$(1)))
ELSEWHERE = $(call option,GAME,--game) $(call option,PROTOCOL,--protocol)
# What a game needs beside the rest: these are simulated by Box2D.
GAME_NEEDS := $(if $(filter LunarLander% BipedalWalker% CarRacing%,\
  $(value GAME) $(subst $(comma), ,$(value GAMES)) $(subst /, ,$(value CKPT) $(value REPLAY))),$(BOX2D))
# Says what is missing before anything is installed.
require = $(if $(filter $(1),$(MAKECMDGOALS)),$(if $(value $(2)),,$(error $(2) is missing: make $(1) $(2)=$(3))))
$(call require,train,GAME,BreakoutDeterministic-v4)
$(call require,random,GAME,BreakoutDeterministic-v4)
$(call require,eval,CKPT,checkpoints/...)
$(call require,frames,GAME,BreakoutDeterministic-v4)
$(if $(value REPLAY),,$(call require,record,CKPT,checkpoints/...))
$(call require,watch,CKPT,checkpoints/...)
$(call require,record,OUT,videos/episode.gif)
$(call require,frames,OUT,frames.png)
$(call require,export,CKPT,checkpoints/...)
$(call require,export,OUT,agent.onnx)
$(call require,release,CKPT,checkpoints/...)
$(call require,release,OUT,checkpoints/released/pong)
$(call require,plot,RUNS,checkpoints/...)
$(call require,report,RUNS,checkpoints)
$(if $(value OUT)$(value ARGS),,$(call require,sweep,GAMES,pong,breakout))

.PHONY: help install develop train sweep eval release record random watch frames plot report gallery export games tensorboard test test-slow torture bench docs lint format clean

help:
	@echo 'make train GAME=ID             train; stops and continues at will'
	@echo '     [CONFIG=NAME|FILE]          recipe (default: the task'"'"'s own, or default)'
	@echo '     [PROTOCOL=NAME|FILE]        environment and evaluation (default: tutorial; classic for vectors)'
	@echo '     [STEPS=N] [SEED=N]          agent steps and seed (default: the recipe'"'"'s, and 1)'
	@echo '     [RUN=last|NAME|DIR]         continue the newest run of the game, or name the run directory'
	@echo '     [INIT_FROM=DIR]             begin with the weights of another run, of this game or another'
	@echo '     [ACTORS=N] [ADDRESS=HOST:PORT|auto]  so many processes act, on this machine or a Ray cluster'
	@echo '     [ARGS="--section.key VALUE ..."]  any setting'
	@echo 'make sweep GAMES=ID,ID SEEDS=N  train many runs, as many at a time as there are cores; stops and continues at will'
	@echo '     [CONFIG=NAME,NAME] [PROTOCOL=NAME] [STEPS=N] [EPISODES=N] [OUT=DIR] [ADDRESS=HOST:PORT|auto]'
	@echo '     [ARGS="--set section.key=V,V"]  values to try; with SEARCH=N so many candidates, also from LOW..HIGH'
	@echo 'make eval CKPT=DIR             score a run or one of its checkpoints; GIFs, MP4s and JSON into videos/'
	@echo '     [EPISODES=N] [SEED=N] [GAME=ID] [PROTOCOL=NAME|FILE] [ARGS="--epsilon P --annotated"]'
	@echo 'make record CKPT=DIR OUT=FILE  render one episode to a .gif or .mp4'
	@echo '     [ANNOTATED=1]               with what the network sees, and what it expects of each action'
	@echo '     [SEED=N] [ARGS="--epsilon P --scale N"]'
	@echo 'make record REPLAY=FILE.json OUT=FILE  render an episode again from the JSON beside its recording'
	@echo 'make watch CKPT=DIR            watch it play in a window   [EPISODES=N] [SEED=N]   (CKPT=random GAME=ID: random actions)'
	@echo 'make random GAME=ID            score and record an agent that acts at random'
	@echo '     [PROTOCOL=NAME|FILE] [EPISODES=N] [SEED=N] [ARGS="--section.key VALUE ..."]'
	@echo 'make frames GAME=ID OUT=FILE.png  draw raw frames above what the network sees   [STEPS=N] [SEED=N]'
	@echo 'make plot RUNS="DIR ..."        draw their learning curves to curves.png and curves.svg   [OUT=STEM]'
	@echo 'make report RUNS="DIR ..."      compare runs with each other and with published scores, with intervals'
	@echo '     [OUT=STEM]                  also write STEM.html and STEM.json'
	@echo 'make gallery                   write videos/index.html: curves, recordings and results, to open, zip and send'
	@echo '     [LIVE=1] [PORT=N]           serve it on this machine instead, and follow runs as they go on'
	@echo 'make export CKPT=DIR OUT=NAME.onnx  write its network for other programs: .keras, .onnx, or a SavedModel'
	@echo 'make release CKPT=DIR OUT=DIR  write what it takes to play it, its score, a recording and a model card'
	@echo '     [EPISODES=N] [SEED=N]'
	@echo 'make games                     list every game and the ids it answers to'
	@echo 'make tensorboard               show the curves of all runs in checkpoints/ in a browser'
	@echo 'make install                   build the environment in .venv; the other targets do so by themselves'
	@echo 'make develop                   add what tests, style checks and notebooks need; they do so by themselves'
	@echo 'make test                      run the tests that take less than a minute each'
	@echo 'make test-slow                 run those that take longer'
	@echo 'make torture                   kill runs at random moments and compare how they end   [ARGS="--kills N"]'
	@echo 'make bench                     measure the speed of everything, against peers; nothing else should run'
	@echo '     [ARGS="--only WORD ... --repeats N --out FILE"]'
	@echo 'make docs                      write docs/reference/settings.md from the schema, then build the site in build/docs'
	@echo 'make lint                      check style and types;  make format  mends the style'
	@echo 'make clean                     remove .venv and caches; runs and recordings stay'
	@echo
	@echo 'PYTHON=python3.12 chooses the interpreter that .venv is built with (3.11 or newer).'

install: $(INSTALLED)

develop: $(DEVELOPING)

$(INSTALLED): pyproject.toml requirements.lock
	@$(call quoted,PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'error: '$(call quoted,PYTHON)' is older than 3.11; give a newer one: make PYTHON=python3.12 ...' >&2; exit 2; }
	rm -rf $(VENV)
	$(call quoted,PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) -e .
	@touch $@

$(DEVELOPING): $(INSTALLED)
	$(PIP_INSTALL) -e '.[dev]'
	@touch $@

$(PLOTTING): $(INSTALLED)
	$(PIP_INSTALL) -e '.[plot]'
	@touch $@

$(GALLERY): $(INSTALLED)
	$(PIP_INSTALL) -e '.[gallery]'
	@touch $@

$(DISTRIBUTED): $(INSTALLED)
	$(PIP_INSTALL) -e '.[distributed]'
	@touch $@

$(ONNX): $(INSTALLED)
	$(PIP_INSTALL) -e '.[onnx]'
	@touch $@

$(SITE): $(INSTALLED)
	$(PIP_INSTALL) -e '.[docs]'
	@touch $@

$(BOX2D): $(INSTALLED)
	$(PIP_INSTALL) -e '.[box2d]'
	@touch $@

$(BENCHING): $(INSTALLED)
	$(PIP_INSTALL) -e '.[bench]'
	@touch $@

train: $(INSTALLED) $(GAME_NEEDS) $(if $(value ACTORS),$(DISTRIBUTED))
	@$(BIN)/atari-dqn train --game $(call quoted,GAME) $(call option,CONFIG,--config) $(call option,PROTOCOL,--protocol) \
	  $(call option,STEPS,--total-steps) $(call option,SEED,--seed) $(call option,RUN,--run-dir) \
	  $(call option,INIT_FROM,--init-from) $(call option,ACTORS,--actors) $(call option,ADDRESS,--address) $(value ARGS)

eval: $(INSTALLED) $(GAME_NEEDS)
	@$(BIN)/atari-dqn eval $(call quoted,CKPT) $(ELSEWHERE) $(call option,EPISODES,--episodes) $(call option,SEED,--seed) $(value ARGS)

record: $(INSTALLED) $(GAME_NEEDS)
	@$(BIN)/atari-dqn record $(if $(value CKPT),$(call quoted,CKPT)) --out $(call quoted,OUT) $(call option,REPLAY,--replay) \
	  $(if $(value ANNOTATED),--annotated) $(ELSEWHERE) $(call option,SEED,--seed) $(value ARGS)

watch: $(INSTALLED) $(GAME_NEEDS)
	@$(BIN)/atari-dqn watch $(call quoted,CKPT) $(ELSEWHERE) $(call option,EPISODES,--episodes) $(call option,SEED,--seed) $(value ARGS)

random: $(INSTALLED) $(GAME_NEEDS)
	@$(BIN)/atari-dqn random --game $(call quoted,GAME) $(call option,PROTOCOL,--protocol) $(call option,EPISODES,--episodes) \
	  $(call option,SEED,--seed) $(value ARGS)

frames: $(INSTALLED)
	@$(BIN)/atari-dqn frames --game $(call quoted,GAME) --out $(call quoted,OUT) $(call option,PROTOCOL,--protocol) $(call option,STEPS,--steps) \
	  $(call option,SEED,--seed) $(value ARGS)

sweep: $(DISTRIBUTED) $(GAME_NEEDS)
	@$(BIN)/atari-dqn sweep $(call option,GAMES,--games) $(call option,SEEDS,--seeds) $(call option,CONFIG,--config) \
	  $(call option,PROTOCOL,--protocol) $(call option,STEPS,--total-steps) $(call option,EPISODES,--episodes) \
	  $(call option,SEARCH,--search) $(call option,ADDRESS,--address) $(call option,OUT,--out) $(value ARGS)

plot: $(PLOTTING)
	@$(BIN)/atari-dqn plot $(call quoted,RUNS) $(call option,OUT,--out)

report: $(PLOTTING) $(GALLERY)
	@$(BIN)/atari-dqn report $(call quoted,RUNS) $(call option,OUT,--out)

gallery: $(GALLERY)
	@$(BIN)/atari-dqn gallery $(if $(filter-out 0,$(value LIVE)),--live) $(call option,PORT,--port) $(value ARGS)

export: $(INSTALLED) $(GAME_NEEDS) $(if $(filter %.onnx,$(subst $(space),_,$(value OUT))),$(ONNX))
	@$(BIN)/atari-dqn export $(call quoted,CKPT) --out $(call quoted,OUT)

release: $(INSTALLED) $(GAME_NEEDS)
	@$(BIN)/atari-dqn release $(call quoted,CKPT) --out $(call quoted,OUT) $(call option,EPISODES,--episodes) $(call option,SEED,--seed) $(value ARGS)

games: $(INSTALLED)
	@$(BIN)/atari-dqn games

tensorboard: $(INSTALLED)
	$(BIN)/tensorboard --logdir checkpoints --host 127.0.0.1

test: $(DEVELOPING)
	$(BIN)/pytest -m 'not slow' -n auto --dist worksteal $(value ARGS)

test-slow: $(DEVELOPING)
	$(BIN)/pytest -m slow $(value ARGS)

torture: $(DEVELOPING)
	$(BIN)/python -m tests.torture $(value ARGS)

bench: $(BENCHING)
	$(BIN)/python -m benchmarks.bench $(value ARGS)

docs: $(SITE)
	$(BIN)/atari-dqn config default --game BreakoutDeterministic-v4 --markdown > docs/reference/settings.md
	$(BIN)/sphinx-build --quiet --fresh-env --fail-on-warning --keep-going -c docs -d build/doctrees . build/docs
	@echo 'Open build/docs/index.html'

lint: $(DEVELOPING)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(DEVELOPING)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
