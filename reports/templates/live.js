// Draws live figures: models of Bokeh from JSON, in the colours of the page. No text of the data is run or read as HTML.
var live = (function () {
  "use strict";
  var drawn = [], behaviours = {};

  function quantity(value, units, digits, least) {
    if (!Number.isFinite(value)) { return "none"; }
    var unit = units.find(function (each) { return Math.abs(value) >= 0.9995 * each[0]; }) || units[units.length - 1];
    if (value === 0) { unit = [1, ""]; }
    return ((value / unit[0]).toLocaleString("en-US", { minimumSignificantDigits: least || 1, maximumSignificantDigits: digits || 3 }) + " " + unit[1]).trim();
  }
  function current(text) {
    var name = /^var\((--[\w-]+)\)$/.exec(text);
    return name ? getComputedStyle(document.documentElement).getPropertyValue(name[1]).trim() || "#808080" : text;
  }
  function isColour(text) { return typeof text === "string" && text.startsWith("var(--"); }

  // Colours are taken out of the JSON before Bokeh reads it; each place is kept, to be set again with the theme.
  function place(node, places) {
    if (Array.isArray(node)) { node.forEach(function (each) { place(each, places); }); return; }
    if (!node || typeof node !== "object") { return; }
    if (node.type === "object" && node.attributes) {
      Object.keys(node.attributes).forEach(function (key) {
        var value = node.attributes[key];
        if (node.name === "ColumnDataSource" && key === "data") { return; }
        if (isColour(value)) {
          places.push([node.id, key, value, false]); node.attributes[key] = current(value);
        } else if (Array.isArray(value) && value.length && value.every(isColour)) {
          places.push([node.id, key, value, false]); node.attributes[key] = value.map(current);
        } else if (value && value.type === "value" && isColour(value.value)) {
          places.push([node.id, key, value.value, true]); value.value = current(value.value);
        } else { place(value, places); }
      });
    } else { Object.keys(node).forEach(function (key) { place(node[key], places); }); }
  }
  function recolour() {
    drawn.forEach(function (figure) {
      figure.places.forEach(function (each) {
        var model = figure.document.get_model_by_id(each[0]), value = each[2], now;
        if (!model) { return; }
        now = Array.isArray(value) ? value.map(current) : current(value);
        model[each[1]] = each[3] ? { value: now } : now;
      });
    });
  }

  // As the still pictures have them: decades; of few decades 2 and 5 or 3 as well, of many every second or third.
  function roundTicks(low, high) {
    var from = Math.log10(low), to = Math.log10(high), span = to - from, major = [];
    if (!(span > 0) || !Number.isFinite(span)) { return { major: [], minor: [] }; }
    if (span < 0.5) {
      var raw = (high - low) / 4, ten = Math.pow(10, Math.floor(Math.log10(raw))), step = ten * [1, 2, 5, 10].find(function (k) { return k * ten >= raw; });
      for (var at = Math.ceil(low / step) * step; at <= high; at += step) { major.push(at); }
      return { major: major, minor: [] };
    }
    var steps = span < 1.2 ? [1, 2, 5] : span < 2 ? [1, 3] : [1], stride = Math.max(1, Math.ceil(span / 5));
    for (var e = Math.floor(from); e <= Math.ceil(to); e++) {
      steps.forEach(function (k) { var tick = k * Math.pow(10, e); if (e % stride === 0 && tick >= low && tick <= high) { major.push(tick); } });
    }
    return { major: major, minor: [] };
  }
  function valueOf(row, source, index) {
    var column = source.get_column(row[1]), value = column ? column[index] : undefined;
    if (row[3].length) { return row[3][value]; }
    return row[2] ? quantity(value, row[2], 3) : typeof value === "number" ? value.toLocaleString("en-US") : String(value);
  }
  function told(rows, source, index) {
    return rows.map(function (row) { return (row[0] + " " + valueOf(row, source, index)).trim(); }).join(", ");
  }
  function tooltip(rows, source, index) {
    var box = document.createElement("div");
    box.className = "said-rows";
    rows.forEach(function (row, k) {
      var line = document.createElement("div"), name = document.createElement("span"), value = document.createElement("b");
      line.style.cssText = "display:flex;gap:12px;justify-content:space-between;max-width:320px;overflow-wrap:anywhere";
      name.style.cssText = "opacity:.72;flex:none;max-width:170px"; value.style.cssText = "font-weight:" + (k < 2 ? 600 : 400) + ";text-align:right";
      name.textContent = row[0]; value.textContent = valueOf(row, source, index);
      if (!row[0]) { value.style.textAlign = "left"; }
      line.append(name, value); box.append(line);
    });
    return box;
  }
  function prepare(model) {
    var tags = model.tags;
    if (tags[0] === "quantity") {
      model.doFormat = function (ticks) { return ticks.map(function (tick) { return quantity(tick, tags[1], 6); }); };
    } else if (tags[0] === "cell") {
      model.doFormat = function (row, place, value) {
        var cell = document.createElement("div");
        cell.style.textAlign = "right"; cell.textContent = quantity(value, tags[1], 3, 3);
        return cell.outerHTML;
      };
    } else if (tags[0] === "round") {
      model.get_ticks_no_defaults = function (low, high) { return roundTicks(low, high); };
    } else if (tags[0] === "said") {
      model.tooltips = function (source, vars) { return tooltip(tags[1], source, vars.image_index ? vars.image_index.flat_index : vars.index); };
    }
  }

  // The keyboard goes from mark to mark, and does what the toolbar does. Only where there are marks it is taken from a screen reader.
  var KEYS = "ArrowLeft ArrowRight ArrowUp ArrowDown Home End PageUp PageDown Escape " +
    "Shift+ArrowLeft Shift+ArrowRight Shift+ArrowUp Shift+ArrowDown Plus - 0";
  function announce(stage) {
    var hint = stage.closest("figure").querySelector(".keyed");
    stage.setAttribute("role", "application");
    stage.setAttribute("aria-roledescription", "live figure");
    stage.setAttribute("aria-keyshortcuts", KEYS);
    if (hint) { hint.id = hint.id || "keys-of-" + stage.id; stage.setAttribute("aria-describedby", hint.id); }
  }
  function keys(stage, root, figure) {
    if (!root.x_range) { return; }
    var marks = live.marks(stage, root, figure);
    if (marks) { announce(stage); }
    stage.setAttribute("tabindex", "0");
    var ranges = [root.x_range, root.y_range], start = ranges.map(function (range) { return [range.start, range.end]; });
    function isLog(k) { return (k ? root.y_scale : root.x_scale).type === "LogScale"; }
    function zoom(k, factor, shift) {
      var range = ranges[k], ends = [range.start, range.end], log = isLog(k);
      if (typeof ends[0] !== "number") { return; }
      if (log) { ends = ends.map(Math.log); }
      var middle = (ends[0] + ends[1]) / 2, half = (ends[1] - ends[0]) / 2;
      middle += shift * half; half *= factor;
      ends = [middle - half, middle + half];
      if (log) { ends = ends.map(Math.exp); }
      range.setv({ start: ends[0], end: ends[1] });
    }
    function back() {
      ranges.forEach(function (range, k) { if (typeof start[k][0] === "number") { range.setv({ start: start[k][0], end: start[k][1] }); } });
      if (figure.clear) { figure.clear(); }
    }
    var pans = { ArrowLeft: [0, -0.2], ArrowRight: [0, 0.2], ArrowUp: [1, 0.2], ArrowDown: [1, -0.2] };
    stage.addEventListener("keydown", function (event) {
      if (event.target !== stage || event.ctrlKey || event.altKey || event.metaKey) { return; }
      var pan = pans[event.key];
      if (marks && !event.shiftKey && (pan || /^(Home|End|PageUp|PageDown)$/.test(event.key))) { marks.move(event.key); }
      else if (pan) { zoom(pan[0], 1, ranges[pan[0]].start < ranges[pan[0]].end ? pan[1] : -pan[1]); }
      else if (event.key === "+" || event.key === "=") { zoom(0, 0.8, 0); if (!figure.settings.across) { zoom(1, 0.8, 0); } }
      else if (event.key === "-") { zoom(0, 1.25, 0); if (!figure.settings.across) { zoom(1, 1.25, 0); } }
      else if (event.key === "0") { if (marks) { marks.leave(); } back(); }
      else if (event.key === "Escape") { if (!marks || !marks.leave()) { back(); } }
      else { return; }
      event.preventDefault();
    });
  }

  // A tick in a legend shows what has its colour, in every picture beside it.
  function toggle(figure) {
    var around = figure.element.closest(".toggled");
    if (!around || !figure.document) { return; }
    var shown = {};
    around.querySelectorAll("[data-show]").forEach(function (box) { shown[box.dataset.show] = box.checked; });
    figure.document._all_models.forEach(function (model) {
      if (model.tags[0] === "show" && model.tags[1] in shown) { model.visible = shown[model.tags[1]]; }
    });
  }
  // The page carries Bokeh as text, so that it opens without waiting for it; it runs before the first figure that needs it.
  function run() {
    document.querySelectorAll("script[data-bundle]").forEach(function (carried) {
      var script = document.createElement("script");
      script.textContent = carried.textContent;
      carried.replaceWith(script);
    });
  }
  async function draw(place_of) {
    var said = JSON.parse(place_of.querySelector("script").textContent), stages = Array.from(place_of.querySelectorAll(".stage"));
    var figure = { element: place_of, roots: [], settings: said.settings, places: [] };
    if (said.models) {
      run();
      place(said.models.roots, figure.places);
      figure.document = Bokeh.require("document").Document.from_json(said.models);
      figure.document._all_models.forEach(prepare);
      figure.roots = figure.document.roots();
      figure.named = function (name) { return figure.document.get_model_by_name(name); };
    }
    // The still picture stays until here, for whoever prints or pictures the page before it was scrolled.
    place_of.classList.add("is-live");
    (behaviours[place_of.dataset.behaviour] || function () {})(figure);
    if (said.models) { figure.views = await Bokeh.embed.add_document_standalone(figure.document, place_of, stages); }
    stages.forEach(function (stage, k) { keys(stage, figure.roots[k], figure); });
    drawn.push(figure);
    toggle(figure);
    place_of.dataset.drawn = "yes";
  }
  function start() {
    var near = new IntersectionObserver(function (entries) {
      entries.forEach(function (entry) {
        if (!entry.isIntersecting) { return; }
        near.unobserve(entry.target);
        draw(entry.target).catch(function (error) { entry.target.classList.remove("is-live"); console.error(error); });
      });
    }, { rootMargin: "500px" });
    function watch() { document.querySelectorAll("[data-live]").forEach(function (each) { near.observe(each); }); }
    if (document.readyState === "complete") { watch(); } else { window.addEventListener("load", watch); }
    document.addEventListener("change", function (event) {
      if (event.target.dataset && event.target.dataset.show) { drawn.forEach(toggle); }
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
    new MutationObserver(recolour).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
  }
  return { start: start, behaviours: behaviours, quantity: quantity, told: told, tooltip: tooltip, figures: drawn };
})();
