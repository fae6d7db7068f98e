"""What waits for the device, or is copied to it, and why: the whole list, by the part that is run.

A key is an operation and its place. The number is how often it happens at most in one step, batch or image: an entry
that happens oftener is an error, and one that happens less, or no more, is to be corrected here.
"""

_BATCH = "pixels and draws of the batch, in one buffer"
_RATES = "learning rates and the share of the average, pinned, in one buffer"
_CURVE = "the losses and norms of all steps since the last point of the curve, in one copy"
_ONCE = "made on the CPU at the first step, then kept"
_MEAN = "mean and deviation of the channels are made on the CPU each time"
_WEIGHTS = "row and column weights of a window are made on the CPU"

LISTED = {
    "a step": {
        "copy to it at augment/packed.py Packed.to": (1, _BATCH),
        "copy to it at optim/optimizers.py set_rates": (1, _RATES),
    },
    "a step that logs": {
        "copy at engine/state.py read": (1, _CURVE),
        "copy to it at optim/optimizers.py set_rates": (1, _RATES),
    },
    "options of a step": {
        "copy to it at optim/optimizers.py set_rates": (1, _RATES),
    },
    "networks": {
        "copy to it at models/heads/point.py _covered": (1, _ONCE),
        "copy to it at optim/optimizers.py set_rates": (1, _RATES),
    },
    "heads that predict masks": {
        "copy at losses/matching.py assign": (1, "costs of all layers and images, for scipy's assignment"),
        "copy to it at losses/matching.py assign": (1, "the pairs of all of them"),
        "copy to it at optim/optimizers.py set_rates": (1, _RATES),
    },
    "augmentations": {
        "copy to it at augment/extra.py Transform._applied": (2, "kornia's own parameters of a row of augment.extra"),
        "copy to it at augment/extra.py _wide": (1, "which samples the row changes"),
        "copy to it at augment/fixed.py _effects": (8, "kornia makes what CLAHE needs on the CPU, a sample"),
        "copy to it at augment/packed.py Packed.to": (1, _BATCH),
    },
    "losses": {
        "copy to it at losses/pixel.py _held": (1, f"class weights are {_ONCE}"),
    },
    "predictors": {
        "_local_scalar_dense at inference/predictor.py most_likely": (2, "a nan ends it, after each step"),
        "copy at inference/pipeline.py Inference._clean": (1, "components are labelled by scipy"),
        "copy to it at inference/pipeline.py Inference._clean": (1, "and come back"),
        "copy to it at inference/slide.py _Grid.averages": (4, _WEIGHTS),
        "copy to it at inference/slide.py _Grid.weighted": (6, _WEIGHTS),
        "copy to it at runtime/normalize.py normalize": (6, _MEAN),
    },
}
