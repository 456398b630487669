# Python 3.11 on Debian 12, for the processor. docs/guide/scaling.md shows how to start it.
FROM python:3.11-slim-bookworm
# OpenCV needs libGL and GLib. Debian keeps only one version of each.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 make \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 1000 --create-home player \
 && install --directory --owner player --group player /atari_dqn
WORKDIR /atari_dqn
COPY --chown=player:player . .
USER 1000
RUN PIP_NO_CACHE_DIR=1 make install .venv/.gallery
CMD ["make"]
