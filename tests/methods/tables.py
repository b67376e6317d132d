"""A small table with a signal in two numbers and a word, two rows of each patient."""

import numpy as np
import pandas as pd

WORDS = {"bone": ("femur", "tibia", "fibula"), "garden": ("I", "II", "III", "IV")}
ORDERED = frozenset({"garden"})


def table(count=120, noise=3, lacking=True, seed=0):
    """Rows, labels of two classes, labels of three, and patients."""
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(count, 2 + noise))
    rows = pd.DataFrame(numbers, columns=["age", "bmi", *(f"noise{i}" for i in range(noise))])
    rows["bone"] = rng.choice(WORDS["bone"], count)
    rows["garden"] = rng.choice(WORDS["garden"], count)
    risk = 2 * numbers[:, 0] - 1.5 * numbers[:, 1] + 1.5 * (rows["bone"] == "tibia") - 0.5
    risk = risk.to_numpy() + rng.logistic(size=count)
    if lacking:
        rows.loc[::11, "bmi"] = np.nan
        rows.loc[::13, "bone"] = ""
    patients = np.array([f"p{i // 2}" for i in range(count)])
    return rows, (risk > 0).astype(int), np.digitize(risk, [-1, 1]), patients
