// Draws a chart when it comes into view of a reader who has moved: fetches its JSON and, once, Plotly.
// Both come from this site. Until it is drawn, and without JavaScript, a still
// picture is shown, and the table under each chart says the same.
(() => {
  "use strict";
  const here = document.currentScript.src;
  const bundle = new URL("vendor/plotly-basic.min.js", here).href;
  const root = new URL("../", here).href;
  let loading = null;

  const plotly = () => {
    loading ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = bundle;
      script.onload = () => resolve(window.Plotly);
      script.onerror = () => reject(new Error("the chart library did not load"));
      document.head.append(script);
    });
    return loading;
  };

  const themed = () => {
    const style = getComputedStyle(document.body);
    const ink = style.getPropertyValue("--cb-ink").trim();
    const soft = style.getPropertyValue("--cb-soft").trim();
    const line = style.getPropertyValue("--cb-line").trim();
    const paper = style.getPropertyValue("--cb-paper").trim();
    const family = style.getPropertyValue("--md-text-font-family") || style.fontFamily;
    const axis = { gridcolor: line, linecolor: line, zerolinecolor: line, tickcolor: line };
    return {
      "font.color": soft, "font.family": family, "font.size": 13,
      "hoverlabel.bgcolor": paper, "hoverlabel.bordercolor": line, "hoverlabel.font.color": ink,
      ...Object.fromEntries(["xaxis", "yaxis"].flatMap((name) =>
        Object.entries(axis).map(([key, value]) => [`${name}.${key}`, value]))),
    };
  };

  const nested = (flat, into) => {
    for (const [path, value] of Object.entries(flat)) {
      const keys = path.split(".");
      const last = keys.pop();
      let at = into;
      for (const key of keys) at = at[key] ??= {};
      at[last] = value;
    }
    return into;
  };

  const fetched = async (plot) => {
    const reply = await fetch(plot.dataset.figure);
    if (!reply.ok) throw new Error(`no figure (${reply.status})`);
    return reply.json();
  };

  // Draws a figure that another script of this site made, or the one at the plot's address.
  const draw = async (plot, given) => {
    try {
      const [library, figure] = await Promise.all([plotly(), given ?? fetched(plot)]);
      if (window.matchMedia("(max-width: 40em)").matches) {
        const shown = figure.data.filter((trace) => trace.showlegend !== false).length;
        const { r } = figure.layout.margin; // what is usual is given up; names that stand there stay
        const margin = { ...figure.layout.margin, l: 46, r: r > 16 ? r : 4, b: 70 + 21 * shown };
        figure.layout.height = (figure.layout.height || 360) - figure.layout.margin.b + margin.b;
        figure.layout.margin = margin;
      }
      const options = { responsive: true, displaylogo: false, displayModeBar: false };
      await library.newPlot(plot, figure.data, nested(themed(), figure.layout), options);
      // A mark that stands for a submission or a paper leads there.
      plot.on("plotly_click", ({ points: [point] }) => {
        if (typeof point.customdata === "string" && point.customdata) {
          location.href = new URL(point.customdata, root).href;
        }
      });
      plot.dataset.drawn = "";
    } catch (error) {
      // Where there is a still picture it stays, and says the same.
      if (plot.parentElement.matches(".cb-drawn")) plot.hidden = true;
      plot.textContent = `This chart could not be drawn: ${error.message}. Its data are below.`;
    }
  };

  const plots = new Set(document.querySelectorAll(".cb-plot[data-figure]"));
  const made = new Map();
  let moved = false;
  // Other scripts of this site have their figures drawn as all are: when they are seen.
  window.certboard = {
    draw: (plot, figure) => {
      made.set(plot, figure);
      plots.add(plot);
      if (moved) seen.observe(plot);
    },
  };
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      seen.unobserve(entry.target);
      draw(entry.target, made.get(entry.target) ?? null);
    }
  }, { rootMargin: "200px" });
  // The library is most of a page's weight: until the reader does anything, still pictures will do.
  const acts = ["scroll", "pointermove", "pointerdown", "keydown"];
  const begin = () => {
    moved = true;
    acts.forEach((act) => removeEventListener(act, begin));
    plots.forEach((plot) => seen.observe(plot));
  };
  acts.forEach((act) => addEventListener(act, begin, { passive: true }));
  if (scrollY > 0) begin();

  new MutationObserver(() => {
    document.querySelectorAll(".cb-plot[data-drawn]").forEach((plot) =>
      window.Plotly.relayout(plot, themed()));
  }).observe(document.body, { attributeFilter: ["data-md-color-scheme"] });
})();
