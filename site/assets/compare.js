// Compares what the reader chooses: loads one list a setting and one small file an evaluation, and
// counts here. What is chosen is in the address: ?setting=…&s=a,b and ?model=…&time=…&without=….
(() => {
  "use strict";
  const MOST = 6, LISTED = 60;
  const COLOURS = ["#1f8f75", "#3b7dbd", "#c4862c", "#c65d43", "#8a6cb8", "#5c8a2f"];
  const SYMBOLS = ["circle", "square", "triangle-up", "diamond", "cross", "star", "x", "hexagon"];
  const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"];

  // ---- statistics ----

  // Two-sided p-value of the exact binomial test with chance 1/2: sums from the largest term down.
  const mcnemar = (onlyA, onlyB) => {
    const n = onlyA + onlyB, k = Math.min(onlyA, onlyB);
    if (2 * k >= n) return 1;
    let log = -n * Math.LN2;
    for (let j = 1; j <= k; j += 1) log += Math.log((n - k + j) / j);
    let sum = 0, term = 1;
    for (let i = k; i >= 0; i -= 1) {
      sum += term;
      term *= i / (n - i + 1);
    }
    return Math.min(1, 2 * Math.exp(log) * sum);
  };

  // Holm's step-down adjustment, in the order given.
  const holm = (values) => {
    const order = values.map((value, place) => place).sort((a, b) => values[a] - values[b]);
    const adjusted = [];
    let least = 0;
    order.forEach((place, rank) => {
      least = Math.max(least, Math.min(1, (values.length - rank) * values[place]));
      adjusted[place] = least;
    });
    return adjusted;
  };

  const verdicts = (file) => {
    const found = new Map();
    for (let row = 0; row < file.verdicts.length; row += 1) {
      found.set(file.examples ? file.examples[row] : file.first + row * file.step, file.verdicts[row]);
    }
    return found;
  };

  const paired = (a, b) => {
    const found = { both: 0, neither: 0, onlyA: [], onlyB: [] };
    const other = verdicts(b);
    for (const [example, letter] of verdicts(a)) {
      if (!other.has(example)) continue;
      const one = letter === "c", two = other.get(example) === "c";
      if (one && two) found.both += 1;
      else if (one) found.onlyA.push([example, other.get(example)]);
      else if (two) found.onlyB.push([example, letter]);
      else found.neither += 1;
    }
    return { ...found, p: mcnemar(found.onlyA.length, found.onlyB.length) };
  };

  window.certboardCompare = { mcnemar, holm, paired };

  // ---- showing ----

  const make = (tag, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };
  const percent = (share) => (100 * share).toFixed(2);
  const chance = (p) => {
    if (p >= 0.001) return p.toFixed(3);
    if (p === 0) return "< 10⁻³⁰⁰";
    const [digits, power] = p.toExponential(1).split("e-");
    return `${digits} · 10⁻${[...power].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]).join("")}`;
  };
  const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  const table = (heads, rows) => make("div", { className: "cb-scroll" }, make("table", { className: "cb-table" },
    make("thead", {}, make("tr", {}, ...heads.map(([text, side]) => make("th", { className: side ?? "" }, text)))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((cell, place) => {
      if (!place) return make("th", { scope: "row" }, cell);
      const made = make("td", { className: heads[place][1] ?? "" }, cell);
      made.dataset.label = heads[place][0];
      return made;
    }))))));
  const remember = (changes) => {
    const state = new URLSearchParams(location.search);
    for (const [key, value] of Object.entries(changes)) if (value) state.set(key, value); else state.delete(key);
    const query = state.toString().replaceAll("%2C", ",").replaceAll("%2F", "/");
    history.replaceState(null, "", (query ? `?${query}` : location.pathname) + location.hash);
  };
  const layout = (x, more = {}) => ({
    template: {}, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", height: 400,
    margin: { l: 52, r: 16, t: 12, b: 92 }, hovermode: "closest", showlegend: true,
    legend: { orientation: "h", yref: "container", y: 0, x: 0, yanchor: "bottom" },
    xaxis: x, yaxis: { title: { text: "Certified accuracy (%)" }, range: [0, 101] }, ...more,
  });

  // Runs of neighbouring numbers, as 3–5, 9.
  const ranges = (numbers) => {
    const found = [];
    for (const number of [...numbers].sort((a, b) => a - b)) {
      const last = found.at(-1);
      if (last && last[1] === number - 1) last[1] = number; else found.push([number, number]);
    }
    return found.map(([a, b]) => (a === b ? `${a}` : a + 1 === b ? `${a}, ${b}` : `${a}–${b}`)).join(", ");
  };

  const loaded = new Map();
  const load = (address) => {
    if (!loaded.has(address)) {
      loaded.set(address, fetch(address).then((reply) => {
        if (!reply.ok) throw new Error(`${address}: ${reply.status}`);
        return reply.json();
      }));
    }
    return loaded.get(address);
  };

  // ---- submissions ----

  const submissions = (root) => {
    const select = document.getElementById("compare-setting");
    const filter = document.getElementById("compare-filter");
    const list = document.getElementById("compare-list");
    const told = document.getElementById("compare-told");
    const chart = document.getElementById("compare-curves");
    const result = document.getElementById("compare-table");
    const counts = document.getElementById("compare-pairs");
    const files = new URL(root.dataset.files, location.href);
    let lines = [], chosen = [], turn = 0;

    const named = (line) => (line.named ? `${line.title}: ${line.evaluator} alone` : line.title);

    const offer = () => {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      const fitting = lines.filter((line) => {
        const text = `${named(line)} ${line.id} ${line.kind}`.toLowerCase();
        return words.every((word) => text.includes(word));
      });
      const first = lines.filter((line) => chosen.includes(line.id));
      const rest = fitting.filter((line) => !chosen.includes(line.id)).slice(0, LISTED);
      list.replaceChildren(...[...first, ...rest].map((line) => {
        const box = make("input", { type: "checkbox", checked: chosen.includes(line.id) });
        box.disabled = !box.checked && chosen.length >= MOST;
        box.addEventListener("change", () => {
          chosen = box.checked ? [...chosen, line.id] : chosen.filter((id) => id !== line.id);
          choose(line.id);
        });
        box.dataset.id = line.id;
        const place = line.rank ? `#${line.rank}` : line.named ? "not ranked" : line.disputed ? "disputed" : "retired";
        return make("label", {}, box, make("span", {}, named(line), " ", make("small", {}, `${place} · ${percent(line.certified ?? 0)} %`)));
      }));
      const hidden = fitting.filter((line) => !chosen.includes(line.id)).length - rest.length;
      told.value = chosen.length >= MOST ? "Six are chosen; take one away to choose another."
        : hidden > 0 ? `${chosen.length} chosen; ${hidden} more to choose from: type to narrow the list`
          : `${chosen.length} chosen`;
    };

    const show = async () => {
      const mine = ++turn;
      const found = chosen.map((id) => lines.find((line) => line.id === id));
      chart.hidden = found.length === 0;
      if (!found.length) {
        result.replaceChildren();
        counts.replaceChildren();
        return;
      }
      let data;
      try {
        data = await Promise.all(found.map((line) => load(new URL(`${select.value}/${line.id}.json`, files).href)));
      } catch (error) {
        if (mine === turn) result.replaceChildren(`These verdicts could not be loaded: ${error.message}`);
        return;
      }
      if (mine !== turn) return;
      const letters = found.map((line, place) => String.fromCharCode(65 + place));
      const link = (line) => make("a", { href: `${root.dataset.submissions}${line.slug}/` }, named(line));
      result.replaceChildren(table(
        [["Submission"], ["Certified %", "cb-r"], ["95 % interval", "cb-r"], ["Kind"], ["Examples", "cb-r"]],
        found.map((line, place) => [make("span", {}, make("b", {}, `${letters[place]} `), link(line)), percent(line.certified ?? 0),
          line.interval ? line.interval.map(percent).join("–") : "all examples", line.kind, line.examples.toLocaleString("en")]),
      ));
      counts.replaceChildren(...pairs(found, data, letters));
      draw(found, data, letters);
    };

    const pairs = (found, data, letters) => {
      if (found.length < 2) return [make("p", { className: "cb-caption" }, lines.length < 2 ? "No other model has been evaluated in this setting yet." : "Choose a second one to compare with.")];
      const all = [];
      for (let a = 0; a < found.length; a += 1) for (let b = a + 1; b < found.length; b += 1) all.push({ a, b, ...paired(data[a], data[b]) });
      const adjusted = holm(all.map((pair) => pair.p));
      const heads = [["Pair"], ["Both", "cb-r"], ["Only the first", "cb-r"], ["Only the second", "cb-r"], ["Neither", "cb-r"], ["p", "cb-r"]];
      if (all.length > 1) heads.push(["p, Holm", "cb-r"]);
      const rows = all.map((pair, place) => {
        const row = [`${letters[pair.a]} and ${letters[pair.b]}`, pair.both, pair.onlyA.length, pair.onlyB.length, pair.neither, chance(pair.p)];
        return (all.length > 1 ? [...row, chance(adjusted[place])] : row).map(String);
      });
      return [make("h2", {}, "Certified by both, by one, by neither"), table(heads, rows), make("h2", {}, "Which examples"), ...all.map((pair) => which(pair, found, letters))];
    };

    const MEANING = { f: "falsified", w: "misread", u: "unknown" };
    const which = (pair, found, letters) => {
      const part = (winner, loser, examples) => {
        const counts = Object.entries(MEANING).map(([letter, word]) => [word, examples.filter(([, other]) => other === letter).length]);
        const other = counts.filter(([, count]) => count).map(([word, count]) => `${count} ${word}`).join(", ");
        return [make("p", {}, make("b", {}, `Only ${letters[winner]}`), `, ${examples.length}${other ? ` (${letters[loser]}: ${other})` : ""}: `),
          make("p", { className: "cb-indices", tabIndex: 0 }, ranges(examples.map(([example]) => example)) || "none")];
      };
      const title = `${letters[pair.a]} (${named(found[pair.a])}) and ${letters[pair.b]} (${named(found[pair.b])})`;
      return make("details", { className: "cb-data", open: found.length === 2 }, make("summary", {}, title),
        ...part(pair.a, pair.b, pair.onlyA), ...part(pair.b, pair.a, pair.onlyB));
    };

    const draw = (found, data, letters) => {
      const traces = found.map((line, place) => ({
        type: "scatter", name: `${letters[place]}: ${plain(named(line))}`,
        x: data[place].curve.map(([radius]) => radius), y: data[place].curve.map(([, share]) => 100 * share),
        mode: data[place].stairs ? "lines" : "lines+markers",
        line: { color: COLOURS[place], width: 2, dash: DASHES[place], shape: data[place].stairs ? "vh" : "linear" },
        marker: { symbol: SYMBOLS[place], size: 8 }, hovertemplate: "radius %{x:.4f}: %{y:.2f} %<extra></extra>",
      }));
      window.certboard.draw(chart.querySelector(".cb-plot"), { data: traces, layout: layout({ title: { text: "Radius" }, rangemode: "tozero" }) });
    };

    const choose = (focused) => {
      remember({ setting: select.value, s: chosen.join(",") });
      offer();
      if (focused) list.querySelector(`[data-id="${CSS.escape(focused)}"]`)?.focus();
      show();
    };

    const enter = async (wanted) => {
      try {
        lines = (await load(new URL(`${select.value}.json`, files).href)).lines;
      } catch (error) {
        told.value = `The list of this setting could not be loaded: ${error.message}`;
        return;
      }
      chosen = wanted.filter((id, place) => lines.some((line) => line.id === id) && wanted.indexOf(id) === place).slice(0, MOST);
      // Who has chosen none sees the two best.
      if (!chosen.length) chosen = lines.slice(0, 2).map((line) => line.id);
      offer();
      await show();
    };

    select.addEventListener("change", () => {
      remember({ setting: select.value, s: "" });
      enter([]);
    });
    filter.addEventListener("input", offer);
    const state = new URLSearchParams(location.search);
    const known = [...select.options].some((one) => one.value === state.get("setting"));
    // Who comes without a choice sees the first worked comparison at once.
    const { setting, s } = known ? Object.fromEntries(state) : root.dataset;
    if (setting) select.value = setting;
    // Shown once it is full, so that nothing moves under the reader's eyes.
    enter((s ?? "").split(",").filter(Boolean)).finally(() => { root.hidden = false; });
  };

  // ---- evaluators ----

  const evaluators = (root) => {
    const select = document.getElementById("evaluators-model");
    const time = document.getElementById("evaluators-time");
    const list = document.getElementById("evaluators-list");
    const plot = document.getElementById("evaluators-plot");
    const pair = document.getElementById("evaluators-pair");
    let without = new Set();

    const rows = () => {
      const details = [...document.querySelectorAll(".cb-model")].find((one) => one.dataset.model === select.value);
      return [...details.querySelectorAll("tr[data-id]")].map((row) => row.dataset);
    };

    const draw = () => {
      const shown = rows().filter((one) => !without.has(one.name));
      const all = rows();
      const traces = shown.map((one) => {
        const place = all.findIndex((other) => other.id === one.id);
        const protocol = one.ranked === "1";
        return {
          type: "scatter", mode: "markers", name: protocol ? `${plain(one.name)}, the setting’s protocol` : plain(one.name),
          x: [Number(one[time.value])], y: [100 * Number(one.certified)], cliponaxis: false,
          marker: { color: COLOURS[place % COLOURS.length], symbol: protocol ? "star-diamond" : SYMBOLS[place % SYMBOLS.length], size: protocol ? 17 : 12 },
          hovertemplate: "%{fullData.name}: %{y:.2f} % in %{x:.4g} s<extra></extra>",
        };
      });
      const title = time.value === "total" ? "Seconds, all examples together" : "Seconds, median of an example";
      window.certboard.draw(plot, { data: traces, layout: layout({ title: { text: title }, type: "log" }, { yaxis: { title: { text: "Certified accuracy (%)" }, range: [-4, 104] } }) });
      const ids = shown.map((one) => one.id).slice(0, MOST);
      pair.hidden = ids.length < 2;
      pair.href = `?setting=${select.value.split("/")[0]}&s=${ids.join(",")}#compare`;
      remember({ model: select.value, time: time.value === "total" ? "" : time.value, without: [...without].join(",") });
    };

    const enter = () => {
      list.replaceChildren(...rows().map((one) => {
        const box = make("input", { type: "checkbox", checked: !without.has(one.name) });
        box.addEventListener("change", () => {
          if (box.checked) without.delete(one.name); else without.add(one.name);
          draw();
        });
        return make("label", {}, box, make("span", {}, one.name));
      }));
    };

    const state = new URLSearchParams(location.search);
    if ([...select.options].some((one) => one.value === state.get("model"))) select.value = state.get("model");
    if (state.get("time") === "median") time.value = "median";
    without = new Set((state.get("without") ?? "").split(",").filter(Boolean));
    const opened = () => document.querySelectorAll(".cb-model").forEach((one) => {
      one.open = one.dataset.model === select.value;
    });
    select.addEventListener("change", () => { without.clear(); opened(); enter(); draw(); });
    time.addEventListener("change", draw);
    root.hidden = false;
    opened();
    enter();
    // Drawn when seen, and the address is changed only by a choice.
    const seen = new IntersectionObserver(([entry]) => {
      if (!entry.isIntersecting) return;
      seen.disconnect();
      const before = location.search;
      draw();
      history.replaceState(null, "", (before || location.pathname) + location.hash);
    }, { rootMargin: "200px" });
    seen.observe(plot);
  };

  // After all deferred scripts, of which one draws the charts.
  document.addEventListener("DOMContentLoaded", () => {
    const compare = document.getElementById("compare");
    if (compare) submissions(compare);
    const models = document.querySelector(".cb-evaluators");
    if (models) evaluators(models);
  });
})();
