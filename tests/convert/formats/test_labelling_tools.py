"""One tiny file of each labelling tool, in the form that the tool publishes; where it says so, written by the tool."""

import base64
import io
import json
import zlib

import numpy as np
import pytest
from PIL import Image

from maskline.convert.formats import coco_panoptic, cvat, label_studio, labelme, supervisely, via, voc
from maskline.convert.records import MaskValue
from maskline.core.errors import DataError
from tests.sets import index_mask, picture, save

LEAF, STEM = 1, 2


@pytest.fixture
def plain(settings):
    return settings(classes=())


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def read_mask(source):
    assert [str(problem) for problem in source.problems] == []
    (record,) = source.records
    return source.read_mask(record.mask)


def png(mask):
    sink = io.BytesIO()
    Image.fromarray(mask).save(sink, format="PNG")
    return sink.getvalue()


def refused(reader, folder, settings, words):
    """Reading the set or one of its masks ends in an error."""
    with pytest.raises(DataError, match=words):
        source = reader.read(folder, settings)
        for problem in source.problems:
            raise problem
        for record in source.records:
            source.read_mask(record.mask)


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
<meta><task><labels>
<label><name>stem</name><color>#00ff00</color><type>any</type><attributes></attributes></label>
<label><name>leaf</name><color>#ff0000</color><type>any</type><attributes></attributes></label>
</labels></task></meta>
<image id="0" name="sub/a.png" subset="Train" width="12" height="10">
<polygon label="leaf" occluded="0" points="1.00,6.00;6.00,6.00;6.00,9.00;1.00,9.00" z_order="1"></polygon>
<box label="stem" source="manual" occluded="0" xtl="0.00" ytl="5.00" xbr="3.00" ybr="8.00" z_order="0"></box>
<mask label="stem" source="manual" occluded="0" rle="1, 2, 3" left="9" top="0" width="3" height="2" z_order="0"></mask>
<ellipse label="leaf" source="manual" occluded="0" cx="5.00" cy="2.00" rx="2.00" ry="1.00" z_order="0"></ellipse>
<polyline label="stem" source="manual" occluded="0" points="8.00,9.00;11.00,9.00" z_order="0"></polyline>
<tag label="leaf" source="manual"></tag>
</image></annotations>"""


def test_cvat_images(tmp_path, settings):
    save(picture(1), tmp_path / "images/sub/a.png")
    save(picture(2), tmp_path / "images/b.png")
    write(tmp_path / "annotations.xml", CVAT)
    source = cvat.read(tmp_path, settings(classes=(), line_width=1.0))
    assert source.labels.class_names == ("background", "stem", "leaf")
    assert source.labels.palette == ((0, 0, 0), (0, 255, 0), (255, 0, 0))
    assert [record.split for record in source.records] == ["train"]
    assert source.remarks == [("images/b", "no annotation: left out")]
    mask = read_mask(source)
    assert mask[0].tolist() == [0] * 10 + [1, 1], "the mask's rows begin outside"
    assert (mask[6:10, 1:7] == 2).all(), "above the box, by z_order"
    assert (mask[5:9, 0] == 1).all()
    assert mask[2, 3:8].tolist() == [2] * 5
    assert mask[0, 5] == 0
    assert mask[9, 8:12].tolist() == [1] * 4


def test_cvat_objects_that_are_no_areas(tmp_path, plain):
    save(picture(1), tmp_path / "images/sub/a.png")
    point = "<label><name>1</name><color>#000000</color><type>points</type><parent>pose</parent></label>"
    pose = '<skeleton label="pose" z_order="0"><points label="1" points="1.0,1.0"></points></skeleton>'
    text = CVAT.replace("</labels>", f"<label><name>pose</name></label>{point}</labels>")
    write(tmp_path / "annotations.xml", text.replace("</image>", f'{pose}<cuboid label="leaf" xtl1="1"/></image>'))
    source = cvat.read(tmp_path, plain)
    assert source.labels.class_names == ("background", "stem", "leaf", "pose")
    assert [remark.split(" as follows: ") for _, remark in source.remarks] == [
        ["1 annotations that are no areas (cuboid)", "leaf 1 of 3"],
        ["1 annotations that are no areas (skeleton)", "pose 1 of 1"],
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('rle="1, 2, 3"', 'rle="1, 2, 4"'), "run lengths sum to 7"),
        (('width="12" height="10"', 'width="1000000" height="1000000"'), "too large"),
        (("1.00,6.00;", "nan,6.00;"), "not finite"),
        (("1.00,6.00;", "1e9,6.00;"), "far outside"),
        (('name="sub/a.png"', 'name="../../etc/passwd"'), "its image .* is not there"),
    ],
)
def test_cvat_refuses(tmp_path, plain, change, words):
    save(picture(1), tmp_path / "images/sub/a.png")
    write(tmp_path / "annotations.xml", CVAT.replace(*change))
    refused(cvat, tmp_path, plain, words)


def test_cvat_with_entities_or_tracks(tmp_path, plain):
    bomb = '<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]>'
    for content, words in [
        (CVAT.replace("<annotations>", f"{bomb}<annotations>"), "declares a document type"),
        ("<a>" * 200, "too many levels"),
        ('<annotations><track label="leaf"></track></annotations>', "tracks of a video"),
    ]:
        write(tmp_path / "annotations.xml", content)
        with pytest.raises(DataError, match=words):
            cvat.read(tmp_path, plain)


# Label Studio's own converter (label-studio-converter 0.0.59, mask2rle) wrote this mask of 12x10 pixels.
BRUSH = list(bytes.fromhex("000001e0391bfe6b00c2fff85c030bffe1700c2fffbdc023ff00"))


def label_studio_task(results, **task):
    sized = [{"original_width": 12, "original_height": 10, "image_rotation": 0, **result} for result in results]
    annotation = {"id": 1, "was_cancelled": False, "result": sized, "updated_at": "2026-01-02T00:00:00Z"}
    return {"id": 7, "data": {"image": "/data/upload/1/5f2a3b4c-a%20b.png"}, "annotations": [annotation], **task}


def test_label_studio(tmp_path, plain):
    save(picture(1), tmp_path / "images/a b.png")
    brush = {"type": "brushlabels", "value": {"format": "rle", "rle": BRUSH, "brushlabels": ["leaf"]}}
    points = [[0, 60], [25, 60], [25, 90], [0, 90]]
    outline = {"type": "polygonlabels", "value": {"points": points, "closed": True, "polygonlabels": ["stem"]}}
    corner = {"x": 50, "y": 80, "width": 20, "height": 25, "rotation": 270}
    turned = {"type": "rectanglelabels", "value": {**corner, "rectanglelabels": ["stem"]}}
    choice = {"type": "choices", "value": {"choices": ["good"]}}
    task = label_studio_task([brush, outline, turned, choice])
    task["annotations"].append({**task["annotations"][0], "result": [], "updated_at": "2026-01-01T00:00:00Z"})
    write(tmp_path / "project-1.json", [task])
    source = label_studio.read(tmp_path, plain)
    assert source.labels.class_names == ("background", "leaf", "stem")
    assert source.remarks == [("images/a b", "2 annotations, the last one counts")]
    mask = read_mask(source)
    expected = np.zeros((10, 12), int)
    expected[2:5, 3:9] = expected[9, 11] = LEAF
    expected[6:10, 0:4] = STEM
    expected[6:9, 6:9] = STEM  # turned around its corner, so that its width goes up
    assert mask[:, :5].tolist() == expected[:, :5].tolist()
    assert mask[9, 11] == LEAF
    assert mask[6:8, 6:8].tolist() == [[STEM] * 2] * 2
    write(tmp_path / "project-1.json", [{"image": "s3://bucket/x/a%20b.png", "id": 3, "label": [
        {**outline["value"], "original_width": 12, "original_height": 10}]}])  # JSON-MIN  # fmt: skip
    assert (read_mask(label_studio.read(tmp_path, plain)) == 1).sum() == 16


@pytest.mark.parametrize("minimal", [False, True])
def test_label_studio_with_labels_apart(tmp_path, plain, minimal):
    save(picture(1), tmp_path / "images/a b.png")
    points = {"points": [[0, 60], [25, 60], [25, 90], [0, 90]], "closed": True}
    key_point = {"x": 50, "y": 50, "width": 0.5, "keypointlabels": ["eye"]}
    values = [points, {**points, "labels": ["leaf"]}, {**points, "choices": ["dry"]}, key_point]
    results = [{"id": "r", "type": str(i), "value": value} for i, value in enumerate(values[:3])]
    relation = {"type": "relation", "from_id": "r", "to_id": "k"}
    task = label_studio_task([*results, {"id": "k", "type": "keypointlabels", "value": key_point}, relation])
    if minimal:
        sized = [{**value, "original_width": 12, "original_height": 10} for value in values]
        task = {"image": "a b.png", "id": 3, "label": sized[1:2], "poly": [sized[0]], "points": sized[3:]}
    write(tmp_path / "project-1.json", [task])
    source = label_studio.read(tmp_path, plain)
    assert (source.labels.class_names, read_mask(source).sum()) == (("background", "leaf"), 16)
    ((place, remark),) = source.remarks
    assert (place, remark[:29], remark[-10:]) == ("labels", "1 annotations that are no are", "eye 1 of 1")


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ({"value": {"rle": BRUSH[:-4], "brushlabels": ["leaf"]}}, "cannot be drawn"),
        ({"value": {"rle": [255] * 4 + BRUSH[4:], "brushlabels": ["leaf"]}}, "other than 12x10 pixels"),
        ({"value": {"rle": [300], "brushlabels": ["leaf"]}}, "not a file of Label Studio"),
        ({"value": {"points": [[0, 0], [1, 1], [2, 0]]}}, "without a label"),
        ({"value": {"points": [[0, 0], [1, 1], [2, 0]], "polygonlabels": []}}, "without a label"),
    ],
)
def test_label_studio_refuses(tmp_path, plain, result, words):
    save(picture(1), tmp_path / "images/a b.png")
    good = {"value": {"rle": BRUSH, "brushlabels": ["leaf"]}}
    write(tmp_path / "project-1.json", [label_studio_task([good, result])])
    refused(label_studio, tmp_path, plain, words)


def supervisely_file(path, objects):
    write(path, {"description": "", "tags": [], "size": {"height": 10, "width": 12}, "objects": objects})


def bitmap(mask, origin):
    """As the SDK's Bitmap.data_2_base64 packs it: a palette PNG whose entry 0 is transparent."""
    image = Image.fromarray(np.array(mask, dtype=np.uint8))
    image.putpalette([0, 0, 0, 255, 255, 255])
    sink = io.BytesIO()
    image.save(sink, format="PNG", transparency=0, optimize=0)
    data = base64.b64encode(zlib.compress(sink.getvalue())).decode()
    return {"classTitle": "leaf", "geometryType": "bitmap", "bitmap": {"data": data, "origin": origin}}


