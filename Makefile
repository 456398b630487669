# Targets build the environment in .venv when they need it, from pyproject.toml with the versions in requirements.lock.
# They build it again only if one of these two files changes. The first target for developers adds the developers' packages.
# tools/install.py runs pip and shows its progress.

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
GPU_LIBRARIES := $(VENV)/.gpu
SITE := $(VENV)/.docs
# Messages then suggest commands of make.
ATARI_DQN := ATARI_DQN_STARTED_BY=make $(BIN)/atari-dqn
INSTALL := $(BIN)/python tools/install.py

# The variables that each target takes. Make refuses any other variable on the command line, so a new one is added here.
TAKES_train := GAME CONFIG PROTOCOL STEPS HOURS SEED RUN INIT_FROM ACTORS ADDRESS GPU ARGS
TAKES_plan := GAME HOURS CONFIG PROTOCOL ARGS
TAKES_sweep := GAMES SEEDS CONFIG PROTOCOL STEPS EPISODES SEARCH ADDRESS OUT GPU ARGS
TAKES_eval := CKPT ANNOTATED GAME PROTOCOL EPISODES SEED GPU ARGS
TAKES_release := CKPT GAME OUT EPISODES SEED GPU ARGS
TAKES_record := CKPT OUT REPLAY ANNOTATED HIGHLIGHTS GAME PROTOCOL SEED ARGS
TAKES_random := GAME PROTOCOL EPISODES SEED ARGS
TAKES_watch := CKPT ANNOTATED GAME PROTOCOL EPISODES SEED ARGS
TAKES_frames := GAME OUT PROTOCOL STEPS SEED ARGS
TAKES_plot := RUNS OUT
TAKES_report := RUNS OUT
TAKES_gallery := LIVE PORT ARGS
TAKES_export := CKPT GAME OUT
TAKES_test := ARGS
TAKES_test-slow := ARGS
TAKES_torture := ARGS
TAKES_bench := ARGS
TAKES_race := ARGS
# Every target takes these.
TAKES := PYTHON VENV SHELL MAKE MAKEFLAGS CI

TARGETS := help install develop train plan sweep eval release record random watch frames plot report gallery export games tensorboard test test-slow torture bench race docs lint format clean
VARIABLES := $(sort $(foreach target,$(TARGETS),$(TAKES_$(target))))
.PHONY: $(TARGETS)

# Recipes pass these variables on. Make must not export them, because it would expand text in them that looks like a variable.
unexport $(VARIABLES)

# The libraries may be installed already, so GPU=0 also hides the GPU.
ifeq ($(value GPU),0)
export CUDA_VISIBLE_DEVICES :=
endif

define newline


endef
space := $(subst ,, )
comma := ,
# The value of a variable, quoted as one word of the shell.
quoted = '$(subst $(newline),'$$'\n'',$(subst ','\'',$(value $(1))))'
# An option with the value of its variable, or nothing if the variable is empty.
option = $(if $(value $(1)),$(2) $(call quoted,$(1)))
ELSEWHERE = $(call option,GAME,--game) $(call option,PROTOCOL,--protocol)
# ANNOTATED=1 means the option without a value, and ANNOTATED=0 no option.
ANNOTATION = $(if $(filter-out 0,$(value ANNOTATED)),--annotated$(if $(filter-out 1,$(value ANNOTATED)),=$(call quoted,ANNOTATED)))
# Extra packages of a game: these games are simulated by Box2D.
BOX2D_GAMES := $(foreach name,LunarLander lunarlander lunar_lander BipedalWalker bipedalwalker bipedal_walker CarRacing carracing car_racing,$(name)%)
GAME_NEEDS := $(if $(filter $(BOX2D_GAMES),\
  $(value GAME) $(subst $(comma), ,$(value GAMES)) $(subst /, ,$(value CKPT) $(value REPLAY))),$(BOX2D))
# Training and evaluating look for a GPU, unless GPU=0. A sweep uses one only with --gpus.
GPU_NEEDS := $(if $(filter 0,$(value GPU)),,$(GPU_LIBRARIES))
$(if $(filter-out 0 1,$(value GPU)),$(error GPU is 0 (use no GPU), 1 (install its libraries in any case) or nothing (look for one)))
# The longest common subsequence finds the word in $(2) that is most like $(1). Only awk is needed, which every system has.
NEAREST := BEGIN { typed = toupper(ARGV[1]); n = length(typed); best = 0.55; \
  for (k = 2; k < ARGC; k++) { word = toupper(ARGV[k]); m = length(word); \
    for (i = 1; i <= n; i++) for (j = 1; j <= m; j++) { \
      longer = common[i - 1, j] > common[i, j - 1] ? common[i - 1, j] : common[i, j - 1]; \
      same = substr(typed, i, 1) == substr(word, j, 1); \
      common[i, j] = same ? common[i - 1, j - 1] + 1 : longer } \
    likeness = 2 * common[n, m] / (n + m); \
    if (likeness > best) { best = likeness; found = ARGV[k] } } \
  if (found) print "; did you mean " found "?" }
