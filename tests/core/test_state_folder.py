from pathlib import Path

from maskline.core.state_folder import state_folder, user_path


def test_paths_of_an_experiment_start_at_the_main_checkout(tmp_path, monkeypatch):
    main, copy = tmp_path / "main", tmp_path / "main/.dvc/tmp/exps/x"
    (copy / "splits").mkdir(parents=True)
    (copy / "splits/val.txt").touch()
    monkeypatch.chdir(copy)
    monkeypatch.setenv("DVC_ROOT", str(main))
    assert state_folder("journal") == main / ".maskline/journal"
    assert user_path("../set") == tmp_path / "set"
    assert user_path("data/mine") == main / "data/mine", "not in git"
    assert user_path("splits/val.txt") == Path("splits/val.txt"), "the experiment's own"
    assert user_path("/set") == Path("/set")
    monkeypatch.delenv("DVC_ROOT")
    assert user_path("../set") == Path("../set")
