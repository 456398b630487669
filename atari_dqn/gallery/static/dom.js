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
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
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
