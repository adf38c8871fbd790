// Brushing: points chosen in the scatter, by filters or on the axes stand in the table and as lines.
live.behaviours.front = function (figure) {
  "use strict";
  var settings = figure.settings, element = figure.element, source = figure.named("points"), shown = figure.named("shown");
  var x = source.get_column("x"), y = source.get_column("y"), count = x.length, names = settings.names;
  var codes = names.map(function (_, k) { return source.get_column("axis" + k); }), group = source.get_column("group");
  var controls = Array.from(element.querySelectorAll("[data-brush]")), status = element.querySelector(".brushed");
  var all = Array.from({ length: count }, function (_, i) { return i; }), kept = all, before = null, marking = false;

  function along(k, i) {
    if (k < names.length) { var last = settings.levels[k].length - 1; return last ? codes[k][i] / last : 0.5; }
    var metric = settings.metrics[k - names.length], value = (k - names.length ? y : x)[i];
    return (Math.log10(value) - metric.low) / (metric.high - metric.low);
  }
  function label(k, i) {
    var text = settings.levels[k][codes[k][i]];
    return text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
  }
  function said(control, at) {
    var k = Number(control.dataset.brush);
    if (k < names.length) { return settings.levels[k][at]; }
    var metric = settings.metrics[k - names.length];
    return live.quantity(Math.pow(10, metric.low + at / control.max * (metric.high - metric.low)), metric.units);
  }
  function bounds() {
    var found = {};
    controls.forEach(function (control) {
      var k = control.dataset.brush, end = found[k] = found[k] || {};
      if (control.tagName === "SELECT") { if (control.value !== "") { end.low = end.high = Number(control.value); } return; }
      var at = Number(control.value), top = Number(control.max);
      if (control.dataset.end === "low") { if (at > 0) { end.low = at; } } else if (at < top) { end.high = at; }
    });
    return found;
  }
  function filter() {
    var found = bounds(), tests = [];
    controls.forEach(function (control) {
      if (control.type !== "range") { return; }
      var output = control.parentElement.querySelector("output");
      if (output) { output.textContent = said(control, Number(control.value)); }
    });
    Object.keys(found).forEach(function (name) {
      var k = Number(name), end = found[name], scale = k < names.length ? 1 : 1 / 1000;
      if (end.low === undefined && end.high === undefined) { return; }
      var low = end.low === undefined ? -Infinity : end.low * scale, high = end.high === undefined ? Infinity : end.high * scale;
      tests.push(k < names.length ? function (i) { return codes[k][i] >= low && codes[k][i] <= high; }
        : function (i) { var at = along(k, i); return at >= low && at <= high; });
    });
    kept = tests.length ? all.filter(function (i) { return tests.every(function (test) { return test(i); }); }) : all;
    var flags = new Array(count).fill(tests.length === 0);
    if (tests.length) { kept.forEach(function (i) { flags[i] = true; }); }
    shown.booleans = tests.length ? flags : null;
    brush();
  }
  function spread(rows, most) {
    if (rows.length <= most) { return rows; }
    return Array.from({ length: most }, function (_, k) { return rows[Math.round(k * (rows.length - 1) / (most - 1))]; });
  }
  function brush() {
    var chosen = source.selected.indices, inside, rows;
    if (chosen.length) { inside = new Set(kept); rows = chosen.filter(function (i) { return inside.has(i); }); } else { rows = kept; }
    var lines = spread(rows, settings.lines), axes = names.length + 2, at = Array.from({ length: axes }, function (_, k) { return k; });
    figure.named("lines").data = {
      xs: lines.map(function () { return at; }),
      ys: lines.map(function (i) { return at.map(function (k) { return along(k, i); }); }),
      group: lines.map(function (i) { return group[i]; }) };
    figure.named("parallel").glyph.line_alpha = { value: Math.max(0.06, Math.min(0.9, 12 / Math.sqrt(lines.length * 6 + 1))) };
    var first = rows.length > settings.rows ? rows.slice(0, settings.rows) : rows, table = {};
    table.x = first.map(function (i) { return x[i]; });
    table.y = first.map(function (i) { return y[i]; });
    names.forEach(function (_, k) { table["axis" + k] = first.map(function (i) { return label(k, i); }); });
    figure.named("rows").data = table;
    var many = function (n) { return n.toLocaleString("en-US"); };
    var words = (chosen.length ? many(rows.length) + " of " + many(count) + " points brushed" :
      kept.length < count ? many(kept.length) + " of " + many(count) + " points pass the filters" : "All " + many(count) + " points") +
      (lines.length < rows.length ? "; " + many(lines.length) + " of them, evenly spaced, as lines" : "") +
      (first.length < rows.length ? "; the table has the first " + many(first.length) : "") + ".";
    // Said once: from point to point the same words would be read again.
    if (status.textContent !== words) { status.textContent = words; }
  }
  controls.forEach(function (control) { control.addEventListener("input", filter); });
  element.querySelector(".unbrush").addEventListener("click", function () { figure.clear(); });
  figure.clear = function () {
    controls.forEach(function (control) { control.value = control.tagName === "SELECT" ? "" : control.dataset.end === "low" ? 0 : control.max; });
    source.selected.indices = [];
    filter();
  };
  source.selected.properties.indices.change.connect(function () {
    if (!marking) { before = null; }
    brush();
  });
  // A box on an axis of the parallel coordinates sets the filter of that axis.
  figure.roots[1].on_event("selectiongeometry", function (event) {
    var box = event.geometry;
    if (!event.final || box.type !== "rect") { return; }
    var axes = names.length + 2, low = Math.min(box.x0, box.x1), high = Math.max(box.x0, box.x1), first = Math.ceil(low);
    if (first > high) { first = Math.round((low + high) / 2); high = first; }
    for (var k = Math.max(first, 0); k <= Math.min(high, axes - 1); k++) { set(k, Math.min(box.y0, box.y1), Math.max(box.y0, box.y1)); }
    filter();
  });
  function set(k, low, high) {
    controls.filter(function (control) { return Number(control.dataset.brush) === k; }).forEach(function (control) {
      var last = control.tagName === "SELECT" ? settings.levels[k].length - 1 : Number(control.max);
      if (control.tagName === "SELECT") { control.value = String(Math.max(0, Math.min(last, Math.round((low + high) / 2 * last)))); }
      else { control.value = control.dataset.end === "low" ? Math.max(0, Math.ceil(low * last)) : Math.min(last, Math.floor(high * last)); }
    });
  }
  // The point that the keyboard marks is brushed; what was brushed before it came is so again when it leaves.
  figure.marked = function (mark) {
    before = before || source.selected.indices;
    marking = true;
    source.selected.indices = !mark ? before : mark.renderer.data_source === source ? [mark.index] : [];
    marking = false;
    if (!mark) { before = null; }
  };
  filter();
};
