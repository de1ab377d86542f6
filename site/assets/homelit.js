// Filters the table of published numbers by what the form asks; the state lives in the address.
(() => {
  "use strict";
  const form = document.querySelector(".hl-filters");
  if (!form) return;
  const table = document.getElementById(form.dataset.table);
  const told = form.querySelector("output");
  const rows = [...table.tBodies[0].rows]
    .map((row) => ({ row, text: row.textContent.toLowerCase() }));
  // Not "q": the theme opens its own search for it.
  const fields = [...form.querySelectorAll("select, input")];

  const apply = () => {
    const words = form.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = fields.filter((field) => field.tagName === "SELECT" && field.value);
    let shown = 0;
    for (const { row, text } of rows) {
      row.hidden = !chosen.every((field) => row.dataset[field.name] === field.value)
        || !words.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    told.value = shown < rows.length ? `${shown} of ${rows.length} numbers` : `${shown} numbers`;
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

  const changed = () => { apply(); remember(); };
  const asked = new URLSearchParams(location.search);
  for (const field of fields) field.value = asked.get(field.name) ?? "";
  for (const field of fields) if (field.selectedIndex < 0) field.value = "";
  form.addEventListener("input", changed);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(changed));
  // Sorting writes the address as well, from what it knew when the page was opened.
  table.tHead.addEventListener("click", () => setTimeout(remember));
  form.hidden = false;
  apply();
})();
