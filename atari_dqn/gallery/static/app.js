"use strict";
// The start of the page, its filters, its keyboard shortcuts, and live updates.
(() => {
  const { el, byId, text, player } = Gallery;
  const SECONDS_BETWEEN_LOOKS = 2;
  let model = null;

  const showViews = () => {
    Gallery.showGames(model);
    Gallery.showLeaderboard(model);
    Gallery.showReleased(model);
    Gallery.showResults(model);
    showJumps();
    player.showThrough();
    const filtering = Gallery.filtering();
    const count = model.recordings.filter(Gallery.passes.recording).length;
    byId("filter-clear").hidden = !filtering;
    byId("filter-result").textContent = filtering ? `${text.whole(count)} of ${text.count(model.recordings.length, "recording")}` : "";
    const nothing = model.runs.length === 0 ? "Nothing has been recorded yet. The page updates as soon as a run writes something." : "No run matches the filters.";
    byId("loading").textContent = nothing;
    byId("loading").hidden = model.runs.some(Gallery.passes.run);
    byId("begin").hidden = model.runs.length === 0 || model.games.length > 0;
    Gallery.show(byId("begin-command"), model.begin, () => [Gallery.command({ label: "Train", text: model.begin })]);
  };

  const fillFilter = (id, values) => {
    const select = byId(id);
    const before = select.value;
    Gallery.show(select, JSON.stringify(values), () => [el("option", { value: "" }, "all"), ...values.map((value) => el("option", { value }, value))]);
    select.value = values.includes(before) ? before : "";
  };

  // --- filters, which the address holds after its "#"

  const FILTERS = { game: "filter-game", recipe: "filter-recipe", protocol: "filter-protocol", kind: "filter-kind", min: "filter-min", max: "filter-max" };

  const readFilters = () => {
    for (const [name, id] of Object.entries(FILTERS)) {
      const { value, type } = byId(id);
      Gallery.state.filters[name] = type !== "number" ? value : value === "" ? null : Number(value);
    }
    showViews();
  };

  const writeAddress = (isTyping) => {
    const given = Object.entries(FILTERS).map(([name, id]) => [name, byId(id).value]).filter(([, value]) => value);
    const hash = `#${new URLSearchParams(given)}`;
    if (hash === (location.hash || "#")) return;
    // Each key of a number would be a step of the back button.
    if (isTyping) location.replace(hash);
    else location.hash = hash;
  };

  const readAddress = () => {
    const given = new URLSearchParams(location.hash.slice(1));
    for (const [name, id] of Object.entries(FILTERS)) {
      const value = given.get(name) ?? "";
      if (byId(id).value !== value) byId(id).value = value; // not while a number is typed
      if (byId(id).selectedIndex === -1) byId(id).value = "";
    }
  };

  const changeFilters = ({ target }) => {
    writeAddress(target.type === "number");
    readFilters();
  };

  /** Chooses the best recording of the newest run, or else of the released agent that is best among humans. */
  const showFirst = () => {
    const recorded = (run) => run.recordings.some(Gallery.passes.recording);
    const skill = (run) => Math.max(0, ...run.evaluations.map((one) => one.human_normalised ?? 0));
    const own = model.games.flatMap((game) => game.runs).filter(recorded);
    const trained = own.filter((run) => run.kind === "run").sort((a, b) => b.newest - a.newest);
    const released = model.released.flatMap((game) => game.runs).filter(recorded).sort((a, b) => skill(b) - skill(a));
    const [run] = [...trained, ...own, ...released];
    if (run) player.choose(Gallery.best(run.recordings.filter(Gallery.passes.recording)), { start: false });
  };

  // --- the list of games

  /** Scrolls to an element, and again when what comes into view has got its height. */
  const scrollTo = (element, times = 3) => {
    element.scrollIntoView({ block: "start" });
    if (times > 1) requestAnimationFrame(() => scrollTo(element, times - 1));
  };
  const jump = (name, target) => el("li", {}, el("button", { type: "button", class: "text-button", onclick: () => scrollTo(target()) }, name));

  const showJumps = () => {
    const games = model.games.filter((game) => game.runs.some(Gallery.passes.run)).map((game) => game.id);
    const rest = [["Leaderboard", "leaderboard"], ["Released agents", "released"], ["Results", "results"]].filter(([, id]) => !byId(id).hidden);
    byId("jump").hidden = games.length + rest.length < 2;
    Gallery.show(byId("jump-list"), JSON.stringify([games, rest]), () => [
      ...games.map((id) => jump(id, () => Gallery.sectionOf(id))),
      ...rest.map(([name, id]) => jump(name, () => byId(id))),
    ]);
  };

  const receive = () => {
    const first = model === null;
    model = Gallery.read(window.galleryData);
    const trained = model.runs.filter((run) => run.kind === "run").length;
    const released = model.runs.filter((run) => run.kind === "released" && run.settings).length;
    byId("summary").textContent = [...(model.games.length || !released ? [text.count(model.games.length, "game"), text.count(trained, "run")] : []), ...(released ? [text.count(released, "released agent")] : []), text.count(model.recordings.length, "recording")].join(", ");
    fillFilter("filter-game", [...new Set([...model.games, ...model.released].map((game) => game.id))]);
    fillFilter("filter-recipe", [...new Set(model.runs.map(Gallery.recipeOf))].sort());
    fillFilter("filter-protocol", [...new Set([...model.protocols.map(({ protocol }) => protocol), ...model.runs.map((run) => run.settings?.protocol)])].filter(Boolean).sort());
    if (first) readAddress();
    Gallery.settings.refresh(model);
    player.refresh(model);
    readFilters();
    if (first) showFirst();
  };

  // --- live updates

  const follow = () => {
    let seen = null;
    const address = "gallery/data.js";
    const look = async () => {
      try {
        const answer = await fetch(address, { method: "HEAD", cache: "no-store" });
        const tag = answer.headers.get("ETag");
        if (seen !== null && tag !== seen) {
          const script = el("script", { src: `${address}?${Date.now()}`, onload: () => script.remove() });
          document.head.append(script);
        }
        seen = tag;
        byId("live").dataset.lost = "no";
      } catch {
        byId("live").dataset.lost = "yes";
      }
    };
    byId("live").hidden = false;
    setInterval(look, SECONDS_BETWEEN_LOOKS * 1000);
    look();
  };

  // --- keyboard

  const openHelp = () => byId("help").showModal();
  const KEYS = {
    " ": player.toggle,
    ArrowLeft: () => player.skip(-1),
    ArrowRight: () => player.skip(1),
    ",": () => player.step(-1),
    ".": () => player.step(1),
    p: () => player.move(-1),
    n: () => player.move(1),
    0: player.restart,
    1: () => player.setRate(0.5),
    2: () => player.setRate(1),
    3: () => player.setRate(2),
    4: () => player.setRate(4),
    c: () => player.compare(),
    s: player.swap,
    f: player.fullscreen,
    d: () => Gallery.settings.open(),
    t: () => window.toggleTheme(),
    "/": () => byId("filter-game").focus(),
    "?": openHelp,
    Escape: player.close,
  };
  const pressed = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || document.querySelector("dialog[open]")) return;
    const { target, key } = event;
    const typing = target.matches("input[type=number], select") && key !== "Escape";
    const sliding = target.matches("input[type=range]") && key.startsWith("Arrow");
    const pushing = key === " " && target.matches("button, summary, a");
    const scrolling = target.matches(".scroll") && key.startsWith("Arrow");
    if (typing || sliding || pushing || scrolling || !(key in KEYS)) return;
    event.preventDefault();
    KEYS[key]();
  };

  const listen = () => {
    document.addEventListener("keydown", pressed);
    const filters = byId("filters");
    filters.addEventListener("input", changeFilters);
    filters.addEventListener("submit", (event) => event.preventDefault());
    filters.addEventListener("reset", (event) => setTimeout(() => changeFilters(event)));
    addEventListener("hashchange", () => {
      readAddress();
      readFilters();
    });
    document.querySelector(".skip").addEventListener("click", (event) => {
      event.preventDefault(); // the address holds the filters
      byId("main").focus();
    });
    byId("toggle-theme").addEventListener("click", () => window.toggleTheme());
    byId("open-help").addEventListener("click", openHelp);
    byId("open-settings").addEventListener("click", () => Gallery.settings.open());
    for (const name of ["help", "settings"]) {
      byId(`close-${name}`).addEventListener("click", () => byId(name).close());
      // A click outside a sheet closes it.
      byId(name).addEventListener("click", (event) => event.target === byId(name) && byId(name).close());
    }
    Gallery.settings.listen();
    player.listen();
  };

  if (!window.galleryData) {
    byId("loading").textContent = "The folder “gallery” next to this page is missing. Move or send the two together.";
    return;
  }
  listen();
  window.receiveGallery = receive;
  receive();
  requestAnimationFrame(() => setTimeout(Gallery.startCharts));
  if (model.live && location.protocol.startsWith("http")) follow();
})();
