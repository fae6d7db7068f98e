"""Every command, path, link and settings key in the documents is real."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from torch.distributed import run

from maskline.metrics import scores_table
from maskline.params.whole import json_schema
from tools.closure import ROOT

PAGES = sorted([ROOT / "README.md", ROOT / "lib/maskline/projects/new_readme.md", *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

FILES = (".safetensors", ".json", ".onnx", ".manifest", ".xml", ".bin", ".pt2")  # names of files, not of settings
RUN = "run here"
FIRST = "tests/docs/test_getting_started.py::test_the_page_is_true"
REMOTES = "tests/docs/test_remotes.py::test_the_page_is_true"
# How each command of the documents is held to the truth: run here in a copy of the project, or by the test named.
COMMANDS = {
    "maskline import-weights checkpoint.pth -o data/models": (
        "tests/commands/test_import_weights.py::test_the_checkpoints_own_configuration"
    ),
    "maskline import-weights checkpoint.pth -o start --params params.yaml": (
        "tests/commands/test_import_weights.py::test_the_network_is_written_into_a_params_file"
    ),
    "maskline recipe list": "tests/commands/test_recipe.py::test_the_short_list_counts_families",
    "maskline recipe list --data ade20k --model segformer": (
        "tests/commands/test_recipe.py::test_a_list_by_data_and_model"
    ),
    "maskline recipe list unet chase-db1": "tests/commands/test_recipe.py::test_list_and_its_filter",
    "maskline recipe show unet-s5-d16_fcn_1xb16-40k_chase-db1-128x128": (
        "tests/commands/test_recipe.py::test_show_tells_the_published_result"
    ),
    "maskline recipe use unet-s5-d16_fcn_1xb16-40k_chase-db1-128x128": (
        "tests/commands/test_recipe.py::test_use_asks_first"
    ),
    "maskline recipe use upernet_r50_1xb16-160k_ade20k-512x512 --only model": (
        "tests/commands/test_recipe.py::test_use_groups_of_two_recipes"
    ),
    "maskline recipe use segformer_mit-b0_1xb16-160k_ade20k-512x512 --only schedule,runtime": (
        "tests/commands/test_recipe.py::test_use_groups_of_two_recipes"
    ),
    "maskline name": ("tests/commands/test_recipe.py::test_use_without_a_file_makes_the_shipped_one_with_the_data"),
    "maskline summary": "tests/commands/test_recipe.py::test_summary_of_a_recipe",
    "maskline summary segformer_mit-b0_1xb16-160k_ade20k-512x512 --classes 150": (
        "tests/commands/test_recipe.py::test_summary_of_a_recipe"
    ),
    "python make_set.py": FIRST,
    "maskline new leaves --data set --class ground --class leaf": FIRST,
    "cd leaves": FIRST,
    "git add .": FIRST,
    'git commit -m "First run"': FIRST,
    "dvc exp run -S train.iterations=2400": FIRST,
    "maskline predict data/export/model.onnx ../set/images -o out": FIRST,
    "maskline new demo": "tests/pipeline/test_wheel.py::test_the_first_repro_is_green",
    "maskline new leaves --data /path/to/set --class ground --class leaf": (
        "tests/commands/test_new.py::test_classes_by_name"
    ),
    "maskline new leaves --data leaves.v1i.coco-segmentation.zip": (
        "tests/convert/test_exports.py::test_roboflow_coco_as_it_is_downloaded"
    ),
    "maskline new skin --data ISIC2018 --class skin --class lesion": (
        "tests/convert/test_exports.py::test_isic_as_published"
    ),
    "maskline new fields --data sentinel-2 --class ground --class field": (
        "tests/convert/test_exports.py::test_twelve_bands_of_16_bits_from_new_to_convert"
    ),
    "maskline new scenes --recipe segformer_mit-b0_1xb16-160k_ade20k-512x512 -S train.batch_size=4": (
        "tests/commands/test_new.py::test_recipe_and_overrides"
    ),
    "maskline new --upgrade .": "tests/commands/test_new.py::test_upgrade_writes_what_is_ours_and_leaves_the_rest",
    "pip install dist/maskline-*.whl": "tests/pipeline/test_wheel.py::test_commands_that_need_no_project",
    "pip wheel . --no-deps --wheel-dir dist": "tests/pipeline/test_wheel.py::test_it_carries_the_pipeline_once",
    "dvc remote add --default storage /path/to/storage": REMOTES,
    "dvc push": REMOTES,
    'git commit --all -m "Remote storage"': REMOTES,
    "dvc pull": REMOTES,
    "gto register segmentation-model --version v1.0.0": REMOTES,
    "gto assign segmentation-model --version v1.0.0 --stage prod": REMOTES,
    "gto show": REMOTES,
    "dvc artifacts get . segmentation-model -o newest.safetensors": REMOTES,
    "dvc artifacts get . segmentation-model --rev v1.0.0 -o first.safetensors": REMOTES,
    "dvc artifacts get . segmentation-model --stage prod -o prod.safetensors": REMOTES,
    "dvc get . data/export -o released": REMOTES,
    "dvc metrics diff --md main": RUN,
    "dvc params diff --md main": RUN,
    "maskline --version": "tests/commands/test_main.py::test_version",
    "maskline --help": "tests/commands/test_main.py::test_list_of_commands_imports_none",
    "maskline tune": "tests/commands/test_tune.py::test_it_writes_plain_values_and_a_table",
    "maskline tune --no-compile --dry-run": "tests/commands/test_tune.py::test_a_dry_run_writes_nothing",
    "maskline plan --minutes 20": "tests/commands/test_plan.py::test_it_writes_a_recipe_and_params",
    "maskline plan --minutes 20 --dry-run": "tests/commands/test_plan.py::test_a_dry_run_writes_nothing",
    "maskline verify": "tests/commands/test_verify.py::test_a_run_repeats_itself_to_the_last_bit",
    "maskline verify --iterations 100": "tests/commands/test_verify.py::test_the_first_iterations_alone",
    "maskline verify --json": "tests/commands/test_verify.py::test_what_was_changed_since_is_named",
    "maskline doctor": "tests/commands/test_doctor.py::test_table_for_people",
    "maskline doctor --json": "tests/commands/test_doctor.py::test_a_healthy_project",
    "maskline recipe list --json": "tests/commands/test_recipe.py::test_list_for_a_script",
    "maskline summary --json": "tests/commands/test_recipe.py::test_summary_for_a_script",
    "maskline params": "tests/commands/test_params.py::test_where_a_value_comes_from",
    "maskline params --json": "tests/commands/test_params.py::test_the_whole_for_a_script",
    "maskline params optimizer.lr": "tests/commands/test_params.py::test_what_is_said_of_a_key",
    "maskline params model.decode_head": "tests/commands/test_params.py::test_a_section_lists_its_keys",
    "dvc exp run -S model.decode_head.name=own/context.py:ContextHead": (
        "tests/docs/test_extending.py::test_in_a_project_it_is_one_file_and_one_line"
    ),
    "dvc exp run -S 'model.decode_head.losses=[{name: \"own/poly.py:poly\"}]'": (
        "tests/docs/test_extending.py::test_in_a_project_it_is_one_file_and_one_line"
    ),
    "dvc exp run -S '++evaluate.extra_metrics=[boundary, volume]'": (
        "tests/docs/test_extending.py::test_in_a_clone_it_is_two_files"
    ),
    "dvc exp run -S model.backbone.name=own/mine.py:Backbone": (
        "tests/builders/test_own.py::test_it_stands_wherever_others_do"
    ),
    "maskline explain optimizer --json": "tests/commands/test_explain.py::test_table_csv_and_image",
    "maskline doctor --network": "tests/commands/test_doctor.py::test_an_address_that_does_not_answer",
    "maskline doctor --fix": "tests/commands/test_doctor.py::test_fix_mends_what_is_torn_and_nothing_else",
    "maskline predict data/models images -o out": "tests/commands/test_predict.py::test_results_of_every_image",
    "maskline predict params.yaml images -o out --weights data/models/model.safetensors": (
        "tests/commands/test_predict_inputs.py::test_recipe_with_weights_equals_the_trained_folder"
    ),
    "maskline predict data/models images -o out --slide --tta --crf": (
        "tests/commands/test_predict_inputs.py::test_each_step_by_an_option"
    ),
    "dvc exp run -S ++evaluate.conventions=true": (
        "tests/evaluation/test_stage.py::test_every_convention_side_by_side"
    ),
    "dvc exp run -S ++evaluate.guarantee.at_most=0.2": (
        "tests/evaluation/test_stage.py::test_a_promise_is_kept_on_val_and_held_against_test"
    ),
    "dvc exp run -S '++export.outputs=[argmax]'": (
        "tests/export/test_interface.py::test_the_gate_holds_every_interface_against_torch"
    ),
    "python -m tools.export_study": "tests/export/test_study.py::test_the_table",
    "dvc exp run -S 'export.variants=[fp16,int8,pt2,openvino,web]'": (
        "tests/export/test_stage.py::test_stage_writes_model_agreement_and_times"
    ),
    "dvc exp run -S 'export.variants=[web]'": "tests/export/test_stage.py::test_stage_writes_model_agreement_and_times",
    "python -m http.server -d data/export/web": ("tests/export/web/test_page.py::test_what_a_person_does_on_the_page"),
    "maskline predict data/export photos -o out --fastest": (
        "tests/commands/test_predict.py::test_the_fastest_file_of_an_export_folder"
    ),
    "dvc exp run -S '++export.latency_batches=[1,8]'": "tests/export/test_package.py::test_latency_report",
    "make repro": "tests/pipeline/test_repro.py::test_every_output_is_there_and_finite",
    "make test": "tests/pipeline/test_makefile.py::test_targets_set_the_environment_up_first",
    "make check": "tests/pipeline/test_makefile.py::test_targets_set_the_environment_up_first",
    "make deps": "tests/docs/test_extending.py::test_in_a_clone_it_is_two_files",
    "make reference": "tests/docs/test_extending.py::test_in_a_clone_it_is_two_files",
    "make commit": "tests/pipeline/test_makefile.py::test_targets_set_the_environment_up_first",
    "source .venv/bin/activate": (
        "tests/pipeline/test_makefile.py::test_the_first_time_it_makes_the_environment_and_installs"
    ),
    "dvc repro": "tests/pipeline/test_repro.py::test_a_second_repro_does_nothing",
    "dvc repro convert": RUN,
    "dvc repro augment-preview": RUN,
    "dvc exp run -S ++augment.elastic.prob=0.3 -S ++augment.cutmix.prob=0.2": (
        "tests/engine/test_same_pixels.py::test_replay_is_training_bit_by_bit"
    ),
    "maskline replay 12 3": "tests/commands/test_replay.py::test_the_folder_is_named_after_the_sample",
    "dvc exp run -S ++train.devices=8": (
        "tests/runtime/processes/test_launch.py::test_dvc_runs_the_stage_in_two_processes"
    ),
    "dvc exp run -S ++machine.evaluate_devices=8": (
        "tests/evaluation/test_stage.py::test_the_stage_starts_two_processes_that_write_the_bytes_of_one"
    ),
    "PYTHONPATH=lib python -m tools.gpu_check --minutes 6 --json gpu_check.json": (
        "tests/tools/test_gpu_check.py::test_a_tiny_run_on_a_cpu"
    ),
    "torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint node1:29500 -m stages.train": (
        "tests/runtime/processes/test_launch.py::test_torchrun_gives_the_same_bytes"
    ),
    "dvc commit --force train": "tests/runtime/processes/test_launch.py::test_dvc_runs_the_stage_in_two_processes",
    "dvc metrics show": RUN,
    "maskline metrics": RUN,
    "maskline new roads --data /path/to/set --class road=7 --class other=1 --ignore 0": (
        "tests/commands/test_new.py::test_values_that_are_no_ids"
    ),
    "maskline zoo list segformer ade20k": "tests/commands/test_zoo.py::test_list_and_show",
    "maskline zoo show segformer_mit-b0_8xb2-160k_ade20k-512x512": "tests/commands/test_zoo.py::test_list_and_show",
    "maskline zoo get segformer_mit-b0_8xb2-160k_ade20k-512x512 --image photo.jpg": (
        "tests/commands/test_zoo.py::test_a_broken_download_goes_on_and_becomes_a_model_that_is_tried"
    ),
    "maskline predict data/models other/models images -o out": (
        "tests/predict/test_ensemble.py::test_the_command_takes_models_in_front_of_images"
    ),
    "maskline watch": "tests/commands/test_watch.py::test_curves_of_a_run",
    "maskline watch --once": "tests/commands/test_watch.py::test_curves_of_a_run",
    "dvc plots show .maskline/live/workspace/curves.csv -x iteration -y train_loss": (
        "tests/engine/test_live.py::test_dvc_sees_the_tables"
    ),
    "maskline folds --folds 5": "tests/commands/test_folds.py::test_a_model_a_fold_and_all_as_one",
    "dvc exp run -S data.name=chase_db1 -S ++train.soft_labels=second_annotator": (
        "tests/builders/test_training.py::test_a_second_annotator_gives_soft_labels"
    ),
    "maskline folds --folds 2 --soft-labels": "tests/commands/test_folds.py::test_a_model_a_fold_and_all_as_one",
    "dvc exp run -S ++train.soft_labels=data/folds/soft_labels-0123456789abcdef": (
        "tests/commands/test_folds.py::test_a_model_a_fold_and_all_as_one"
    ),
    "maskline audit": "tests/commands/test_audit.py::test_planted_errors_are_first_with_their_reasons",
    "maskline audit data/models": "tests/commands/test_audit.py::test_models_that_may_have_seen_the_labels_are_told",
    "maskline next 20 photos": "tests/commands/test_audit.py::test_next_names_images_unlike_each_other",
    "dvc exp show --drop '.*' --keep 'Experiment|foreground.Dice|mIoU|optimizer.lr'": (
        "tests/pipeline/test_repro.py::test_metrics_are_read_by_dvc"
    ),
    "dvc metrics diff": RUN,
    "dvc plots diff": RUN,
    "dvc exp show": RUN,
    "dvc exp run -S optimizer.lr=0.01": (
        "tests/pipeline/test_repro.py::test_another_learning_rate_trains_again_and_converts_nothing"
    ),
    "dvc exp run -S ++train.ema_decay=0.999": (
        "tests/pipeline/test_repro.py::test_a_key_that_is_left_out_runs_the_stages_of_its_section"
    ),
    "dvc exp run -S optimizer.name=sgd -S optimizer.lr=0.05": (
        "tests/pipeline/test_repro.py::test_another_optimizer_needs_no_other_key"
    ),
    "dvc exp run -S train.seed=1 --queue": RUN,
    "dvc exp run --queue -S optimizer.lr=0.005,0.01,0.02": RUN,
    "dvc queue status": RUN,
    "dvc queue start": "tests/pipeline/test_repro.py::test_a_queue_uses_the_experiments_own_code",
    "dvc exp run --queue -S ++data.num_folds=5 -S ++data.fold=0,1,2,3,4": (
        "tests/convert/test_splits.py::test_folds_cover_every_group_once_and_leave_test_alone"
    ),
    "dvc exp run --queue -S ++data.train_images=5,10,20": (
        "tests/convert/test_split_lists.py::test_so_many_of_the_train_images_a_smaller_number_out_of_a_larger_ones"
    ),
    "dvc exp run --queue -S evaluate.split=val -S ++evaluate.crf.enabled=true "
    "-S '++evaluate.crf.bilateral_grey=5,10,20'": RUN,
    "dvc exp show --only-changed": RUN,
    "maskline compare HEAD workspace --page compared.html": (
        "tests/commands/test_compare.py::test_the_page_with_the_comparison_in_it"
    ),
    "maskline compare HEAD workspace": "tests/commands/test_compare.py::test_revision_experiment_and_workspace",
    "maskline compare HEAD~1 HEAD --json > differences.json": (
        "tests/commands/test_compare.py::test_no_difference_between_a_run_and_itself"
    ),
    "maskline compare main my-experiment --plot differences.png": (
        "tests/commands/test_compare.py::test_tables_and_plot"
    ),
    "maskline predict data/models huge.png -o out --params params.yaml --stream": (
        "tests/commands/test_predict_stream.py::test_by_rows_as_in_memory"
    ),
    "maskline sweep-seeds 3 --ensemble": "tests/analysis/test_ensembles.py::test_one_model_and_one_file_of_all",
    "maskline sweep-seeds 5": "tests/commands/test_compare.py::test_sweep_runs_what_is_missing_and_sums_up",
    "dvc exp apply NAME": "tests/pipeline/test_repro.py::test_an_experiment_can_be_taken_back",
    'git commit -m "Learning rate 0.01"': "git's own",
}


def commands():
    found = {}
    for page in PAGES:
        for language, text in FENCE.findall(page.read_text(encoding="utf-8")):
            if language == "bash":
                found |= dict.fromkeys(line for line in text.splitlines() if line.strip())
    return list(found)


def test_every_command_has_its_test():
    assert sorted(set(commands()) ^ set(COMMANDS)) == []
    for command, how in COMMANDS.items():
        if "::" in how:
            path, name = how.split("::")
            assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8"), command


@pytest.mark.pipeline
def test_the_other_commands_run(finished_copy):
    for command in commands():
        if COMMANDS[command] == RUN:
            finished_copy.run(*shlex.split(command))
    assert finished_copy.run("dvc", "queue", "status").count("Queued") == 7


def test_torchruns_options_are_real():
    text = PAGES_TEXT["docs/how-to/distributed.md"]
    (line,) = [line for line in text.splitlines() if " torchrun " in f" {line}" and "-m" in line]
    given = run.get_args_parser().parse_args(shlex.split(line.split("torchrun ")[1]))
    assert (given.module, given.training_script, given.nproc_per_node) == (True, "stages.train", "8")


def test_the_graph_is_the_pipelines():
    shown = re.search(r"<!-- dvc dag --mermaid -->\n```mermaid\n(.*?)\n```", PAGES_TEXT["README.md"], re.DOTALL)
    dvc = Path(sys.executable).parent / "dvc"
    made = subprocess.run([dvc, "dag", "--mermaid"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert shown.group(1).strip() == made.strip()


def test_the_numbers_are_those_of_the_committed_run(committed):
    scores = json.loads(committed("reports/evaluate/metrics.json"))
    if "uncertainty_95" not in scores:  # of a run before scores.csv was there
        scores = scores_table.from_csv(committed("reports/evaluate/scores.csv").decode(), place="scores.csv")
    dice, interval = scores["foreground"]["Dice"], scores["uncertainty_95"]["foreground"]["Dice"]
    text = " ".join(PAGES_TEXT["README.md"].split())
    assert f"vessel Dice {dice:.3f} (95 % interval {interval['low']:.3f} to {interval['high']:.3f})" in text
    assert f"observer scores {scores['second_annotator']['foreground']['Dice']:.3f} against the first" in text


PAGES_TEXT = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}


def linked(name):
    """Paths from the root that a page links to."""
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", PAGES_TEXT[name]):
        if not target.startswith(("http://", "https://")):
            yield Path(os.path.relpath((ROOT / name).parent / target, ROOT)).as_posix()


@pytest.mark.parametrize("name", PAGES_TEXT)
def test_links_lead_somewhere(name):
    for path in linked(name):
        assert path.startswith("reports/") or (ROOT / path).exists(), path


def test_links_to_reports_lead_into_the_committed_run(committed):
    """Which image has the median score is another one after a run with other numbers."""
    paths = [path for name in PAGES_TEXT for path in linked(name) if path.startswith("reports/")]
    assert paths
    for path in paths:
        assert committed(path)


def test_the_tree_of_the_readme_exists():
    block = next(text for language, text in FENCE.findall(PAGES_TEXT["README.md"]) if "lib/maskline/" in text)
    above = Path()
    for line in block.splitlines():
        names = re.split(r"\s{2,}", line.strip())
        paths = [name for name in names[:-1] for name in name.split()]
        base = Path("lib/maskline") if line.startswith("  ") else above
        for path in paths:
            assert (ROOT / base / path).exists() or path in {"dvc.lock", "data/", "reports/"}, path


def test_settings_named_in_the_documents_exist():
    schema = json_schema()
    sections = list(schema["properties"])
    key = re.compile(rf"\b(?:{'|'.join(sections)})\.[a-z_]+(?:\.[a-z_0-9]+)*")
    for name, text in PAGES_TEXT.items():
        for found in [*re.findall(r"-S ([a-z_.0-9]+)=", text), *re.findall(r"`([^`\s]+)`", text)]:
            if key.fullmatch(found) and not found.endswith(FILES):
                assert known(found.split("."), schema, schema), f"{name}: {found}"


def known(path, node, schema):
    """Tell whether a dotted key can exist: in one of the variants, where there is a choice."""
    if "$ref" in node:
        node = schema["$defs"][node["$ref"].rsplit("/", maxsplit=1)[1]]
    if "oneOf" in node:
        return any(known(path, option, schema) for option in node["oneOf"])
    if not path:
        return True
    if path[0].isdigit() or path[0] == "N":
        return known(path[1:], node.get("items", {}), schema)
    return path[0] in node.get("properties", {}) and known(path[1:], node["properties"][path[0]], schema)