def test_supervisely(tmp_path, plain):
    save(picture(1), tmp_path / "project/train/img/a.png")
    meta = [
        {"title": name, "shape": "any", "color": color} for name, color in (("stem", "#00FF00"), ("leaf", "#F00000"))
    ]
    write(tmp_path / "project/meta.json", {"classes": meta, "tags": [], "projectType": "images"})
    ring = {"exterior": [[0, 0], [6, 0], [6, 6], [0, 6]], "interior": [[[2, 2], [4, 2], [4, 4], [2, 4]]]}
    box = {"exterior": [[8, 8], [11, 9]], "interior": []}
    supervisely_file(
        tmp_path / "project/train/ann/a.png.json",
        [
            {"classTitle": "stem", "geometryType": "polygon", "points": ring},
            {"classTitle": "stem", "geometryType": "rectangle", "points": box},
            bitmap([[1, 1, 0], [0, 1, 1]], [10, 0]),
            {"classTitle": "leaf", "geometryType": "graph", "nodes": {"a": {"loc": [1, 1]}}},
            {"classTitle": "leaf", "geometryType": "cuboid_2d", "vertices": {}},
        ],
    )
    source = supervisely.read(tmp_path, plain)
    assert source.labels.class_names == ("background", "stem", "leaf")
    assert source.labels.palette[1:] == ((0, 255, 0), (240, 0, 0))
    assert [record.split for record in source.records] == ["train"]
    assert source.remarks == [
        ("labels", f"1 annotations that are no areas ({kind}) as follows: leaf 1 of 3")
        for kind in ("cuboid_2d", "graph")
    ]
    mask = read_mask(source)
    assert mask[3].tolist() == [1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]
    assert mask[:2, 10:].tolist() == [[2, 2], [0, 2]], "what is outside is cut off"
    assert (mask[8:10, 8:12] == 1).all()


