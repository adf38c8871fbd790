/* Every data table: sorting, filtering, the count of shown rows, and copying as CSV. The markup is that of data_table.html. */
(function () {
  var SIZES = { p: 1e-12, n: 1e-9, u: 1e-6, "µ": 1e-6, m: 1e-3, "": 1, k: 1e3, K: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15, E: 1e18,
    Ki: 1024, Mi: 1048576, Gi: 1073741824, Ti: 1099511627776 };
  var WHOLE = { min: 60, h: 3600, d: 86400, "%": 0.01, kg: 1000, g: 1 };
  var NUMBER = /^[<>≈~±]?\s*([+\-−]?(?:\d[\d,]*\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*([^\s\d,;–]*)/i;

  /* "12.3 ms" -> { shown: 12.3, unit: "ms", si: 0.0123 }; null for what does not begin with a number. */
  function quantity(text) {
    var found = NUMBER.exec(text.trim());
    if (!found) { return null; }
    var shown = Number(found[1].replace(/,/g, "").replace("−", "-")), unit = found[2], factor = WHOLE[unit];
    if (factor === undefined) {
      var parts = /^(Ki|Mi|Gi|Ti|[pnumµkKMGTPE]?)(s|B|B\/s|FLOP|FLOP\/s|W|Wh|J|Hz|USD)$/.exec(unit);
      factor = parts ? SIZES[parts[1]] : 1;
    }
    return { shown: shown, unit: unit, si: shown * factor };
  }
  /* What a cell says first, without intervals below it and words for screen readers. */
  function text(cell) {
    var copy = cell.cloneNode(true);
    copy.querySelectorAll(".band, .hidden, .order, .axis").forEach(function (part) { part.remove(); });
    return copy.textContent.replace(/\s+/g, " ").trim();
  }
  function key(cell, numeric) {
    if (!cell || cell.classList.contains("none")) { return undefined; }
    var value = cell.dataset.value;
    if (value !== undefined) { return value !== "" && isFinite(value) ? Number(value) : value; }
    var found = numeric ? quantity(text(cell)) : null;
    return found ? found.si : text(cell) || undefined;
  }
  function compare(a, b, down) {
    if (a === undefined || b === undefined) { return (a === undefined) - (b === undefined); }
    if (typeof a === "number" && typeof b === "number") { return down * (a - b); }
    return down * String(a).localeCompare(String(b), "en", { numeric: true });
  }
  function plain(words) { return words.toLowerCase().replace(/[^\p{L}\p{N}%]/gu, ""); }

  /* "time>10ms" as a test of rows; words that are no comparison must be somewhere in the row. */
  function test(term, heads) {
    var parts = /^([^<>=]*)(<=|>=|<|>|=)(.+)$/.exec(term), bound = parts && quantity(parts[3]);
    if (!bound) { return function (row) { return row.textContent.toLowerCase().indexOf(term.toLowerCase()) >= 0; }; }
    var columns = [], name = plain(parts[1]);
    heads.forEach(function (head, k) {
      if (plain(text(head)).indexOf(name) >= 0 || plain(head.dataset.name || "").indexOf(name) >= 0) { columns.push(k); }
    });
    return function (row) {
      return columns.some(function (k) {
        var cell = row.cells[k], found = cell && !cell.classList.contains("none") ? quantity(text(cell)) : null;
        if (!found) { return false; }
        var a = bound.unit && found.unit ? found.si : found.shown, b = bound.unit && found.unit ? bound.si : bound.shown;
        return { "<": a < b, ">": a > b, "<=": a <= b, ">=": a >= b, "=": a === b }[parts[2]];
      });
    };
  }

  /* Columns with a machine's name are written as SI numbers with their intervals, others as they are shown. */
  function csv(heads, rows) {
    function quoted(value) {
      value = String(value === undefined ? "" : value);
      /* A text that begins so would be a formula to a spreadsheet; a number is none. */
      if (/^[=+\-@\t\r]/.test(value) && !isFinite(value)) { value = "'" + value; }
      return /[",\n\r]/.test(value) ? '"' + value.replace(/"/g, '""') + '"' : value;
    }
    var columns = [];
    heads.forEach(function (head, k) {
      var name = head.dataset.name, unit = head.querySelector(".band");
      columns.push([name || text(head) + (unit ? " [" + unit.textContent.trim() + "]" : ""), function (cell) {
        return cell.dataset.value !== undefined && name ? cell.dataset.value : text(cell);
      }]);
      ["low", "high"].forEach(function (end) {
        if (name && rows.some(function (row) { return row.cells[k] && row.cells[k].dataset[end]; })) {
          columns.push([name + "_80_" + end, function (cell) { return cell.dataset[end]; }]);
        }
      });
      columns.forEach(function (column) { if (column.length < 3) { column.push(k); } });
    });
    var lines = [columns.map(function (column) { return column[0]; })];
    rows.forEach(function (row) {
      lines.push(columns.map(function (column) { return row.cells[column[2]] ? column[1](row.cells[column[2]]) : ""; }));
    });
    return lines.map(function (line) { return line.map(quoted).join(",") + "\r\n"; }).join("");
  }
  function copied(words) {
    function old() {
      var area = document.createElement("textarea"), focused = document.activeElement;
      area.value = words;
      area.className = "hidden";
      document.body.appendChild(area);
      area.select();
      var done = document.execCommand("copy");
      area.remove();
      if (focused) { focused.focus(); }
      return done ? Promise.resolve() : Promise.reject();
    }
    return navigator.clipboard ? navigator.clipboard.writeText(words).catch(old) : old();
  }
  function made(tag, name, words) {
    var element = document.createElement(tag);
    element.className = name;
    if (words) { element.textContent = words; }
    return element;
  }

  document.querySelectorAll(".grid").forEach(function (grid) {
    var table = grid.querySelector("table"), body = table.tBodies[0], heads = Array.from(table.tHead.rows[0].cells);
    var rows = Array.from(body.rows), label = grid.dataset.label, tools = made("div", "tools");
    var field = made("label", "", "Filter "), box = made("input", ""), count = made("span", "count"), copy = made("button", "", "Copy as CSV");
    box.type = "search";
    box.placeholder = "words, or column>10";
    box.title = "Rows that have all these words. Compare a column by its name or a part of it: time>10ms, share<5.";
    box.setAttribute("aria-label", "Filter rows of " + label);
    copy.type = "button";
    copy.setAttribute("aria-label", "Copy as CSV: " + label);
    count.setAttribute("role", "status");
    field.appendChild(box);
    [field, count, copy].forEach(function (part) { tools.appendChild(part); });
    grid.insertBefore(tools, grid.firstChild);
    function shown() { return Array.from(body.rows).filter(function (row) { return !row.hidden; }); }
    function said(more) {
      var left = shown().length;
      count.textContent = (more || "") + (left === rows.length ? "" : left.toLocaleString("en") + " of ") + rows.length.toLocaleString("en") + (rows.length === 1 ? " row" : " rows");
    }
    said();
    box.addEventListener("input", function () {
      var tests = box.value.trim().split(/\s+/).filter(Boolean).map(function (term) { return test(term, heads); });
      rows.forEach(function (row) { row.hidden = !tests.every(function (holds) { return holds(row); }); });
      said();
    });
    copy.addEventListener("click", function () {
      copied(csv(heads, shown())).then(function () { said("Copied: "); }, function () { said("The browser forbids copying: "); });
    });
    heads.forEach(function (head, column) {
      var press = made("button", "order"), numeric = head.classList.contains("num");
      press.type = "button";
      press.setAttribute("aria-label", "Sort by " + (text(head) || "this column"));
      var before = head.querySelector(".band, .axis");
      head.insertBefore(document.createTextNode("\u00a0"), before);
      head.insertBefore(press, before);
      function sort() {
        var down = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
        heads.forEach(function (other) { other.removeAttribute("aria-sort"); });
        head.setAttribute("aria-sort", down === 1 ? "ascending" : "descending");
        rows.map(function (row) { return [key(row.cells[column], numeric), row]; })
          .sort(function (a, b) { return compare(a[0], b[0], down); })
          .forEach(function (pair) { body.appendChild(pair[1]); });
      }
      head.classList.add("sorts");
      head.addEventListener("click", function (event) { if (!event.target.closest("a")) { sort(); } });
    });
  });
})();
