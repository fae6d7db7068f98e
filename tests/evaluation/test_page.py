"""The report page: whole, quiet, and alive in a browser."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from maskline.analysis.compare.images import compare_images, parse
from maskline.analysis.compare.page import with_comparison
from maskline.core.errors import DataError
from maskline.evaluation import writing
from maskline.evaluation.page import gallery, tables, tree
from maskline.evaluation.page.page import PageData, render
from tests.evaluation.browser import run_in_page

VOID = {"meta", "img", "input", "br", "link", "hr"}
CURVES = {"iteration": [100.0, 200.0], "val_loss": [1.0, 0.5], "mDice": [0.5, 0.6], "IoU_vessel": [0.3, None]}


class Structure(HTMLParser):
    """Checks that tags nest, collects addresses and ids."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attributes:
            if name in {"src", "href"}:
                self.addresses.append(value)
            if name == "id":
                self.ids.append(value)

    def handle_startendtag(self, tag, attributes):
        pass  # SVG shapes

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> at line {self.getpos()[0]}"


def page_data(split, scored, card, **changes):
    rows = tables.per_image_rows(scored.scores, split.labels)
    exhibits = gallery.open_exhibits(
        gallery.choose(rows, each=1), rows, split, scored.scores, ignore_index=255, within_valid=False
    )
    parts = {
        "title": "unet on <drawn>",
        "facts": writing._facts(scored, rows, split.labels),
        "labels": split.labels,
        "metrics": scored.metrics,
        "images": rows,
        "classes": tables.per_class_rows(scored.scores, split.labels, scored.metrics),
        "confusion": tree.total_confusion(scored.scores),
        "exhibits": [gallery.page_image(exhibit, split.labels) for exhibit in exhibits],
        "curves": CURVES,
        "card": card,
        "params": {"split": "test"},
        "reliability": tree.reliability(scored.scores),
    }
    return PageData(**(parts | changes))


@pytest.fixture(scope="module")
def two(two_classes, card):
    return render(page_data(*two_classes, card))


@pytest.fixture(scope="module")
def four(four_classes, card):
    return render(page_data(*four_classes, card))


@pytest.mark.parametrize("name", ["two", "four"])
def test_well_formed_and_self_contained(name, request):
    page = request.getfixturevalue(name)
    structure = Structure()
    structure.feed(page)
    assert structure.open == []
    assert len(structure.ids) == len(set(structure.ids))
    for address in structure.addresses:
        assert address.startswith(("data:image/", "#")), address[:60]
        if address.startswith("#"):
            assert address[1:] in structure.ids
    assert not re.search(r"https?:|//[a-z]+\.|url\(|@import", page)
    assert "default-src 'none'" in page


def test_names_are_escaped(four):
    assert "Sky &amp; &lt;air&gt;" in four
    assert "<air>" not in four
    assert "unet on &lt;drawn&gt;" in four


def test_same_bytes_twice(two_classes, card):
    data = page_data(*two_classes, card)
    assert render(data) == render(data)


def test_shows_what_was_measured(two, two_classes):
    metrics = two_classes[1].metrics
    assert f"{metrics['foreground']['Dice']:.3f}" in two
    assert f"human {metrics['second_annotator']['foreground']['Dice']:.3f}" in two
    interval = metrics["uncertainty_95"]["foreground"]["Dice"]
    assert f"{interval['low']:.3f} \u2013 {interval['high']:.3f}" in two
    assert "8 images in 4 groups" in two
    assert "weights_sha256" in two
    assert "model.decode_head.losses.0.name" in two


def test_sections_that_have_nothing_are_left_out(four_classes, card):
    page = render(page_data(*four_classes, card, curves={}))
    assert 'id="training"' not in page
    assert "#training" not in page
    assert "human" not in page.split("</style>")[1].split("<script>")[0]


def test_many_classes_have_a_list_in_place_of_a_matrix(four_classes, card, monkeypatch):
    monkeypatch.setattr("maskline.evaluation.page.page._MATRIX_CLASSES", 3)
    page = render(page_data(*four_classes, card))
    assert 'class="matrix"' not in page
    assert "Most frequent confusions" in page


def test_sorting(two, tmp_path):
    result = run_in_page(
        two,
        """
        const rows = () => [...document.querySelectorAll('#image-table tbody tr')];
        const names = () => rows().map((row) => row.cells[0].dataset.value);
        const heads = [...document.querySelectorAll('#image-table thead th')];
        const dice = heads.find((head) => head.dataset.key === 'Dice');
        const found = [names()];
        dice.querySelector('button').click();
        found.push(names(), dice.getAttribute('aria-sort'));
        dice.querySelector('button').click();
        found.push(names(), dice.getAttribute('aria-sort'));
        heads[0].querySelector('button').click();
        found.push(names(), dice.getAttribute('aria-sort'));
        return found;
        """,
        tmp_path,
    )
    first, rising, up, falling, down, by_name, off = result
    assert (up, down, off) == ("ascending", "descending", None)
    assert first == by_name == sorted(first)
    assert falling == rising[::-1]
    assert rising[-1] == "image_00"  # three wrong pixels, the fewest


