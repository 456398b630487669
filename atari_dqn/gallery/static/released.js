"use strict";
// The agents that come with the project, with their scores and learning curves.
(() => {
  const { el, text, byId } = Gallery;
  const charts = new Map();

  const thumbnail = (run) => {
    const one = Gallery.best(run.recordings.filter(Gallery.passes.recording));
    return one && el("button", { type: "button", class: "thumbnail", "aria-label": `Watch: ${Gallery.describe(one)}`, onclick: () => Gallery.player.choose(one) }, Gallery.still(one));
  };
  const newestEvaluation = (run) => run.evaluations.at(-1) ?? null;
  const COLUMNS = [
    ["", (run) => thumbnail(run)],
    ["Agent, recipe", (run) => [run.game, el("span", { class: "quiet recipe" }, `${run.name}, ${Gallery.recipeOf(run)}`), run.commands.map(Gallery.command)]],
    ["Mean ± SE", (run, evaluation) => (evaluation ? [el("strong", {}, text.number(evaluation.mean)), text.margin(evaluation)] : "–"), "figure"],
    ["Protocol", (run, evaluation) => evaluation?.conditions.protocol ?? run.settings?.protocol ?? "–"],
    ["Steps", (run, evaluation) => text.short(evaluation?.steps ?? run.recordings.at(-1)?.steps ?? 0), "figure"],
    ["Human-normalized", (run, evaluation) => (typeof evaluation?.human_normalised === "number" ? evaluation.human_normalised.toFixed(2) : "–"), "figure"],
  ];

  const chartOf = (game) => {
    if (!charts.has(game.id)) {
      const chart = Gallery.chart();
      charts.set(game.id, { chart, root: el("div", { class: "released-curve" }, el("h3", {}, game.id), chart.place) });
    }
    return charts.get(game.id);
  };

  /** Updates the section of released agents. */
  Gallery.showReleased = (model) => {
    const runs = model.released.flatMap((game) => game.runs).filter(Gallery.passes.run);
    runs.sort((a, b) => Number(Boolean(newestEvaluation(b))) - Number(Boolean(newestEvaluation(a))));
    byId("released").hidden = runs.length === 0;
    const signature = JSON.stringify(runs.map((run) => [run.key, run.evaluations.length, run.recordings.filter(Gallery.passes.recording).length]));
    Gallery.show(byId("released-table"), signature, () => {
      Gallery.forgetStills(byId("released-table"));
      return [Gallery.table("Released agents", COLUMNS, runs.map((run) => [run, newestEvaluation(run)]))];
    });
    const games = model.released.filter((game) => game.runs.some((run) => runs.includes(run) && run.curve?.steps.length));
    byId("released-curves").hidden = games.length === 0;
    Gallery.show(byId("released-charts"), JSON.stringify(games.map((game) => game.id)), () => games.map((game) => chartOf(game).root));
    for (const game of games) chartOf(game).chart.update(game, game.runs.filter((run) => runs.includes(run)));
  };
})();
