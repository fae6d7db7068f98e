"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const one = (selector) => document.querySelector(selector);

  // Images: sort by a column, filter by words and comparisons.
  const table = one("#image-table");
  const body = table.tBodies[0];
  const heads = all("thead th", table);
  const value = (row, column) => row.cells[column].dataset.value;
  const compare = (a, b) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    const numeric = Number(a) - Number(b);
    return Number.isNaN(numeric) ? a.localeCompare(b, "en", { numeric: true }) : numeric;
  };
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const falling = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const rows = [...body.rows].sort((a, b) => {
        const [x, y] = [value(a, column), value(b, column)];
        // What is not defined stays at the end either way.
        return x === "" || y === "" || !falling ? compare(x, y) : compare(y, x);
      });
      body.append(...rows);
    });
  });

  const tests = { "<": (a, b) => a < b, "<=": (a, b) => a <= b, ">": (a, b) => a > b, ">=": (a, b) => a >= b, "=": (a, b) => a === b };
  const term = (text) => {
    const parts = text.match(/^(.+?)(<=|>=|<|>|=)(-?[\d.]+)$/);
    const column = parts ? heads.findIndex((head) => head.dataset.key.toLowerCase() === parts[1]) : -1;
    if (column < 0) return (row) => `${value(row, 0)} ${value(row, 1)}`.toLowerCase().includes(text);
    return (row) => value(row, column) !== "" && tests[parts[2]](Number(value(row, column)), Number(parts[3]));
  };
  const filter = one("#filter");
  filter.addEventListener("input", () => {
    const terms = filter.value.toLowerCase().replace(/\s*([<>]=?|=)\s*/g, "$1").split(/\s+/).filter(Boolean).map(term);
    let shown = 0;
    for (const row of body.rows) {
      row.hidden = !terms.every((holds) => holds(row));
      shown += !row.hidden;
    }
    one("#filter-count").textContent = `${shown} of ${body.rows.length} images`;
  });

  // Confusion matrix: unit, reading, arrow keys.
  const matrix = one(".matrix");
  if (matrix) {
    const units = all("[data-unit]", one("#confusion .controls"));
    units.forEach((button) => button.addEventListener("click", () => {
      matrix.dataset.unit = button.dataset.unit;
      units.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
    }));
    const read = (event) => {
      const cell = event.target.closest("[data-says]");
      if (cell) one(".readout").textContent = cell.dataset.says;
    };
    matrix.addEventListener("mouseover", read);
    matrix.addEventListener("focusin", read);
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    matrix.addEventListener("keydown", (event) => {
      const move = moves[event.key];
      const cell = event.target.closest("[data-says]");
      if (!move || !cell) return;
      event.preventDefault();
      const row = matrix.tBodies[0].rows[cell.parentNode.sectionRowIndex + move[0]];
      const next = row && row.cells[cell.cellIndex + move[1]];
      if (!next || !next.dataset.says) return;
      cell.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
  }

  // Gallery: layer, opacity, enlarged picture.
  const radios = all("input[name=layer]");
  const show = (layer) => {
    document.body.dataset.layer = layer;
    radios.forEach((radio) => { radio.checked = radio.value === layer; });
    one("[data-layer-step]").textContent = `Layer: ${layer}`;
  };
  radios.forEach((radio) => radio.addEventListener("change", () => show(radio.value)));
  show("error"); // a reloaded page may remember another button
  one("#opacity").addEventListener("input", (event) => {
    document.body.style.setProperty("--opacity", event.target.value / 100);
  });

  const zoom = one("#zoom");
  const area = one(".zoom-area");
  let picture = null;
  const fit = (factor) => {
    const [width, height] = picture.style.aspectRatio.split("/").map(Number);
    const scale = Math.min(area.clientWidth / width, area.clientHeight / height) * factor;
    picture.style.width = `${Math.floor(width * scale)}px`;
  };
  all(".gallery .stack").forEach((stack) => stack.addEventListener("click", () => {
    picture = document.createElement("div");
    picture.className = "stack";
    picture.style.aspectRatio = stack.style.aspectRatio;
    picture.append(...all("img", stack).map((image) => image.cloneNode()));
    area.replaceChildren(picture);
    one(".zoom-title").textContent = stack.getAttribute("aria-label").replace("Enlarge ", "");
    zoom.showModal();
    fit(1);
  }));
  zoom.addEventListener("click", (event) => {
    const { zoom: factor, layerStep, close } = event.target.dataset;
    if (factor) fit(Number(factor));
    if (layerStep) show(radios[(radios.findIndex((radio) => radio.checked) + 1) % radios.length].value);
    if (close !== undefined || event.target === zoom) zoom.close();
  });
})();