def test_supervisely_refuses(tmp_path, plain):
    save(picture(1), tmp_path / "set/img/a.png")
    bomb = base64.b64encode(zlib.compress(bytes(10**7))).decode()
    for each, words in [
        ({"classTitle": "leaf", "geometryType": "bitmap", "bitmap": {"data": bomb, "origin": [0, 0]}}, "more bytes"),
        (bitmap(np.ones((11, 12)), [0, 0]), "a bitmap of 12x11 pixels"),
        ({"classTitle": "leaf", "points": {"exterior": []}}, "geometryType"),
    ]:
        supervisely_file(tmp_path / "set/ann/a.png.json", [bitmap([[1]], [0, 0]), each])
        refused(supervisely, tmp_path, plain, words)


def via_region(kind, attributes, **shape):
    return {"shape_attributes": {"name": kind, **shape}, "region_attributes": attributes}


def test_via(tmp_path, settings):
    plain = settings(classes=(), line_width=1.0)
    save(picture(1), tmp_path / "a.png")
    outline = {"all_points_x": [0, 3, 3, 0], "all_points_y": [6, 6, 9, 9]}
    regions = [
        via_region("polygon", {"class": "leaf", "quality": {"good": True}}, **outline),
        via_region("rect", {"class": "stem"}, x=8, y=0, width=2, height=1),
        via_region("circle", {"class": "leaf"}, cx=5, cy=3, r=1),
        via_region("ellipse", {"class": "stem"}, cx=9, cy=6, rx=2, ry=0.4, theta=1.5708),
    ]
    image = {"filename": "a.png", "size": 431, "regions": regions, "file_attributes": {}}
    write(tmp_path / "via_project.json", {"_via_settings": {}, "_via_img_metadata": {"a.png431": image}})
    source = via.read(tmp_path, plain)
    assert source.labels.class_names == ("background", "leaf", "stem")
    mask = read_mask(source)
    assert (mask[6:10, 0:4] == LEAF).all()
    assert mask[0].tolist() == [0] * 8 + [2, 2, 2, 0]
    assert mask[3, 4:7].tolist() == [1, 1, 1]
    assert mask[4:8, 9].tolist() == [2] * 4, "turned by a quarter"
    for region in regions:
        region["region_attributes"] = {}
    write(tmp_path / "via_project.json", {"a.png431": {**image, "regions": {str(i): r for i, r in enumerate(regions)}}})
    source = via.read(tmp_path, plain)  # VIA 1, and nobody named a class
    assert source.labels.class_names == ("background", "object")
    assert "no attributes" in source.remarks[0][1]


