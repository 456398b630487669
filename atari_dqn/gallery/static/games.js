"use strict";
// A section for each game: its learning curves, a legend to show or hide runs, and each run's recordings in training order.
(() => {
  const { el, text } = Gallery;
  const PAGE = 48; // recordings added to a row at a time
  const sections = new Map();

  const card = (one, place) => {
    const tags = [one.rank, one.source === "training" ? "training" : null, one.annotated ? "annotated" : null].filter(Boolean).join(", ");
    const still = Gallery.still(one);
    const main = el(
      "button",
      {
        type: "button",
        class: "card",
        tabindex: place === 0 ? "0" : "-1",
        "data-id": one.id,
        onclick: (event) => (event.shiftKey ? Gallery.player.beside(one) : Gallery.player.choose(one)),
        onpointerenter: (event) => event.pointerType === "mouse" && Gallery.enliven(still, true),
        onpointerleave: () => Gallery.enliven(still, false),
      },
      still,
      el("span", { class: "score" }, text.number(one.score)),
      el("span", { class: "quiet" }, `${text.short(one.steps)} steps`),
      el("span", { class: "tag" }, tags || "\u00a0"),
    );
    const second = el(
      "button",
      { type: "button", class: "beside", tabindex: "-1", "aria-label": `Compare: ${Gallery.describe(one)}`, title: "Show beside the current recording (c)", onclick: () => Gallery.player.beside(one) },
      "+",
    );
    return el("li", {}, main, second);
  };

  /** A row that grows while it is scrolled, so that thousands of recordings cost only the visible ones. */
  const row = (run) => {
    const end = el("li", { class: "row-end", "aria-hidden": "true" });
    const list = el("ol", { class: "row" }, end);
    let all = [];
    let count = 0;
    const more = () => {
      const next = all.slice(count, count + PAGE).map((one, place) => card(one, count + place));
      count += next.length;
      end.before(...next);
      end.hidden = count >= all.length;
      mark();
    };
    const mark = () => {
      const chosen = new Set(Gallery.player.chosen().map((one) => one.id));
      for (const button of list.querySelectorAll(".card")) {
        if (chosen.has(button.dataset.id)) button.setAttribute("aria-current", "true");
        else button.removeAttribute("aria-current");
      }
    };
    const focus = (from, key) => {
      const cards = [...list.querySelectorAll(".card")];
      const place = cards.indexOf(from);
      const target = cards[{ ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: cards.length - 1 }[key]];
      if (!target) return;
      from.tabIndex = -1;
      target.tabIndex = 0;
      target.focus();
      target.scrollIntoView({ block: "nearest", inline: "nearest" });
    };
    list.addEventListener("keydown", (event) => {
      const from = event.target.closest(".card");
      if (!from || event.ctrlKey || event.metaKey || event.altKey) return;
      if (["ArrowRight", "ArrowLeft", "Home", "End"].includes(event.key)) focus(from, event.key);
      else if (event.key === "c") from.nextElementSibling.click();
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    new IntersectionObserver(([{ isIntersecting }]) => isIntersecting && count < all.length && more(), { rootMargin: "200px" }).observe(end);
    document.addEventListener("chosen", mark);
    return {
      list,
      update: (recordings) => {
        const before = list.scrollLeft;
        const same = all.length <= recordings.length && all.every((one, place) => one.id === recordings[place].id);
        all = recordings;
        if (!same) {
          Gallery.forgetStills(list);
          list.replaceChildren(end);
          count = 0;
        }
        end.hidden = count >= all.length;
        if (count < PAGE) more();
        list.scrollLeft = before;
        list.setAttribute("aria-label", `Recordings of run ${run.name}, in training order`);
      },
    };
  };

  /** A line from the first to the last step, with a dot for each recording. */
  const timeline = () => {
    const NS = "http://www.w3.org/2000/svg";
    const drawing = document.createElementNS(NS, "svg");
    const path = document.createElementNS(NS, "path");
    drawing.setAttribute("viewBox", "0 0 1000 10");
    drawing.setAttribute("preserveAspectRatio", "none");
    drawing.append(path);
    const last = el("span", {});
    const track = el("div", { class: "timeline", "aria-hidden": "true" }, el("span", {}, "0"), drawing, last);
    let recordings = [];
    let end = 1;
    drawing.addEventListener("click", (event) => {
      const box = drawing.getBoundingClientRect();
      const one = Gallery.nearest(recordings, ((event.clientX - box.left) / box.width) * end);
      if (one) Gallery.player.choose(one);
    });
    return {
      track,
      update: (run, shown) => {
        recordings = shown;
        end = Math.max(run.curve?.steps.at(-1) ?? 0, shown.at(-1)?.steps ?? 0, 1);
        path.setAttribute("d", [...new Set(shown.map((one) => Math.round((1000 * one.steps) / end)))].map((x) => `M${x} 5h0`).join(""));
        last.textContent = text.short(end);
        track.hidden = !shown.at(-1)?.steps; // random play has no training
      },
    };
  };

  const runView = (run) => {
    const title = el("h3", {});
    const about = el("p", { class: "quiet" });
    const settings = el("button", { type: "button", class: "text-button", onclick: () => Gallery.settings.open(view.run) }, "Settings");
    const line = timeline();
    const cards = row(run);
    const nothing = el("p", { class: "quiet nothing" });
    const commands = el("div", { class: "commands" });
    const article = el("article", { class: "run" }, el("div", { class: "run-head" }, el("div", {}, title, about), settings), commands, line.track, cards.list, nothing);
    const view = {
      article,
      run,
      update: (newer) => {
        view.run = newer;
        const shown = newer.recordings.filter(Gallery.passes.recording);
        article.style.setProperty("--series", `var(--series-${newer.color})`);
        title.replaceChildren(el("span", { class: "swatch", "data-dash": newer.dash }), newer.name);
        const scores = newer.curve?.score ?? [];
        about.textContent = [
          Gallery.recipeOf(newer),
          newer.curve?.steps.length ? `${text.short(stepsOf(newer))} steps` : null,
          scores.length ? `mean of the last 100 episodes ${text.number(scores.at(-1))}` : null,
          text.count(shown.length, "recording"),
        ].filter(Boolean).join(" · ");
        settings.hidden = !newer.settings;
        Gallery.show(commands, JSON.stringify(newer.commands), () => newer.commands.map(Gallery.command));
        line.update(newer, shown);
        cards.update(shown);
        cards.list.hidden = shown.length === 0;
        nothing.hidden = shown.length > 0;
        nothing.textContent = newer.recordings.length
          ? "No recording of this run matches the filters."
          : "No recording yet. An evaluation writes some, also during training.";
      },
    };
    return view;
  };

  const legend = (run, update) =>
      el(
        "button",
        {
          type: "button",
          class: "legend",
          style: `--series: var(--series-${run.color})`,
          "aria-pressed": String(!Gallery.state.hidden.has(run.key)),
          title: "Show or hide",
          onclick: ({ currentTarget }) => {
            const { hidden } = Gallery.state;
            if (!hidden.delete(run.key)) hidden.add(run.key);
            currentTarget.setAttribute("aria-pressed", String(!hidden.has(run.key)));
            update();
          },
        },
        el("span", { class: "swatch", "data-dash": run.dash }),
        run.name,
      );

  const lastEvaluation = (run) => run.evaluations.filter(Gallery.passes.evaluation).reduce((last, one) => (last === null || one.steps >= last.steps ? one : last), null);
  const watch = (run) => {
    const one = Gallery.best(run.recordings.filter(Gallery.passes.recording));
    return one && el("button", { type: "button", class: "text-button", "aria-label": `Watch the best recording: ${Gallery.describe(one)}`, onclick: () => Gallery.player.choose(one) }, "Watch");
  };
  const scoreOf = (evaluation) => (evaluation ? [el("strong", {}, text.number(evaluation.mean)), text.margin(evaluation)] : "–");
  const stepsOf = (run) => Math.max(run.curve?.steps.at(-1) ?? 0, run.progress?.speed.steps.at(-1) ?? 0, run.recordings.at(-1)?.steps ?? 0);
  const RUN_COLUMNS = [
    ["Run", (run, update) => [legend(run, update), run.kind === "random" && run.commands.map(Gallery.command)]],
    ["Recipe", (run) => Gallery.recipeOf(run)],
    ["Steps", (run) => (run.kind === "random" ? "–" : text.short(stepsOf(run))), "figure"],
    ["Last 100 episodes", (run) => (run.curve?.score.length ? text.number(run.curve.score.at(-1)) : "–"), "figure"],
    ["Evaluation ± SE", (run) => scoreOf(lastEvaluation(run)), "figure"],
    ["Recordings", (run) => text.whole(run.recordings.filter(Gallery.passes.recording).length), "figure"],
    ["", (run) => watch(run)],
  ];

  /** Warns about runs in one chart that were trained under different conditions. */
  const protocolNote = (runs) => {
    const conditions = runs.filter((run) => run.curve?.steps.length).map(Gallery.trainedUnder).filter(Boolean);
    const apart = new Map();
    for (const other of conditions.slice(1)) for (const [name, left, right] of Gallery.differences(conditions[0], other)) apart.set(name, [left, right]);
    if (!apart.size) return "";
    const what = [...apart].slice(0, 3).map(([name, [left, right]]) => `${name} ${left} and ${right}`);
    return `These runs were trained under different conditions, so their scores are not comparable: ${what.join("; ")}${apart.size > 3 ? " and more" : ""}.`;
  };

  /** Says what the lines and the marks of a chart mean. */
  const caption = (game, runs) => {
    const parts = [game.isCrowded ? "Thin lines: mean score of the last 100 training episodes of each run, in the color of its recipe. Thick lines: the mean of each recipe. Point at a run in the table to see it alone." : "Lines: mean score of the last 100 training episodes."];
    if (!game.isCrowded && runs.some((run) => run.means?.steps.length)) parts.push("Dotted in the color of a run: evaluations during training.");
    const lines = Gallery.references(game, runs).map(([score, name]) => `${name === "human" ? "a human tester" : "random play"} (${text.number(score)})`);
    if (lines.length) parts.push(`Dotted gray: ${lines.join(" and ")}.`);
    if (lines.length === 1) parts.push(`A human tester (${text.number(game.reference[1])}) is above the chart.`);
    if (!game.isCrowded && runs.some((run) => run.recordings.length)) parts.push("Circles: recorded episodes.");
    if (runs.some((run) => run.recordings.length)) parts.push("Click to play the nearest recording.");
    return parts.join(" ");
  };

  const section = (game, number) => {
    const about = el("p", { class: "lead" });
    const chart = Gallery.chart();
    const small = Gallery.smallCharts();
    const table = el("div", { class: "of-runs" });
    const note = el("p", { class: "note", role: "status" });
    const runs = el("div", { class: "runs" });
    const views = new Map();
    const reading = el("p", { class: "quiet reading" });
    const panel = el("div", { class: "panel" }, chart.place, reading, small.root, table, note);
    const root = el("section", { class: "game", "aria-labelledby": `game-${number}` }, el("h2", { id: `game-${number}` }, game.id), about, panel, runs);
    const pointAt = (key) => {
      chart.point(key);
      small.point(key);
    };
    const update = (newer) => {
      const passing = newer.runs.filter(Gallery.passes.run);
      const shown = passing.filter((run) => !Gallery.state.hidden.has(run.key));
      root.hidden = passing.length === 0;
      const parts = [text.count(passing.filter((run) => run.kind !== "random").length, "run"), text.count(passing.reduce((sum, run) => sum + run.recordings.filter(Gallery.passes.recording).length, 0), "recording")];
      if (newer.reference) parts.push(`random play ${text.number(newer.reference[0])}`, `human ${text.number(newer.reference[1])}`);
      about.textContent = parts.join(" · ");
      const rows = passing.map((run) => [run.key, run.color, run.curve?.score.at(-1), stepsOf(run), lastEvaluation(run)?.mean, run.recordings.filter(Gallery.passes.recording).length]);
      Gallery.show(table, JSON.stringify(rows), () => [Gallery.table(`Runs of ${game.id}`, RUN_COLUMNS, passing.map((run) => [run, () => update(root.game)]))]);
      table.querySelectorAll("tbody tr").forEach((row, place) => {
        row.onpointerenter = () => pointAt(passing[place].key);
        row.onpointerleave = () => pointAt(null);
      });
      panel.classList.toggle("no-curve", !passing.some((run) => run.curve?.steps.length || run.recordings.length));
      reading.textContent = caption(newer, shown);
      note.textContent = protocolNote(shown);
      note.hidden = !note.textContent;
      chart.update(newer, shown);
      small.update(newer, shown);
      const trained = shown.filter((run) => run.kind !== "random");
      for (const run of trained) if (!views.has(run.key)) views.set(run.key, runView(run));
      for (const run of trained) views.get(run.key).update(run);
      Gallery.show(runs, JSON.stringify(trained.map((run) => run.key)), () => trained.map((run) => views.get(run.key).article));
      root.game = newer;
    };
    return { root, update };
  };

  Gallery.sectionOf = (id) => sections.get(id).root;

  /** Updates the sections. */
  Gallery.showGames = (model) => {
    for (const game of model.games) {
      if (!sections.has(game.id)) sections.set(game.id, section(game, sections.size));
      sections.get(game.id).update(game);
    }
    const place = Gallery.byId("games");
    const added = Gallery.show(place, JSON.stringify(model.games.map((game) => game.id)), () => model.games.map((game) => sections.get(game.id).root));
    return added;
  };
})();
