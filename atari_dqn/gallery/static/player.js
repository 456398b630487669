"use strict";
// The player: one recording, or two kept in step. The longer video leads; the other follows its clock.
(() => {
  const { el, byId, text, address } = Gallery;
  const SKIP_SECONDS = 2;
  const STEP_SECONDS = 4 / 60; // of a game with the usual frame skip
  const SEEK_BEYOND = 0.2; // seconds of drift; less is made up for by a slightly other speed
  const calm = matchMedia("(prefers-reduced-motion: reduce)");

  const slots = ["left", "right"].map((side) => ({ side, one: null, media: null, figure: null }));
  const player = { active: 0, comparing: false, playing: false, rate: 1 };
  let model = null;

  const open = () => slots.filter((slot, place) => place === 0 || player.comparing);
  const videos = () => open().map((slot) => slot.media).filter((media) => media instanceof HTMLVideoElement && media.readyState > 0);
  const leader = () => videos().reduce((long, video) => (long && long.duration >= video.duration ? long : video), null);
  const current = () => slots[player.active].one;

  // --- media

  const mediaOf = (slot) => {
    const { one } = slot;
    const label = Gallery.describe(one);
    if (!one.mp4) return el("img", { alt: label, src: `${address(one.gif[0])}?${Date.now()}` });
    const video = el("video", { playsinline: true, preload: "auto", "aria-label": label });
    video.muted = true;
    video.playbackRate = player.rate;
    video.addEventListener("loadedmetadata", () => {
      const first = leader();
      if (first && first !== video) video.currentTime = Math.min(first.currentTime, video.duration);
      video.playbackRate = player.rate;
      if (player.playing) play();
      showTime();
    });
    video.addEventListener("ended", () => {
      if (video === leader()) pause();
    });
    video.addEventListener("error", () => {
      if (slot.media !== video) return;
      slot.media = one.gif
        ? el("img", { alt: label, src: address(one.gif[0]) })
        : el("p", { class: "no-media" }, "This browser cannot play the file, or it is gone.");
      video.replaceWith(slot.media);
      showAll();
    });
    video.src = address(one.mp4[0]);
    return video;
  };

  /** A GIF has no clock: all that can be done is to begin anew, together. */
  const restartGifs = () => {
    for (const { media, one } of open()) if (media instanceof HTMLImageElement) media.src = `${address(one.gif[0])}?${Date.now()}`;
  };

  // --- the common clock

  const play = () => {
    const first = leader();
    if (!first) return;
    if (first.ended || first.currentTime >= first.duration - 0.01) seek(0);
    player.playing = true;
    for (const video of videos()) if (!video.ended) video.play().catch(() => {});
    requestAnimationFrame(tick);
    showTime();
  };
  const pause = () => {
    player.playing = false;
    for (const video of videos()) {
      video.pause();
      video.playbackRate = player.rate;
    }
    align();
    showTime();
  };
  const seek = (seconds) => {
    const first = leader();
    if (!first) return;
    const target = Math.min(Math.max(seconds, 0), first.duration);
    for (const video of videos()) {
      video.currentTime = Math.min(target, video.duration);
      if (player.playing && video.paused && target < video.duration) video.play().catch(() => {});
    }
    showTime(target);
  };
  /** Puts whoever has strayed back beside the leader. */
  const align = () => {
    const first = leader();
    for (const video of videos()) {
      const target = Math.min(first.currentTime, video.duration);
      if (video !== first && !video.seeking && Math.abs(video.currentTime - target) > 0.001) video.currentTime = target;
    }
  };
  const tick = () => {
    if (!player.playing) return;
    const first = leader();
    if (!first) return;
    for (const video of videos()) {
      if (video === first || video.seeking || first.currentTime >= video.duration) continue;
      const drift = video.currentTime - first.currentTime;
      if (Math.abs(drift) > SEEK_BEYOND) video.currentTime = first.currentTime;
      video.playbackRate = player.rate * (1 - Math.min(Math.max(drift * 2, -0.2), 0.2));
      if (video.paused && !video.ended) video.play().catch(() => {});
    }
    showTime();
    requestAnimationFrame(tick);
  };
  const restart = () => {
    restartGifs();
    seek(0);
    if (!calm.matches) play();
  };
  const setRate = (rate) => {
    player.rate = rate;
    byId("speed").value = String(rate);
    for (const video of videos()) video.playbackRate = rate;
  };

  // --- what is chosen

  const put = (place, one) => {
    const slot = slots[place];
    slot.one = one;
    slot.media = one ? mediaOf(slot) : null;
    if (open().some(({ media }) => media instanceof HTMLImageElement)) restartGifs();
  };

  /** Shows a recording in the active slot. */
  const choose = (one, { start = true } = {}) => {
    const before = leader()?.currentTime ?? 0;
    put(player.active, one);
    document.body.dataset.playing = "yes";
    player.playing = start && !calm.matches;
    if (player.comparing && before && player.playing) for (const video of videos()) video.currentTime = 0;
    showAll();
    if (player.playing) play();
  };
  /** Shows a recording beside the one that is there. */
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
      slots[1] = { side: "right", one: null, media: null, figure: null };
      player.active = 0;
    }
    showAll();
  };
  const activate = (place) => {
    player.active = place;
    showAll();
  };
  const along = () => (current() ? current().run.recordings.filter(Gallery.passes.recording) : []);
  const move = (by) => {
    const line = along();
    const next = line[line.indexOf(current()) + by];
    if (next) choose(next);
  };
  const close = () => {
    if (document.fullscreenElement) document.exitFullscreen();
    pause();
    delete document.body.dataset.playing;
  };
  const fullscreen = () => (document.fullscreenElement ? document.exitFullscreen() : byId("stage").requestFullscreen?.());

  // --- what is shown

  const figure = (slot, place) => {
    const { one } = slot;
    const active = place === player.active;
    if (!one) {
      const hint = player.comparing ? "Choose what to put beside it: a point of a curve, or a picture." : "Choose a point of a curve, or a picture in a row.";
      return el("figure", { class: "slot empty-slot", "data-active": String(active && player.comparing) }, el("div", { class: "screen" }, el("p", {}, hint)));
    }
    const caption = [
      el("span", { class: "swatch", style: `--series: var(--series-${one.run.colour})` }),
      el("span", { class: "score" }, text.number(one.score)),
      el("span", { class: "quiet" }, `at ${text.short(one.steps)} steps${one.rank ? `, ${one.rank}` : ""}`),
    ];
    const pick = el("button", { type: "button", class: "pick-side", "aria-pressed": String(active), onclick: () => activate(place) }, `Choose for the ${slot.side}`);
    return el(
      "figure",
      { class: "slot", "data-active": String(active && player.comparing) },
      el("div", { class: "screen" }, slot.media),
      el("figcaption", {}, caption, player.comparing && pick),
    );
  };

  const showSlots = () => {
    const place = byId("slots");
    place.dataset.count = String(open().length);
    place.replaceChildren(...open().map(figure));
    // Moving a video within the page pauses it.
    if (player.playing) for (const video of videos()) if (!video.ended) video.play().catch(() => {});
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
    const gifs = open().filter(({ media }) => media instanceof HTMLImageElement).length;
    if (gifs && left && right) found.push("A GIF cannot be kept in step: both were started together; “from the beginning” does so again.");
    else if (gifs) found.push("A GIF plays by itself: it can be restarted, not paused.");
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
    const names = { evaluation: "evaluation", training: "short evaluation in training", random: "random play", record: "recorded by hand" };
    return byId("facts").replaceChildren(
      el(
        "dl",
        { class: "facts" },
        fact("Game", one.run.game),
        fact("Run", one.run.name),
        fact("Recipe", Gallery.recipeOf(one.run)),
        fact("From", names[one.source]),
        fact("Protocol", `${protocol}, epsilon ${epsilon}`),
        fact("Episode", `${text.count(one.length, "agent step")}, ${text.clock(one.seconds)}${one.cut ? ", cut by the frame cap" : ""}, seed ${one.seed}`),
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
    const said = `step ${text.whole(current().steps)}`;
    byId("training-step").textContent = `${said} · ${Math.max(place, 0) + 1} of ${line.length}`;
    slider.setAttribute("aria-valuetext", `${said}, score ${text.number(current().score)}`);
  };

  const showTime = (seconds) => {
    const first = leader();
    const now = seconds ?? first?.currentTime ?? 0;
    const length = first?.duration || 0;
    const slider = byId("seek");
    slider.max = String(length || 1);
    slider.value = String(now);
    slider.style.setProperty("--part", `${length ? (100 * now) / length : 0}%`);
    slider.setAttribute("aria-valuetext", `${text.clock(now)} of ${text.clock(length)}`);
    byId("clock").textContent = length ? `${text.clock(now)} / ${text.clock(length)}` : "";
    byId("play").dataset.playing = String(player.playing);
    byId("play").setAttribute("aria-label", player.playing ? "Pause (Space)" : "Play (Space)");
    byId("transport").dataset.clock = first || open().some((slot) => slot.media instanceof HTMLVideoElement) ? "yes" : "no";
    for (const id of ["play", "seek", "speed"]) byId(id).disabled = !first;
    byId("restart").disabled = !current();
  };

  const showAll = () => {
    showSlots();
    for (const [id, said] of [["stage-note", warning()], ["stage-hint", hint()]]) {
      byId(id).hidden = !said;
      byId(id).textContent = said;
    }
    byId("compare").setAttribute("aria-pressed", String(player.comparing));
    showFacts();
    showThrough();
    showTime();
    document.dispatchEvent(new Event("chosen"));
  };

  /** Goes on with newer data. */
  const refresh = (newer) => {
    model = newer;
    slots.forEach((slot) => {
      if (slot.one) slot.one = model.byId.get(slot.one.id) ?? null;
      if (!slot.one) slot.media = null;
    });
    showAll();
  };

  const listen = () => {
    byId("play").addEventListener("click", () => (player.playing ? pause() : play()));
    byId("restart").addEventListener("click", restart);
    byId("seek").addEventListener("input", (event) => seek(Number(event.target.value)));
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
    toggle: () => (player.playing ? pause() : play()),
    skip: (sign) => seek((leader()?.currentTime ?? 0) + sign * SKIP_SECONDS),
    step: (sign) => {
      pause();
      seek((leader()?.currentTime ?? 0) + sign * STEP_SECONDS);
    },
    swap: () => player.comparing && activate(1 - player.active),
    chosen: () => open().map((slot) => slot.one).filter(Boolean),
  };
})();
