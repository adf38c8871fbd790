// What a figure says to the pointer, it says to arrow keys as well: they go from mark to mark, a ring shows which, and the tip of the
// page tells it. Marks are those of the tools that answer the pointer; none is looked at before the first key.
live.marks = function (stage, root, figure) {
  "use strict";
  var tools = root.toolbar.tools.filter(function (tool) { return tool.tags[0] === "said"; });
  if (!tools.length) { return null; }
  var rows = null, by_height = null, at = null, from = 0, ring = null, kept = new Map();
  var logs = [root.x_scale, root.y_scale].map(function (scale) { return scale.type === "LogScale"; }), ranges = [root.x_range, root.y_range];
  function along(k, value) { return logs[k] ? Math.log10(value) : value; }
  function back(k, value) { return logs[k] ? Math.pow(10, value) : value; }
  function column(renderer, name) {
    var spec = renderer.glyph[name];
    return spec && spec.field !== undefined ? renderer.data_source.get_column(spec.field) : null;
  }
  function mark(renderer, said, index, across, up) {
    var ends = [across, up].map(function (pair, k) { var one = along(k, pair[0]), other = along(k, pair[1]); return one < other ? [one, other] : [other, one]; });
    var middle = [(ends[0][0] + ends[0][1]) / 2, (ends[1][0] + ends[1][1]) / 2];
    return Number.isFinite(middle[0]) && Number.isFinite(middle[1]) ? { renderer: renderer, said: said, index: index, ends: ends, middle: middle } : null;
  }
  // Every mark of a renderer; of a line that is one mark, its middle.
  function marks(renderer, said, way, spared) {
    var names = renderer.glyph.left ? ["left", "right", "bottom", "top"] : ["x", "x", "y", "y"], found = [], one;
    var columns = names.map(function (name) { return column(renderer, name); }), left = columns[0], right = columns[1], low = columns[2], high = columns[3];
    if (way === "each") {
      var middle = [left, low].map(function (values, k) { return back(k, (along(k, values[0]) + along(k, values[1])) / 2); });
      one = mark(renderer, said, 0, [middle[0], middle[0]], [middle[1], middle[1]]);
      return one ? [one] : [];
    }
    for (var i = spared; i < left.length - spared; i++) {
      one = mark(renderer, said, i, [left[i], right[i]], [low[i], high[i]]);
      if (one) { found.push(one); }
    }
    return found;
  }
  function order(row, k) { return row.sort(function (a, b) { return a.middle[k] - b.middle[k] || a.middle[1 - k] - b.middle[1 - k] || a.index - b.index; }); }
  function read() {
    rows = [];
    tools.forEach(function (tool) {
      var way = tool.tags[2], own = tool.renderers.map(function (renderer) { return marks(renderer, tool.tags[1], way, tool.tags[3]); });
      if (way === "lanes") {
        var lanes = new Map();
        own.flat().forEach(function (one) { var lane = one.ends[1][0]; if (!lanes.has(lane)) { lanes.set(lane, []); } lanes.get(lane).push(one); });
        var down = ranges[1].start > ranges[1].end ? 1 : -1;
        own = Array.from(lanes.keys()).sort(function (a, b) { return down * (a - b); }).map(function (lane) { return lanes.get(lane); });
      } else if (way !== "lines") { own = [own.flat()]; }
      own.forEach(function (row) { if (row.length) { rows.push(order(row, 0)); row.forEach(function (one) { one.row = row; }); } });
    });
  }
  function shown(one) {
    if (!one.renderer.visible) { return false; }
    if (!kept.has(one.renderer)) { kept.set(one.renderer, one.renderer.view.filter.compute_indices(one.renderer.data_source)); }
    return kept.get(one.renderer).get(one.index);
  }
  function inside(one, k) {
    var ends = [ranges[k].start, ranges[k].end].map(function (end) { return along(k, end); }).sort(function (a, b) { return a - b; });
    return one.ends[k][1] >= ends[0] && one.ends[k][0] <= ends[1];
  }
  // From a place of a row on, the first mark that is shown.
  function next(row, place, step) {
    while (row[place] && !shown(row[place])) { place += step; }
    return row[place];
  }
  function nearest(row) {
    var best, least = Infinity;
    row.forEach(function (one) {
      var away = Math.max(one.ends[0][0] - from, from - one.ends[0][1], 0);
      if (away < least && shown(one)) { best = one; least = away; }
    });
    return best;
  }
  function found(key) {
    var row = at && at.row, far = { PageUp: -1, PageDown: 1 }[key];
    var step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 1, ArrowUp: -1 }[key] || far, upright = key === "ArrowUp" || key === "ArrowDown";
    if (!row || key === "Home" || key === "End") {
      row = row || rows.find(function (each) { return each.some(shown); }) || [];
      var last = key === "End" || key === "ArrowLeft", way = last ? -1 : 1;
      var seen = key === "Home" || key === "End" ? undefined : (last ? row.slice().reverse() : row).find(function (one) { return shown(one) && inside(one, 0) && inside(one, 1); });
      return seen || next(row, last ? row.length - 1 : 0, way);
    }
    // The only row of dots has its heights for up and down.
    if (upright && rows.length === 1 && tools[0].tags[2] === "dots") {
      by_height = by_height || order(row.slice(), 1);
      return next(by_height, by_height.indexOf(at) - step, -step);
    }
    if (upright) {
      for (var k = rows.indexOf(row) + step; rows[k]; k += step) { var near = nearest(rows[k]); if (near) { return near; } }
      return undefined;
    }
    if (!far) { return next(row, row.indexOf(at) + step, step); }
    var jump = Math.min(Math.max(row.indexOf(at) + step * Math.max(2, Math.round(row.length / 20)), 0), row.length - 1);
    return next(row, jump, step) || next(row, jump, -step);
  }
  // A mark outside of the picture moves it there, as far as it may.
  function reveal() {
    ranges.forEach(function (range, k) {
      if (typeof range.start !== "number" || inside(at, k)) { return; }
      var ends = [along(k, range.start), along(k, range.end)], shift = at.middle[k] - (ends[0] + ends[1]) / 2;
      if (Array.isArray(range.bounds)) {
        shift = Math.min(Math.max(shift, along(k, range.bounds[0]) - Math.min(ends[0], ends[1])), along(k, range.bounds[1]) - Math.max(ends[0], ends[1]));
      }
      range.setv({ start: back(k, ends[0] + shift), end: back(k, ends[1] + shift) });
    });
  }
  function place() {
    if (!ring || ring.hidden) { return; }
    var view = figure.views.get(root), frame = view.frame, canvas = view.canvas.el.getBoundingClientRect(), box = stage.getBoundingClientRect();
    var size = at.renderer.glyph.size, wide = size ? (size.field !== undefined ? at.renderer.data_source.get_column(size.field)[at.index] : size.value) : 6;
    var least = Math.max(wide + 8, 14), limits = [[frame.bbox.left, frame.bbox.right], [frame.bbox.top, frame.bbox.bottom]];
    var px = [frame.x_scale, frame.y_scale].map(function (scale, k) {
      var ends = at.ends[k].map(function (end) { return Math.min(Math.max(scale.compute(back(k, end)), limits[k][0]), limits[k][1]); }).sort(function (a, b) { return a - b; });
      var more = Math.max((least - (ends[1] - ends[0])) / 2, 3);
      return [ends[0] - more, ends[1] - ends[0] + 2 * more];
    });
    ring.classList.toggle("round", !at.renderer.glyph.left);
    ring.style.cssText = "left:" + (px[0][0] + canvas.left - box.left) + "px;top:" + (px[1][0] + canvas.top - box.top) + "px;width:" + px[0][1] + "px;height:" + px[1][1] + "px";
    tips.follow();
  }
  function show() {
    if (!ring) {
      ring = stage.appendChild(document.createElement("div"));
      ring.className = "ring";
      ranges.forEach(function (range) { range.change.connect(place); });
      ["inner_width", "inner_height"].forEach(function (name) { root.properties[name].change.connect(place); });
    }
    ring.hidden = false;
    place();
    ring.scrollIntoView({ block: "nearest", inline: "nearest", behavior: "instant" });
    tips.tell(ring, live.tooltip(at.said, at.renderer.data_source, at.index), live.told(at.said, at.renderer.data_source, at.index));
  }
  function hide() { if (ring && !ring.hidden) { ring.hidden = true; tips.hide(); } }
  function leave() {
    var was = at !== null;
    hide();
    at = null;
    if (was && figure.marked) { figure.marked(null); }
    return was;
  }
  stage.addEventListener("blur", hide);
  stage.addEventListener("pointerdown", hide);
  // The page takes its tip away wherever the focus comes to; here the mark is told again.
  stage.addEventListener("focusin", function (event) {
    if (event.target !== stage || !at || !stage.matches(":focus-visible")) { return; }
    event.stopPropagation();
    show();
  });
  return {
    leave: leave,
    move: function (key) {
      if (!rows) { read(); }
      kept.clear();
      var one = found(key) || at;
      if (!one) { return; }
      // Up and down between rows keep to where left and right have gone.
      if (!at || key !== "ArrowUp" && key !== "ArrowDown") { from = one.middle[0]; }
      at = one;
      reveal();
      if (figure.marked) { figure.marked(at); }
      show();
    }
  };
};
