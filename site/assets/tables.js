// Sorts, filters and narrows tables in place. Rows never leave their <tbody>, so that reported
// numbers are never sorted in among re-evaluated ones, and a filter changes no rank. The state
// lives in the address and can be shared.
(() => {
  "use strict";
  const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
  const state = new URLSearchParams(location.search);

  const remember = (key, value) => {
    if (value) state.set(key, value); else state.delete(key);
    const query = state.toString();
    history.replaceState(null, "", (query ? `?${query}` : location.pathname) + location.hash);
  };

  const rowsOf = (body) => [...body.rows].filter((row) => !row.classList.contains("cb-group"));

  // What a cell says, without the details that can be opened in it.
  const textOf = (cell) => {
    if (cell.lastElementChild?.nodeName !== "DETAILS") return cell.textContent.trim();
    return [...cell.childNodes].filter((node) => node.nodeName !== "DETAILS")
      .map((node) => node.textContent).join(" ").trim();
  };

  const missing = (value) => value === "" || value === "–";

  const sort = (table, header, direction) => {
    const column = header.cellIndex;
    const numbers = header.dataset.sort === "number";
    table.querySelectorAll("thead th").forEach((other) => other.removeAttribute("aria-sort"));
    header.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
    for (const body of table.tBodies) {
      const keyed = rowsOf(body).map((row) => {
        const value = row.cells[column].dataset.value ?? textOf(row.cells[column]);
        return { row, gone: missing(value), key: numbers ? Number(value.replaceAll(",", "")) : value };
      });
      keyed.sort((one, other) => one.gone - other.gone
        || direction * (numbers ? one.key - other.key : collator.compare(one.key, other.key)) || 0);
      body.append(...keyed.map((one) => one.row));
    }
    table.dispatchEvent(new Event("cb-sorted"));
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

  // A phone lays out a few dozen rows in no time and a thousand in too long: of what fits a filter, each
  // tier shows so many, and a button shows more. The page hides the others until this has run.
  const AT_ONCE = 25;

  const filterable = (tools) => {
    const table = document.getElementById(tools.dataset.table);
    const groups = [...table.tBodies].map((body) => ({
      body,
      head: body.querySelector(".cb-group"),
      rows: rowsOf(body).map((row) => ({ row, text: null })),
      most: AT_ONCE,
      more: null,
    }));
    const total = groups.reduce((sum, group) => sum + group.rows.length, 0);

    const offer = (group, left) => {
      if (!group.more && left) {
        group.more = group.body.insertRow();
        group.more.className = "cb-group cb-rest";
        const cell = group.more.insertCell();
        cell.colSpan = table.tHead.rows[0].cells.length;
        cell.innerHTML = '<button type="button"></button>';
        cell.firstChild.addEventListener("click", () => { group.most += AT_ONCE; apply(false); });
      }
      if (!group.more) return;
      group.more.hidden = left === 0;
      group.more.querySelector("button").textContent = `Show ${Math.min(left, AT_ONCE)} more of ${left}`;
      group.body.append(group.more);
    };
    const buttons = [...tools.querySelectorAll("[data-kind]")];
    const selects = [...tools.querySelectorAll("select[data-filter]")];
    const search = tools.querySelector("input");
    const told = tools.querySelector("output");

    const clear = document.createElement("button");
    clear.type = "button";
    clear.className = "hl-rest";
    clear.hidden = true;
    clear.textContent = "Nothing fits. Clear the filter";
    clear.addEventListener("click", () => {
      for (const select of selects) { select.value = ""; remember(select.dataset.filter, ""); }
      press("");
      search.value = "";
      remember("kind", "");
      remember("words", "");
      apply();
      search.focus();
    });
    (table.closest(".cb-scroll") ?? table).after(clear);

    const saidBy = (entry) =>
      entry.text ??= [...entry.row.cells].map(textOf).join(" ").toLowerCase();

    const apply = (afresh = true) => {
      const kind = buttons.find((one) => one.getAttribute("aria-pressed") === "true")?.dataset.kind;
      const asked = selects.filter((one) => one.value).map((one) => [one.dataset.filter, one.value]);
      if (kind) asked.push(["kind", kind]);
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const group of groups) {
        const { body, head, rows } = group;
        if (afresh) group.most = AT_ONCE;
        let here = 0;
        for (const entry of rows) {
          const { row } = entry;
          const fits = asked.every(([name, value]) => (row.dataset[name] ?? body.dataset[name]) === value)
            && (words.length === 0 || words.every((word) => saidBy(entry).includes(word)));
          here += fits;
          const hidden = !fits || here > group.most;
          if (row.hidden !== hidden) row.hidden = hidden;
        }
        if (head) head.hidden = here === 0;
        offer(group, Math.max(0, here - group.most));
        shown += here;
      }
      clear.hidden = shown > 0;
      told.value = shown < total ? `${shown} of ${total} rows` : "";
    };

    const press = (kind) => buttons.forEach((one) =>
      one.setAttribute("aria-pressed", String(one.dataset.kind === kind)));
    buttons.forEach((button) => button.addEventListener("click", () => {
      press(button.dataset.kind);
      remember("kind", button.dataset.kind);
      apply();
    }));
    for (const select of selects) {
      select.value = state.get(select.dataset.filter) ?? "";
      if (select.selectedIndex < 0) select.value = "";
      select.addEventListener("change", () => { remember(select.dataset.filter, select.value); apply(); });
    }
    // Not "q": the theme opens its own search for it.
    search.addEventListener("input", () => { remember("words", search.value.trim()); apply(); });

    table.addEventListener("cb-sorted", () => {
      for (const group of groups) {
        const known = new Map(group.rows.map((entry) => [entry.row, entry]));
        group.rows = rowsOf(group.body).map((row) => known.get(row));
      }
      apply();
    });

    if (buttons.some((one) => one.dataset.kind === state.get("kind"))) press(state.get("kind"));
    search.value = state.get("words") ?? "";
    tools.hidden = false;
    apply();
    table.dataset.ready = "";
  };

  // Which columns are shown: those with a key can be chosen, those with data-off wait to be.
  const choosable = (tools) => {
    const table = document.getElementById(tools.dataset.table);
    const headers = [...table.querySelectorAll("thead th[data-key]")].filter((one) => !one.querySelector(".cb-unseen"));
    if (!headers.length) return;
    const style = document.head.appendChild(document.createElement("style"));
    const menu = document.createElement("details");
    menu.className = "cb-choose";
    menu.innerHTML = "<summary>Columns</summary><div></div>";
    const boxes = headers.map((header) => {
      const label = document.createElement("label");
      const box = Object.assign(document.createElement("input"), { type: "checkbox", value: header.dataset.key });
      label.append(box, ` ${header.textContent.trim()}`);
      menu.lastChild.append(label);
      return box;
    });
    const usual = headers.filter((one) => one.dataset.off === undefined).map((one) => one.dataset.key);

    const show = (keys) => {
      const off = headers.filter((one) => !keys.includes(one.dataset.key));
      const cells = off.map((one) => `:nth-child(${one.cellIndex + 1})`).join();
      table.dataset.chosen = "";
      style.textContent = cells && `#${table.id} tr:not(.cb-group) > :is(${cells}) { display: none !important; }`;
      boxes.forEach((box) => { box.checked = keys.includes(box.value); });
    };
    menu.addEventListener("change", () => {
      const keys = boxes.filter((box) => box.checked).map((box) => box.value);
      show(keys);
      remember("columns", keys.join() === usual.join() ? "" : keys.join() || "none");
    });
    const known = new Set(headers.map((one) => one.dataset.key));
    const asked = state.get("columns")?.split(",").filter((key) => known.has(key));
    show(state.has("columns") ? asked : usual);
    tools.insertBefore(menu, tools.querySelector("output"));
  };

  document.querySelectorAll("table").forEach(sortable);
  document.querySelectorAll(".cb-tools").forEach((tools) => { choosable(tools); filterable(tools); });

  // A line to copy gets its button when it is first seen.
  document.addEventListener("toggle", (event) => {
    for (const code of event.target.querySelectorAll?.(".cb-copy:not([data-ready])") ?? []) {
      code.dataset.ready = "";
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: "copy" });
      button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(code.textContent.trim());
        button.textContent = "copied";
        setTimeout(() => { button.textContent = "copy"; }, 1500);
      });
      // A button in the line that opens the details could not be reached by itself.
      const above = code.previousElementSibling;
      if (above.matches("summary")) above.after(button); else above.append(" ", button);
    }
  }, true);

  // The theme's buttons beside code are landmarks, and need names of their own; code that scrolls must
  // be reached by keyboard.
  addEventListener("load", () => {
    document.querySelectorAll(".md-code__nav").forEach((nav, at) =>
      nav.setAttribute("aria-label", `Code ${at + 1}`));
    for (const code of document.querySelectorAll(".md-typeset pre > code")) {
      if (code.scrollWidth > code.clientWidth) code.tabIndex = 0;
    }
  });

  // Fonts come when a page is there, for the next one: a font that arrives late would move what is read.
  addEventListener("load", () => (window.requestIdleCallback ?? setTimeout)(async () => {
    try {
      await Promise.all(['1em "Source Sans 3"', '1em "Source Serif 4"'].map((font) => document.fonts.load(font)));
      localStorage.setItem("cb-fonts", "fetched");
    } catch { /* The system's fonts do as well. */ }
  }));

  // Generated pages are not in the navigation; their section's tab is marked here.
  if (!document.querySelector(".md-tabs__item--active")) {
    const inside = [...document.querySelectorAll(".md-tabs__link")]
      .filter((link) => location.pathname.startsWith(link.pathname))
      .sort((one, other) => other.pathname.length - one.pathname.length)[0];
    inside?.parentElement.classList.add("md-tabs__item--active");
  }
})();
