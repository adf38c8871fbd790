/* One tooltip for the whole page: what a title says, and what the number rests on, by pointer, keyboard and touch; of live figures what
   the keyboard comes to, which is read out as well.
   Without scripts the titles themselves remain. Numbers of one table, card or picture are one stop of the Tab key; arrow keys go on from there. */
var tips = (function () {
  var tip = document.createElement("div"), told = document.createElement("div"), owner = null, leaving = 0;
  var CONTROL = "a, button, input, select, summary, textarea, [role=region]";
  tip.id = "tip";
  tip.setAttribute("role", "tooltip");
  tip.hidden = true;
  told.className = "hidden told";
  told.setAttribute("role", "status");
  document.body.append(tip, told);

  function home(element) { return element.closest("svg, table, .card, .panel, .bargroup, .tools, section, header"); }
  function take(element, words) {
    element.dataset.tip = words;
    if (element.matches(CONTROL)) { return; }
    element.setAttribute("tabindex", "-1");
    var image = element.parentElement.closest("[role=img]");
    if (image) { image.setAttribute("role", "group"); }
    var hidden = element.closest("[aria-hidden=true]");
    if (hidden) { hidden.removeAttribute("aria-hidden"); }
  }
  document.querySelectorAll("[title]").forEach(function (element) {
    var words = element.getAttribute("title");
    element.removeAttribute("title");
    if (words) { take(element, words); }
  });
  document.querySelectorAll("main svg title").forEach(function (title) {
    var shape = title.parentElement;
    if (shape.tagName !== "svg") { take(shape, title.textContent); title.remove(); }
  });
  /* Other numbers say what they are, and what all numbers of their part of the page rest on. */
  function words(element) { return element ? element.textContent.replace(/\s+/g, " ").trim() : ""; }
  document.querySelectorAll(".grid td.num, .card dd, .card .hero, .barvalue").forEach(function (element) {
    var value = words(element), name;
    if (!value || element.dataset.tip || element.querySelector("[data-tip]")) { return; }
    if (element.tagName === "TD") {
      var row = element.parentElement, head = element.closest("table").tHead.rows[0].cells[element.cellIndex];
      name = [words(row.querySelector("th")), words(head)].filter(Boolean).join(", ");
    } else if (element.tagName === "DD") { name = words(element.previousElementSibling); }
    else if (element.classList.contains("hero")) { name = words(element.querySelector(".name")); value = value.replace(name, "").trim(); }
    else { name = words(element.parentElement.querySelector(".barname")); }
    take(element, (name ? name + ": " : "") + value);
  });
  var groups = new Map();
  document.querySelectorAll("[data-tip][tabindex]").forEach(function (element) {
    var at = home(element);
    if (!groups.has(at)) { groups.set(at, []); }
    groups.get(at).push(element);
  });
  function reach(element) {
    element.setAttribute("tabindex", "0");
    if (element.ownerSVGElement) { element.setAttribute("role", "img"); element.setAttribute("aria-label", element.dataset.tip); }
    else if (!element.textContent.trim() && !element.hasAttribute("role")) { element.setAttribute("role", "img"); element.setAttribute("aria-label", element.dataset.tip); }
  }
  groups.forEach(function (all) { reach(all[0]); });

  function place() {
    var box = owner.getBoundingClientRect(), high = tip.offsetHeight, wide = tip.offsetWidth;
    var left = Math.min(Math.max(8, box.left + box.width / 2 - wide / 2), document.documentElement.clientWidth - wide - 8);
    tip.style.left = Math.max(8, left) + "px";
    tip.style.top = (box.bottom + high + 10 < innerHeight || box.top < high + 10 ? box.bottom + 6 : box.top - high - 6) + "px";
  }
  function show(element) {
    clearTimeout(leaving);
    if (owner && owner !== element) { hide(); }
    owner = element;
    tip.textContent = "";
    var lines = [element.dataset.tip], near = element.matches(CONTROL) ? null : element.closest("[data-rests]");
    var rests = near && document.getElementById(near.dataset.rests);
    if (rests) { Array.from(rests.children).forEach(function (line) { lines.push(line.textContent); }); }
    lines.forEach(function (line) { tip.appendChild(document.createElement("p")).textContent = line; });
    element.setAttribute("aria-describedby", "tip");
    tip.hidden = false;
    place();
  }
  /* Of what has no words in the page: a mark in a live figure, what stands in the tip, and the same in words. */
  function tell(element, lines, words) {
    clearTimeout(leaving);
    if (owner && owner !== element) { hide(); }
    owner = element;
    tip.replaceChildren(lines);
    tip.hidden = false;
    told.textContent = words;
    place();
  }
  function follow() { if (owner) { place(); } }
  function hide() {
    clearTimeout(leaving);
    if (owner) { owner.removeAttribute("aria-describedby"); }
    owner = null;
    tip.hidden = true;
    told.textContent = "";
  }
  function later() { clearTimeout(leaving); leaving = setTimeout(hide, 150); }
  function of(event) { return event.target.closest ? event.target.closest("[data-tip]") : null; }
  document.addEventListener("pointerover", function (event) {
    var found = of(event);
    if (found) { show(found); } else if (tip.contains(event.target)) { clearTimeout(leaving); } else if (owner && !owner.closest(":focus")) { later(); }
  });
  document.addEventListener("focusin", function (event) { var found = of(event); if (found) { show(found); } else { hide(); } });
  document.addEventListener("focusout", hide);
  document.addEventListener("click", function (event) { var found = of(event); if (found) { show(found); } else { hide(); } });
  document.addEventListener("scroll", follow, { capture: true, passive: true });
  document.addEventListener("keydown", function (event) {
    if (event.key === "Escape") { hide(); return; }
    var all = groups.get(event.target.closest ? home(event.target) : null), at = all ? all.indexOf(event.target) : -1;
    if (at < 0) { return; }
    var step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 1, ArrowUp: -1, Home: -all.length, End: all.length }[event.key];
    var cell = event.target.closest("td, th");
    if (!step) { return; }
    event.preventDefault();
    var next = all[Math.min(Math.max(at + step, 0), all.length - 1)];
    if (cell && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      for (var row = cell.parentElement; row;) {
        row = step > 0 ? row.nextElementSibling : row.previousElementSibling;
        var other = row && !row.hidden && row.cells[cell.cellIndex], found = other && (other.dataset.tip ? other : other.querySelector("[data-tip][tabindex]"));
        if (found) { next = found; break; }
      }
      if (!row) { return; }
    }
    event.target.setAttribute("tabindex", "-1");
    reach(next);
    next.focus();
  });
  return { tell: tell, follow: follow, hide: hide };
})();
