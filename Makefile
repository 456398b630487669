# Targets build the environment in .venv when they need it, from pyproject.toml with the versions in requirements.lock.
# They build it again only if one of these two files changes. The first target for developers adds the developers' packages.

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
# Messages then suggest commands of make.
ATARI_DQN := ATARI_DQN_STARTED_BY=make $(BIN)/atari-dqn
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
HOURS ?=
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

# Recipes pass these variables on. Make must not export them, because it would expand text in them that looks like a variable.
unexport GAME GAMES SEEDS SEARCH ADDRESS CKPT CONFIG PROTOCOL STEPS HOURS SEED RUN RUNS EPISODES OUT INIT_FROM REPLAY ANNOTATED LIVE \
  ACTORS PORT ARGS

define newline


endef
space := $(subst ,, )
comma := ,
# The value of a variable, quoted as one word of the shell.
quoted = '$(subst $(newline),'$$'\n'',$(subst ','\'',$(value $(1))))'
# An option with the value of its variable, or nothing if the variable is empty.
option = $(if $(value $(1)),$(2) $(call quoted,$(1)))
ELSEWHERE = $(call option,GAME,--game) $(call option,PROTOCOL,--protocol)
# Extra packages of a game: these games are simulated by Box2D.
GAME_NEEDS := $(if $(filter LunarLander% BipedalWalker% CarRacing%,\
  $(value GAME) $(subst $(comma), ,$(value GAMES)) $(subst /, ,$(value CKPT) $(value REPLAY))),$(BOX2D))
# Reports a missing variable before anything is installed.
require = $(if $(filter $(1),$(MAKECMDGOALS)),$(if $(value $(2)),,$(error $(2) is missing: make $(1) $(2)=$(3))))
$(call require,train,GAME,BreakoutDeterministic-v4)
$(call require,plan,GAME,BreakoutDeterministic-v4)
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
$(if $(filter sweep,$(MAKECMDGOALS)),$(if $(value HOURS),$(error HOURS is not for sweep: give each run STEPS=)))
$(if $(value OUT)$(value ARGS),,$(call require,sweep,GAMES,pong,breakout))

.PHONY: help install develop train plan sweep eval release record random watch frames plot report gallery export games tensorboard test test-slow torture bench docs lint format clean

help:
	@echo 'make train GAME=ID             train an agent; Ctrl-C saves, RUN=last continues'
	@echo '     [CONFIG=NAME|FILE]          recipe (default: the task'"'"'s own, or default)'
	@echo '     [PROTOCOL=NAME|FILE]        protocol of environment and evaluation (default: tutorial; classic for vector observations)'
	@echo '     [STEPS=N] [SEED=N]          agent steps and seed (default: the recipe'"'"'s, and 1)'
	@echo '     [HOURS=H]                   train this long instead: recipe and steps follow from the speed measured first'
	@echo '     [RUN=last|NAME|DIR]         continue the newest run of the game (last), or use this run directory'
	@echo '     [INIT_FROM=DIR]             start with the weights of another run, of this game or another'
	@echo '     [ACTORS=N] [ADDRESS=HOST:PORT|auto]  N actor processes, on this machine or a Ray cluster'
	@echo '     [ARGS="--section.key VALUE ..."]  any setting'
	@echo 'make plan GAME=ID              measure the speed for a minute, and print what half an hour, an hour and a night would give'
	@echo '     [HOURS=H] [CONFIG=NAME|FILE] [PROTOCOL=NAME|FILE] [ARGS="--section.key VALUE ..."]'
	@echo 'make sweep GAMES=ID,ID SEEDS=N  train many runs, one for each core at a time; Ctrl-C saves, the same command continues'
	@echo '     [CONFIG=NAME,NAME] [PROTOCOL=NAME] [STEPS=N] [EPISODES=N] [OUT=DIR] [ADDRESS=HOST:PORT|auto]'
	@echo '     [ARGS="--set section.key=V,V"]  values to try in every combination'
	@echo '     [SEARCH=N]                  sample N candidates instead, also from LOW..HIGH, and finish only the best'
	@echo 'make eval CKPT=DIR|last        score a run or one of its checkpoints; write GIFs, MP4s and JSON to videos/'
	@echo '     [EPISODES=N] [SEED=N] [GAME=ID] [PROTOCOL=NAME|FILE] [ARGS="--epsilon P --annotated"]'
	@echo 'make record CKPT=DIR|last OUT=FILE  render one episode to a .gif or .mp4'
	@echo '     [ANNOTATED=1]               also show the network'"'"'s input and its value for each action'
	@echo '     [SEED=N] [ARGS="--epsilon P --scale N"]'
	@echo 'make record REPLAY=FILE.json OUT=FILE  render an episode again from the JSON file beside its recording'
	@echo 'make watch CKPT=DIR|last       watch an agent in a window   [EPISODES=N] [SEED=N]   (CKPT=random GAME=ID: random actions)'
	@echo 'make random GAME=ID            score and record an agent that acts at random'
	@echo '     [PROTOCOL=NAME|FILE] [EPISODES=N] [SEED=N] [ARGS="--section.key VALUE ..."]'
	@echo 'make frames GAME=ID OUT=FILE.png  draw raw frames above the network'"'"'s input   [STEPS=N] [SEED=N]'
	@echo 'make plot RUNS="DIR ..."        draw the learning curves of runs to curves.png and curves.svg   [OUT=STEM]'
	@echo 'make report RUNS="DIR ..."      compare runs with each other and with published scores, with intervals'
	@echo '     [OUT=STEM]                  also write STEM.html and STEM.json'
	@echo 'make gallery                   write videos/index.html, a page with curves, recordings and results'
	@echo '     [LIVE=1] [PORT=N]           serve the page on this machine, and update it while runs go on'
	@echo 'make export CKPT=DIR OUT=NAME.onnx  export the network for other programs: .keras, .onnx, or a SavedModel'
	@echo 'make release CKPT=DIR OUT=DIR  write an agent to share: weights, score, recording and model card'
	@echo '     [EPISODES=N] [SEED=N]'
	@echo 'make games                     list every game with its ids'
	@echo 'make tensorboard               serve the curves of all runs in checkpoints/ to a browser'
	@echo 'make install                   build the environment in .venv (other targets do so when they need it)'
	@echo 'make develop                   add packages for tests, style checks and notebooks (their targets do so when they need it)'
	@echo 'make test                      run the tests that take less than a minute each'
	@echo 'make test-slow                 run the tests that take longer'
	@echo 'make torture                   kill and continue runs at random, and compare their final states   [ARGS="--kills N"]'
	@echo 'make bench                     measure speed, also of other libraries; run nothing else at the same time'
	@echo '     [ARGS="--only WORD ... --repeats N --out FILE"]'
	@echo 'make docs                      build these documents and an API reference in build/docs, after writing docs/reference/settings.md'
	@echo 'make lint                      check style and types'
	@echo 'make format                    fix the style'
	@echo 'make clean                     remove .venv and caches, but keep runs and recordings'
	@echo
	@echo 'PYTHON=python3.12 selects the interpreter for .venv (3.11 or newer).'

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
	@$(ATARI_DQN) train --game $(call quoted,GAME) $(call option,CONFIG,--config) $(call option,PROTOCOL,--protocol) \
	  $(call option,STEPS,--total-steps) $(call option,HOURS,--hours) $(call option,SEED,--seed) $(call option,RUN,--run-dir) \
	  $(call option,INIT_FROM,--init-from) $(call option,ACTORS,--actors) $(call option,ADDRESS,--address) $(value ARGS)

