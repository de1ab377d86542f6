// Sorts and filters tables in place. Rows never leave their <tbody>, so that reported numbers are
// never sorted in among re-evaluated ones. The state lives in the address and can be shared.
(() => {
  "use strict";
  const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
  const state = new URLSearchParams(location.search);

  const remember = (key, value) => {
    if (value) state.set(key, value); else state.delete(key);
    const query = state.toString();
    history.replaceState(null, "", (query ? `?${query}` : location.pathname) + location.hash);
  };

  const valueOf = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value ?? cell.textContent.trim();
  };

  const comparing = (column, type, direction) => (one, other) => {
    const a = valueOf(one, column), b = valueOf(other, column);
    const missing = (a === "" || a === "–") - (b === "" || b === "–");
    if (missing) return missing;
    return direction * (type === "number" ? Number(a) - Number(b) : collator.compare(a, b));
  };

  const sort = (table, header, direction) => {
    const column = header.cellIndex;
    table.querySelectorAll("thead th").forEach((other) => other.removeAttribute("aria-sort"));
    header.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
    for (const body of table.tBodies) {
      const rows = [...body.rows].filter((row) => !row.classList.contains("cb-group"));
      rows.sort(comparing(column, header.dataset.sort, direction));
      body.append(...rows);
    }
  };

  const sortable = (table) => {
    const headers = [...table.querySelectorAll("th[data-sort]")];
    for (const header of headers) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => {
        const sorted = header.getAttribute("aria-sort");
        const first = header.dataset.sort === "number" && header.cellIndex ? -1 : 1;
        const direction = sorted ? (sorted === "ascending" ? -1 : 1) : first;
        sort(table, header, direction);
        remember("sort", `${direction > 0 ? "" : "-"}${header.textContent.trim()}`);
      });
    }
    const wanted = state.get("sort") ?? "";
    const header = headers.find((one) => one.textContent.trim() === wanted.replace(/^-/, ""));
    if (header) sort(table, header, wanted.startsWith("-") ? -1 : 1);
  };

  const filterable = (tools) => {
    const table = document.getElementById(tools.dataset.table);
    const rows = [...table.tBodies].flatMap((body) => [...body.rows])
      .filter((row) => !row.classList.contains("cb-group"))
      .map((row) => ({ row, text: row.textContent.toLowerCase() }));
    const buttons = [...tools.querySelectorAll("[data-kind]")];
    const search = tools.querySelector("input");
    const told = tools.querySelector("output");

    const apply = () => {
      const kind = buttons.find((one) => one.getAttribute("aria-pressed") === "true")?.dataset.kind;
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const { row, text } of rows) {
        row.hidden = (kind && row.dataset.kind !== kind) || !words.every((word) => text.includes(word));
        shown += !row.hidden;
      }
      told.value = shown < rows.length ? `${shown} of ${rows.length} rows` : "";
    };

    const press = (kind) => buttons.forEach((one) =>
      one.setAttribute("aria-pressed", String(one.dataset.kind === kind)));
    buttons.forEach((button) => button.addEventListener("click", () => {
      press(button.dataset.kind);
      remember("kind", button.dataset.kind);
      apply();
    }));
    // Not "q": the theme opens its own search for it.
    search.addEventListener("input", () => { remember("words", search.value.trim()); apply(); });

    if (buttons.some((one) => one.dataset.kind === state.get("kind"))) press(state.get("kind"));
    search.value = state.get("words") ?? "";
    tools.hidden = false;
    apply();
  };

  document.querySelectorAll("table").forEach(sortable);
  document.querySelectorAll(".cb-tools").forEach(filterable);

  // Generated pages are not in the navigation; their section's tab is marked here.
  if (!document.querySelector(".md-tabs__item--active")) {
    const inside = [...document.querySelectorAll(".md-tabs__link")]
      .filter((link) => location.pathname.startsWith(link.pathname))
      .sort((one, other) => other.pathname.length - one.pathname.length)[0];
    inside?.parentElement.classList.add("md-tabs__item--active");
  }
})();
