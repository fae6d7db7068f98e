"""Names, colors and ids of PASCAL Context's 59 frequent classes, in the order of their ids.

Source: the set's lists of 459 and of 59 classes; colors as in MMSegmentation.
"""

from maskline.convert.format_parts.class_lists import colors, names

NAMES = names("""
aeroplane, bag, bed, bedclothes, bench, bicycle, bird, boat, book, bottle, building, bus, cabinet, car, cat, ceiling,
chair, cloth, computer, cow, cup, curtain, dog, door, fence, floor, flower, food, grass, ground, horse, keyboard,
light, motorbike, mountain, mouse, person, plate, platform, pottedplant, road, rock, sheep, shelves, sidewalk, sign,
sky, snow, sofa, table, track, train, tree, truck, tvmonitor, wall, water, window, wood
""")
PALETTE = colors("""
180 120 120, 6 230 230, 80 50 50, 4 200 3, 120 120 80, 140 140 140, 204 5 255, 230 230 230, 4 250 7, 224 5 255, 235
255 7, 150 5 61, 120 120 70, 8 255 51, 255 6 82, 143 255 140, 204 255 4, 255 51 7, 204 70 3, 0 102 200, 61 230 250,
255 6 51, 11 102 255, 255 7 71, 255 9 224, 9 7 230, 220 220 220, 255 9 92, 112 9 255, 8 255 214, 7 255 224, 255 184 6,
10 255 71, 255 41 10, 7 255 255, 224 255 8, 102 8 255, 255 61 6, 255 194 7, 255 122 8, 0 255 20, 255 8 41, 255 5 153,
6 51 255, 235 12 255, 160 150 20, 0 163 255, 140 140 140, 250 10 15, 20 255 0, 31 255 0, 255 31 0, 255 224 0, 153 255
0, 0 0 255, 255 71 0, 0 235 255, 0 173 255, 31 0 255
""")
IDS = (
    *(2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85, 98),
    *(104, 105, 113, 115, 144, 158, 159, 162, 187, 189, 207, 220, 232, 258, 259, 260, 284, 295, 296, 308),
    *(324, 326, 347, 349, 354, 355, 360, 366, 368, 397, 415, 416, 420, 424, 427, 440, 445, 454, 458),
)
"""Of the 459 classes in the set's own files; 0 is none of them."""
