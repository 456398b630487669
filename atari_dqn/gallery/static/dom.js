"use strict";
// Elements and texts. Data is inserted as text, never as markup.
window.Gallery = {};

Gallery.byId = (id) => document.getElementById(id);

/** Creates an element with attributes, listeners ("onclick": function) and children; strings become text. */
Gallery.el = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
};

Gallery.text = {
  number: (value) => value.toLocaleString("en", { maximumFractionDigits: 2 }).replace("-", "\u2212"),
  whole: (value) => value.toLocaleString("en", { maximumFractionDigits: 0 }),
  /** Formats 250000 as 250k. */
  short: (value) => value.toLocaleString("en", { notation: "compact", maximumSignificantDigits: 3 }).replace("K", "k"),
  clock: (seconds) => {
    const whole = Math.floor(seconds + 1e-6);
    return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
  },
  /** The standard error of an evaluation, if it has several episodes. */
  margin: (evaluation) => (evaluation.standard_error === null ? "" : ` ± ${Gallery.text.number(evaluation.standard_error)}`),
  count: (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`,
};

/** Encodes a path below the videos as a URL. */
Gallery.address = (path) => path.split("/").map(encodeURIComponent).join("/");

/** Replaces the children only if the signature changes, so that nothing flickers or loses its scroll position. */
Gallery.show = (parent, signature, children) => {
  if (parent.dataset.shown === signature) return false;
  parent.dataset.shown = signature;
  parent.replaceChildren(...children());
  return true;
};

/**
 * Creates a table that scrolls sideways if it is too wide.
 * @param columns - for each column: its head, a function that returns a cell's content, and "figure" for numbers.
 * @param rows - for each row, the arguments of these functions.
 */
Gallery.table = (label, columns, rows) => {
  const { el } = Gallery;
  const head = el("tr", {}, columns.map(([name, , kind]) => el("th", { scope: "col", class: kind }, name || el("span", { class: "hidden" }, "watch"))));
  const named = columns.findIndex(([name]) => name);
  const body = rows.map((row) => el("tr", {}, columns.map(([, value, kind], place) => el(place === named ? "th" : "td", { scope: place === named ? "row" : null, class: kind }, value(...row)))));
  const caption = el("caption", { class: "hidden" }, label);
  return el("div", { class: "scroll", role: "region", "aria-label": label, tabindex: "0" }, el("table", {}, caption, el("thead", {}, head), el("tbody", {}, body)));
};
