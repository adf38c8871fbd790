/* On paper everything is open; afterwards it is as it was. */
(function () {
  var opened = [];
  function open() { document.querySelectorAll("details:not([open])").forEach(function (part) { part.open = true; opened.push(part); }); }
  function close() { opened.forEach(function (part) { part.open = false; }); opened = []; }
  window.addEventListener("beforeprint", open);
  window.addEventListener("afterprint", close);
  matchMedia("print").addEventListener("change", function (event) { if (event.matches) { open(); } else { close(); } });
})();
