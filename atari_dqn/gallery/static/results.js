"use strict";
// Evaluations as tables: one for each game and protocol, because scores of different protocols must not be compared.
(() => {
  const { el, text, byId } = Gallery;

  const COLUMNS = [
    ["Run, recipe", (one) => [one.run.name, el("span", { class: "quiet recipe" }, Gallery.recipeOf(one.run))]],
    ["Steps", (one) => (one.source === "random" ? "–" : text.short(one.steps)), "figure"],
    ["Episodes", (one) => text.whole(one.episodes), "figure"],
    ["Mean ± SE", (one) => [el("strong", {}, text.number(one.mean)), text.margin(one)], "figure"],
    ["Median", (one) => text.number(one.median), "figure"],
    ["Range", (one) => `${text.number(one.min)} to ${text.number(one.max)}`, "figure"],
    ["Human-normalized", (one) => (one.human_normalised === null ? "–" : one.human_normalised.toFixed(2)), "figure"],
    ["Seed", (one) => String(one.seed), "figure"],
    ["", (one) => watch(one)],
  ];

  const watch = (evaluation) => {
    const same = evaluation.run.recordings.filter((one) => one.protocol === evaluation.protocol);
    const one = Gallery.nearest(same.length ? same : evaluation.run.recordings, evaluation.steps);
    return one && el("button", { type: "button", class: "text-button", "aria-label": `Watch: ${Gallery.describe(one)}`, onclick: () => Gallery.player.choose(one) }, "Watch");
  };

  const conditions = (protocol, first) => {
    const apart = Gallery.differences(first, protocol).filter(([name]) => !["protocol", "epsilon", "frame cap"].includes(name));
    const parts = [`Protocol ${protocol.protocol}`, `epsilon ${protocol.epsilon}`, `cap ${text.whole(Number(protocol["frame cap"]))} frames`];
    parts.push(...apart.slice(0, 3).map(([name, , value]) => `${name} ${value}`));
    const list = Object.entries(protocol).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)));
    return el("details", {}, el("summary", {}, parts.join(", ")), el("dl", { class: "facts" }, list));
  };

  const block = (model, game, evaluations) => {
    const protocols = [...new Set(evaluations.map((one) => one.protocol))];
    const parts = protocols.map((protocol) => {
      const rows = evaluations.filter((one) => one.protocol === protocol).sort((a, b) => b.mean - a.mean);
      return el("div", { class: "protocol" }, conditions(rows[0].conditions, model.protocols[protocols[0]]), Gallery.table(`Results of ${game.id}, protocol ${rows[0].conditions.protocol}`, COLUMNS, rows.map((one) => [one])));
    });
    const warning = `${protocols.length} protocols: compare scores within a table, not between tables.`;
    return el("div", { class: "panel" }, el("h3", {}, game.id), protocols.length > 1 && el("p", { class: "note" }, warning), parts);
  };

  /** Updates the tables. */
  Gallery.showResults = (model) => {
    const passing = model.evaluations.filter(Gallery.passes.evaluation);
    byId("results").hidden = model.evaluations.length === 0;
    const signature = JSON.stringify(passing.map((one) => [one.run.key, one.steps, one.mean, one.seed, one.protocol, one.run.recordings.length]));
    Gallery.show(byId("results-tables"), signature, () => {
      const blocks = model.allGames.map((game) => [game, passing.filter((one) => one.run.game === game.id)]).filter(([, rows]) => rows.length);
      return blocks.length ? blocks.map(([game, rows]) => block(model, game, rows)) : [el("p", { class: "quiet" }, "No evaluation matches the filters.")];
    });
  };
})();
