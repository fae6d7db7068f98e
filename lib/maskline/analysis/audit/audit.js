"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const one = (selector) => document.querySelector(selector);
  const articles = all("article");
  const entries = all("[data-go]");
  const radios = all("input[name=layer]");
  const key = `maskline-audit-${document.body.dataset.set}`;
  let at = 0;

  // Verdicts: image -> right or wrong. A browser may keep nothing for files; then they last as long as the page.
  let verdicts = new Map();
  try { verdicts = new Map(JSON.parse(localStorage.getItem(key) || "[]")); } catch { /* nothing kept */ }
  const keep = () => { try { localStorage.setItem(key, JSON.stringify([...verdicts])); } catch { /* as above */ } };

  const paint = () => {
    const id = articles[at].dataset.id;
    for (const name of ["right", "wrong"]) one(`#${name}`).setAttribute("aria-pressed", String(verdicts.get(id) === name));
    entries.forEach((entry, index) => {
      entry.setAttribute("aria-current", String(index === at));
      entry.dataset.verdict = verdicts.get(articles[index].dataset.id) || "";
    });
    const wrong = articles.filter((article) => verdicts.get(article.dataset.id) === "wrong").length;
    const seen = articles.filter((article) => verdicts.has(article.dataset.id)).length;
    one("#counted").textContent = `${seen} of ${articles.length} looked at, ${wrong} wrong`;
  };
  const go = (index) => {
    at = Math.max(0, Math.min(articles.length - 1, index));
    articles.forEach((article, other) => { article.hidden = other !== at; });
    paint();
    const list = one(".list");
    const entry = entries[at];
    if (entry.offsetTop < list.scrollTop || entry.offsetTop + entry.offsetHeight > list.scrollTop + list.clientHeight) {
      list.scrollTop = entry.offsetTop - list.clientHeight / 2;
    }
  };
  const judge = (verdict) => {
    const id = articles[at].dataset.id;
    if (verdicts.get(id) === verdict) verdicts.delete(id); else verdicts.set(id, verdict);
    keep();
    paint();
  };
  const show = (layer) => {
    document.body.dataset.layer = layer;
    radios.forEach((radio) => { radio.checked = radio.value === layer; });
  };
  const boxes = (shown) => {
    document.body.dataset.boxes = shown ? "on" : "off";
    one("#boxes").checked = shown;
  };

  // A spreadsheet takes a cell for a formula that begins with one of these; the mark in front makes it text.
  const cell = (text) => `"${(/^[=+\-@\t\r']/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
  const table = () => ["rank,id,verdict", ...articles.map((article) =>
    [article.dataset.rank, cell(article.dataset.id), verdicts.get(article.dataset.id) || ""].join(","))].join("\n") + "\n";
  const download = () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([table()], { type: "text/csv" }));
    link.download = "verdicts.csv";
    link.click();
    URL.revokeObjectURL(link.href);
  };

  one("#previous").addEventListener("click", () => go(at - 1));
  one("#next").addEventListener("click", () => go(at + 1));
  one("#right").addEventListener("click", () => judge("right"));
  one("#wrong").addEventListener("click", () => judge("wrong"));
  one("#download").addEventListener("click", download);
  one("#clear").addEventListener("click", () => { verdicts.clear(); keep(); paint(); });
  one("#boxes").addEventListener("change", (event) => boxes(event.target.checked));
  one("#opacity").addEventListener("input", (event) => {
    document.body.style.setProperty("--opacity", event.target.value / 100);
  });
  entries.forEach((entry, index) => entry.addEventListener("click", () => go(index)));
  radios.forEach((radio) => radio.addEventListener("change", () => show(radio.value)));
  all(".regions tbody tr").forEach((row) => {
    const mark = row.closest("article").querySelector(`.mark[data-region="${row.dataset.region}"]`);
    row.addEventListener("mouseenter", () => mark.classList.add("near"));
    row.addEventListener("mouseleave", () => mark.classList.remove("near"));
  });
  const keys = {
    ArrowLeft: () => go(at - 1), k: () => go(at - 1), ArrowRight: () => go(at + 1), j: () => go(at + 1),
    r: () => judge("right"), w: () => judge("wrong"), b: () => boxes(document.body.dataset.boxes === "off"),
    ...Object.fromEntries(radios.map((radio, index) => [String(index + 1), () => show(radio.value)])),
  };
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input[type=range], input[type=radio]") && event.key.startsWith("Arrow");
    if (event.ctrlKey || event.metaKey || event.altKey || typing || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  boxes(true);
  show("given"); // a reloaded page may remember another button
  go(0);
})();
