"use strict";
// The data with resolved references, the filters, and functions that views share.
(() => {
  const COLORS = 8;
  const DASHES = ["solid", "dash", "dot", "dashdot"];
  // Settings of the environment that do not change a training score.
  const BESIDE = new Set(["environment.life_loss_ends_future"]);

  Gallery.read = (data) => {
    const runs = data.runs.map((run) => ({ ...run, key: `${run.game}/${run.name}`, recordings: [], evaluations: [], means: run.evaluations }));
    const games = data.games.map((game) => ({ ...game, runs: runs.filter((run) => run.game === game.id) }));
    for (const game of games) {
      game.runs.forEach((run, place) => Object.assign(run, { color: place % COLORS, dash: DASHES[Math.floor(place / COLORS) % DASHES.length] }));
    }
    const protocols = data.protocols;
    const resolve = (part) => ({ ...part, run: runs[part.run], conditions: protocols[part.protocol] });
    const recordings = data.recordings.map(resolve);
    const evaluations = data.evaluations.map(resolve);
    for (const recording of recordings) recording.run.recordings.push(recording);
    for (const evaluation of evaluations) evaluation.run.evaluations.push(evaluation);
    return { games, runs, protocols, recordings, evaluations, live: data.live, byId: new Map(recordings.map((one) => [one.id, one])) };
  };

  Gallery.state = { filters: { game: "", recipe: "", min: null, max: null }, hidden: new Set() };

  const inRange = (score) => {
    const { min, max } = Gallery.state.filters;
    return (min === null || score >= min) && (max === null || score <= max);
  };
  Gallery.recipeOf = (run) => run.recipe ?? "random play";
  const named = (run) => {
    const { game, recipe } = Gallery.state.filters;
    return (!game || run.game === game) && (!recipe || Gallery.recipeOf(run) === recipe);
  };
  Gallery.filtering = () => Object.values(Gallery.state.filters).some((value) => value !== "" && value !== null);
  Gallery.passes = {
    recording: (one) => named(one.run) && inRange(one.score),
    evaluation: (one) => named(one.run) && inRange(one.mean),
    run: (run) => {
      if (!named(run)) return false;
      const { min, max } = Gallery.state.filters;
      if (min === null && max === null) return true;
      const curve = run.curve?.score ?? [];
      return run.recordings.some((one) => inRange(one.score)) || run.evaluations.some((one) => inRange(one.mean)) || curve.some(inRange);
    },
  };

  /** Returns the recording nearest to a step, and the median one of several at the same step. */
  Gallery.nearest = (recordings, steps) => {
    let best = null;
    const rank = (one) => Math.abs(one.steps - steps) * 8 + (one.rank === "median" ? 0 : 2) + (one.annotated ? 1 : 0);
    for (const one of recordings) if (best === null || rank(one) < rank(best)) best = one;
    return best;
  };

  /** Returns the differences of two protocols, as [name, left, right]. */
  Gallery.differences = (left, right) =>
    [...new Set([...Object.keys(left), ...Object.keys(right)])]
      .filter((name) => left[name] !== right[name])
      .map((name) => [name, left[name] ?? "not set", right[name] ?? "not set"]);

  /** Returns the conditions under which a run was trained, or null if its settings are gone. */
  Gallery.trainedUnder = (run) => {
    if (!run.settings) return null;
    const names = Object.keys(run.settings).filter((name) => name.startsWith("environment.") && !BESIDE.has(name));
    return Object.fromEntries([["protocol", run.settings.protocol], ...names.map((name) => [name.slice(12).replaceAll("_", " "), run.settings[name]])]);
  };

  Gallery.describe = (one) => {
    const { number, whole } = Gallery.text;
    const rank = one.rank ? `${one.rank} episode, ` : "";
    return `${one.run.game}, run ${one.run.name}, after ${whole(one.steps)} agent steps: ${rank}score ${number(one.score)}`;
  };
})();
