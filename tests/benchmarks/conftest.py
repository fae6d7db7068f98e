"""A prepared set and settings for the benchmarks: those of params.yaml, on small synthetic images."""

import pytest

from maskline.params.whole import load_params
from tools.trial import write_params

VALUES = {
    "data.synthetic.num_train": 6,
    "data.synthetic.num_test": 2,
    "data.synthetic.size": 128,
    "data.val_fraction": 0.34,
    "augment.crop_size": [64, 64],
    "train.batch_size": 4,
    "train.threads": 1,
    "train.precision": "fp32",
}


@pytest.fixture(scope="session")
def settings_file(shipped_params, tmp_path_factory):
    path = tmp_path_factory.mktemp("settings") / "params.yaml"
    path.write_bytes((shipped_params).read_bytes())
    write_params(path, VALUES)
    return path


@pytest.fixture(scope="session")
def settings(settings_file):
    return load_params(settings_file)


@pytest.fixture(scope="session")
def prepared(settings_file, tmp_path_factory):
    """Folder of the prepared set, made by the stages themselves."""
    from stages import convert, download

    base = tmp_path_factory.mktemp("prepared")
    patch = pytest.MonkeyPatch()
    patch.setenv("DVC_ROOT", str(base))  # what is unfinished lies there: a second process of the tests converts too
    shared = ["--params", str(settings_file), "--raw", str(base / "raw")]
    download.main(shared, standalone_mode=False)
    made = ["--prepared", str(base / "prepared")]
    for option in convert.main.params:  # the reports go beside
        if option.name not in {"params_path", "raw", "prepared"}:
            made += [option.opts[0], str(base / option.name)]
    convert.main([*shared, *made], standalone_mode=False)
    patch.undo()
    return base / "prepared"
