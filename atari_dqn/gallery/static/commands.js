"use strict";
// Commands to copy into a terminal.
(() => {
  const { el } = Gallery;
  const SECONDS_SHOWN = 2;

  const select = (element) => {
    const range = document.createRange();
    range.selectNodeContents(element);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
  };

  /** Copies the text of an element, and returns whether it worked. If not, the text stays selected. */
  const copy = async (element) => {
    try {
      await navigator.clipboard.writeText(element.textContent);
      return true;
    } catch {
      select(element);
      return document.execCommand("copy");
    }
  };

  /** Creates a command with a label and a button that copies it. */
  Gallery.command = ({ label, text }) => {
    const code = el("code", { title: text }, text);
    const button = el("button", { type: "button", class: "copy", "aria-label": `Copy the command: ${label}` }, "Copy");
    button.addEventListener("click", async () => {
      button.textContent = (await copy(code)) ? "Copied" : "Press Ctrl+C";
      setTimeout(() => (button.textContent = "Copy"), SECONDS_SHOWN * 1000);
    });
    return el("div", { class: "command" }, el("span", { class: "quiet" }, label), code, button);
  };
})();
