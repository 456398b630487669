"use strict";
// Learning curves. Plotly is loaded after the first paint, and draws a chart when it comes into view.
(() => {
  const { el, text } = Gallery;
  const MOST_MARKS = 200; // recordings drawn on the curves of a game; the rows below have all
  const MEAN_POINTS = 200; // of a recipe's mean curve
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

  const METRICS = [["loss", "Loss"], ["max_q", "Mean max Q"], ["speed", "Agent steps per second"]];

  /** How the lines of a game's runs look; those of many runs are thin, and their recipe's mean is not. */
  const look = (chart, run) => {
    const isPointed = chart.pointed === run.key;
    const isFaint = chart.game.isCrowded && !isPointed;
    return { width: isPointed ? 3 : isFaint ? 1 : 2, opacity: isFaint ? 0.3 : 1 };
  };

  const lines = (chart, run) => {
    const color = variable(`--series-${run.color}`);
    const every = { name: "", showlegend: false };
    const isCrowded = chart.game.isCrowded;
    const { width, opacity } = look(chart, run);
    const traces = [];
    if (run.curve?.steps.length) {
      const { steps, score, epsilon } = run.curve;
      const epsilonTexts = epsilon.map((value) => (value === null ? "" : `<br>epsilon ${value}`));
      traces.push({
        ...every,
        x: steps,
        y: score,
        customdata: epsilonTexts,
        mode: "lines",
        line: { color: color, width, dash: isCrowded ? "solid" : run.dash },
        opacity,
        hovertemplate: "%{meta[1]}<br>step %{x:,}<br>score %{y:.4~g}%{customdata}",
        meta: [run.key, escaped(run.name)],
      });
    }
    if (run.means?.steps.length && !isCrowded) {
      traces.push({
        ...every,
        x: run.means.steps,
        y: run.means.mean,
        mode: "lines",
        line: { color: color, width: 1, dash: "dot" },
        opacity: 0.8,
        hovertemplate: "%{meta[1]}<br>step %{x:,}<br>mean of an evaluation in training %{y:.4~g}",
        meta: [run.key, escaped(run.name)],
      });
    }
    const most = Math.max(Math.floor(MOST_MARKS / chart.runs.length), 2);
    const shown = isCrowded && chart.pointed !== run.key ? [] : evenly(run.recordings.filter(Gallery.passes.recording), most);
    if (shown.length) {
      traces.push({
        ...every,
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

  /** The mean curve of each recipe over its runs, as far as all of them have come. */
  const recipeMeans = (runs, curveOf, width) => {
    const recipes = Map.groupBy(runs.filter((run) => curveOf(run)?.steps.length > 1), Gallery.recipeOf);
    return [...recipes].filter(([, members]) => members.length > 1).map(([recipe, members]) => {
      const first = Math.max(...members.map((run) => curveOf(run).steps[0]));
      const last = Math.min(...members.map((run) => curveOf(run).steps.at(-1)));
      const x = Array.from({ length: MEAN_POINTS }, (_, place) => first + (place * (last - first)) / (MEAN_POINTS - 1));
      const y = x.map((step) => members.reduce((sum, run) => sum + valueAt(curveOf(run), step), 0) / members.length);
      const [{ color, dash }] = members;
      return {
        x,
        y,
        mode: "lines",
        line: { color: variable(`--series-${color}`), width, dash },
        name: "",
        showlegend: false,
        hovertemplate: `mean of ${members.length} runs of ${escaped(recipe)}<br>step %{x:,.0f}<br>%{y:.4~g}`,
      };
    });
  };

  /** Returns the value of a curve at a step, linear between its points. */
  const valueAt = ({ steps, values }, step) => {
    let low = 0;
    let high = steps.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (steps[middle] <= step) low = middle;
      else high = middle;
    }
    const part = steps[high] === steps[low] ? 0 : (step - steps[low]) / (steps[high] - steps[low]);
    return values[low] + Math.min(Math.max(part, 0), 1) * (values[high] - values[low]);
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

  /** Returns the reference scores that a chart draws. A human's far above the curves would flatten them. */
  const references = (game, runs) => {
    if (!game?.reference) return [];
    const [random, human] = game.reference;
    const highest = runs.reduce((high, run) => Math.max(high, ...run.recordings.map((one) => one.score), run.curve?.score.reduce((a, b) => Math.max(a, b), -Infinity) ?? -Infinity), -Infinity);
    return [[random, "random"], ...(highest > human * 0.5 ? [[human, "human"]] : [])];
  };
  Gallery.references = references;

  const axes = () => ({ gridcolor: variable("--line"), zeroline: false, linecolor: variable("--line"), ticks: "", automargin: true, fixedrange: true });

  const common = () => ({
    autosize: true,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: variable("--font"), size: 12, color: variable("--quiet") },
    hovermode: "closest",
    hoverdistance: 40,
    hoverlabel: { bgcolor: variable("--ink"), bordercolor: variable("--ink"), font: { family: variable("--font"), size: 12, color: variable("--surface") }, align: "left" },
    dragmode: false,
  });

  /** The traces and the layout of a small chart: one metric of training. */
  const smallFigure = (chart) => {
    const traces = chart.runs.filter((run) => run.progress?.[chart.metric].steps.length).map((run) => {
      const { steps, values } = run.progress[chart.metric];
      const { width, opacity } = look(chart, run);
      return {
        x: steps,
        y: values,
        mode: "lines",
        line: { color: variable(`--series-${run.color}`), width: Math.min(width, 1.5), dash: chart.game.isCrowded ? "solid" : run.dash },
        opacity,
        name: "",
        showlegend: false,
        meta: [run.key, escaped(run.name)],
        hovertemplate: "%{meta[1]}<br>step %{x:,}<br>%{y:.4~g}",
      };
    });
    const layout = { ...common(), margin: { l: 36, r: 8, t: 6, b: 22 }, xaxis: { ...axes(), nticks: 4, rangemode: "tozero" }, yaxis: { ...axes(), nticks: 4 } };
    layout.font.size = 10;
    const means = chart.game.isCrowded ? recipeMeans(chart.runs, (run) => run.progress?.[chart.metric], 2) : [];
    return { traces: [...traces, ...means], layout };
  };

  const layout = (game, runs) => {
    const quiet = variable("--quiet");
    const axis = axes();
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
    const shapes = references(game, runs).map(([score, name]) => reference(score, name));
    return {
      ...common(),
      margin: { l: 48, r: 12, t: 12, b: 44 },
      xaxis: { ...axis, title: { text: "agent steps", standoff: 8 }, rangemode: "tozero" },
      yaxis: { ...axis, title: { text: "score", standoff: 8 } },
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

  const figure = (chart) => {
    const { game, runs } = chart;
    const arranged = layout(game, runs);
    const means = game.isCrowded ? recipeMeans(runs, ({ curve }) => curve && { steps: curve.steps, values: curve.score }, 3.5) : [];
    return { traces: [room(arranged.shapes), ...runs.flatMap((run) => lines(chart, run)), ...means, chosenMarks(runs)], layout: arranged };
  };

  const draw = async (chart) => {
    try {
      await loadLibrary();
    } catch {
      chart.place.replaceChildren(el("p", { class: "empty" }, "The learning curves need gallery/plotly.min.js, which is missing."));
      return;
    }
    const first = !chart.drawn;
    chart.drawn = true;
    if (first) chart.place.replaceChildren();
    const { traces, layout } = chart.metric ? smallFigure(chart) : figure(chart);
    await Plotly.react(chart.place, traces, layout, { displayModeBar: false, responsive: true, doubleClick: false });
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

  const prepare = (place, metric = null) => {
    const chart = { place, metric, game: null, runs: [], pointed: null, near: false, stale: true, drawn: false };
    place.chart = chart;
    charts.add(chart);
    observer.observe(place);
    return chart;
  };

  /** Creates the small charts of the metrics of training. */
  Gallery.smallCharts = () => {
    const parts = METRICS.map(([metric, name]) => {
      const place = el("div", { class: "small-chart", role: "img", "aria-label": `${name} by agent steps` });
      return { metric, chart: prepare(place, metric), root: el("div", {}, el("p", { class: "quiet" }, name), place) };
    });
    const root = el("div", { class: "small-charts" }, parts.map((part) => part.root));
    return {
      root,
      update: (game, runs) => {
        for (const { metric, chart, root: part } of parts) {
          part.hidden = !runs.some((run) => run.progress?.[metric].steps.length);
          Object.assign(chart, { game, runs });
          redraw(chart);
        }
        root.hidden = parts.every((part) => part.root.hidden);
      },
      point: (key) => parts.forEach(({ chart }) => point(chart, key)),
    };
  };

  const point = (chart, key) => {
    if (chart.pointed === key) return;
    chart.pointed = key;
    cancelAnimationFrame(chart.frame);
    chart.frame = requestAnimationFrame(() => redraw(chart));
  };

  /** Creates a chart for the runs of a game. */
  Gallery.chart = () => {
    const place = el("div", { class: "chart", role: "img" });
    const chart = prepare(place);
    return {
      point: (key) => point(chart, key),
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
  document.addEventListener("chosen", () => charts.forEach((chart) => chart.drawn && !chart.metric && redraw(chart)));
})();