def test_via_regions_without_a_class(tmp_path, plain):
    save(picture(1), tmp_path / "a.png")
    regions = [via_region("rect", given, x=0, y=0, width=2, height=1) for given in ({"kind": "leaf"}, {"kind": ""}, {})]
    write(tmp_path / "via.json", {"a": {"filename": "a.png", "size": 1, "regions": regions}})
    source = via.read(tmp_path, plain)
    assert source.remarks == [("regions", "2 regions without kind, which mark nothing, as follows: a")]
    assert read_mask(source).sum() == 6
    regions[0]["region_attributes"] = {"kind": {"leaf": True, "stem": True}}
    write(tmp_path / "via.json", {"a": {"filename": "a.png", "size": 1, "regions": regions[:1]}})
    refused(via, tmp_path, plain, "2 values of kind; leave one of them in VIA")


def test_via_asks_which_attribute_is_the_class(tmp_path, plain):
    save(picture(1), tmp_path / "a.png")
    regions = [via_region("circle", {"kind": "leaf", "state": "dry"}, cx=5, cy=3, r=1)]
    write(tmp_path / "via.json", {"a": {"filename": "a.png", "size": 1, "regions": regions}})
    with pytest.raises(DataError, match="region attributes kind, state"):
        via.read(tmp_path, plain)


