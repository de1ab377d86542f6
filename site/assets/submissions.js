// The address of this site in the badges' snippets: pages do not know where they are published.
(() => {
  "use strict";
  const root = new URL("../", document.currentScript.src).href;
  document.querySelectorAll("[data-site]").forEach((place) => { place.textContent = root; });
})();
