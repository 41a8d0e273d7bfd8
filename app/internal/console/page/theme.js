// Sets the colours that the user has chosen before the page is drawn. Therefore this is not
// a module.
(() => {
  "use strict";
  try {
    const theme = localStorage.getItem("gale-theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // Storage is off: the colours are those of the system.
  }
})();