def test_cvat_segmentation_mask(tmp_path, plain):
    """RGB masks and labelmap.txt, as CVAT's exporter (datumaro's VOC form) writes them."""
    save(picture(1), tmp_path / "JPEGImages/sub/a.jpg")
    ids = np.array(index_mask(3, values=(0, 1, 2, 3)))
    colors = np.array([(0, 0, 0), (250, 50, 83), (51, 221, 255), (224, 224, 192)], dtype=np.uint8)
    save(Image.fromarray(colors[ids]), tmp_path / "SegmentationClass/sub/a.png")
    save(Image.fromarray(colors[ids]), tmp_path / "SegmentationObject/sub/a.png")
    write(tmp_path / "ImageSets/Segmentation/default.txt", "sub/a\n")
    lines = "\ufeff# label:color_rgb:parts:actions\nleaf:250,50,83::\nbackground:0,0,0::\nstem:51,221,255::\n"
    write(tmp_path / "labelmap.txt", lines)
    source = voc.read(tmp_path, plain)
    assert source.labels.class_names == ("background", "leaf", "stem")
    assert [(record.id, record.split) for record in source.records] == [("sub/a", None)]
    assert np.array_equal(read_mask(source), np.where(ids == 3, 255, ids))
    save(Image.fromarray(colors[ids]).convert("RGBA"), tmp_path / "SegmentationClass/sub/a.png")
    assert np.array_equal(read_mask(source), np.where(ids == 3, 255, ids)), "opaque"
    write(tmp_path / "ImageSets/Segmentation/val.txt", "\ufeffsub/a\n")
    assert [record.split for record in voc.read(tmp_path, plain).records] == ["val"]
    write(tmp_path / "labelmap.txt", lines.replace("stem:51,221,255", "stem:1,2,3"))
    refused(voc, tmp_path, plain, r"color \(51, 221, 255\)")


