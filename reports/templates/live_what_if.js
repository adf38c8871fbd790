// The law of reports/scaled.py and reports/figures/what_if.py in the page.
live.behaviours["what-if"] = function (figure) {
  "use strict";
  var settings = figure.settings, element = figure.element, knobs = Array.from(element.querySelectorAll("[data-knob]"));
  function joined(one, other, order) {
    var long = Math.max(one, other), short = Math.min(one, other);
    return short <= 0 || order === 0 ? long : long * Math.pow(1 + Math.pow(short / long, order), 1 / order);
  }
  function seconds(part, scales) {
    return part[7] * joined(part[2] / scales.compute, part[3] / scales.memory, part[6]) + part[4] / scales.link + part[5];
  }
  var runs = settings.runs.map(function (run) {
    var inside = run[2].map(function (_, k) { return run[1].filter(function (part) { return part[0] === k; }); });
    return { batch: run[0], parts: run[1], stretches: run[2], values: run[3], held: run[4], inside: inside };
  }), as_it_stands = runs[settings.now];
  function sum(parts, scales) { return parts.reduce(function (all, part) { return all + seconds(part, scales); }, 0); }
  var as_is = { memory: 1, compute: 1, link: 1, price: 1 };
  function length(run, k, scales) {
    var stretch = run.stretches[k], now = sum(run.inside[k], as_is);
    if (now <= 0) { return stretch[0]; }
    return stretch[0] * (sum(run.inside[k], scales) * (1 + stretch[1] / now) + stretch[2]) / (now + stretch[1] + stretch[2]);
  }
  function answers(scales, run) {
    var found = {};
    settings.metrics.forEach(function (metric, place) {
      var now = 0, then = 0, value = run.values[place];
      metric[1].forEach(function (k) { now += run.stretches[k][0]; then += length(run, k, scales); });
      found[metric[0]] = metric[2] === "rate" ? value * now / then : value * then / now * (1 + run.held[place] * (scales.price - 1));
    });
    return found;
  }
  figure.answers = function (scales, place) {
    return answers(Object.assign({}, as_is, scales), place === undefined ? as_it_stands : runs[place]);
  };
  function scale(knob) { return Math.pow(2, Number(knob.value) / 8); }
  function factor(value) { return String(Number(value.toPrecision(3))); }
  function show() {
    var scales = Object.assign({}, as_is), flags = [], flagless = false, run = as_it_stands;
    knobs.forEach(function (knob) {
      if (knob.dataset.knob === "batch") {
        run = runs[Number(knob.value)];
        element.querySelector("#of-batch").textContent = run.batch;
        knob.setAttribute("aria-valuetext", String(run.batch));
        if (run !== as_it_stands) { flags.push("--batch " + run.batch); }
        return;
      }
      var by = scales[knob.dataset.knob] = scale(knob), said = "× " + factor(by);
      element.querySelector("#of-" + knob.dataset.knob).textContent = said;
      knob.setAttribute("aria-valuetext", said.replace("×", "times"));
      if (by === 1) { return; }
      if (knob.dataset.knob === "memory") { flags.push("--set device.memory.bandwidth=" + factor(by) + "x"); } else { flagless = true; }
    });
    var then = answers(scales, run);
    settings.metrics.forEach(function (metric, place) {
      var row = element.querySelector('[data-metric="' + metric[0] + '"]'), ratio = then[metric[0]] / as_it_stands.values[place], change = row.querySelector(".change");
      row.querySelector(".then").textContent = live.quantity(then[metric[0]], metric[3]);
      var same = Math.abs(ratio - 1) < 5e-4;
      change.textContent = same ? "none" : (ratio > 1 ? "+" : "−") + Math.abs(100 * (ratio - 1)).toLocaleString("en-US", { maximumSignificantDigits: 3 }) + " %";
      change.className = "num change " + (same || !metric[4] ? "" : (ratio < 1) === (metric[4] === "lower") ? "good" : "bad");
    });
    bars(scales, run);
    /* Other sliders have no flag: a command without them would answer another question. */
    element.querySelector(".said-flags").textContent = flags.length && !flagless ? "With its interval: " + settings.command + " … " + flags.join(" ") : "";
  }
  function bars(scales, run) {
    var now = sum(as_it_stands.parts, as_is), bar = element.querySelector(".then-bar"), whole = 0, said = [], most;
    var each = settings.families.map(function (_, k) { return sum(run.parts.filter(function (part) { return part[1] === k; }), scales); });
    whole = each.reduce(function (all, value) { return all + value; }, 0);
    most = Math.max(now, whole);
    bar.textContent = "";
    settings.families.forEach(function (family, k) {
      var piece = document.createElement("i");
      piece.style.cssText = "width:" + 100 * each[k] / most + "%;background:var(--" + family[1] + ")";
      bar.append(piece);
      said.push(family[0] + " " + Math.round(100 * each[k] / whole) + " %");
    });
    element.querySelector(".what-if-bars .bar").style.width = 100 * now / most + "%";
    bar.setAttribute("aria-label", "Time by operator family after the change: " + said.join(", "));
  }
  knobs.forEach(function (knob) { knob.addEventListener("input", show); });
  element.querySelector(".as-is").addEventListener("click", function () { knobs.forEach(function (knob) { knob.value = knob.defaultValue; }); show(); });
  show();
};
