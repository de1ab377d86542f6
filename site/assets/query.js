// Reads Parquet files in the browser and filters, sorts and hands out their rows. The question is in
// the address and can be shared. Nothing is evaluated as code; every text is set as text.
import { decompressZstd, parquetMetadata, parquetRead, parquetSchema } from "./vendor/hyparquet.min.js";

const SHOWN = 200;
const FIRST_COLUMNS = ["submission", "example", "label", "prediction", "status", "radius", "margin", "stage", "seconds"];
const LEFT_OUT = ["witness"]; // bytes: they stay in the file

// ---- values ----

// Exact: radii are fractions, and 8/255 has no float.
const fraction = (text) => {
  const found = /^(-?\d+)(?:\/([1-9]\d*)|\.(\d+))?$/.exec(String(text).trim());
  if (!found) return null;
  const [, whole, below, decimals] = found;
  if (below) return [BigInt(whole), BigInt(below)];
  return [BigInt(whole + (decimals ?? "")), 10n ** BigInt(decimals?.length ?? 0)];
};

const order = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
const COLLATE = new Intl.Collator("en", { numeric: true });
const KINDS = {
  text: { parse: (text) => text, compare: (a, b) => COLLATE.compare(a, b) },
  integer: { parse: (text) => (text.trim() && Number.isFinite(Number(text)) ? Number(text) : null), compare: order },
  fraction: { parse: fraction, compare: (a, b) => order(a[0] * b[1], b[0] * a[1]) },
};
KINDS.number = KINDS.integer;

const ORDERED = {
  lt: ["<", (sign) => sign < 0], le: ["≤", (sign) => sign <= 0],
  gt: [">", (sign) => sign > 0], ge: ["≥", (sign) => sign >= 0],
};
const EQUAL = { eq: ["is", (sign) => sign === 0], ne: ["is not", (sign) => sign !== 0] };
const NULLS = { null: ["is missing"], some: ["is there"] };
const HAS = { has: ["contains"] };
const operators = (kind) => (kind === "text" ? { ...EQUAL, ...HAS, ...NULLS } : { ...EQUAL, ...ORDERED, ...NULLS });

// A question about one column becomes a function of a row's number; what it cannot read is told.
const test = ({ column, operator, value }, table) => {
  const values = table.columns.get(column), { kind } = table.meanings.get(column);
  if (operator === "null") return (row) => values[row] === null;
  if (operator === "some") return (row) => values[row] !== null;
  if (operator === "has") {
    const part = value.toLowerCase();
    return (row) => values[row] !== null && values[row].toLowerCase().includes(part);
  }
  const { parse, compare } = KINDS[kind], wanted = parse(value);
  if (wanted === null) throw new Error(`“${value}” is no ${kind}, which ${column} is compared with.`);
  const [, holds] = { ...EQUAL, ...ORDERED }[operator];
  const exact = kind === "text" ? order : compare;
  // Few radii differ: each is read and compared once.
  const known = new Map();
  return (row) => {
    const found = values[row];
    if (found === null) return false;
    if (kind !== "fraction") return holds(exact(found, wanted));
    if (!known.has(found)) known.set(found, holds(compare(fraction(found), wanted)));
    return known.get(found);
  };
};

const sorted = (rows, column, direction, table) => {
  const values = table.columns.get(column), { kind } = table.meanings.get(column);
  const { compare } = KINDS[kind];
  const keys = kind === "fraction" ? values.map((one) => (one === null ? null : fraction(one))) : values;
  return rows.sort((a, b) => {
    if (keys[a] === null || keys[b] === null) return (keys[a] === null) - (keys[b] === null) || a - b;
    return direction * compare(keys[a], keys[b]) || a - b;
  });
};

// ---- files ----

const fetched = async (address) => {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address} could not be read (${answer.status}).`);
  return answer;
};

const hexadecimal = (buffer) => [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, "0")).join("");

const plain = (value) => (typeof value === "bigint" ? Number(value) : value ?? null);

const read = async (address, sha256, meanings) => {
  const file = await (await fetched(address)).arrayBuffer();
  const checked = Boolean(globalThis.crypto?.subtle && sha256);
  if (checked && hexadecimal(await crypto.subtle.digest("SHA-256", file)) !== sha256) {
    throw new Error("The file is not the one that was published: its SHA-256 differs. Reload the page.");
  }
  const metadata = parquetMetadata(file);
  const names = parquetSchema(metadata).children.map((child) => child.element.name).filter((name) => meanings.has(name) && !LEFT_OUT.includes(name));
  const columns = new Map(names.map((name) => [name, new Array(Number(metadata.num_rows)).fill(null)]));
  await parquetRead({
    file, metadata, columns: names, compressors: { ZSTD: (input) => decompressZstd(input) },
    onChunk: ({ columnName, columnData, rowStart }) => {
      const column = columns.get(columnName);
      for (let row = 0; row < columnData.length; row += 1) column[rowStart + row] = plain(columnData[row]);
    },
  });
  return { columns, meanings, rows: Number(metadata.num_rows), checked };
};

// ---- CSV ----

// As in downloads.py: at its start, or behind what parts cells where a comma is the decimal point.
const FORMULA = /(^|[;\t\r\n]\s*)(?=[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20])/g;
const cell = (value) => {
  if (value === null) return "";
  if (typeof value === "number") return String(value);
  const inert = value.replace(FORMULA, "$1'");
  return /[",\r\n]/.test(inert) ? `"${inert.replaceAll('"', '""')}"` : inert;
};
const csv = (rows, names, table) =>
  [names, ...rows.map((row) => names.map((name) => table.columns.get(name)[row]))]
    .map((line) => line.map(cell).join(",")).join("\n") + "\n";

