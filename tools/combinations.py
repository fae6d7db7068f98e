"""``python -m tools.combinations``: each pair of backbone and heads of the published recipes, tried as a small twin.

A twin has the parts and widths of such a recipe, the smallest backbone of the family and few layers. What is tried, and
the table that this writes: docs/reference/combinations.md. A row takes a minute or two of one processor.
"""

import copy
import re
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from maskline.builders.losses import criteria
from maskline.core.files import write_text
from maskline.export.interface import INPUT, WHOLE
from maskline.export.onnx_graph import to_onnx
from maskline.export.onnx_passes import phases, segformer
from maskline.export.runtime_onnx import open_session
from maskline.export.trace import Deployable, trace
from maskline.models.backbones.vit import VIT_SHAPES
from maskline.models.segmentor import SegmentorBase
from maskline.params.network.model import ModelParams, validate_model
from maskline.projects.published import published
from tools import recipe_networks
from tools.twins import parts_of

CLASSES = 19  # which class weights of the recipes are for
ODD, EXAMPLE, UNSEEN, TIMED = ((65, 97), (63, 64), (33, 47)), (128, 160), ((65, 129), (257, 161)), (256, 256)
TIES = 1e-4  # of probability: classes closer than this, or than torch's own error, may change places
PAGE = Path("docs/reference/combinations.md")
_RULE = "| --- | ---: | --- | --- | --- |\n"
_VIT_DEPTH, _ROUNDS = 4, 5
_BLOCKS = re.compile(r"^backbone\.layers\.\d+(\.(1|blocks))?$|(encoder|transformer_decoder)\.layers$")
_SMALLEST = {
    r"(resnet|_r)(50|101)": r"\g<1>18",
    r"resnest\d+": "resnest50",
    r"hrnet\d+s?": "hrnet18s",
    r"mixvit_b\d": "mixvit_b0",
    r"swin_(small|base|large)$": "swin_tiny",
    r"(pcpvt|svt)_(base|large)": r"\1_small",
    r"vit_(base|large)": "vit_small",
    r"(beit|mae)_large": r"\1_base",
    r"mscan_[sbl]": "mscan_t",
    r"convnext_[a-z]+_": "convnext_tiny_",
    r"poolformer_\w\d+_": "poolformer_s12_",
    r"stdc2": "stdc1",
    r"ddrnet23$": "ddrnet23_slim",
    r"pidnet_[ml]": "pidnet_s",
}


def combinations() -> dict[str, list[ModelParams]]:
    """Return the model sections of the published recipes by family of the backbone, neck and heads."""
    sections: dict[str, list[ModelParams]] = {}
    for name, recipe in published().items():
        section = validate_model(recipe.sections()["model"], place=name)
        sections.setdefault(parts_of(section), []).append(section)
    return dict(sorted(sections.items()))


def shortened(section: ModelParams) -> ModelParams:
    """Return the section with the smallest backbone of its family, of as many layers as ``build`` leaves."""
    values: dict[str, Any] = section.model_dump(mode="json")
    backbone, head = values["backbone"], values["decode_head"]
    for pattern, name in _SMALLEST.items():
        backbone["name"] = re.sub(pattern, name, str(backbone["name"]))
    if backbone["out_indices"] is not None:
        backbone["out_indices"] = list(range(_VIT_DEPTH))[-len(backbone["out_indices"]) :]
    if head["name"] == "knet":
        head["num_stages"] = 2
    return validate_model(values, place="twin")


def build(section: ModelParams) -> SegmentorBase:
    """Return the network of a shortened section, in eval mode, with at most two blocks of a kind in a row."""
    for shape in VIT_SHAPES.values():
        shape["depth"] = _VIT_DEPTH
    model = recipe_networks.build(section, classes=CLASSES)
    for name, part in model.named_modules():
        in_row = isinstance(part, nn.Sequential) and name.startswith("backbone.")
        if in_row or (isinstance(part, nn.ModuleList) and _BLOCKS.search(name)):
            kinds = [re.sub(r"0\.\d+", "", repr(block)) for block in part]
            for i in reversed(range(2, len(kinds))):
                if len(set(kinds[i - 2 : i + 1])) == 1:
                    del part[i]
    return model


def _images(size: tuple[int, int]) -> Tensor:
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))


def runs(model: SegmentorBase, section: ModelParams) -> None:
    """Give logits of the image's size, all finite, and finite losses and gradients in steps of an optimizer."""
    for size in ODD:
        with torch.no_grad():
            logits = model(_images(size))
        assert logits.shape == (2, CLASSES, *size), f"logits {tuple(logits.shape)} at {size}"
        assert logits.isfinite().all(), f"logits are not finite at {size}"
    losses, optimizer = criteria(section), torch.optim.SGD(model.train().parameters(), lr=1e-3)
    for size in ODD[:2]:
        target = torch.randint(0, CLASSES, (2, *size), generator=torch.Generator().manual_seed(0))
        target[:, :3] = 255
        pairs = model.training_pairs(_images(size), target)
        values = tree_leaves([losses[name](logits, labels, 255) for name, (logits, labels) in pairs.items()])
        torch.stack(values).sum().backward()  # type: ignore[no-untyped-call]
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        assert all(x.isfinite().all() for x in (*values, *gradients)), f"loss or gradient is not finite at {size}"
        optimizer.step()
        optimizer.zero_grad()