def test_voc_of_ids_and_arrays(tmp_path, plain, settings):
    """What labelme2voc writes: palette PNG or arrays of ids, names in a list."""
    ids = np.array(index_mask(3, values=(0, 1, 2, 255)))
    write(tmp_path / "class_names.txt", "\ufeff_background_\nleaf\nstem\n")
    for name in "ab":
        save(picture(1), tmp_path / f"JPEGImages/{name}.jpg")
    image = Image.fromarray(ids)
    image.putpalette([value for i in range(256) for value in (i, 255 - i, 7)])
    save(image, tmp_path / "SegmentationClass/a.png")
    (tmp_path / "SegmentationClassNpy").mkdir()
    for name in "ab":
        np.save(tmp_path / f"SegmentationClassNpy/{name}.npy", np.where(ids == 255, -1, ids.astype(np.int32)))
    source = voc.read(tmp_path, plain)
    assert [record.mask.suffix for record in source.records] == [".png", ".npy"]
    for record in source.records:
        assert np.array_equal(source.read_mask(record.mask), ids)
    lines = tuple(MaskValue(str(value), (value, value), None, name) for value, name in
                  ((-1, None), (0, "ground"), (1, "plant"), (2, "plant"), (255, None)))  # fmt: skip
    source = voc.read(tmp_path, settings(classes=(), mask_values=lines))
    assert source.labels.class_names == ("ground", "plant")
    assert np.array_equal(source.read_mask(source.records[1].mask), np.select([ids == 255, ids > 0], [255, 1], 0))


def test_coco_panoptic(tmp_path, plain, settings):
    save(picture(1), tmp_path / "val2017/0009.png")
    ids = np.array(index_mask(3, values=(0, 1, 2)))
    segments = np.array([(0, 0, 0), (7, 1, 0), (9, 0, 2)], dtype=np.uint8)
    save(Image.fromarray(segments[ids]), tmp_path / "annotations/panoptic_val2017/0009.png")
    info = [{"id": 7 + 256, "category_id": 200, "iscrowd": 0}, {"id": 9 + 2 * 65536, "category_id": 1, "iscrowd": 0}]
    categories = [{"id": 200, "name": "rug", "isthing": 0}, {"id": 1, "name": "person", "isthing": 1}]
    content = {
        "images": [{"id": 9, "file_name": "0009.png", "width": 12, "height": 10}],
        "annotations": [{"image_id": 9, "file_name": "0009.png", "segments_info": info}],
        "categories": [{**each, "color": [each["id"], 1, 2]} for each in categories],
    }
    write(tmp_path / "annotations/panoptic_val2017.json", content)
    source = coco_panoptic.read(tmp_path, plain)
    assert source.labels.class_names == ("person", "rug")
    assert source.labels.palette == ((1, 1, 2), (200, 1, 2))
    assert [(record.id, record.split) for record in source.records] == [("val/0009", "val")]
    assert np.array_equal(read_mask(source), np.select([ids == 0, ids == 1], [255, 1], 0))
    classes = (("person", (0, 0, 0)), ("thing", (1, 1, 1)))
    refused(coco_panoptic, tmp_path, settings(classes=classes), "category 200, which is no class")
    content["annotations"][0]["segments_info"] = info[:1]
    write(tmp_path / "annotations/panoptic_val2017.json", content)
    refused(coco_panoptic, tmp_path, plain, "value 131081")


def labelme_file(path, shapes, **content):
    whole = {"version": "5.4.1", "flags": {"checked": True}, "imagePath": "a.png", "imageData": None}
    sizes = {"imageHeight": 10, "imageWidth": 12}
    write(path, {**whole, **sizes, "shapes": shapes, **content})


def shape(label, kind, points, **more):
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}, **more}


def test_labelme_kinds(tmp_path, settings):
    plain = settings(classes=(), line_width=1.0)
    save(picture(1), tmp_path / "images/a.png")
    inside = base64.b64encode(png(np.array([[255, 0], [255, 255]], dtype=np.uint8))).decode()
    shapes = [
        shape("leaf", "mask", [[10, 0], [11, 1]], mask=inside),
        shape("leaf", "line", [[0, 0], [3, 0]]),
        shape("leaf", "linestrip", [[0, 2], [3, 2], [3, 4]]),
        shape("stem", "point", [[6, 1]]),
        shape("stem", "rotation", [[7, 5], [9, 7], [7, 9], [5, 7]], direction=0.785),
        shape("stem", "rectangle", [[0, 8], [2, 8], [2, 9], [0, 9]]),  # four corners, as X-AnyLabeling writes it
    ]
    labelme_file(tmp_path / "json/a.json", shapes, imagePath="..\\images\\a.png")
    source = labelme.read(tmp_path, plain)
    assert source.labels.class_names == ("_background_", "leaf", "stem")
    mask = read_mask(source)
    assert mask[:2, 10:].tolist() == [[1, 0], [1, 1]]
    assert mask[0, :5].tolist() == [1, 1, 1, 1, 0]
    assert mask[2:5, 3].tolist() == [1, 1, 1]
    assert mask[1, 6] == 2
    assert mask[7, 4:11].tolist() == [0, 2, 2, 2, 2, 2, 0]
    assert (mask[8:10, :3] == 2).all()


