"""From the values that masks hold, and what the user says about them, to classes, an encoding and what never counts."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from maskline.convert.records import MaskValue
from maskline.core.errors import DataError
from maskline.data.labels import Rgb, distinct_palette
from maskline.projects.mask_survey import Survey, Value

IGNORED = "ignore"
"""What data.mask_values calls a value that never counts."""

_IGNORED = 255
_MOST_COLORS = 64
_MOST_SHARPENED = 32  # values of a mask that was saved without losses
_MOST_NAMED = 8
_LEAST_PEAK = 0.01  # of the pixels: a value of a class, where edges are smoothed
_WIDEST_PEAK = 12  # values around it are of the same class
_MOST_BETWEEN = 0.02  # of the pixels: as the reader of such masks has it
_DARKEST, _LIGHTEST = 16, 240  # neither black nor white
_LEAST_EXTREME = 0.9  # likewise, nearly black or white
_LEAST_RIMS = 3  # values that are only on edges; fewer may be classes of lines
_LEAST_INNER = 0.9  # of the pixels: the other values
_NUMBER = re.compile(r"-?\d{1,9}")
_HEX = re.compile(r"#([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})")
_COLOR = re.compile(r"(\d{1,3}),(\d{1,3}),(\d{1,3})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the user says about the masks.

    Args:
        names: Of the classes, in the order of their values.
        values: Value -> class; its order is that of the classes.
        ignored: Values that never count.
        lines: data.mask_values; of masks, instead of all of these.
    """

    names: tuple[str, ...] = ()
    values: dict[Value, str] = field(default_factory=dict)
    ignored: tuple[Value, ...] = ()
    lines: tuple[MaskValue, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What the masks mean.

    Args:
        params: Keys of the section data.
        meanings: Value -> class, or ``IGNORED``, for each that the masks hold.
        remarks: What a user should look at.
    """

    params: dict[str, Any]
    meanings: dict[Value, str]
    remarks: list[str] = field(default_factory=list)


def wishes(classes: Sequence[str], ignored: Sequence[str]) -> Wishes:
    """Read what --class (NAME, NAME=7, NAME=255,0,0) and --ignore (7, or 255,0,0) say.

    Raises:
        DataError: Some classes with a value and some without, a value that stands twice or is none.
    """
    never = []
    for text in ignored:
        value = parsed(text)
        if value is None:
            raise DataError(f"--ignore {text}", "no value and no color", "give 7, 255,0,0 or '#ff0000'")
        never.append(value)
    split = [_split(text) for text in classes]
    if not any(value is not None for _, value in split):
        return Wishes(names=tuple(name for name, _ in split), ignored=tuple(never))
    values: dict[Value, str] = {}
    for name, value in split:
        if value is None:
            raise DataError(f"--class {name}", "without a value, others have one", "give a value to all, or to none")
        if value in values or value in never:
            raise DataError(f"--class {name}", f"its value {shown(value)} stands twice", "give it once")
        values[value] = name
    return Wishes(values=values, ignored=tuple(never))


def _split(text: str) -> tuple[str, Value | None]:
    """Return the name and the value of --class; a name may have = in it."""
    name, _, end = text.rpartition("=")
    value = parsed(end) if name else None
    return (text, None) if value is None else (name.strip(), value)


def parsed(text: str) -> Value | None:
    """Return the value or color that a text is; None: it is neither."""
    plain = text.strip().strip("[]()").replace(" ", "")
    if _NUMBER.fullmatch(plain):
        return int(plain)
    if match := _HEX.fullmatch(plain):
        return int(match[1], 16), int(match[2], 16), int(match[3], 16)
    match = _COLOR.fullmatch(plain)
    if match and max(map(int, match.groups())) <= 255:
        return int(match[1]), int(match[2]), int(match[3])
    return None


def shown(value: Value) -> str:
    """Return a value or color as a person writes it."""
    return str(value) if isinstance(value, int) else ",".join(map(str, value))


def meaning(seen: Survey, wish: Wishes, *, place: object) -> Meaning:
    """Return what the masks mean.

    Args:
        seen: What they hold.
        wish: What the user says.
        place: Of the set, for errors.

    Raises:
        DataError: Masks that cannot be told apart, other classes than are named, values that nothing is said about.
    """
    if wish.lines:
        if wish.names or wish.values or wish.ignored:
            problem = "beside --class or --ignore, which say the same"
            raise DataError("-S data.mask_values", problem, "leave these out: it names the classes")
        return _mapped_by_lines(seen, wish.lines, place)
    if wish.values or wish.ignored:
        return _said(seen, wish, place)
    if seen.kind == "color":
        return _colors(seen, wish, place)
    if seen.kind == "gray" and _is_blurred(seen):
        return _blurred(seen, wish, place)
    if _is_smoothed(seen) and len(wish.names) != len(seen.pixels):
        if any(isinstance(value, int) and _DARKEST <= value < _LIGHTEST for value in seen.pixels.keys() - seen.rims):
            raise _no_classes(seen, place)
        return _blurred(seen, wish, place)
    if _in_a_mask(seen) > _MOST_SHARPENED:
        raise _no_classes(seen, place)
    if seen.black_and_white and len(wish.names) in (0, 2):
        ground, other = wish.names or ("background", "class_1")
        remark = (
            "some masks hold 0 and 1, others 0 and 255: 1 and 255 are one class; else give --class NAME=VALUE for each"
        )
        return _mapped(seen, {0: ground, 1: other, _IGNORED: other}, [remark], place)
    return _numbers(seen, wish, place)


def _mapped_by_lines(seen: Survey, lines: Sequence[MaskValue], place: object) -> Meaning:
    """Of values, ranges and colors as data.mask_values has them."""
    meanings: dict[Value, str] = {}
    for value in seen.pixels:
        line = next((line for line in lines if _is_of(line, value)), None)
        if line is not None:
            meanings[value] = IGNORED if line.class_name is None else line.class_name
    left = [value for value in seen.pixels if value not in meanings]
    if left:
        remedy = f"add {shown(left[0])} to a class or to {IGNORED}"
        raise DataError("-S data.mask_values", f"of no class: {_listed(seen, left)}", remedy)
    names = list(dict.fromkeys(line.class_name for line in lines if line.class_name is not None))
    if len(names) < 2:
        raise DataError("-S data.mask_values", f"{len(names)} class is named", "masks need two classes at least")
    mapping = {line.key: line.class_name or IGNORED for line in lines}
    remarks = [f"no pixel of {name}" for name in names if name not in meanings.values()]
    classes = _classes(names, distinct_palette(len(names)))
    return Meaning(params={"mask_values": mapping, "classes": classes}, meanings=meanings, remarks=remarks)


def _is_of(line: MaskValue, value: Value) -> bool:
    if isinstance(value, int):
        return line.values is not None and line.values[0] <= value <= line.values[1]
    return line.color == value


def _in_a_mask(seen: Survey) -> float:
    """Return how many values one mask holds, in the mean."""
    return sum(seen.files.values()) / max(seen.masks, 1)


def _no_classes(seen: Survey, place: object) -> DataError:
    """Return the error of masks that hold more values than classes, with ranges around the frequent ones."""
    held = f"the masks hold {len(seen.pixels)} gray values, {_in_a_mask(seen):.0f} in each"
    lossy = f" ({seen.blurred} of {seen.masks} saved with losses)" if seen.blurred else ""
    values = [value for value in seen.pixels if isinstance(value, int)]
    last, peaks = max(255, *values), list[int]()
    for value in sorted(values, key=lambda value: -seen.pixels[value]):
        frequent = value not in seen.rims and seen.share(value) >= _LEAST_PEAK
        if frequent and all(abs(value - other) > _WIDEST_PEAK for other in peaks):
            peaks.append(value)
    starts = [0, *((one + other) // 2 + 1 for one, other in pairwise(sorted(peaks)))] if len(peaks) > 1 else [0, 1]
    ends = [*(start - 1 for start in starts[1:]), last]
    names = ["background", *(f"class_{i}" for i in range(1, len(starts)))]
    ranges = ", ".join(f"{first}-{end}: {name}" for first, end, name in zip(starts, ends, names, strict=True))
    remedy = f"say which values are which class: -S 'data.mask_values={{{ranges}}}'"
    return DataError(place, f"{held}{lossy}: smoothed edges, losses, or numbers of objects", remedy)


def _said(seen: Survey, wish: Wishes, place: object) -> Meaning:
    """Of values and colors that the user names."""
    given = [*wish.values, *wish.ignored]
    odd = next((value for value in given if isinstance(value, int) == (seen.kind == "color")), None)
    if odd is not None:
        forms = "colors such as 255,0,0" if seen.kind == "color" else "values such as 7"
        raise DataError(place, f"the masks hold {seen.kind} values, {shown(odd)} is none", f"give {forms}")
    left = [value for value in seen.pixels if value not in given]
    meanings: dict[Value, str] = {**wish.values, **dict.fromkeys(wish.ignored, IGNORED)}
    if wish.values and left:
        raise DataError(
            place,
            f"of no class: {_listed(seen, left)}",
            f"give --class NAME={shown(left[0])} or --ignore {shown(left[0])}",
        )
    if not wish.values:
        names = _names(left, wish, place, seen)
        meanings = dict.fromkeys(wish.ignored, IGNORED) | dict(zip(left, names, strict=True))
    absent = [f"{shown(value)} ({name})" for value, name in meanings.items() if value not in seen.pixels]
    more = f" and {len(absent) - _MOST_NAMED} more" if len(absent) > _MOST_NAMED else ""
    remarks = [f"no pixel of {', '.join(absent[:_MOST_NAMED])}{more}"] if absent else []
    return _mapped(seen, meanings, remarks, place)


def _colors(seen: Survey, wish: Wishes, place: object) -> Meaning:
    if len(seen.pixels) > _MOST_COLORS:
        lossy = f", {seen.blurred} of {seen.masks} masks saved with losses" if seen.blurred else ""
        problem = (
            f"the masks hold {len(seen.pixels)} colors{lossy}, more than {_MOST_COLORS}: smoothed edges, or losses"
        )
        remedy = "make them anew without either: PNG, resized and turned with the nearest pixel's color"
        raise DataError(place, problem, remedy)
    values = list(seen.pixels)
    names = _names(values, wish, place, seen)
    colors = [value for value in values if not isinstance(value, int)]
    return Meaning(
        params={"mask_encoding": "color", "classes": _classes(names, colors)},
        meanings=dict(zip(values, names, strict=True)),
    )


def _is_blurred(seen: Survey) -> bool:
    """Tell 0/255 masks with values in between from class ids."""
    if len(seen.pixels) <= 2:
        return False
    if seen.blurred:
        return True
    extreme = sum(seen.share(v) for v in seen.pixels if isinstance(v, int) and (v < _DARKEST or _LIGHTEST <= v <= 255))
    return len(seen.pixels) > _MOST_SHARPENED and 255 in seen.pixels and extreme > _LEAST_EXTREME


def _is_smoothed(seen: Survey) -> bool:
    """Tell masks of few values, of which most are only on edges, from class ids."""
    inner = [value for value in seen.pixels if value not in seen.rims]
    return len(seen.rims) >= max(_LEAST_RIMS, len(inner)) and sum(map(seen.share, inner)) > _LEAST_INNER


def _blurred(seen: Survey, wish: Wishes, place: object) -> Meaning:
    between = sum(seen.share(value) for value in seen.pixels if isinstance(value, int) and 64 <= value < 192)
    if between > _MOST_BETWEEN or not 192 <= max(int(v) for v in seen.pixels if isinstance(v, int)) <= 255:
        raise _no_classes(seen, place)
    names = wish.names or ("background", "class_1")
    if len(names) != 2:
        raise DataError(place, f"the masks are black and white, {len(names)} classes are named", "name two")
    meanings: dict[Value, str] = {value: names[int(value) >= 128] for value in seen.pixels if isinstance(value, int)}
    return Meaning(
        params={"mask_encoding": "binary_snapped", "classes": _classes(names, distinct_palette(2))},
        meanings=meanings,
        remarks=["gray values between black and white become the nearer one (JPEG, or smoothed edges)"],
    )


def _numbers(seen: Survey, wish: Wishes, place: object) -> Meaning:
    values = [value for value in seen.pixels if isinstance(value, int)]
    if len(values) == 1:
        problem = f"the masks hold one value only, {values[0]}"
        raise DataError(place, problem, "check that they are the masks; --format names another format")
    if values[0] < 0:
        raise DataError(place, f"the masks hold {values[0]}", f"give --ignore {values[0]}, or --class NAME={values[0]}")
    if seen.kind == "gray" and values == [0, 255]:
        names = list(wish.names) if len(wish.names) == 2 else _names([0, 1], wish, place, seen)
        return Meaning(
            params={"mask_encoding": "binary", "classes": _classes(names, distinct_palette(2))},
            meanings=dict(zip(values, names, strict=True)),
        )
    core = [value for value in values if value != _IGNORED]
    count = max(core, default=0) + 1
    gaps = count - len(core)
    if core[0] == 0 and count >= 2 and gaps < len(core) and len(wish.names) in (0, count):
        if count > 256:
            raise DataError(place, f"gray values up to {count - 1}", "masks hold class ids from 0, or 0 and 255")
        names = _names(list(range(count)), wish, place, seen)
        encoding = "palette" if seen.kind == "palette" else "index"
        meanings: dict[Value, str] = {value: names[value] for value in core}
        remarks = [f"no pixel of {i} ({names[i]})" for i in range(count) if i not in core]
        if _IGNORED in values:
            meanings[_IGNORED] = IGNORED
            remarks.append("255 never counts; is it a class? give --class NAME=VALUE for each")
        classes = _classes(names, _palette(seen, list(range(count))))
        return Meaning(params={"mask_encoding": encoding, "classes": classes}, meanings=meanings, remarks=remarks)
    one_based = core == list(range(1, count)) and _IGNORED in values and len(wish.names) in (0, len(core))
    counted = core if one_based else values
    if len(counted) > 256:
        raise DataError(place, f"the masks hold {len(counted)} gray values", "check that they are masks of classes")
    names = _names(counted, wish, place, seen)
    mapping: dict[Value, str] = dict(zip(counted, names, strict=True))
    mapping |= {_IGNORED: IGNORED} if one_based else {}
    return _mapped(seen, mapping, [], place)


def _mapped(seen: Survey, meanings: dict[Value, str], remarks: list[str], place: object) -> Meaning:
    """Return a meaning by data.mask_values."""
    names = list(dict.fromkeys(name for name in meanings.values() if name != IGNORED))
    if len(names) < 2:
        raise DataError(place, f"{len(names)} class is left", "masks need two classes at least")
    first = {name: next(value for value, other in meanings.items() if other == name) for name in names}
    colors = _palette(seen, list(first.values()))
    if seen.kind == "color":
        lines: dict[Any, str] = {
            "#{:02x}{:02x}{:02x}".format(*value): name for value, name in meanings.items() if not isinstance(value, int)
        }
    else:
        lines = {str(value): name for value, name in meanings.items()}
    return Meaning(
        params={"mask_values": lines, "classes": _classes(names, colors)}, meanings=meanings, remarks=remarks
    )


def _names(values: Sequence[Value], wish: Wishes, place: object, seen: Survey) -> list[str]:
    """Return the user's names of values, or made-up ones."""
    if wish.names and len(wish.names) != len(values):
        problem = f"the masks have {len(values)} classes, {len(wish.names)} are named ({_listed(seen, values)})"
        raise DataError(place, problem, "give --class once for each, or --class NAME=VALUE")
    if wish.names:
        return list(wish.names)
    ground = values[0] in (0, (0, 0, 0)) or isinstance(values[0], tuple)
    numbered = [f"class_{value if isinstance(value, int) else i}" for i, value in enumerate(values)]
    return ["background", *numbered[1:]] if ground else numbered


def _palette(seen: Survey, values: Sequence[Value]) -> Sequence[Rgb]:
    """Return a color for each value: those of the masks where they differ."""
    if seen.kind == "color":
        return [value for value in values if not isinstance(value, int)]
    stored = [seen.palette.get(value) for value in values if isinstance(value, int)]
    colors = [color for color in stored if color is not None]
    return colors if len(set(colors)) == len(values) else distinct_palette(len(values))


def _classes(names: Sequence[str], colors: Sequence[Rgb]) -> list[dict[str, Any]]:
    return [{"name": name, "color": list(color)} for name, color in zip(names, colors, strict=True)]


def _listed(seen: Survey, values: Sequence[Value]) -> str:
    texts = [
        f"{shown(value)} ({seen.share(value):.2%} of the pixels, {seen.files[value]} files)"
        for value in list(values)[:8]
        if value in seen.pixels
    ]
    return ", ".join(texts) + (f" and {len(values) - 8} more" if len(values) > 8 else "")
