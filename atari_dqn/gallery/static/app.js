"use strict";
// The start of the page, its filters, its keyboard shortcuts, and live updates.
(() => {
  const { el, byId, text, player } = Gallery;
  const SECONDS_BETWEEN_LOOKS = 2;
  const wide = matchMedia("(min-width: 1000px)");
  let model = null;

  const showViews = () => {
    Gallery.showGames(model);
    Gallery.showResults(model);
    player.showThrough();
    const filtering = Gallery.filtering();
    const count = model.recordings.filter(Gallery.passes.recording).length;
    byId("filter-clear").hidden = !filtering;
    byId("filter-result").textContent = filtering ? `${text.whole(count)} of ${text.count(model.recordings.length, "recording")}` : "";
    const nothing = model.runs.length === 0 ? "Nothing has been recorded yet. The page updates as soon as a run writes something." : "No run matches the filters.";
    byId("loading").textContent = nothing;
    byId("loading").hidden = model.runs.some(Gallery.passes.run);
  };

  const fillFilter = (id, values) => {
    const select = byId(id);
    const before = select.value;
    Gallery.show(select, JSON.stringify(values), () => [el("option", { value: "" }, "all"), ...values.map((value) => el("option", { value }, value))]);
    select.value = values.includes(before) ? before : "";
  };

  const readFilters = () => {
    const number = (id) => (byId(id).value === "" ? null : Number(byId(id).value));
    Gallery.state.filters = { game: byId("filter-game").value, recipe: byId("filter-recipe").value, min: number("filter-min"), max: number("filter-max") };
    showViews();
  };

  /** On a wide screen, the player starts with the best recording of the game with the most recordings. */
  const showFirst = () => {
    const [game] = [...model.games].sort((a, b) => count(b) - count(a));
    const [best] = model.recordings.filter((one) => one.run.game === game?.id).sort((a, b) => Boolean(b.mp4) - Boolean(a.mp4) || b.score - a.score);
    if (best) player.choose(best, { start: false });
  };
  const count = (game) => game.runs.reduce((sum, run) => sum + run.recordings.length, 0);

  const receive = () => {
    const first = model === null;
    model = Gallery.read(window.galleryData);
    byId("summary").textContent = [text.count(model.games.length, "game"), text.count(model.runs.length, "run"), text.count(model.recordings.length, "recording")].join(", ");
    fillFilter("filter-game", model.games.map((game) => game.id));
    fillFilter("filter-recipe", [...new Set(model.runs.map(Gallery.recipeOf))].sort());
    Gallery.settings.refresh(model);
    player.refresh(model);
    readFilters();
    if (first && wide.matches) showFirst();
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
    filters.addEventListener("input", readFilters);
    filters.addEventListener("submit", (event) => event.preventDefault());
    filters.addEventListener("reset", () => setTimeout(readFilters));
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