plan: $(INSTALLED) $(GAME_NEEDS)
	@$(ATARI_DQN) plan --game $(call quoted,GAME) $(call option,HOURS,--hours) $(call option,CONFIG,--config) \
	  $(call option,PROTOCOL,--protocol) $(value ARGS)

eval: $(INSTALLED) $(GAME_NEEDS)
	@$(ATARI_DQN) eval $(call quoted,CKPT) $(ELSEWHERE) $(call option,EPISODES,--episodes) $(call option,SEED,--seed) $(value ARGS)

record: $(INSTALLED) $(GAME_NEEDS)
	@$(ATARI_DQN) record $(if $(value CKPT),$(call quoted,CKPT)) --out $(call quoted,OUT) $(call option,REPLAY,--replay) \
	  $(if $(value ANNOTATED),--annotated) $(ELSEWHERE) $(call option,SEED,--seed) $(value ARGS)

watch: $(INSTALLED) $(GAME_NEEDS)
	@$(ATARI_DQN) watch $(call quoted,CKPT) $(ELSEWHERE) $(call option,EPISODES,--episodes) $(call option,SEED,--seed) $(value ARGS)

random: $(INSTALLED) $(GAME_NEEDS)
	@$(ATARI_DQN) random --game $(call quoted,GAME) $(call option,PROTOCOL,--protocol) $(call option,EPISODES,--episodes) \
	  $(call option,SEED,--seed) $(value ARGS)

frames: $(INSTALLED)
	@$(ATARI_DQN) frames --game $(call quoted,GAME) --out $(call quoted,OUT) $(call option,PROTOCOL,--protocol) $(call option,STEPS,--steps) \
	  $(call option,SEED,--seed) $(value ARGS)

sweep: $(DISTRIBUTED) $(GAME_NEEDS)
	@$(ATARI_DQN) sweep $(call option,GAMES,--games) $(call option,SEEDS,--seeds) $(call option,CONFIG,--config) \
	  $(call option,PROTOCOL,--protocol) $(call option,STEPS,--total-steps) $(call option,EPISODES,--episodes) \
	  $(call option,SEARCH,--search) $(call option,ADDRESS,--address) $(call option,OUT,--out) $(value ARGS)

plot: $(PLOTTING)
	@$(ATARI_DQN) plot $(call quoted,RUNS) $(call option,OUT,--out)

report: $(PLOTTING) $(GALLERY)
	@$(ATARI_DQN) report $(call quoted,RUNS) $(call option,OUT,--out)

gallery: $(GALLERY)
	@$(ATARI_DQN) gallery $(if $(filter-out 0,$(value LIVE)),--live) $(call option,PORT,--port) $(value ARGS)

export: $(INSTALLED) $(GAME_NEEDS) $(if $(filter %.onnx,$(subst $(space),_,$(value OUT))),$(ONNX))
	@$(ATARI_DQN) export $(call quoted,CKPT) --out $(call quoted,OUT)

release: $(INSTALLED) $(GAME_NEEDS)
	@$(ATARI_DQN) release $(call quoted,CKPT) --out $(call quoted,OUT) $(call option,EPISODES,--episodes) $(call option,SEED,--seed) $(value ARGS)

games: $(INSTALLED)
	@$(ATARI_DQN) games

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