def test_filtering(two, two_classes, tmp_path):
    rows = tables.per_image_rows(two_classes[1].scores, two_classes[0].labels)
    limit = sorted(row["Dice"] for row in rows)[3]
    result = run_in_page(
        two,
        f"""
        const filter = document.querySelector('#filter');
        const rows = () => [...document.querySelectorAll('#image-table tbody tr:not([hidden])')];
        const shown = () => rows().map((row) => row.cells[0].dataset.value);
        return ['GROUP 1', 'image_03', 'Dice<{limit}', 'dice >= {limit} image_00', 'nothing', ''].map((text) => {{
          filter.value = text;
          filter.dispatchEvent(new Event('input'));
          return [shown(), document.querySelector('#filter-count').textContent];
        }});
        """,
        tmp_path,
    )
    shown = [one[0] for one in result]
    assert shown[0] == [row["id"] for row in rows if "1" in row["id"] + row["group"]]
    assert shown[1] == ["image_03"]
    assert shown[2] == [row["id"] for row in rows if row["Dice"] < limit]
    assert shown[3] == ["image_00"]
    assert shown[4] == []
    assert shown[5] == [row["id"] for row in rows]
    assert result[2][1] == "3 of 8 images"


def test_layers_zoom_and_matrix(two, tmp_path):
    result = run_in_page(
        two,
        """
        const display = (selector, root) => getComputedStyle(root.querySelector(selector)).display;
        const visible = (selector, root = document) => display(selector, root) !== 'none';
        const names = ['image', 'truth', 'prediction', 'error'];
        const layers = (root) => names.filter((name) => visible(`.stack .${name}`, root));
        const found = {start: layers()};
        document.querySelector('input[value=truth]').click();
        found.truth = layers();
        document.querySelector('.gallery .stack').click();
        const zoom = document.querySelector('#zoom');
        found.open = zoom.open;
        zoom.querySelector('[data-layer-step]').click();
        found.stepped = layers(zoom);
        const width = () => parseInt(zoom.querySelector('.stack').style.width);
        const fitted = width();
        zoom.querySelector('[data-zoom="4"]').click();
        found.enlarged = Math.abs(width() - 4 * fitted) <= 4 && fitted > 50;
        zoom.querySelector('[data-close]').click();
        found.closed = !zoom.open;
        const cell = document.querySelector('.matrix tbody td');
        cell.focus();
        cell.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true}));
        found.read = document.querySelector('.readout').textContent;
        document.querySelector('[data-unit=pixels]').click();
        found.pixels = visible('.matrix td .pixels') && !visible('.matrix td .share');
        return found;
        """,
        tmp_path,
    )
    assert result["start"] == ["image", "error"]
    assert result["truth"] == ["image", "truth"]
    assert result["open"]
    assert result["stepped"] == ["image", "prediction"]
    assert result["enlarged"]
    assert result["closed"]
    assert result["read"].startswith("background predicted as vessel: ")
    assert result["pixels"]


def test_no_page_is_wider_than_its_window(two, tmp_path):
    result = run_in_page(
        two,
        """
        const frame = document.createElement('iframe');
        frame.style.cssText = 'width:390px;height:800px;border:0';
        document.body.append(frame);
        const inner = frame.contentDocument;
        inner.write(document.documentElement.outerHTML.replace(/<script>[^]*<\\/script>/, ''));
        inner.close();
        return [inner.documentElement.scrollWidth, inner.querySelectorAll('.card').length];
        """,
        tmp_path,
    )
    assert result[0] <= 390
    assert result[1] == 6


def compared(page, two_classes, fewer=3):
    counts = parse(per_image_text(two_classes), place="a")
    worse = replace(counts, counts=counts.counts - np.array([fewer, 0, 0])[:, None])
    found = compare_images(worse, counts, resamples=200, seed=0, place="both")
    return with_comparison(page, found, a="<HEAD>", b="workspace", place="page")


def per_image_text(two_classes):
    rows = tables.per_image_rows(two_classes[1].scores, two_classes[0].labels)
    return "\n".join(
        [",".join(rows[0]), *(",".join("" if v is None else str(v) for v in row.values()) for row in rows)]
    )


def test_a_comparison_is_one_section_more(two, two_classes):
    page = compared(two, two_classes)
    structure = Structure()
    structure.feed(page)
    assert structure.open == []
    assert "comparison" in structure.ids
    assert "#comparison" in structure.addresses
    section = page[page.index('<section id="comparison">') : page.index('<section id="classes">')]
    assert "workspace minus &lt;HEAD&gt;" in section
    assert section.count('class="sure"') >= 5  # three pixels fewer in every image are no chance
    same = compared(two, two_classes, fewer=0)
    assert 'class="sure"' not in same
    with pytest.raises(DataError, match="not a report page"):
        compared(page, two_classes)