def test_labelme_lines_are_as_wide_as_in_labelme(tmp_path, plain):
    save(picture(1, (40, 40)), tmp_path / "a.png")
    shapes = [shape("leaf", "line", [[5, 20], [30, 20]]), shape("leaf", "point", [[20, 5]])]
    labelme_file(tmp_path / "a.json", shapes, imageHeight=40, imageWidth=40)
    mask = read_mask(labelme.read(tmp_path, plain))
    assert 10 <= mask[10:, 15].sum() <= 11
    assert mask[5].sum() == 11


def test_labelme_image_inside(tmp_path, plain):
    data = base64.b64encode(png(np.array(picture(3)))).decode()
    labelme_file(tmp_path / "x/a.json", [shape("leaf", "circle", [[5, 5], [6, 5]])], imageData=data)
    source = labelme.read(tmp_path, plain)
    assert [record.image for record in source.records] == [tmp_path / "x/a.png"]
    assert np.array_equal(np.array(Image.open(tmp_path / "x/a.png")), np.array(picture(3)))
    labelme_file(tmp_path / "y/b.json", [], imagePath="b.png", imageData="bm8gaW1hZ2U=")
    refused(labelme, tmp_path, plain, "imageData that is no image")


def test_labelme_image_inside_goes_through_no_link(tmp_path, plain):
    data = base64.b64encode(png(np.array(picture(3)))).decode()
    labelme_file(tmp_path / "set/a.json", [], imageData=data)
    (tmp_path / "set/a.png").symlink_to(tmp_path / "elsewhere.png")
    refused(labelme, tmp_path / "set", plain, "a.png: not a plain file, or a link to nothing")
    assert not (tmp_path / "elsewhere.png").exists()


def test_labels_are_joined_and_dropped(tmp_path, settings):
    save(picture(1), tmp_path / "a.png")
    shapes = [
        shape("Leaf", "rectangle", [[0, 0], [1, 1]]),
        shape("leaf ", "rectangle", [[4, 0], [5, 1]]),
        shape("blur", "rectangle", [[8, 0], [9, 1]]),
    ]
    labelme_file(tmp_path / "a.json", shapes)
    lines = tuple(MaskValue(key, None, None, name) for key, name in (("Leaf", "leaf"), ("blur", None)))
    source = labelme.read(tmp_path, settings(classes=(), mask_values=lines))
    assert source.labels.class_names == ("_background_", "leaf")
    assert read_mask(source)[0, :10].tolist() == [1, 1, 0, 0, 1, 1, 0, 0, 255, 255]


@pytest.mark.parametrize("reader", [coco_panoptic, cvat, label_studio, labelme, supervisely, via])
@pytest.mark.parametrize("content", ["[" * 10**6, '{"a": 1', "null", "[]", "[1]", '{"annotations": 3, "classes": 3}'])
def test_any_other_json_or_xml_is_one_line(tmp_path, plain, reader, content):
    save(picture(1), tmp_path / "img/a.png")
    for name in ("a.json", "a.xml", "ann/a.png.json", "meta.json"):
        write(tmp_path / name, content)
    refused(reader, tmp_path, plain, ".")
