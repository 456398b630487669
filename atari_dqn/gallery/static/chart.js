"use strict";
// Learning curves. Plotly is loaded after the first paint, and draws a chart when it comes into view.
(() => {
  const { el, text } = Gallery;
  const MOST_MARKS = 200; // recordings drawn on one curve; the row below it has all
  const waiting = new Set();
  let library = null;

  const loadLibrary = () => {
    library ??= new Promise((resolve, reject) => {
      document.head.append(el("script", { src: "gallery/plotly.min.js", onload: resolve, onerror: reject }));
    });
    return library;
  };

  const variable = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const evenly = (list, most) => (list.length <= most ? list : Array.from({ length: most }, (_, place) => list[Math.round((place * (list.length - 1)) / (most - 1))]));

  const lines = (run) => {
    const color = variable(`--series-${run.color}`);
    const common = { name: "", showlegend: false, meta: run.key };
    const traces = [];
    if (run.curve?.steps.length) {
      const { steps, score, epsilon } = run.curve;
      const epsilonTexts = epsilon.map((value) => (value === null ? "" : `<br>epsilon ${value}`));
      traces.push({
        ...common,
        x: steps,
        y: score,
        customdata: epsilonTexts,
        mode: "lines",
        line: { color: color, width: 2, dash: run.dash },
        hovertemplate: "%{meta[1]}<br>step %{x:,}<br>score %{y:.4~g}%{customdata}",
        meta: [run.key, escaped(run.name)],
      });
    }
    if (run.means?.steps.length) {
      traces.push({
        ...common,
        x: run.means.steps,
        y: run.means.mean,
        mode: "lines",
        line: { color: color, width: 1, dash: "dot" },
        opacity: 0.8,
        hovertemplate: "%{meta[1]}<br>step %{x:,}<br>mean of an evaluation in training %{y:.4~g}",
        meta: [run.key, escaped(run.name)],
      });
    }
    const shown = evenly(run.recordings.filter(Gallery.passes.recording), MOST_MARKS);
    if (shown.length) {
      traces.push({
        ...common,
        x: shown.map((one) => one.steps),
        y: shown.map((one) => one.score),
        customdata: shown.map((one) => `${one.rank ? `${one.rank} ` : ""}episode, epsilon ${escaped(one.conditions.epsilon)}`),
        ids: shown.map((one) => one.id),
        mode: "markers",
        marker: { color: variable("--surface"), size: 8, line: { color: color, width: 2 } },
        hovertemplate: "%{meta[1]}<br>step %{x:,}<br>score %{y:.4~g}, recorded<br>%{customdata}",
        meta: [run.key, escaped(run.name)],
      });
    }
    return traces;
  };

  // Plotly interprets some HTML tags in text.
  const escaped = (name) => name.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

  const chosenMarks = (runs) => {
    const chosen = Gallery.player.chosen().filter((one) => runs.includes(one.run));
    return {
      x: chosen.map((one) => one.steps),
      y: chosen.map((one) => one.score),
      mode: "markers",
      marker: { color: chosen.map((one) => variable(`--series-${one.run.color}`)), size: 14, line: { color: variable("--ink"), width: 2 } },
      hoverinfo: "skip",
      showlegend: false,
    };
  };

  /** Invisible points that make room for the reference lines, which do not affect the axis range. */
  const room = (shapes) => ({
    x: shapes.map(() => 0),
    y: shapes.map((shape) => shape.y0),
    mode: "markers",
    marker: { opacity: 0, size: 24 },
    hoverinfo: "skip",
    showlegend: false,
  });

  const layout = (game, runs) => {
    const quiet = variable("--quiet");
    const axis = { gridcolor: variable("--line"), zeroline: false, linecolor: variable("--line"), ticks: "", automargin: true, fixedrange: true };
    const reference = (score, name) => ({
      type: "line",
      xref: "paper",
      x0: 0,
      x1: 1,
      y0: score,
      y1: score,
      line: { color: quiet, width: 1, dash: "dot" },
      label: { text: name, textposition: "end", font: { size: 11, color: quiet }, yanchor: "bottom" },
    });
    const scores = runs.flatMap((run) => [...(run.curve?.score ?? []), ...run.recordings.map((one) => one.score)]);
    const highest = scores.reduce((high, score) => Math.max(high, score), -Infinity);
    // A human score far above the curves would flatten them.
    const shapes = game.reference
      ? [reference(game.reference[0], "random"), ...(highest > game.reference[1] * 0.5 ? [reference(game.reference[1], "human")] : [])]
      : [];
    return {
      autosize: true,
      margin: { l: 48, r: 12, t: 12, b: 44 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: variable("--font"), size: 12, color: quiet },
      xaxis: { ...axis, title: { text: "agent steps", standoff: 8 }, rangemode: "tozero" },
      yaxis: { ...axis, title: { text: "score", standoff: 8 } },
      hovermode: "closest",
      hoverdistance: 40,
      hoverlabel: { bgcolor: variable("--ink"), bordercolor: variable("--ink"), font: { family: variable("--font"), size: 12, color: variable("--surface") }, align: "left" },
      dragmode: false,
      shapes,
    };
  };

  const clicked = (game, { points: [point] }) => {
    if (!point) return;
    const key = point.data.meta?.[0];
    const run = game.runs.find((one) => one.key === key);
    if (!run) return;
    const passing = run.recordings.filter(Gallery.passes.recording);
    const one = passing.find(({ id }) => id === point.id) ?? Gallery.nearest(passing, point.x);
    if (one) Gallery.player.choose(one);
  };

  const draw = async (chart) => {
    const { game, runs } = chart;
    try {
      await loadLibrary();
    } catch {
      chart.place.replaceChildren(el("p", { class: "empty" }, "The learning curves need gallery/plotly.min.js, which is missing."));
      return;
    }
    const look = layout(game, runs);
    const traces = [room(look.shapes), ...runs.flatMap(lines), chosenMarks(runs)];
    const first = !chart.drawn;
    chart.drawn = true;
    if (first) chart.place.replaceChildren();
    await Plotly.react(chart.place, traces, look, { displayModeBar: false, responsive: true, doubleClick: false });
    if (first) chart.place.on("plotly_click", (event) => clicked(chart.game, event));
  };

  const observer = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        const chart = target.chart;
        chart.near = isIntersecting;
        if (isIntersecting && chart.stale) redraw(chart);
      }
    },
    { rootMargin: "200px" },
  );

  const redraw = (chart) => {
    chart.stale = !(chart.near && waiting.size === 0);
    if (!chart.stale) draw(chart);
  };

  const charts = new Set();
  waiting.add("first paint");
  /** Starts drawing charts. */
  Gallery.startCharts = () => {
    waiting.clear();
    for (const chart of charts) if (chart.near) redraw(chart);
  };

  /** Creates a chart for the runs of a game. */
  Gallery.chart = () => {
    const place = el("div", { class: "chart", role: "img" });
    const chart = { place, game: null, runs: [], near: false, stale: true, drawn: false };
    place.chart = chart;
    charts.add(chart);
    observer.observe(place);
    return {
      place,
      update: (game, runs) => {
        Object.assign(chart, { game, runs });
        const names = runs.map((run) => {
          const score = run.curve?.score.at(-1);
          return `${run.name}${score === undefined ? "" : `, ${text.number(score)} at the end`}`;
        });
        place.setAttribute("aria-label", `Learning curves, score by agent steps: ${names.join("; ") || "none shown"}. The recordings follow below.`);
        redraw(chart);
      },
    };
  };

  document.documentElement.addEventListener("themechange", () => charts.forEach(redraw));
  document.addEventListener("chosen", () => charts.forEach((chart) => chart.drawn && redraw(chart)));
})();
