"""What waits for the device, or is copied to it, and why: the whole list, by the part that is run.

A key is an operation and its place. The number is how often it happens at most in one step, batch or image: an entry
that happens oftener is an error, and one that happens less, or no more, is to be corrected here.
"""

_LOSSES = "the loss and that of each head are looked at in each step, so that none that is not finite passes"
_BORDER = "the fill value of a channel lies on the device, and filling reads it"
_PACK = "masks, transforms, boxes, sizes, fields and fill values are copied one by one"
_MEAN = "mean and deviation of the channels are made on the CPU each time"
_COLORS = "the color matrices are made on the CPU, from the draws"
_WEIGHTS = "row and column weights of a window are made on the CPU"

LISTED = {
    "a step": {
        "_local_scalar_dense at engine/train.py _backward": (3, _LOSSES),
        "masked_fill_ at augment/warp.py warp": (3, _BORDER),
        "copy to it at augment/color_matrix.py apply": (1, _COLORS),
        "copy to it at augment/pipeline.py Augmentation._reading": (3, _PACK),
        "copy to it at augment/pipeline.py Augmentation.apply": (3, _PACK),
        "copy to it at runtime/normalize.py normalize": (2, _MEAN),
    },
    "a step that logs": {
        "_local_scalar_dense at engine/train.py _backward": (3, _LOSSES),
        "_local_scalar_dense at engine/train.py step": (1, "the norm of the gradients, for the curve"),
    },
    "options of a step": {
        "_local_scalar_dense at engine/train.py _backward": (6, f"{_LOSSES}; twice, for two batches"),
        "_local_scalar_dense at engine/train.py step": (1, "the norm of the gradients, to clip them"),
    },
    "networks": {
        "_local_scalar_dense at engine/train.py _backward": (3, _LOSSES),
    },
    "augmentations": {
        "_local_scalar_dense at augment/mixing.py Mixing._taken": (4, "which classes a sample can lend, a sample"),
        "masked_fill_ at augment/warp.py warp": (3, _BORDER),
        "copy to it at augment/color_jitter.py _jittered": (4, "kornia makes the turn of the hue on the CPU, a sample"),
        "copy to it at augment/color_matrix.py _add_noise": (4, "noise is drawn by the CPU's generator, a sample"),
        "copy to it at augment/color_matrix.py apply": (1, _COLORS),
        "copy to it at augment/hsv.py hsv_to_rgb": (8, "the order of the shades, a list, at each turn of a sample"),
        "copy to it at augment/pipeline.py Augmentation._reading": (7, f"{_PACK}; a field a sample"),
        "copy to it at augment/pipeline.py Augmentation.apply": (3, _PACK),
        "copy to it at augment/pixel_ops.py PixelOps.recolor": (
            8,
            "kornia makes what CLAHE needs on the CPU, a sample",
        ),
        "copy to it at runtime/normalize.py normalize": (2, _MEAN),
    },
    "losses": {
        "copy to it at losses/pixel.py class_factors": (2, "class weights are made on the CPU each time"),
    },
    "predictors": {
        "_local_scalar_dense at inference/predictor.py most_likely": (2, "a nan ends it, after each step"),
        "copy at inference/pipeline.py Inference._clean": (1, "components are labelled by scipy"),
        "copy to it at inference/pipeline.py Inference._clean": (1, "and come back"),
        "copy to it at inference/slide.py _Grid.averages": (4, _WEIGHTS),
        "copy to it at inference/slide.py _Grid.weighted": (6, _WEIGHTS),
        "copy to it at runtime/normalize.py normalize": (4, _MEAN),
    },
}