nearest = $(shell awk -- '$(NEAREST)' $(foreach word,$(1) $(2),'$(subst ','\'',$(word))'))
targets_of = $(foreach target,$(TARGETS),$(if $(filter $(1),$(TAKES_$(target))),$(target)))
listed = $(subst $(space),$(comma) ,$(strip $(1)))

# Reports what would be ignored, before anything is installed: an unknown target, and a variable that no target on the command line takes.
unknown = $(firstword $(filter-out $(TARGETS) Makefile $(VENV)/%,$(MAKECMDGOALS)))
$(if $(unknown),$(error unknown target $(unknown)$(call nearest,$(unknown),$(TARGETS)) ('make help' lists all)))
typed := $(foreach name,$(.VARIABLES),$(if $(findstring command line,$(origin $(name))),$(name)))
taken := $(foreach target,$(MAKECMDGOALS),$(TAKES_$(target)))
refused := $(firstword $(filter-out $(taken) $(TAKES),$(typed)))
instead = $(if $(taken),only $(call listed,$(taken)),nor any other variable)
$(if $(refused),$(if $(filter-out $(VARIABLES),$(refused)),\
  $(error unknown variable $(refused)$(call nearest,$(refused),$(taken) $(VARIABLES) $(TAKES)) ('make help' lists all)),\
  $(if $(MAKECMDGOALS),$(error 'make $(MAKECMDGOALS)' does not take $(refused), $(instead)),\
  $(error the target is missing: make TARGET $(refused)=..., and TARGET is one of $(call listed,$(call targets_of,$(refused)))))))
# Reports a missing variable.
require = $(if $(filter $(1),$(MAKECMDGOALS)),$(if $(value $(2)),,$(error $(2) is missing: make $(1) $(2)=$(3))))
$(call require,train,GAME,BreakoutDeterministic-v4)
$(call require,plan,GAME,BreakoutDeterministic-v4)
$(call require,random,GAME,BreakoutDeterministic-v4)
$(call require,frames,GAME,BreakoutDeterministic-v4)
$(call require,record,OUT,videos/episode.gif)
$(call require,frames,OUT,frames.png)
$(call require,export,CKPT,last)
$(call require,export,OUT,agent.onnx)
$(call require,release,CKPT,last)
$(call require,release,OUT,checkpoints/released/pong)
$(call require,plot,RUNS,last)
$(call require,report,RUNS,checkpoints)
$(if $(value OUT)$(value ARGS),,$(call require,sweep,GAMES,pong,breakout))

# Two installations at once would disturb each other.
.NOTPARALLEL:

help:
	@echo 'make train GAME=ID             train an agent; Ctrl-C saves, RUN=last continues'
	@echo '     [CONFIG=NAME|FILE]          recipe (default: the task'"'"'s own, or default)'
	@echo '     [PROTOCOL=NAME|FILE]        rules of play and scoring (default: tutorial,'
	@echo '                                 or classic for vector observations)'
	@echo '     [STEPS=N] [SEED=N]          agent steps and seed (default: recipe'"'"'s, and 1)'
	@echo '     [HOURS=H]                   train this long; it chooses recipe and steps'
	@echo '     [RUN=last|NAME|DIR]         continue the game'"'"'s newest run, or use this run'
	@echo '     [INIT_FROM=CKPT]            start with the weights of another run'
	@echo '     [ACTORS=N]                  actor processes on Ray'
	@echo '     [ADDRESS=HOST:PORT|auto]    the Ray cluster for them'
	@echo '     [ARGS="--section.key VALUE ..."]  any setting; --verbose lists the layers'
	@echo '     [GPU=0|1]                   0: no GPU; 1: always install its libraries'
	@echo 'make plan GAME=ID              measure the speed; print what times would give'
	@echo '     [HOURS=H] [CONFIG=NAME|FILE] [PROTOCOL=NAME|FILE]'
	@echo '     [ARGS="--section.key VALUE ..."]'
	@echo 'make sweep GAMES=ID,ID SEEDS=N  train many runs, one for each core at a time;'
	@echo '                               Ctrl-C saves, the same command continues'
	@echo '     [CONFIG=NAME,NAME] [PROTOCOL=NAME] [STEPS=N] [EPISODES=N] [OUT=DIR]'
	@echo '     [ADDRESS=HOST:PORT|auto]    the Ray cluster'
	@echo '     [ARGS="--set section.key=V,V"]  values to try in every combination'
	@echo '     [SEARCH=N]                  try N samples of them, and finish only the best'
	@echo 'make eval                      score the newest run; recordings go to videos/'
	@echo '     [CKPT=DIR|last|best|ID]     a run or checkpoint, the newest run, the best'
	@echo '                                 score, or the newest run of a game'
	@echo '     [EPISODES=N] [SEED=N] [GAME=ID] [PROTOCOL=NAME|FILE]'
	@echo '     [ANNOTATED=1|saliency] [ARGS="--epsilon P"]'
	@echo 'make record OUT=FILE           render one episode to a .gif or .mp4'
	@echo '     [CKPT=DIR|last|best|ID]     as above'
	@echo '     [ANNOTATED=1]               also show the network'"'"'s input and Q-values'
	@echo '     [ANNOTATED=saliency]        and, over the game, where the network looks'
	@echo '     [HIGHLIGHTS=SECONDS]        only the most eventful moments'
	@echo '     [SEED=N] [ARGS="--epsilon P --scale N"]'
	@echo 'make record REPLAY=FILE.json OUT=FILE  render the episode of a recording again'
	@echo '     [HIGHLIGHTS=SECONDS]'
	@echo 'make watch                     watch an agent in a window'
	@echo '     [CKPT=DIR|last|best|ID]     as above; random, with GAME=ID: random actions'
	@echo '     [ANNOTATED=1|saliency] [EPISODES=N] [SEED=N]'
	@echo 'make random GAME=ID            score and record random play'
	@echo '     [PROTOCOL=NAME|FILE] [EPISODES=N] [SEED=N]'
	@echo '     [ARGS="--section.key VALUE ..."]'
	@echo 'make frames GAME=ID OUT=FILE.png  draw raw frames above the network'"'"'s input'
	@echo '     [STEPS=N] [SEED=N]'
	@echo 'make plot RUNS="DIR|last|ID ..."  draw learning curves as .png and .svg'
	@echo '     [OUT=STEM]                  names of the files (default: curves)'
	@echo 'make report RUNS="DIR|last|ID ..."  compare runs with published scores'
	@echo '     [OUT=STEM]                  also write STEM.html and STEM.json'
	@echo 'make gallery                   write videos/index.html, a page to review runs'
	@echo '     [LIVE=1] [PORT=N]           serve the page here, and update it'
	@echo 'make export CKPT=DIR|best OUT=NAME.onnx  export the network: .keras, .onnx, or'
	@echo '                               a folder for a SavedModel'
	@echo 'make release CKPT=DIR|best OUT=DIR  write an agent to share, with its score,'
	@echo '                               a recording and a model card'
	@echo '     [EPISODES=N] [SEED=N]'
	@echo 'make games                     list every game with its ids'
	@echo 'make tensorboard               serve the curves of all runs to a browser'
	@echo 'make install                   build .venv (targets that need it do so)'
	@echo 'make develop                   add packages for tests, style and notebooks'
	@echo 'make test                      run the tests that take less than a minute each'
	@echo 'make test-slow                 run the tests that take longer'
	@echo 'make torture                   kill and continue runs, compare their final state'
	@echo '     [ARGS="--kills N"]'
	@echo 'make bench                     measure speed; run nothing else at the same time'
	@echo '     [ARGS="--only WORD ... --repeats N --out FILE"]'
	@echo 'make race                      score by wall time, against Stable-Baselines3'
	@echo '     [ARGS="--games ID ... --minutes N --only NAME ... --out FOLDER"]'
	@echo 'make docs                      build these documents and an API reference'
	@echo 'make lint                      check style and types'
	@echo 'make format                    fix the style'
	@echo 'make clean                     remove .venv and caches; keep runs and recordings'
	@echo
	@echo 'PYTHON=python3.12 selects the interpreter for .venv (3.11 or newer).'

install: $(INSTALLED)

develop: $(DEVELOPING)

$(INSTALLED): pyproject.toml requirements.lock
	@$(call quoted,PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'error: '$(call quoted,PYTHON)' is older than 3.11; give a newer one: make PYTHON=python3.12 ...' >&2; exit 2; }
	@rm -rf $(VENV)
	@$(call quoted,PYTHON) tools/install.py
	@touch $@

$(DEVELOPING): $(INSTALLED)
	@$(INSTALL) dev
	@touch $@

$(PLOTTING): $(INSTALLED)
	@$(INSTALL) plot
	@touch $@

$(GALLERY): $(INSTALLED)
	@$(INSTALL) gallery
	@touch $@

$(DISTRIBUTED): $(INSTALLED)
	@$(INSTALL) distributed
	@touch $@

$(ONNX): $(INSTALLED)
	@$(INSTALL) onnx
	@touch $@

$(SITE): $(INSTALLED)
	@$(INSTALL) docs
	@touch $@

$(BOX2D): $(INSTALLED)
	@$(INSTALL) box2d
	@touch $@

$(BENCHING): $(INSTALLED)
	@$(INSTALL) bench
	@touch $@

# nvidia-smi answers where there is a GPU. With a broken driver it may never end.
$(GPU_LIBRARIES): $(INSTALLED)
	@if $(if $(filter 1,$(value GPU)),true,timeout -k 1 3 nvidia-smi > /dev/null 2>&1 && \
	    echo 'nvidia-smi finds a GPU, so its libraries are installed (GPU=0 declines)' >&2); then \
	  $(INSTALL) gpu && touch $@; \
	elif command -v nvidia-smi > /dev/null; then \
	  echo 'note: nvidia-smi finds no GPU, so the processor is used (GPU=0 does not ask it)' >&2; \
	fi

train: $(INSTALLED) $(GAME_NEEDS) $(GPU_NEEDS) $(if $(value ACTORS),$(DISTRIBUTED))
	@$(ATARI_DQN) train --game $(call quoted,GAME) $(call option,CONFIG,--config) $(call option,PROTOCOL,--protocol) \
	  $(call option,STEPS,--total-steps) $(call option,HOURS,--hours) $(call option,SEED,--seed) $(call option,RUN,--run-dir) \
	  $(call option,INIT_FROM,--init-from) $(call option,ACTORS,--actors) $(call option,ADDRESS,--address) $(value ARGS)

plan: $(INSTALLED) $(GAME_NEEDS)
	@$(ATARI_DQN) plan --game $(call quoted,GAME) $(call option,HOURS,--hours) $(call option,CONFIG,--config) \
	  $(call option,PROTOCOL,--protocol) $(value ARGS)

eval: $(INSTALLED) $(GAME_NEEDS) $(GPU_NEEDS)
	@$(ATARI_DQN) eval $(if $(value CKPT),$(call quoted,CKPT)) $(ANNOTATION) $(ELSEWHERE) $(call option,EPISODES,--episodes) $(call option,SEED,--seed) $(value ARGS)

record: $(INSTALLED) $(GAME_NEEDS)
	@$(ATARI_DQN) record $(if $(value CKPT),$(call quoted,CKPT)) --out $(call quoted,OUT) $(call option,REPLAY,--replay) \
	  $(ANNOTATION) $(call option,HIGHLIGHTS,--highlights) $(ELSEWHERE) $(call option,SEED,--seed) $(value ARGS)

watch: $(INSTALLED) $(GAME_NEEDS)
	@$(ATARI_DQN) watch $(if $(value CKPT),$(call quoted,CKPT)) $(ANNOTATION) $(ELSEWHERE) $(call option,EPISODES,--episodes) $(call option,SEED,--seed) $(value ARGS)

random: $(INSTALLED) $(GAME_NEEDS)
	@$(ATARI_DQN) random --game $(call quoted,GAME) $(call option,PROTOCOL,--protocol) $(call option,EPISODES,--episodes) \
	  $(call option,SEED,--seed) $(value ARGS)

frames: $(INSTALLED)
	@$(ATARI_DQN) frames --game $(call quoted,GAME) --out $(call quoted,OUT) $(call option,PROTOCOL,--protocol) $(call option,STEPS,--steps) \
	  $(call option,SEED,--seed) $(value ARGS)

sweep: $(DISTRIBUTED) $(GAME_NEEDS) $(if $(findstring --gpus,$(value ARGS)),$(GPU_NEEDS))
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
	@$(ATARI_DQN) export $(call quoted,CKPT) --out $(call quoted,OUT) $(call option,GAME,--game)

release: $(INSTALLED) $(GAME_NEEDS) $(GPU_NEEDS)
	@$(ATARI_DQN) release $(call quoted,CKPT) --out $(call quoted,OUT) $(call option,GAME,--game) $(call option,EPISODES,--episodes) $(call option,SEED,--seed) $(value ARGS)

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

race: $(BENCHING) $(PLOTTING)
	$(BIN)/python -m benchmarks.race $(value ARGS)

docs: $(SITE)
	$(BIN)/atari-dqn config default --game BreakoutDeterministic-v4 --markdown > docs/reference/settings.md
	$(BIN)/sphinx-build --quiet --fresh-env --fail-on-warning --keep-going -c docs -d build/doctrees . build/docs
	@echo 'Open build/docs/index.html'

lint: $(DEVELOPING)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile

format: $(DEVELOPING)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