// ---- the page ----

// Never 0 or 100 % when it is not.
const percent = (part, total) => {
  const share = (100 * part) / total;
  if (part && share < 0.01) return "<0.01 %";
  return part < total && share > 99.99 ? ">99.99 %" : `${share.toFixed(2)} %`;
};

const make = (tag, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};
const options = (select, pairs) => select.replaceChildren(...pairs.map(([value, label]) => make("option", { value, textContent: label })));

const start = async (page) => {
  const root = new URL(page.dataset.root, location.href);
  const at = (path) => new URL(path, root);
  const form = page.querySelector("form"), { setting, submission } = form.elements;
  const conditions = page.querySelector(".cb-query__conditions"), told = page.querySelector(".cb-query__told");
  const download = page.querySelector(".cb-query__csv"), view = page.querySelector(".cb-rows");
  const asked = new URLSearchParams(location.search);
  const json = async (path) => (await fetched(at(path))).json();
  const meanings = new Map((await json("api/v1/columns.json")).columns.map((one) => [one.name, one]));
  let table = null, rows = [], sort = asked.get("sort") ?? "", turn = 0;
  let chosen = (asked.get("columns") ?? FIRST_COLUMNS.join(",")).split(",").filter((name) => meanings.has(name));

  const say = (text, small = "") => told.replaceChildren(text, small ? make("small", { textContent: ` ${small}` }) : "");

  const questions = () => [...conditions.children].map((line) => {
    const [column, operator] = line.querySelectorAll("select");
    return { column: column.value, operator: operator.value, value: line.querySelector("input").value };
  });
  const unfinished = ({ operator, value }) => !(operator in NULLS) && value === "";

  const remember = () => {
    const state = new URLSearchParams({ setting: setting.value });
    if (submission.value) state.set("submission", submission.value);
    for (const one of questions()) if (!unfinished(one)) state.append("where", `${one.column}.${one.operator}.${one.operator in NULLS ? "" : one.value}`);
    if (sort) state.set("sort", sort);
    if (chosen.join() !== FIRST_COLUMNS.join()) state.set("columns", chosen.join());
    history.replaceState(null, "", `?${state}${location.hash}`);
  };

  const apply = () => {
    if (!table) return;
    const names = chosen.filter((name) => table.columns.has(name));
    try {
      const tests = questions().filter((one) => !unfinished(one) && table.columns.has(one.column)).map((one) => test(one, table));
      rows = [];
      for (let row = 0; row < table.rows; row += 1) if (tests.every((holds) => holds(row))) rows.push(row);
      const column = sort.replace(/^-/, "");
      if (table.columns.has(column)) sorted(rows, column, sort.startsWith("-") ? -1 : 1, table);
    } catch (problem) {
      rows = [];
      say(problem.message);
      view.replaceChildren();
      download.disabled = true;
      return;
    }
    remember();
    const share = table.rows ? ` (${percent(rows.length, table.rows)})` : "";
    const first = rows.length > SHOWN ? `The first ${SHOWN} are below. ` : "";
    say(`${rows.length.toLocaleString("en")} of ${table.rows.toLocaleString("en")} rows${share}`,
      `${first}${table.checked ? "The file is the published one: its SHA-256 was checked." : ""}`);
    download.disabled = !rows.length;
    draw(names);
  };

  const draw = (names) => {
    const heads = names.map((name) => {
      const button = make("button", { type: "button", textContent: name, title: meanings.get(name).meaning });
      button.addEventListener("click", () => {
        sort = sort === name ? `-${name}` : name;
        apply();
        view.querySelectorAll("thead button")[names.indexOf(name)]?.focus();
      });
      const head = make("th", { scope: "col", className: numeric(name) ? "cb-r" : "" }, button);
      if (sort.replace(/^-/, "") === name) head.setAttribute("aria-sort", sort.startsWith("-") ? "descending" : "ascending");
      return head;
    });
    const body = rows.slice(0, SHOWN).map((row) => make("tr", {}, ...names.map((name) => {
      const value = table.columns.get(name)[row];
      return make("td", { textContent: value ?? "–", title: String(value ?? "missing"), className: numeric(name) ? "cb-r" : "" });
    })));
    view.replaceChildren(make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...body));
  };
  const numeric = (name) => !["text", "bytes"].includes(meanings.get(name).kind);

  const addCondition = ({ column = "status", operator = "eq", value = "" } = {}) => {
    const line = make("div", { className: "cb-query__condition" });
    const columns = make("select", { ariaLabel: "Column" }), signs = make("select", { ariaLabel: "Comparison" });
    const input = make("input", { type: "text", value, ariaLabel: "Value", autocomplete: "off", spellcheck: false });
    input.setAttribute("list", `${column}-values`);
    const remove = make("button", { type: "button", textContent: "Remove" });
    options(columns, [...meanings.keys()].filter((name) => !LEFT_OUT.includes(name)).map((name) => [name, name]));
    columns.value = meanings.has(column) ? column : "status";
    const fit = (wanted) => {
      const allowed = operators(meanings.get(columns.value).kind);
      options(signs, Object.entries(allowed).map(([key, [sign]]) => [key, sign]));
      signs.value = Object.hasOwn(allowed, wanted) ? wanted : "eq";
      input.hidden = signs.value in NULLS;
      input.setAttribute("list", `${columns.value}-values`);
    };
    fit(operator);
    columns.addEventListener("change", () => { fit(signs.value); apply(); });
    signs.addEventListener("change", () => { input.hidden = signs.value in NULLS; apply(); });
    input.addEventListener("input", apply);
    remove.addEventListener("click", () => { line.remove(); page.querySelector(".cb-query__add").focus(); apply(); });
    line.append(columns, signs, input, remove);
    conditions.append(line);
    return columns;
  };

  // Texts of few values are offered while one types.
  const offer = () => {
    page.querySelectorAll("datalist").forEach((list) => list.remove());
    for (const [name, values] of table.columns) {
      if (meanings.get(name).kind !== "text") continue;
      const different = new Set(values);
      if (different.size > 50) continue;
      const list = make("datalist", { id: `${name}-values` });
      options(list, [...different].filter(Boolean).map((value) => [value, value]));
      page.append(list);
    }
  };

  const listColumns = () => {
    page.querySelector(".cb-query__columns").replaceChildren(...[...meanings.values()].filter(({ name }) => !LEFT_OUT.includes(name)).map((one) => {
      const box = make("input", { type: "checkbox", checked: chosen.includes(one.name) });
      box.addEventListener("change", () => {
        const wanted = new Set(box.checked ? [...chosen, one.name] : chosen.filter((name) => name !== one.name));
        chosen = [...meanings.keys()].filter((name) => wanted.has(name));
        apply();
      });
      const kind = `${one.kind}. ${one.meaning}${one.null ? ` Missing: ${one.null}.` : ""}`;
      return make("label", {}, box, " ", make("code", { textContent: one.name }), make("small", { textContent: kind }));
    }));
  };

  const load = async (wanted) => {
    const mine = (turn += 1);
    table = null;
    download.disabled = true;
    view.replaceChildren();
    say("Reading the file…");
    try {
      const standings = await json(`api/v1/settings/${encodeURIComponent(setting.value)}.json`);
      if (mine !== turn) return;
      options(submission, [["", "all"], ...standings.re_evaluated.map((line) => [line.submission, line.title])]);
      if (standings.re_evaluated.some((line) => line.submission === wanted)) submission.value = wanted;
      let file = standings.all_rows;
      if (submission.value) {
        const result = await json(`api/v1/results/${encodeURIComponent(setting.value)}/${encodeURIComponent(submission.value)}.json`);
        file = result.files.find((one) => one.format === "parquet");
      }
      const found = await read(at(file.path), file.sha256, meanings);
      if (mine !== turn) return;
      table = found;
      offer();
      apply();
    } catch (problem) {
      if (mine === turn) say(`This did not work: ${problem.message}`);
    }
  };

  if ([...setting.options].some((one) => one.value === asked.get("setting"))) setting.value = asked.get("setting");
  for (const text of asked.getAll("where")) {
    const [column, operator, ...value] = text.split(".");
    if (meanings.has(column)) addCondition({ column, operator, value: value.join(".") });
  }
  if (!conditions.children.length) addCondition();
  listColumns();
  form.addEventListener("submit", (event) => event.preventDefault());
  setting.addEventListener("change", () => load(""));
  submission.addEventListener("change", () => load(submission.value));
  page.querySelector(".cb-query__add").addEventListener("click", () => addCondition().focus());
  download.addEventListener("click", () => {
    const names = chosen.filter((name) => table.columns.has(name));
    const address = URL.createObjectURL(new Blob([csv(rows, names, table)], { type: "text/csv;charset=utf-8" }));
    make("a", { href: address, download: `${setting.value}-rows.csv` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  });
  page.hidden = false;
  await load(asked.get("submission") ?? "");
};

document.getElementById("query-without")?.remove();
const page = document.getElementById("query");
if (page) start(page).catch((problem) => {
  page.hidden = false;
  page.querySelector(".cb-query__told").textContent = `This did not work: ${problem.message}`;
});
