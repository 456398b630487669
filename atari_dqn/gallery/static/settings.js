"use strict";
// The settings of a run, or the differences between two runs.
(() => {
  const { el, byId } = Gallery;
  let runs = [];

  const table = (left, right, onlyDifferent) => {
    const names = [...new Set([...Object.keys(left.settings), ...Object.keys(right?.settings ?? {})])];
    const about = [["started", left.started, right?.started], ["commit", left.commit, right?.commit]].filter(([, a, b]) => a || b);
    const rows = [...about, ...names.map((name) => [name, left.settings[name], right?.settings[name]])].filter(([, a, b]) => !right || !onlyDifferent || a !== b);
    if (!rows.length) return el("p", { class: "empty" }, "These two runs have the same settings.");
    const cell = (value) => el("td", {}, value ?? el("span", { class: "quiet" }, "not set"));
    const body = rows.map(([name, a, b]) => el("tr", { "data-differs": String(Boolean(right) && a !== b) }, el("th", { scope: "row" }, name), cell(a), right && cell(b)));
    const head = el("tr", {}, el("th", { scope: "col" }, "Setting"), el("th", { scope: "col" }, left.name), right && el("th", { scope: "col" }, right.name));
    return el("table", {}, el("thead", {}, head), el("tbody", {}, body));
  };

  const chosen = (id) => runs.find((run) => run.key === byId(id).value);
  const update = () => {
    const [left, right] = [chosen("settings-a"), chosen("settings-b")];
    const content = left ? table(left, right, byId("settings-differ").checked) : el("p", { class: "empty" }, "No run has settings here. They come from config.toml in the directory of a run.");
    byId("settings-table").replaceChildren(content);
    byId("settings-differ").closest("label").hidden = !right;
  };

  const fill = (select, first) => {
    const before = select.value;
    select.replaceChildren(...first, ...runs.map((run) => el("option", { value: run.key }, `${run.name} · ${run.game}`)));
    if ([...select.options].some((option) => option.value === before)) select.value = before;
  };

  Gallery.settings = {
    refresh: (model) => {
      runs = model.runs.filter((run) => run.settings);
      fill(byId("settings-a"), []);
      fill(byId("settings-b"), [el("option", { value: "" }, "none")]);
      if (byId("settings").open) update();
    },
    /** Opens the sheet for a run, compared with the run that was chosen last. */
    open: (run = null) => {
      if (run) byId("settings-a").value = run.key;
      if (byId("settings-b").value === byId("settings-a").value) byId("settings-b").value = "";
      update();
      byId("settings").showModal();
    },
    listen: () => {
      for (const id of ["settings-a", "settings-b", "settings-differ"]) byId(id).addEventListener("change", update);
    },
  };
})();
