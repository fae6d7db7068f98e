"""The page in Chromium beside Python's answers: equal classes, or one line on why there are none."""

import base64
import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, PngImagePlugin

from maskline.core.errors import ExportError, MasklineError
from maskline.data.reading_rule import ReadingRule
from maskline.export import example, package, parity
from maskline.export.interface import Prediction, one_hot
from maskline.export.onnx_passes import phases
from maskline.export.runtime_onnx import OnnxModel
from maskline.export.web import onnxruntime_web, variant
from tests.export.web import browser
from tests.predict.test_reading_rule import CASES, SIZE, drawn, write

LIMITS = package.Limits(max_disagreement=1e-4, max_metric_change=1e-4)

# In a frame: give the page a file as a person does, and take what its buttons save.
HELPERS = """
const reason = () => line("error").trim();
async function given(name) {
  const content = await (await fetch(name)).blob();
  const transfer = new (frame.contentWindow.DataTransfer)();
  transfer.items.add(new (frame.contentWindow.File)([content], name));
  page().getElementById("file").files = transfer.files;
  page().getElementById("file").dispatchEvent(new Event("change"));
  await until(() => page().body.dataset.state === "busy");
  await until(atRest);
}
async function saved(button) {
  let link = null;
  frame.contentWindow.HTMLAnchorElement.prototype.click = function () { link = this; };
  page().getElementById(button).click();
  await until(() => link);
  const bytes = new Uint8Array(await (await fetch(link.href)).arrayBuffer());
  return [link.download, btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""))];
}
const outcome = async () => reason() || (await saved("save-classes"))[1];
"""


@pytest.fixture(scope="module")
def folder(content, root, tmp_path_factory):
    """The exported page; onnxruntime-web is downloaded once into the checkout's .maskline/downloads."""
    if browser.PROGRAM is None:
        pytest.skip("needs chromium on the path")
    mirror = os.environ.get("MASKLINE_MIRROR")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(root))
        try:
            archive = onnxruntime_web.obtain(mirror=Path(mirror) if mirror else None)
        except MasklineError as error:
            pytest.skip(f"needs onnxruntime-web: {error}")
    out = tmp_path_factory.mktemp("web")
    variant.WebVariant(package=archive, convert=phases.in_phases, limits=LIMITS).write(
        out, program=None, content=content
    )
    return out / "web"


def image_of(text):
    return Image.open(io.BytesIO(base64.b64decode(text)))


