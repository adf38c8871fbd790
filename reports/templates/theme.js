/* Light, dark, or what the system says. Stands in the head, so that nothing is drawn in the wrong colours first. */
(function () {
  var root = document.documentElement, key = "silicost-theme", now = "auto";
  try { now = localStorage.getItem(key) || "auto"; } catch (error) { /* pages from files may have no storage */ }
  function apply() { if (now === "auto") { delete root.dataset.theme; } else { root.dataset.theme = now; } }
  if (now !== "light" && now !== "dark") { now = "auto"; }
  apply();
  document.addEventListener("DOMContentLoaded", function () {
    var choice = document.getElementById("theme");
    choice.hidden = false;
    choice.querySelectorAll("input").forEach(function (input) {
      input.checked = input.value === now;
      input.addEventListener("change", function () {
        now = input.value;
        apply();
        try { localStorage.setItem(key, now); } catch (error) { /* it holds until the page is closed */ }
      });
    });
  });
})();
