"use strict";
// The player: one recording, or two that a clock synchronizes.
(() => {
  const { el, byId, text, address } = Gallery;
  const SKIP_SECONDS = 2;
  const STEP_SECONDS = 4 / 60; // an agent step at the usual frame skip of 4
  const calm = matchMedia("(prefers-reduced-motion: reduce)");

  // A slot's still is the picture that replaces its GIF during a pause.
  const slots = ["left", "right"].map((side) => ({ side, one: null, media: null, still: null, figure: null }));
  const player = { active: 0, comparing: false, gifsPause: calm.matches };
  let model = null;
  let made = 0;

  const open = () => slots.filter((slot, place) => place === 0 || player.comparing);
  const videos = () => open().map((slot) => slot.media).filter((media) => media instanceof HTMLVideoElement && media.readyState > 0);
  const clock = Gallery.clock(videos, (seconds) => showTime(seconds));
  const current = () => slots[player.active].one;
  const gifs = () => open().filter(({ media }) => media instanceof HTMLImageElement);
  const isPlaying = () => clock.playing || (gifs().length > 0 && !player.gifsPause);

  // --- media

  const mediaOf = (slot) => {
    const { one } = slot;
    const label = Gallery.describe(one);
    if (!one.mp4) return el("img", { alt: label, src: `${address(one.gif[0])}?${Date.now()}` });
    const video = el("video", { playsinline: true, preload: "auto", "aria-label": label });
    video.muted = true;
    video.addEventListener("loadedmetadata", () => clock.join(video));
    video.addEventListener("ended", () => {
      if (video === clock.leader()) clock.pause();
    });
    video.addEventListener("error", () => {
      if (slot.media !== video) return;
      slot.media = one.gif
        ? el("img", { alt: label, src: address(one.gif[0]) })
        : el("p", { class: "no-media" }, "The file is missing, or this browser cannot play it.");
      video.replaceWith(slot.media);
      showAll();
    });
    video.src = address(one.mp4[0]);
    return video;
  };

  /** Restarts all GIFs together, which is the only way to synchronize them. */
  const restartGifs = () => {
    for (const { media, one } of gifs()) media.src = `${address(one.gif[0])}?${Date.now()}`;
  };

  /** A canvas with the first picture of a GIF, because an image element would play it. */
  const firstPicture = (image) => {
    const canvas = el("canvas", { role: "img", "aria-label": `Paused: ${image.alt}` });
    const draw = () => {
      Object.assign(canvas, { width: image.naturalWidth, height: image.naturalHeight });
      canvas.getContext("2d").drawImage(image, 0, 0);
    };
    if (image.complete && image.naturalWidth) draw();
    else image.addEventListener("load", draw, { once: true });
    return canvas;
  };

  /** Pauses all GIFs at their first picture, or starts them again. */
  const pauseGifs = (pause) => {
    player.gifsPause = pause;
    for (const slot of open()) slot.still = null;
    for (const slot of pause ? gifs() : []) slot.still = firstPicture(slot.media);
    if (!pause) restartGifs();
    showSlots();
    showTime();
  };

  const restart = () => {
    pauseGifs(calm.matches);
    clock.seek(0);
    if (!calm.matches) clock.play();
  };
  const setRate = (rate) => {
    clock.setRate(rate);
    byId("speed").value = String(rate);
  };

  // --- selection

  const put = (place, one) => {
    const slot = slots[place];
    slot.one = one;
    slot.media = one ? mediaOf(slot) : null;
    pauseGifs(calm.matches);
  };

  /** Shows a recording in the active slot. */
  const choose = (one, { start = true } = {}) => {
    put(player.active, one);
    if (start) document.body.dataset.playing = "yes"; // a phone then shows the player above the page
    clock.playing = start && !calm.matches;
    if (clock.playing) clock.seek(0);
    showAll();
    if (clock.playing) clock.play();
  };
  /** Shows a recording beside the current one. */
  const beside = (one) => {
    player.comparing = true;
    player.active = slots[0].one && slots[0].one !== one ? 1 : 0;
    choose(one);
    restart();
  };
  const compare = (on = !player.comparing) => {
    player.comparing = on;
    if (on) player.active = slots[0].one ? 1 : 0;
    else {
      if (player.active === 1 && slots[1].one) slots[0] = { ...slots[1], side: "left", figure: null };
      slots[1] = { side: "right", one: null, media: null, still: null, figure: null };
      player.active = 0;
    }
    showAll();
  };
  const activate = (place) => {
    player.active = place;
    const held = byId("slots").contains(document.activeElement);
    showAll();
    if (held) byId("slots").querySelectorAll(".pick-side")[place]?.focus();
  };
  const along = () => (current() ? current().run.recordings.filter(Gallery.passes.recording) : []);
  const move = (by) => {
    const line = along();
    const next = line[line.indexOf(current()) + by];
    if (next) choose(next);
  };
  const close = () => {
    if (document.fullscreenElement) document.exitFullscreen();
    clock.pause();
    pauseGifs(true);
    delete document.body.dataset.playing;
  };
  const toggle = () => {
    const pause = isPlaying();
    pauseGifs(pause);
    if (pause) clock.pause();
    else clock.play();
  };
  const fullscreen = () => (document.fullscreenElement ? document.exitFullscreen() : byId("stage").requestFullscreen?.());

  // --- what is shown

  const figure = (slot, place) => {
    const { one } = slot;
    const active = place === player.active;
    if (!one) {
      const hint = player.comparing ? "Choose a second recording: click a point of a curve or a thumbnail." : "Click a point of a curve or a thumbnail.";
      return el("figure", { class: "slot empty-slot", "data-active": String(active && player.comparing) }, el("div", { class: "screen" }, el("p", {}, hint)));
    }
    const caption = [
      el("span", { class: "swatch", style: `--series: var(--series-${one.run.color})` }),
      el("span", { class: "score" }, text.number(one.score)),
      el("span", { class: "quiet" }, `at ${text.short(one.steps)} steps${one.rank ? `, ${one.rank}` : ""}`),
    ];
    const pick = el("button", { type: "button", class: "pick-side", "aria-pressed": String(active), onclick: () => activate(place) }, `Select the ${slot.side} side`);
    return el(
      "figure",
      { class: "slot", "data-active": String(active && player.comparing) },
      el("div", { class: "screen", onclick: toggle }, slot.still ?? slot.media),
      el("figcaption", {}, caption, player.comparing && pick),
    );
  };

  const showSlots = () => {
    const place = byId("slots");
    const signature = JSON.stringify([player.active, open().map(({ one, media, still }) => [one?.id, media && ((still ?? media).dataset.number ??= String((made += 1)))])]);
    if (!Gallery.show(place, signature, () => open().map(figure))) return;
    place.dataset.count = String(open().length);
    clock.resume();
  };

  const warning = () => {
    const [left, right] = open().map((slot) => slot.one);
    const found = [];
    if (left && right) {
      if (left.run.game !== right.run.game) found.push(`Two games: ${left.run.game} and ${right.run.game}.`);
      const apart = Gallery.differences(left.conditions, right.conditions);
      if (apart.length) {
        const what = apart.slice(0, 3).map(([name, a, b]) => `${name} ${a} and ${b}`);
        found.push(`Different protocols, so the scores are not comparable: ${what.join("; ")}${apart.length > 3 ? " and more" : ""}.`);
      }
    }
    return found.join(" ");
  };

  const hint = () => {
    const [left, right] = open().map((slot) => slot.one);
    const found = [];
    if (gifs().length && left && right) found.push("GIFs cannot be synchronized. Both started together, and “Restart” starts them together again.");
    else if (gifs().length) found.push("A GIF pauses at its first picture, and starts again from there.");
    for (const { one, media } of open()) {
      const [, seconds] = (media instanceof HTMLImageElement ? one?.gif : one?.mp4) ?? [];
      if (one && seconds < one.seconds - 0.5) found.push(`The file shows the first ${text.clock(seconds)} of ${text.clock(one.seconds)}.`);
    }
    return found.join(" ");
  };

  const fact = (name, value) => el("div", {}, el("dt", {}, name), el("dd", {}, value));
  const showFacts = () => {
    const one = current();
    if (!one) return byId("facts").replaceChildren();
    const { protocol, epsilon } = one.conditions;
    const files = ["mp4", "gif"].filter((kind) => one[kind]).map((kind) => el("a", { href: address(one[kind][0]), target: "_blank", rel: "noopener" }, kind.toUpperCase()));
    const names = { evaluation: "evaluation", training: "evaluation during training", random: "random play", record: "single recording" };
    return byId("facts").replaceChildren(
      el(
        "dl",
        { class: "facts" },
        fact("Game", one.run.game),
        fact("Run", one.run.name),
        fact("Recipe", Gallery.recipeOf(one.run)),
        fact("From", names[one.source]),
        fact("Protocol", `${protocol}, epsilon ${epsilon}`),
        fact("Episode", `${text.count(one.length, "agent step")}, ${text.clock(one.seconds)}${one.cut ? ", cut by the frame cap" : ""}${one.at_limit ? ", reached the task's limit" : ""}, seed ${one.seed}`),
        fact("Files", files.flatMap((link, place) => (place ? [" ", link] : [link]))),
      ),
    );
  };

  const showThrough = () => {
    const line = along();
    const place = line.indexOf(current());
    const slider = byId("training");
    byId("through").hidden = line.length < 2;
    slider.max = String(Math.max(line.length - 1, 0));
    slider.value = String(Math.max(place, 0));
    byId("earlier").disabled = place <= 0;
    byId("later").disabled = place < 0 || place >= line.length - 1;
    if (!current()) return;
    const label = `step ${text.whole(current().steps)}`;
    byId("training-step").textContent = `${label} · ${Math.max(place, 0) + 1} of ${line.length}`;
    slider.setAttribute("aria-valuetext", `${label}, score ${text.number(current().score)}`);
  };

  const showTime = (now = clock.now()) => {
    const first = clock.leader();
    const length = first?.duration || 0;
    const slider = byId("seek");
    slider.max = String(length || 1);
    slider.value = String(now);
    slider.style.setProperty("--part", `${length ? (100 * now) / length : 0}%`);
    slider.setAttribute("aria-valuetext", `${text.clock(now)} of ${text.clock(length)}`);
    byId("clock").textContent = length ? `${text.clock(now)} / ${text.clock(length)}` : "";
    byId("play").dataset.playing = String(isPlaying());
    byId("play").setAttribute("aria-label", isPlaying() ? "Pause (Space)" : "Play (Space)");
    byId("transport").dataset.clock = first || open().some((slot) => slot.media instanceof HTMLVideoElement) ? "yes" : "no";
    for (const id of ["seek", "speed"]) byId(id).disabled = !first;
    byId("play").disabled = !first && gifs().length === 0;
    byId("restart").disabled = !current();
    byId("transport").hidden = open().every((slot) => !slot.one);
  };

  const showAll = () => {
    showSlots();
    for (const [id, message] of [["stage-note", warning()], ["stage-hint", hint()]]) {
      byId(id).hidden = !message;
      byId(id).textContent = message;
    }
    byId("compare").setAttribute("aria-pressed", String(player.comparing));
    showFacts();
    showThrough();
    showTime();
    document.dispatchEvent(new Event("chosen"));
  };

  /** Updates the player with newer data. */
  const refresh = (newer) => {
    model = newer;
    slots.forEach((slot) => {
      if (slot.one) slot.one = model.byId.get(slot.one.id) ?? null;
      if (!slot.one) slot.media = null;
    });
    showAll();
  };

  const listen = () => {
    byId("play").addEventListener("click", toggle);
    byId("restart").addEventListener("click", restart);
    byId("seek").addEventListener("input", (event) => clock.seek(Number(event.target.value)));
    byId("speed").addEventListener("change", (event) => setRate(Number(event.target.value)));
    byId("compare").addEventListener("click", () => compare());
    byId("fullscreen").addEventListener("click", fullscreen);
    byId("close-stage").addEventListener("click", close);
    byId("earlier").addEventListener("click", () => move(-1));
    byId("later").addEventListener("click", () => move(1));
    byId("training").addEventListener("input", (event) => choose(along()[Number(event.target.value)]));
    byId("fullscreen").hidden = !document.fullscreenEnabled;
  };

  Gallery.player = {
    choose,
    beside,
    compare,
    close,
    restart,
    setRate,
    fullscreen,
    refresh,
    listen,
    move,
    showThrough,
    toggle,
    skip: (sign) => clock.seek(clock.now() + sign * SKIP_SECONDS),
    step: (sign) => {
      clock.pause();
      clock.seek(clock.now() + sign * STEP_SECONDS);
    },
    swap: () => player.comparing && activate(1 - player.active),
    chosen: () => open().map((slot) => slot.one).filter(Boolean),
  };
})();
