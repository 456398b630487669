"use strict";
// The data with resolved references, the filters, and functions that views share.
(() => {
  const COLORS = 8;
  const DASHES = ["solid", "dash", "dot", "dashdot"];
  // Settings of the environment that do not change a training score.
  const BESIDE = new Set(["environment.life_loss_ends_future"]);

  const RUN_KINDS = new Set(["run", "released", "random"]);

  const byStart = (a, b) => a.newest - b.newest || a.place - b.place;

  /** Gives each run a color: its own, or that of its recipe if there are more runs than colors. */
  const paint = (game) => {
    const runs = game.runs.filter((run) => run.kind !== "random").sort(byStart);
    game.isCrowded = runs.length > COLORS;
    const recipes = [...new Set(runs.map(Gallery.recipeOf))].sort();
    runs.forEach((run, place) => {
      const number = game.isCrowded ? recipes.indexOf(Gallery.recipeOf(run)) : place;
      Object.assign(run, { color: number % COLORS, dash: DASHES[Math.floor(number / COLORS) % DASHES.length] });
    });
    for (const run of game.runs) if (run.kind === "random") Object.assign(run, { color: "random", dash: "solid" });
  };

  const isRandom = (run) => Number(run.kind === "random");
  const newestOf = (game) => game.runs.reduce((newest, run) => Math.max(newest, run.kind === "random" ? 0 : run.newest), 0);

  /** Returns the games that some runs play, the newest first, each with its newest runs first and random play last. */
  const gamesOf = (games, runs) => {
    const played = games.map((game) => ({ ...game, runs: runs.filter((run) => run.game === game.id) })).filter((game) => game.runs.length);
    for (const game of played) {
      game.runs.sort((a, b) => isRandom(a) - isRandom(b) || b.newest - a.newest || a.place - b.place);
      paint(game);
    }
    return played.sort((a, b) => newestOf(b) - newestOf(a));
  };

  Gallery.read = (data) => {
    const runs = data.runs.map((run, place) => ({ ...run, place, key: `${run.game}/${run.name}`, recordings: [], evaluations: [], means: run.evaluations }));
    const games = gamesOf(data.games, runs.filter((run) => run.kind !== "released"));
    const released = gamesOf(data.games, runs.filter((run) => run.kind === "released")).sort((a, b) => (a.id < b.id ? -1 : 1));
    const protocols = data.protocols;
    const resolve = (part) => ({ ...part, run: runs[part.run], conditions: protocols[part.protocol] });
    const recordings = data.recordings.map(resolve);
    const evaluations = data.evaluations.map(resolve);
    for (const recording of recordings) recording.run.recordings.push(recording);
    for (const evaluation of evaluations) evaluation.run.evaluations.push(evaluation);
    const leaderboard = data.leaderboard.map((line) => ({ ...line, run: runs[line.best_run], conditions: protocols[line.protocol] }));
    return { games, released, allGames: data.games, runs, protocols, recordings, evaluations, leaderboard, begin: data.begin, live: data.live, byId: new Map(recordings.map((one) => [one.id, one])) };
  };

  Gallery.state = { filters: { game: "", recipe: "", protocol: "", kind: "", min: null, max: null }, hidden: new Set() };

  const inRange = (score) => {
    const { min, max } = Gallery.state.filters;
    return (min === null || score >= min) && (max === null || score <= max);
  };
  Gallery.recipeOf = (run) => run.recipe ?? "random play";
  const named = (run) => {
    const { game, recipe, kind } = Gallery.state.filters;
    return (!game || run.game === game) && (!recipe || Gallery.recipeOf(run) === recipe) && (!RUN_KINDS.has(kind) || run.kind === kind);
  };
  const under = (conditions) => !Gallery.state.filters.protocol || conditions.protocol === Gallery.state.filters.protocol;
  const ofKind = (one) => {
    const { kind } = Gallery.state.filters;
    return !kind || RUN_KINDS.has(kind) || (kind === "annotated" ? one.annotated : one.source === kind);
  };
  Gallery.filtering = () => Object.values(Gallery.state.filters).some((value) => value !== "" && value !== null);
  const passes = {
    recording: (one) => named(one.run) && under(one.conditions) && ofKind(one) && inRange(one.score),
    evaluation: (one) => named(one.run) && under(one.conditions) && ofKind(one) && inRange(one.mean),
    line: (line) => named(line.run) && under(line.conditions) && inRange(line.mean),
    run: (run) => {
      if (!named(run)) return false;
      const { min, max, protocol, kind } = Gallery.state.filters;
      if (run.recordings.some(passes.recording) || run.evaluations.some(passes.evaluation)) return true;
      if ((kind && !RUN_KINDS.has(kind)) || (protocol && run.settings?.protocol !== protocol)) return false;
      return (min === null && max === null) || (run.curve?.score ?? []).some(inRange);
    },
  };
  Gallery.passes = passes;

  /** Returns the recording with the highest score; of several, an MP4 that is not annotated comes first. */
  Gallery.best = (recordings) => {
    const rank = (one) => (one.annotated ? 0 : 2) + (one.mp4 ? 1 : 0);
    return [...recordings].sort((a, b) => b.score - a.score || rank(b) - rank(a))[0] ?? null;
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