def png(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return stream.getvalue()


class Page:
    """What the page answered, as a model of the parity gate."""

    def __init__(self, answers):
        self.answers = iter(answers)

    def predict(self, images):
        labels = np.stack([np.array(image_of(text)) for text in self.answers.__next__()])
        assert labels.shape == images.shape[:3]
        return Prediction(labels, one_hot(labels, 3))


class Labels:
    """A model whose labels alone are looked at."""

    def __init__(self, model):
        self.model = model

    def predict(self, images):
        labels = self.model.predict(images).labels
        return Prediction(labels, one_hot(labels, 3))


@pytest.mark.parametrize("threads", [False, True])
def test_the_gate_holds_the_page_against_python(threads, folder, pictures, tmp_path):
    isolated = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
    names = [f"{i}.png" for i in range(len(pictures))]
    script = f"""{HELPERS}
    const labels = [];
    await opened("index.html?image={names[0]}");
    for (const name of {json.dumps(names)}) {{ await given(name); labels.push([await outcome()]); }}
    const other = await frame.contentWindow.fetch("http://localhost:1/").then(() => "sent", (error) => String(error));
    return {{ labels, isolated: frame.contentWindow.crossOriginIsolated, other }};"""
    files = {name: png(pictures.sample(i).image) for i, name in enumerate(names)}
    answer, asked = browser.in_page(
        folder, script, files=files, headers=isolated if threads else {}, profile=tmp_path / "profile"
    )
    assert answer["isolated"] == threads
    seen = parity.compare(
        Labels(OnnxModel(folder / "model.onnx", threads=1)),
        Page(answer["labels"]),
        parity.original_cases(pictures.sample(i) for i in range(len(pictures))),
        class_names=pictures.labels.class_names,
        ignore_index=255,
    )
    parity.check(seen, where="the page", place=folder, max_disagreement=1e-4, max_metric_change=1e-4)
    assert seen.cases == len(names)
    assert "violates" in answer["other"] or "Failed to fetch" in answer["other"]
    fetched = {address.split("?")[0].lstrip("/") for address in asked} - {"probe.html", "favicon.ico", *names}
    licences = {f"{name}.txt" for name in onnxruntime_web.LICENCES}
    assert fetched == {path.name for path in folder.iterdir()} - licences


def test_what_a_person_does_on_the_page(folder, pictures, tmp_path):
    script = f"""{HELPERS}
    await opened("index.html");
    const before = line("status");
    await given("eye.png");
    const controls = [...page().querySelectorAll("button, input:not([type=file]), select")];
    const unnamed = controls.filter((each) => !(each.labels?.length || each.textContent.trim())).map((each) => each.id);
    const shares = [...page().querySelectorAll("#classes label")].map((label) =>
      [label.querySelector(".name").textContent, parseFloat(label.querySelector(".share").textContent)]);
    const alpha = () => page().getElementById("mask").getContext("2d").getImageData(0, 0, 56, 40).data
      .filter((_, i) => i % 4 === 3);
    const covered = () => alpha().filter((value) => value === 255).length;
    const first = covered();
    page().getElementById("all").click();
    const all = covered();
    page().querySelector("#classes input").click();
    const fewer = covered();
    const slider = page().getElementById("opacity");
    slider.value = 100;
    slider.dispatchEvent(new Event("input"));
    const overlay = await saved("save-overlay");
    const result = {{ before, status: line("status"), shares, first, all, fewer, unnamed, overlay,
      opacity: page().getElementById("mask").style.opacity, classes: await saved("save-classes"),
      told: page().getElementById("mask").getAttribute("aria-label") }};
    page().getElementById("longest").value = "512";
    await given("large.png");
    return {{ ...result, reduced: line("status"), large: await saved("save-classes") }};"""
    eye = pictures.sample(0).image
    large = np.tile(eye, (20, 1, 1))
    files = {"eye.png": png(eye), "large.png": png(large)}
    answer, _ = browser.in_page(folder, script, files=files, profile=tmp_path / "profile")
    labels = OnnxModel(folder / "model.onnx", threads=1).predict(eye[None]).labels[0]
    shares = {name: round((labels == i).mean() * 100, 1) for i, name in enumerate(pictures.labels.class_names)}
    assert answer["before"] == "Ready"
    assert answer["status"].startswith("eye.png: 56 x 40 px, ")
    assert dict(answer["shares"]) == pytest.approx({name: share for name, share in shares.items() if share}, abs=0.06)
    assert answer["unnamed"] == []
    top = max(shares, key=shares.get)
    assert answer["told"].startswith(f"Mask of eye.png: {top} ")
    assert answer["all"] == labels.size
    assert answer["first"] == (labels != 0).sum(), "background is clear"
    assert answer["fewer"] == (labels != pictures.labels.class_names.index(top)).sum()
    name, content = answer["classes"]
    assert name == "eye-classes.png"
    with image_of(content) as mask:
        assert mask.mode == "P"
        assert mask.getpalette()[:9] == [level for color in pictures.labels.palette for level in color]
    name, content = answer["overlay"]
    assert name == "eye-overlay.png"
    colors = np.array(pictures.labels.palette)[labels]
    hidden = labels == pictures.labels.class_names.index(top)
    with image_of(content) as overlay:
        np.testing.assert_array_equal(np.array(overlay.convert("RGB")), np.where(hidden[..., None], eye, colors))
    assert "large.png: 56 x 800 px, seen at 36 x 512, " in answer["reduced"]
    with image_of(answer["large"][1]) as mask:
        assert mask.size == (56, 800)


def graph(rule, *, channels, classes=3, outputs="labels", size=("h", "w")):
    """An ONNX file with random weights: a convolution, and the more likely class of each pixel."""
    weights = np.random.default_rng(0).normal(size=(classes, channels, 3, 3)).astype(np.float32)
    kind = TensorProto.UINT8 if classes <= 256 else TensorProto.UINT16
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["float", "middle"], ["centered"]),
        helper.make_node("Transpose", ["centered"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "weights"], ["logits"], pads=[1, 1, 1, 1]),
    ]
    result = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", classes, "h", "w"])
    if outputs == "labels":
        nodes += [
            helper.make_node("ArgMax", ["logits"], ["index"], axis=1, keepdims=0),
            helper.make_node("Cast", ["index"], ["labels"], to=kind),
        ]
        result = helper.make_tensor_value_info("labels", kind, ["n", "h", "w"])
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", *size, channels])
    constants = [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.float32(127), "middle")]
    model = helper.make_model(
        helper.make_graph(nodes, "net", [images], [result], constants),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    about = {
        "class_names": [f"class {i}" for i in range(classes)],
        "palette": [[i % 256, 255 - i % 256, 7] for i in range(classes)],
        "reading": rule.to_dict(),
    }
    helper.set_model_props(model, {"maskline": json.dumps(about)})
    return model.SerializeToString()


# What a browser would change on the way is refused; these files can be read where the rule fits them.
REFUSED = {"cmyk": "CMYK, which each browser converts", "alpha": "transparent pixels, whose colors a browser"}
NOT_WRITTEN = {
    *("four channels", "near infrared first", "twelve channels, lzw"),
    *("16-bit gray", "16-bit color png", "16-bit tiff", "float tiff"),
}
# Of its file a model of gray or RGB sees the same.
FILES = {"overview": "a TIFF, which browsers do not read; example.py does"}


def rule_of(name):
    suffix, data, bands, high = CASES[name]
    kind = "float32" if isinstance(high, float) else "uint8" if high < 256 else "uint16"
    bands = 3 if name in {"cmyk", "alpha"} else bands
    plain = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
    return suffix, ReadingRule(**plain, source_bands=(bands,), source_types=(kind,))


def by_example(model, image, out):
    example.main(str(model), str(image), str(out))
    with Image.open(out) as mask:
        return np.array(mask)


def test_equal_classes_or_one_line_for_each_kind_of_image(folder, tmp_path):
    models, images, expected = {}, {}, {}
    for i, name in enumerate(CASES):
        suffix, rule = rule_of(name)
        channels = rule.num_channels
        if name in NOT_WRITTEN:
            with pytest.raises(ExportError, match="and a browser reads red, green and blue of 8 bits"):
                variant.check_readable(rule, channels=channels)
            continue
        variant.check_readable(rule, channels=channels)
        many, logits = name == "bgr", name == "gray"
        models[name] = graph(
            rule, channels=channels, classes=300 if many else 3, outputs="logits" if logits else "labels"
        )
        file = tmp_path / f"{i}.{suffix}"
        write(file, drawn(i, CASES[name][2], CASES[name][3]), name)
        images[name] = file
        (tmp_path / "model.onnx").write_bytes(models[name])
        expected[name] = by_example(tmp_path / "model.onnx", file, tmp_path / "mask.png")
    served = {f"{i}/model.onnx": model for i, model in enumerate(models.values())}
    served |= {f"{i}/{file.name}": file.read_bytes() for i, file in enumerate(images.values())}
    addresses = [f"{i}/index.html?image={file.name}" for i, file in enumerate(images.values())]
    script = f"""{HELPERS}
    const outcomes = [];
    for (const address of {json.dumps(addresses)}) {{ await opened(address); outcomes.push(await outcome()); }}
    return outcomes;"""
    answer, _ = browser.in_page(folder, script, files=served, profile=tmp_path / "profile")
    for name, text in zip(images, answer, strict=True):
        told = {**REFUSED, **FILES}.get(name)
        if told is not None:
            assert told in text, (name, text)
            assert "\n" not in text
        else:
            assert len(np.unique(expected[name])) > 1
            np.testing.assert_array_equal(np.array(image_of(text)), expected[name], err_msg=name)
    assert len(images) - len(REFUSED) - len(FILES) == 6


def colored_png(pixels):
    """With a color space of its own: linear, red and blue changed about."""
    about = PngImagePlugin.PngInfo()
    about.add(b"gAMA", (100_000).to_bytes(4, "big"))
    primaries = (31270, 32900, 15000, 6000, 30000, 60000, 64000, 33000)
    about.add(b"cHRM", b"".join(value.to_bytes(4, "big") for value in primaries))
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG", pnginfo=about)
    return stream.getvalue()


def saved_image(pixels, kind, **options):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format=kind, **options)
    return stream.getvalue()


