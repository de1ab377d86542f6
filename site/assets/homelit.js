// Filters the table of published numbers by what the form asks; the state lives in the address.
(() => {
  "use strict";
  const form = document.querySelector(".hl-filters");
  if (!form) return;
  const table = document.getElementById(form.dataset.table);
  const told = form.querySelector("output");
  const texts = new Map([...table.tBodies[0].rows].map((row) => [row, row.textContent.toLowerCase()]));
  // Not "q": the theme opens its own search for it.
  const fields = [...form.querySelectorAll("select, input")];

  // A thousand rows are a page that nobody scrolls: so many of what fits are shown, a button more.
  const AT_ONCE = 50;
  let most = AT_ONCE;
  const more = document.createElement("button");
  more.type = "button";
  more.className = "hl-rest";
  table.parentElement.after(more);
  addEventListener("beforeprint", () => { most = Infinity; apply(); });
  let found = 0;
  more.addEventListener("click", () => {
    if (!found) { for (const field of fields) field.value = ""; changed(); return; }
    most += AT_ONCE;
    apply();
  });

  const apply = () => {
    const words = form.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = fields.filter((field) => field.tagName === "SELECT" && field.value);
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      const text = texts.get(row);
      const fits = chosen.every((field) => row.dataset[field.name] === field.value)
        && words.every((word) => text.includes(word));
      shown += fits;
      row.hidden = !fits || shown > most;
    }
    found = shown;
    more.hidden = shown > 0 && shown <= most;
    more.textContent = shown ? `Show ${Math.min(AT_ONCE, shown - most)} more of ${shown - most}`
      : "Nothing fits. Clear the filter";
    told.value = shown < texts.size ? `${shown} of ${texts.size} numbers` : `${shown} numbers`;
  };

  const remember = () => {
    const state = new URLSearchParams(location.search);
    for (const field of fields) {
      if (field.value.trim()) state.set(field.name, field.value.trim());
      else state.delete(field.name);
    }
    const query = state.toString();
    history.replaceState(null, "", (query ? `?${query}` : location.pathname) + location.hash);
  };

  const changed = () => { most = AT_ONCE; apply(); remember(); };
  const asked = new URLSearchParams(location.search);
  for (const field of fields) field.value = asked.get(field.name) ?? "";
  for (const field of fields) if (field.selectedIndex < 0) field.value = "";
  form.addEventListener("input", changed);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(changed));
  // Sorting writes the address as well, from what it knew when the page was opened.
  table.tHead.addEventListener("click", () => setTimeout(() => { apply(); remember(); }));
  form.hidden = false;
  apply();
})();
