"""The train stage in two processes: started by itself or by torchrun, killed, stopped, resumed."""

import csv
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from torch.distributed import run as torchrun_options

from tools.trial import TINY, write_params

ITERATIONS = 30
SETTINGS = {
    **TINY,
    "augment.crop_size": [32, 32],
    "model.norm.name": "gn",
    "model.norm.num_groups": 2,
    "model.backbone.base_channels": 8,
    "model.decode_head.dropout": 0.0,
    "model.auxiliary_heads": [],
    "optimizer.name": "sgd",
    "optimizer.lr": 0.005,
    "train.iterations": ITERATIONS,
    "train.val_every": 10,
    "train.log_every": 1,
    "machine.journal_every": 5,
    "train.devices": 2,
    "train.device": "cpu",
    "train.precision": "fp32",
}
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


@pytest.fixture(scope="module")
def prepared(root, shipped_params, tmp_path_factory):
    """A folder with settings and prepared data."""
    folder = tmp_path_factory.mktemp("launch")
    shutil.copy(shipped_params, folder)
    write_params(folder / "params.yaml", SETTINGS)
    for name in ("download", "convert"):
        command = [sys.executable, "-m", f"stages.{name}"]
        subprocess.run(command, cwd=folder, env=environment(root), check=True, capture_output=True)
    return folder


def environment(root):
    left_out = {"DVC_STAGE", "DVC_ROOT"}
    return {key: value for key, value in os.environ.items() if key not in left_out} | {
        "PYTHONPATH": str(root),
        "OMP_NUM_THREADS": "1",
    }


class Run:
    """A train stage that has been started."""

    def __init__(self, root, folder, *launcher):
        self.lines = []
        command = [sys.executable, *launcher, "-m", "stages.train"]
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment(root), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )

    def until(self, start):
        """Read what it says up to a line that starts so; return the pids of its children."""
        for line in self.process.stderr:
            self.lines.append(line)
            if line.startswith(start):
                pid = self.process.pid
                return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        raise AssertionError("".join(self.lines))

    def end(self):
        """Wait; return its exit code."""
        with self.process:
            self.lines += self.process.stderr.readlines()
            return self.process.wait(timeout=120)

    @property
    def errors(self):
        return [line for line in self.lines if line.startswith("error:")]


def copied(prepared, folder, **values):
    shutil.copytree(prepared, folder)
    write_params(folder / "params.yaml", values)
    return folder


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in (folder / "data/models").iterdir()}


@pytest.fixture(scope="module")
def finished(root, prepared, tmp_path_factory):
    """A folder in which two processes have trained without a disturbance."""
    folder = copied(prepared, tmp_path_factory.mktemp("finished") / "run")
    run = Run(root, folder)
    assert run.end() == 0, "".join(run.lines)
    assert run.lines[0] == "train: 2 processes (gloo)\n"
    assert sum(line.startswith("10/30") for line in run.lines) == 1
    return folder


def losses(folder):
    with (folder / "reports/train/steps.csv").open(encoding="utf-8", newline="") as stream:
        return [float(row["loss"]) for row in csv.DictReader(stream)]


def test_two_processes_follow_one(root, prepared, finished, tmp_path):
    alone = copied(prepared, tmp_path / "alone", **{"train.devices": 1})
    run = Run(root, alone)
    assert run.end() == 0, "".join(run.lines)
    assert len(losses(alone)) == ITERATIONS
    assert losses(finished) == pytest.approx(losses(alone), abs=1e-4)
    assert json.loads(bytes_of(finished)["model.json"])["receipt"]["devices"] == 2


def test_torchrun_gives_the_same_bytes(root, prepared, finished, tmp_path):
    folder = copied(prepared, tmp_path / "torchrun")
    run = Run(root, folder, *TORCHRUN)
    assert run.end() == 0, "".join(run.lines)
    assert bytes_of(folder) == bytes_of(finished)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_killed_stopped_and_resumed_it_gives_the_same_bytes(root, prepared, finished, tmp_path):
    folder = copied(prepared, tmp_path / "killed")
    killed = Run(root, folder)
    children = killed.until("10/30")
    os.kill(children[1], signal.SIGKILL)
    assert killed.end() == 2
    assert killed.errors == [killed.lines[-1]]
    assert "train, process 1: ended by SIGKILL, and all others with it" in killed.lines[-1]
    assert not any(Path(f"/proc/{child}").exists() for child in children)

    stopped = Run(root, folder)
    children = stopped.until("20/30")
    stopped.process.send_signal(signal.SIGTERM)
    assert stopped.end() == 128 + signal.SIGTERM
    assert any(line.startswith("train: going on after iteration") for line in stopped.lines)
    assert stopped.lines[-1].startswith("train: stopped after iteration 2")
    assert not any(Path(f"/proc/{child}").exists() for child in children)

    resumed = Run(root, folder)
    assert resumed.end() == 0
    assert bytes_of(folder) == bytes_of(finished)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_killed_worker_joins_again_under_torchrun_and_the_bytes_are_the_same(root, prepared, finished, tmp_path):
    folder = copied(prepared, tmp_path / "elastic")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        endpoint = f"localhost:{free.getsockname()[1]}"
    launcher = ("-m", "torch.distributed.run", "--nnodes=1:2", "--nproc-per-node=1", "--max-restarts=3")
    meeting = ("--rdzv-backend=c10d", f"--rdzv-endpoint={endpoint}", "--rdzv-id=elastic", "--local-addr=localhost")
    conf = "--rdzv-conf=last_call_timeout=120"
    command = [sys.executable, *launcher, *meeting, conf, "-m", "stages.train"]
    said = [tmp_path / f"agent{number}" for number in range(2)]
    agents = []
    try:
        for path in said:
            with path.open("w") as stream:
                agents.append(
                    subprocess.Popen(command, cwd=folder, env=environment(root), stderr=stream, stdout=stream)
                )
        wait_for(said, "10/30")
        workers = Path(f"/proc/{agents[1].pid}/task/{agents[1].pid}/children").read_text().split()
        os.kill(int(workers[0]), signal.SIGKILL)
        assert [agent.wait(timeout=200) for agent in agents] == [0, 0], "".join(path.read_text() for path in said)
    finally:
        for agent in agents:
            agent.kill()
    text = "".join(path.read_text() for path in said)
    assert text.count("train: going on after iteration") == 1, text
    assert text.count("train: 2 processes (gloo)") == 2
    assert bytes_of(folder) == bytes_of(finished)


