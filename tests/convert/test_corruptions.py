"""Forty seeded corruptions of a clean set: each is named, by its file and its kind; the clean set has none."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageEnhance

from maskline.convert.archive import convert_archive
from maskline.convert.formats import folder
from maskline.core.errors import DataError, DataProblemsError
from tests.sets import TWO_CLASSES, index_mask, pack_folder, picture, save, split_settings, work

SIZE = (64, 48)


def clean(target):
    """Six train and three test images with masks of two classes."""
    for split, count in (("train", 6), ("test", 3)):
        for i in range(count):
            seed = i + 10 * (split == "test")
            small = picture(seed, (16, 12)).resize(SIZE, Image.Resampling.NEAREST)
            save(small, target / split / "images" / f"{i}.png")
            save(index_mask(seed, SIZE), target / split / "masks" / f"{i}.png")


def pixels(path):
    with Image.open(path) as image:
        return np.array(image)


def put(path, values, **options):
    Image.fromarray(values).save(path, **options)


def set_value(value, count):
    def change(root, image, mask, rng):
        values = pixels(mask).astype(np.uint16 if value > 255 else np.uint8)
        values[tuple(rng.integers(0, size, count) for size in values.shape)] = value
        put(mask, values)

    return change


def jpeg_mask(root, image, mask, rng):
    sink = io.BytesIO()
    Image.fromarray(pixels(mask) * 255).save(sink, format="JPEG", quality=int(rng.integers(20, 60)))
    put(mask, pixels(sink))


def resized_mask(root, image, mask, rng):
    extra = int(rng.integers(1, 5))
    put(mask, np.pad(pixels(mask), ((0, extra), (0, 0))))


def turned_mask(root, image, mask, rng):
    put(mask, np.rot90(pixels(mask)).copy())


def color_mask(root, image, mask, rng):
    put(mask, np.stack([pixels(mask), np.zeros_like(pixels(mask)), 1 - pixels(mask)], -1))


def alpha_mask(root, image, mask, rng):
    put(mask, np.stack([pixels(mask), np.full_like(pixels(mask), 254)], -1))


def palette_mask(root, image, mask, rng):
    picture_ = Image.fromarray(pixels(mask)).convert("P")
    picture_.putpalette([0, 0, 0, 255, 0, 0])
    picture_.save(mask)


def white_mask(root, image, mask, rng):
    put(mask, pixels(mask) * 255)


def empty_mask(root, image, mask, rng):
    put(mask, pixels(mask) * 0)


def ignored_mask(root, image, mask, rng):
    put(mask, pixels(mask) * 0 + 255)


def no_mask(root, image, mask, rng):
    mask.unlink()


def no_image(root, image, mask, rng):
    image.unlink()


def alpha_image(root, image, mask, rng):
    values = pixels(image)
    put(image, np.concatenate([values, np.full_like(values[..., :1], int(rng.integers(0, 256)))], -1))


def gray_alpha_image(root, image, mask, rng):
    put(image, pixels(image)[..., :2].copy())


def deep_image(root, image, mask, rng):
    put(image, pixels(image)[..., 0].astype(np.uint16) * 257)


def deep_color_image(root, image, mask, rng):
    tifffile.imwrite(image.with_suffix(".tif"), pixels(image).astype(np.uint16) * 257, photometric="rgb")
    image.unlink()


def infrared_image(root, image, mask, rng):
    values = np.concatenate([pixels(image), pixels(image)[..., :1]], -1)
    tifffile.imwrite(image.with_suffix(".tif"), values, photometric="rgb", extrasamples=["unspecified"])
    image.unlink()


def two_channel_image(root, image, mask, rng):
    values = pixels(image)[..., :2]
    tifffile.imwrite(image.with_suffix(".tif"), values, photometric="minisblack", planarconfig="contig")
    image.unlink()


def eight_channel_image(root, image, mask, rng):
    values = np.tile(pixels(image), 3)[..., :8]
    tifffile.imwrite(image.with_suffix(".tif"), values, photometric="minisblack", planarconfig="contig")
    image.unlink()


def renumbered_palette(root, image, mask, rng):
    picture_ = Image.fromarray(pixels(mask)).convert("P")
    picture_.putpalette([9, 9, 9, *(value for _, color in TWO_CLASSES for value in color)])
    picture_.save(mask)


def four_inks(root, image, mask, rng):
    Image.open(image).convert("CMYK").save(image.with_suffix(".tif"))
    image.unlink()


def float_image(root, image, mask, rng):
    Image.fromarray(pixels(image)[..., 0].astype(np.float32)).save(image.with_suffix(".tif"))
    image.unlink()


def turned_image(root, image, mask, rng):
    exif = Image.Exif()
    exif[0x0112] = int(rng.integers(2, 9))
    Image.open(image).save(image, exif=exif)


def cut_file(root, image, mask, rng):
    path = image if rng.random() < 0.5 else mask
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def noise_file(root, image, mask, rng):
    image.write_bytes(rng.bytes(500))


def empty_file(root, image, mask, rng):
    (image if rng.random() < 0.5 else mask).write_bytes(b"")


def several_frames(root, image, mask, rng):
    frames = [Image.fromarray(pixels(image)), Image.fromarray(255 - pixels(image))]
    frames[0].save(image.with_suffix(".tif"), save_all=True, append_images=frames[1:])
    image.unlink()


def two_files(root, image, mask, rng):
    Image.open(image).save(image.with_suffix(".bmp"))


def wrong_suffix(root, image, mask, rng):
    mask.rename(mask.with_suffix(".txt"))


def leak(root, image, mask, rng):
    put(image, pixels(root / "test/images/0.png"))


def near_leak(root, image, mask, rng):
    with Image.open(root / "test/images/1.png") as other:
        changed = ImageEnhance.Brightness(other.convert("RGB")).enhance(rng.uniform(0.8, 0.95))
    sink = io.BytesIO()
    changed.save(sink, format="JPEG", quality=int(rng.integers(60, 90)))
    put(image, pixels(sink))


def outside_splits(root, image, mask, rng):
    for path in (image, mask):
        target = root / path.parent.name / "moved.png"
        target.parent.mkdir(exist_ok=True)
        path.rename(target)


KINDS = [
    (set_value(7, 1), "label value 7"),
    (set_value(2, 30), "label value 2"),
    (set_value(254, 5), "label value 254"),
    (set_value(300, 2), "label value 300"),
    (set_value(1001, 1), "label value 1001"),
    (jpeg_mask, "label value"),
    (resized_mask, "pixels, its image has"),
    (turned_mask, "pixels, its image has"),
    (color_mask, "mode RGB of 2 colors, not gray"),
    (alpha_mask, "mode LA with pixels that are not opaque"),
    (palette_mask, "mode P (palette), not gray"),
    (white_mask, "0/255 mask"),
    (empty_mask, "empty mask"),
    (ignored_mask, "every pixel is ignored"),
    (no_mask, "image without a mask"),
    (no_image, "mask without an image"),
    (alpha_image, "alpha channel"),
    (gray_alpha_image, "alpha channel"),
    (deep_image, "more than 8 bits"),
    (deep_color_image, "16 bits"),
    (infrared_image, "4 channels"),
    (two_channel_image, "2 channels"),
    (eight_channel_image, "8 channels"),
    (renumbered_palette, "mode P (palette), not gray"),
    (four_inks, "CMYK, read as RGB"),
    (float_image, "values of 32 bits"),
    (turned_image, "EXIF orientation"),
    (cut_file, "unreadable image"),
    (noise_file, "not an image"),
    (empty_file, "not an image"),
    (several_frames, "2 frames"),
    (two_files, "two image files"),
    (wrong_suffix, "not an image file by its name"),
    (leak, "the same image as"),
    (near_leak, "nearly the same image as"),
    (outside_splits, "in no split folder"),
]
CASES = [(number, *KINDS[number % len(KINDS)]) for number in range(40)]


def found(source, tmp_path, settings):
    """Return all problems and remarks as (place or id, text)."""
    pack_folder(source, tmp_path / "set.zip")
    try:
        remarks = convert_archive(
            tmp_path / "set.zip",
            tmp_path / "prepared",
            layout=folder.read,
            settings=settings(),
            split=split_settings(val_fraction=0.2, test_fraction=0.0),
            work=work(tmp_path),
            max_unpacked_bytes=10**9,
        )
    except DataProblemsError as error:
        return [(problem.place, problem.problem) for problem in error.problems]
    except DataError as error:
        return [(error.place, error.problem)]
    return remarks


@pytest.mark.parametrize(("seed", "corrupt", "text"), CASES)
def test_it_is_named(tmp_path, settings, seed, corrupt, text):
    source = tmp_path / "set"
    clean(source)
    rng = np.random.default_rng(seed)
    stem = str(rng.integers(0, 6))
    corrupt(source, source / f"train/images/{stem}.png", source / f"train/masks/{stem}.png", rng)
    messages = found(source, tmp_path, settings)
    assert any(text in message for _, message in messages), messages
    named = {place for place, message in messages if text in message}
    assert any(stem in place or "moved" in place for place in named), named


def test_the_clean_set_has_nothing(tmp_path, settings):
    clean(tmp_path / "set")
    assert found(tmp_path / "set", tmp_path, settings) == []
