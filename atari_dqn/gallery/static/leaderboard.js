"use strict";
// The leaderboard: the mean score of each recipe over its seeds, for each game.
(() => {
  const { el, text, byId } = Gallery;

  const steps = ([fewest, most]) => (fewest === most ? text.short(most) : `${text.short(fewest)} to ${text.short(most)}`);
  const watch = (line) => {
    const one = Gallery.best(line.run.recordings);
    return one && el("button", { type: "button", class: "text-button", "aria-label": `Watch the best run: ${Gallery.describe(one)}`, onclick: () => Gallery.player.choose(one) }, "Watch");
  };
  const COLUMNS = [
    ["Game", (line, isFirst) => el("span", { class: isFirst ? null : "hidden" }, line.game)],
    ["Recipe", (line) => [line.recipe, line.run.kind === "released" && el("span", { class: "quiet recipe" }, "released")]],
    ["Protocol", (line, isFirst, isAlone) => [line.conditions.protocol, !isAlone && el("span", { class: "quiet recipe" }, `epsilon ${line.conditions.epsilon}`)]],
    ["Seeds", (line) => String(line.seeds), "figure"],
    ["Steps", (line) => steps(line.steps), "figure"],
    ["Mean", (line) => el("strong", {}, text.number(line.mean)), "figure"],
    ["95 % interval", (line) => (line.interval ? line.interval.map(text.number).join(" to ") : "–"), "figure"],
    ["Best", (line) => text.number(line.best), "figure"],
    ["Human-normalized", (line) => (line.human_normalised === null ? "–" : line.human_normalised.toFixed(2)), "figure"],
    ["", (line) => watch(line)],
  ];

  /** Updates the leaderboard. */
  Gallery.showLeaderboard = (model) => {
    // The released agents alone have a table of their own.
    const lines = model.games.length ? model.leaderboard.filter(Gallery.passes.line) : [];
    byId("leaderboard").hidden = lines.length === 0;
    Gallery.show(byId("leaderboard-table"), JSON.stringify(lines.map((line) => [line.game, line.recipe, line.mean, line.run.recordings.length])), () => {
      // Two protocols of a game may have one name and another epsilon.
      const isAlone = (line) => lines.every((other) => other.game !== line.game || other.protocol === line.protocol);
      const rows = lines.map((line, place) => [line, line.game !== lines[place - 1]?.game, isAlone(line)]);
      return [Gallery.table("Leaderboard", COLUMNS, rows)];
    });
  };
})();
