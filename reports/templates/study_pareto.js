document.querySelectorAll(".cloud").forEach(function (cloud) {
  var source = cloud.querySelector("script");
  if (!source) { return; }
  var data = JSON.parse(source.textContent), svg = cloud.querySelector("svg"), tip = cloud.querySelector(".tip");
  var box = svg.viewBox.baseVal, count = data.x.values.length, ring = null, now = -1, px = [], py = [];
  function along(axis, value) { return (Math.log10(value) - axis.low) / (axis.high - axis.low) * axis.size; }
  for (var i = 0; i < count; i++) {
    px.push(data.x.from + along(data.x, data.x.values[i]));
    py.push(data.y.from + data.y.size - along(data.y, data.y.values[i]));
  }
  function said(axis, value) {
    var unit = axis.units.find(function (each) { return value >= 0.9995 * each[0]; }) || axis.units[axis.units.length - 1];
    return axis.title + " " + (value / unit[0]).toLocaleString("en-US", { maximumSignificantDigits: 3 }) + " " + unit[1];
  }
  function hide() { now = -1; tip.hidden = true; if (ring) { ring.setAttribute("visibility", "hidden"); } }
  function show(point) {
    now = point;
    tip.textContent = "";
    var lines = [said(data.x, data.x.values[point]), said(data.y, data.y.values[point])];
    data.names.forEach(function (name, k) { lines.push(name + " " + data.labels[k][data.codes[k][point]]); });
    lines.forEach(function (line, k) {
      var row = document.createElement("div");
      row.textContent = line;
      if (k < 2) { row.style.fontWeight = "600"; }
      tip.appendChild(row);
    });
    if (!ring) {
      ring = document.createElementNS("http://www.w3.org/2000/svg", "circle");
      ring.setAttribute("r", "5");
      ring.setAttribute("style", "fill:none;stroke:var(--link);stroke-width:2");
      svg.appendChild(ring);
    }
    ring.setAttribute("cx", px[point]); ring.setAttribute("cy", py[point]); ring.setAttribute("visibility", "visible");
    tip.hidden = false;
    var scale = svg.clientWidth / box.width, left = px[point] * scale, top = py[point] * scale;
    tip.style.left = Math.max(0, left + 14 + tip.offsetWidth > cloud.clientWidth ? left - 14 - tip.offsetWidth : left + 14) + "px";
    tip.style.top = Math.max(0, Math.min(top - tip.offsetHeight / 2, cloud.clientHeight - tip.offsetHeight)) + "px";
  }
  function nearest(event) {
    var frame = svg.getBoundingClientRect(), scale = box.width / frame.width, best = -1, least = 144 * scale * scale;
    var x = (event.clientX - frame.left) * scale, y = (event.clientY - frame.top) * scale;
    for (var k = 0; k < count; k++) {
      var away = (px[k] - x) * (px[k] - x) + (py[k] - y) * (py[k] - y);
      if (away < least) { least = away; best = k; }
    }
    return best;
  }
  function point(event) { var found = nearest(event); if (found < 0) { hide(); } else if (found !== now) { show(found); } }
  cloud.addEventListener("pointermove", point);
  cloud.addEventListener("pointerdown", point);
  cloud.addEventListener("pointerleave", hide);
  cloud.addEventListener("blur", hide);
  var orders = {};
  function order(letter) {
    if (!orders[letter]) {
      var values = data[letter].values;
      orders[letter] = values.map(function (_, k) { return k; }).sort(function (a, b) { return values[a] - values[b] || a - b; });
    }
    return orders[letter];
  }
  cloud.addEventListener("keydown", function (event) {
    var steps = { ArrowRight: ["x", 1], ArrowLeft: ["x", -1], ArrowUp: ["y", 1], ArrowDown: ["y", -1], Home: ["x", -count], End: ["x", count] };
    if (event.key === "Escape") { hide(); return; }
    var step = steps[event.key];
    if (!step || event.target !== cloud) { return; }
    event.preventDefault();
    var row = order(step[0]), place = now < 0 ? (step[1] > 0 ? -1 : count) : row.indexOf(now);
    show(row[Math.max(0, Math.min(count - 1, place + step[1]))]);
  });
  hide();
});
