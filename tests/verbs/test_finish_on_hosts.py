"""Two processes as hosts of one finished training leave what one process leaves."""

import shutil

import numpy as np
import pandas as pd

from msk_jax.study.outputs import read_features
from msk_jax.study.package import load_model
from tests.conftest import TINY
from tests.training.test_hosts import address, start_process


def test_each_host_predicts_its_share(run, shards, tmp_path):
    """The networks are trained already; tables, features, heat maps and package are not there."""
    gone = ("*predictions.csv", "features.npz", "outputs.json", "cam", "model", "metrics.json")
    workdir = shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns(*gone))
    command = ["msk_jax", "train", TINY, "--data-dir", str(shards), "--workdir", str(workdir)]
    command += ["--coordinator", address(), "--num-hosts", "2", "--host"]
    hosts = [start_process([*command, str(host)], num_devices=2) for host in range(2)]
    printed = [process.communicate(timeout=240)[0] for process in hosts]
    assert [process.returncode for process in hosts] == [0, 0], printed
    for name in ("predictions.csv", "validation_predictions.csv"):
        ours, theirs = (pd.read_csv(folder / name) for folder in (workdir, run))
        np.testing.assert_allclose(ours.pop("prob"), theirs.pop("prob"), rtol=1e-4, atol=1e-6)
        pd.testing.assert_frame_equal(ours, theirs)
    np.testing.assert_allclose(
        read_features(workdir).values, read_features(run).values, rtol=1e-3, atol=1e-5
    )
    assert len(load_model(workdir).members) == 3
    assert len(list((workdir / "cam").glob("*.png"))) == len(list((run / "cam").glob("*.png")))