CLUSTER = Path(__file__).parents[3] / "docs/how-to/cluster"


def test_the_slurm_file_trains(root, prepared, finished, tmp_path):
    folder = copied(prepared, tmp_path / "slurm")
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, line in {"scontrol": "echo localhost", "srun": 'exec "$@"'}.items():
        (commands / name).write_text(f"#!/bin/sh\n{line}\n")
        (commands / name).chmod(0o755)
    slurm = {"JOB_ID": str(os.getpid()), "NNODES": "1", "GPUS_ON_NODE": "2", "JOB_NODELIST": "localhost"}
    given = environment(root) | {f"SLURM_{name}": value for name, value in slurm.items()}
    given["PATH"] = os.pathsep.join([str(commands), str(Path(sys.executable).parent), given["PATH"]])
    done = subprocess.run(
        ["bash", CLUSTER / "train.sbatch"], cwd=folder, env=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert bytes_of(folder) == bytes_of(finished)


def test_the_files_for_clusters_hold_one_command_and_fit_together():
    script = (CLUSTER / "train.sbatch").read_text().replace("\\\n", "")
    (line,) = [line for line in script.splitlines() if line.startswith("srun torchrun")]
    service, job = YAML(typ="safe", pure=True).load_all((CLUSTER / "train-job.yaml").read_text())
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    torchrun, *options = container["command"]
    assert torchrun == "torchrun"
    slurm, pods = (torchrun_options.get_args_parser().parse_args(given) for given in (shlex.split(line)[2:], options))
    for name in ("max_restarts", "rdzv_backend", "module", "training_script", "training_script_args"):
        assert getattr(slurm, name) == getattr(pods, name), name
    assert pods.module
    assert pods.training_script == "stages.train"
    assert job["spec"]["completionMode"] == "Indexed"
    assert int(pods.nnodes) == job["spec"]["completions"] == job["spec"]["parallelism"]
    assert int(pods.nproc_per_node) == container["resources"]["limits"]["nvidia.com/gpu"]
    # The first pod's name within the service without an address.
    host, port = pods.rdzv_endpoint.split(":")
    name = job["metadata"]["name"]
    assert host == f"{name}-0.{pod['subdomain']}"
    assert service["metadata"]["name"] == pod["subdomain"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == {"job-name": name}
    assert [int(port)] == [each["port"] for each in service["spec"]["ports"]]
    assert {each["name"] for each in container["volumeMounts"]} == {each["name"] for each in pod["volumes"]}


def wait_for(paths, start):
    for _ in range(3000):
        if any(line.startswith(start) for path in paths for line in path.read_text().splitlines()):
            return
        time.sleep(0.05)
    raise AssertionError("".join(path.read_text() for path in paths))


def test_one_process_that_fails_ends_all_with_one_line(root, prepared, tmp_path):
    folder = copied(prepared, tmp_path / "damaged")
    (shard,) = (folder / "data/prepared").glob("shard-*.bin")
    with (folder / "data/prepared/manifest.csv").open(encoding="utf-8", newline="") as stream:
        row = next(row for row in csv.DictReader(stream) if row["split"] == "train")
    with shard.open("r+b") as stream:
        stream.seek(int(row["image_offset"]) + int(row["image_bytes"]) // 2)
        stream.write(b"????")
    run = Run(root, folder)
    assert run.end() == 2
    assert len(run.errors) == 1, "".join(run.lines)
    assert row["id"] in run.errors[0]
    assert "Traceback" not in "".join(run.lines)
    assert not (folder / "data/models").exists()


@pytest.mark.pipeline
def test_dvc_runs_the_stage_in_two_processes(finished_copy):
    printed = finished_copy.run("dvc", "exp", "run", "-S", "++train.devices=2", "-S", "train.device=cpu", "train")
    assert "train: 2 processes (gloo)" in printed
    assert json.loads(finished_copy.read("data/models/model.json"))["receipt"]["devices"] == 2
    # As after torchrun: the folder is there, and DVC is told that it is the stage's.
    finished_copy.edit({"optimizer.lr": 0.001})
    finished_copy.run("python", *TORCHRUN[:3], "--nproc-per-node", "2", "-m", "stages.train")
    finished_copy.run("dvc", "commit", "--force", "train")
    assert "Stage 'train' didn't change" in finished_copy.run("dvc", "repro", "train")