def compiles(model: SegmentorBase, _: ModelParams) -> None:
    """Give the same in a training step whose network is compiled as the engine does it, without a code generator."""
    given, plain = [], model.train().supervise_heads
    state = copy.deepcopy(model.state_dict())  # a step moves what is no parameter too, such as EMA's bases
    for step in (plain, torch.compile(plain, backend="aot_eager")):
        model.load_state_dict(state)
        model.supervise_heads = step  # type: ignore[method-assign]
        torch.manual_seed(0)
        pairs = model.training_pairs(_images(ODD[0]), torch.zeros(2, *ODD[0], dtype=torch.int64))
        given.append([x.detach() for x in tree_leaves(pairs) if isinstance(x, Tensor)])
    for expected, seen in zip(*given, strict=True):
        # Points, one a row, come in the order of their doubt, in which nearly equal ones change places.
        pair = [x.sort(dim=-2).values if x.shape[-1] == 1 else x for x in (seen, expected)]
        torch.testing.assert_close(*pair, atol=1e-4 * float(expected.abs().max()), rtol=1e-3)


def exports(model: SegmentorBase, _: ModelParams) -> str:
    """Give the same classes as an ONNX file at sizes the trace did not see; return its time over torch's."""
    plain, simplified = (
        Deployable(network, num_classes=CLASSES, stride=model.stride, mean=(120,) * 3, std=(60,) * 3).eval()
        for network in (model, segformer.joined(model))
    )
    content = to_onnx(trace(simplified, example_size=EXAMPLE), opset=18, metadata={})
    session = open_session(phases.in_phases(content), threads=1)
    seconds = []
    for size in (*UNSEEN, *[TIMED] * _ROUNDS):
        pixels = np.random.default_rng(0).integers(0, 256, (1, *size, 3), dtype=np.uint8)
        start = time.process_time()  # of one thread: a busy machine shows less in it
        with torch.inference_mode():
            labels, probabilities = plain(torch.from_numpy(pixels))
        between = time.process_time()
        seen = torch.from_numpy(session.run(list(WHOLE.names), {INPUT: pixels})[0])
        seconds.append((between - start, time.process_time() - between))
        best = probabilities.topk(2, dim=1).values
        apart = (best[:, 0] - best[:, 1])[seen != labels].max() if (seen != labels).any() else TIES
        if apart > TIES:  # more than what torch's own float32 is off?
            with torch.inference_mode():
                exact = copy.deepcopy(plain).double()(torch.from_numpy(pixels))[1]
            assert apart <= (exact - probabilities).abs().max(), f"classes {apart:.4f} apart differ at {size}"
    of_torch, of_onnx = (statistics.median(column[-_ROUNDS:]) for column in zip(*seconds, strict=True))
    return f"{of_onnx / of_torch:.2f}"


CHECKS: tuple[Callable[[SegmentorBase, ModelParams], str | None], ...] = (runs, compiles, exports)


def row(name: str, first: ModelParams, count: int) -> tuple[str, str]:
    """Return a combination's name and its line of the table, from one of its ``count`` recipes."""
    torch.set_num_threads(1)
    torch.compiler.reset()
    section, cells = shortened(first), [name, str(count)]
    for check in CHECKS:
        try:
            cells.append(check(build(section), section) or "yes")
        except Exception as error:  # whatever it is, the table is to say it
            cells.append(f"no: {str(error).strip().splitlines()[0]}")
    return name, f"| {' | '.join(cells)} |"


def write_row(name: str, line: str) -> None:
    """Put a line into the page's table; those of other combinations stay."""
    before, after = PAGE.read_text(encoding="utf-8").split(_RULE)
    lines = {text.split(" | ")[0].removeprefix("| "): text for text in after.splitlines()} | {name: line}
    write_text(PAGE, before + _RULE + "".join(f"{lines[name]}\n" for name in sorted(lines)))


@click.command()
@click.argument("names", nargs=-1)
@click.option("--jobs", default=1, show_default=True, help="Processes.")
def main(names: tuple[str, ...], jobs: int) -> None:
    """Try all combinations, or those whose name holds one of NAMES, and write each row into the page's table."""
    with ProcessPoolExecutor(jobs) as pool:
        chosen = {name: of for name, of in combinations().items() if not names or any(x in name for x in names)}
        for done in as_completed(pool.submit(row, name, of[0], len(of)) for name, of in chosen.items()):
            write_row(*done.result())
            click.echo(done.result()[1])


if __name__ == "__main__":
    main()