def turned_to(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.skipif(sys.byteorder != "little", reason="drawn pixels are read as numbers")
def test_files_of_many_kinds_and_broken_ones(folder, tmp_path):
    pixels = drawn(0, 3, 255)
    jpeg = saved_image(pixels, "JPEG", quality=90)
    large = png(pixels).replace((36).to_bytes(4, "big"), (70_000).to_bytes(4, "big"), 1)
    large = large.replace((44).to_bytes(4, "big"), (70_000).to_bytes(4, "big"), 1)
    read = {
        "colors.png": colored_png(pixels),
        "palette.png": saved_image(pixels[..., 0] // 32, "PNG"),
        "progressive.jpg": saved_image(pixels, "JPEG", quality=90, progressive=True, subsampling=2),
        "lossless.webp": saved_image(pixels, "WEBP", lossless=True, exif=turned_to(6)),
        "lossy.webp": saved_image(pixels, "WEBP", quality=80),
        "turned.png": saved_image(pixels, "PNG", exif=turned_to(5)),
        **{f"turned{turn}.jpg": saved_image(pixels, "JPEG", exif=turned_to(turn)) for turn in range(2, 9)},
    }
    refused = {
        "cut.jpg": (jpeg[: len(jpeg) // 2], "cut.jpg: unreadable or damaged; replace the file"),
        "cut.png": (png(pixels)[:-30], "cut.png: unreadable or damaged; replace the file"),
        "cut.webp": (read["lossy.webp"][:-30], "cut.webp: unreadable or damaged; replace the file"),
        "text.jpg": (b"no image", "text.jpg: no PNG, JPEG or WebP image"),
        "large.png": (large, "large.png: image too large (70000 x 70000 px); cut it into tiles"),
        "deep.png": (saved_image(pixels[..., 0].astype(np.uint16) * 9, "PNG"), "deep.png: 16 bits a value, of which"),
        "frames.png": (
            saved_image(pixels, "PNG", save_all=True, append_images=[Image.fromarray(pixels[::-1])]),
            "frames.png: several frames in one file",
        ),
    }
    rule = ReadingRule(source_bands=(3,), source_types=("uint8",))
    model = graph(rule, channels=3)
    (tmp_path / "model.onnx").write_bytes(model)
    names = [*read, *refused]
    script = f"""{HELPERS}
    await opened("0/index.html");
    const outcomes = [];
    for (const name of {json.dumps(names)}) {{ await given(name); outcomes.push(await outcome()); }}
    return outcomes;"""
    served = {"0/model.onnx": model, **read, **{name: content for name, (content, _) in refused.items()}}
    answer, _ = browser.in_page(folder, script, files=served, profile=tmp_path / "profile")
    for name, text in zip(names, answer, strict=True):
        if name in refused:
            assert text.startswith(refused[name][1]), (name, text)
            continue
        (tmp_path / name).write_bytes(read[name])
        expected = by_example(tmp_path / "model.onnx", tmp_path / name, tmp_path / "mask.png")
        np.testing.assert_array_equal(np.array(image_of(text)), expected, err_msg=name)


def test_a_page_that_cannot_start_or_run_says_why(folder, tmp_path):
    page = (folder / "page.js").read_bytes()
    foreign = onnx.helper.make_model(helper.make_graph([], "net", [], []))
    served = {
        "0/page.js": b"delete globalThis.WebAssembly;" + page,
        "1/page.js": page.replace(b"if (!canvasIsExact())", b"if (true)"),
        "2/model.onnx": foreign.SerializeToString(),
        "3/model.onnx": b"<html>not found</html>",
        "4/model.onnx": graph(ReadingRule(), channels=3)[:-9] + b"x" * 9,
        "5/model.onnx": graph(ReadingRule(), channels=3, size=(9, 9)),
        "5/eye.png": png(drawn(0, 3, 255)),
    }
    script = f"""{HELPERS}
    const lines = [];
    for (const i of [0, 1, 2, 3, 4]) {{ await opened(`${{i}}/index.html`); lines.push(reason()); }}
    for (const address of ["index.html?image=none.png", "5/index.html?image=eye.png"]) {{
      await opened(address);
      lines.push(reason());
    }}
    return lines;"""
    answer, _ = browser.in_page(folder, script, files=served, profile=tmp_path / "profile")
    assert [text[:40] for text in answer[:2]] == [
        "This browser lacks what the page needs (",
        "This browser changes pixels that pages r",
    ]
    assert "no metadata under the key maskline" in answer[2]
    assert "model.onnx is no ONNX file" in answer[3]
    assert answer[4].startswith("The model cannot be started: ")
    assert answer[5] == "none.png: cannot be fetched from this address"
    assert answer[6].startswith("eye.png: the model cannot take it at 44 x 36 px (")
    assert answer[6].endswith("; choose a smaller longest side")
    assert all("\n" not in text for text in answer)


def test_the_helpers_of_these_tests_name_every_case():
    assert {*NOT_WRITTEN, *REFUSED, *FILES} < set(CASES)
    assert SIZE == (44, 36)
