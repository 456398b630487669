"use strict";
// The light or dark theme: the stored choice, or else that of the system.
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const stored = () => {
    try {
      return localStorage.getItem("gallery-theme");
    } catch {
      return null;
    }
  };
  const apply = () => {
    root.dataset.theme = stored() || root.dataset.chosen || (dark.matches ? "dark" : "light");
    root.dispatchEvent(new Event("themechange"));
  };
  window.toggleTheme = () => {
    root.dataset.chosen = root.dataset.theme === "dark" ? "light" : "dark";
    try {
      localStorage.setItem("gallery-theme", root.dataset.chosen);
    } catch {
      // If nothing can be stored, the choice lasts as long as the page.
    }
    apply();
  };
  dark.addEventListener("change", apply);
  apply();
})();
