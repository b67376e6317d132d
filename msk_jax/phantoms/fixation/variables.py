"""The 43 variables of a study of femoral neck fractures, as its manifest has them.

The published study (Wang H et al., JMIR Med Inform 2021;9(11):e30079) counts 43 from before,
during and after the operation and names few; these are ours, of the kind that such studies have.
An experiment makes its fields from VARIABLES, or from NUMBERS and WORDS.
"""

from dataclasses import dataclass

NO_YES = ("no", "yes")


@dataclass(frozen=True)
class Variable:
    """One column of the manifest: a number within limits, or one of several words."""

    name: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    """Limits of a number, both included; None of words."""
    words: tuple[str, ...] = ()
    """Allowed words, the harmless one first where they have an order; empty of a number."""
    ordered: bool = False
    """Whether the words are steps of one scale."""
    phase: str = "before"
    """When it is known, seen from the operation: before, during or after."""
    optional: bool = True
    """Whether its cell may be empty."""


VARIABLES = (
    Variable("age", "years", 18, 100, optional=False),
    Variable("sex", words=("F", "M"), optional=False),
    Variable("bmi", "kg/m2", 12, 60),
    Variable("asa", words=("I", "II", "III", "IV"), ordered=True),
    Variable("side", words=("left", "right"), optional=False),
    Variable("mechanism", words=("fall", "traffic", "height", "sport")),
    Variable("smoking", words=NO_YES),
    Variable("alcohol", words=NO_YES),
    Variable("steroid", words=NO_YES),
    Variable("diabetes", words=NO_YES),
    Variable("hypertension", words=NO_YES),
    Variable("t_score", "SD", -7, 5),
    Variable("haemoglobin", "g/l", 40, 220),
    Variable("albumin", "g/l", 10, 70),
    Variable("garden", words=("I", "II", "III", "IV"), ordered=True, optional=False),
    Variable("pauwels", words=("I", "II", "III"), ordered=True),
    Variable("displacement", "mm", 0, 60),
    Variable("comminution", words=NO_YES),
    Variable("traction", words=NO_YES),
    Variable("hours_to_surgery", "h", 0, 2000, optional=False),
    Variable("anaesthesia", words=("spinal", "general"), phase="during"),
    Variable(
        "surgeon", words=("consultant", "attending", "resident"), ordered=True, phase="during"
    ),
    Variable("open_reduction", words=NO_YES, phase="during"),
    Variable("capsulotomy", words=NO_YES, phase="during"),
    Variable(
        "reduction", words=("good", "fair", "poor"), ordered=True, phase="during", optional=False
    ),
    Variable("garden_angle", "degrees", 90, 220, phase="during"),
    Variable("garden_angle_lateral", "degrees", 90, 220, phase="during"),
    Variable(
        "implant", words=("cannulated screws", "hip screw", "plate"), phase="during", optional=False
    ),
    Variable("screws", "", 1, 6, phase="during", optional=False),
    Variable(
        "configuration",
        words=("inverted triangle", "triangle", "parallel", "other"),
        phase="during",
    ),
    Variable("screw_deviation", "degrees", 0, 45, phase="during"),
    Variable("tip_distance", "mm", 0, 60, phase="during"),
    Variable("operation_minutes", "min", 10, 500, phase="during"),
    Variable("blood_loss", "ml", 0, 3000, phase="during"),
    Variable("infection", words=NO_YES, phase="after"),
    Variable("weight_bearing", "weeks", 0, 52, phase="after"),
    Variable("vas", "", 0, 10, phase="after"),
    Variable("harris", "", 0, 100, phase="after"),
    Variable("callus_area", "mm2", 0, 500, phase="after"),
    Variable("neck_shortening", "mm", 0, 40, phase="after"),
    Variable("neck_shaft_change", "degrees", -40, 40, phase="after"),
    Variable("fixation_removed", words=NO_YES, phase="after"),
    Variable("follow_up", "months", 0, 240, phase="after"),
)
"""Pain (`vas`), `harris` and healing are those of the visit after three months."""

IMAGE_SCORE = Variable("image_score", "", 0, 1, phase="after")
"""A network's probability, a variable more: the study that came of the same question fused both."""

NUMBERS = {v.name: (v.unit, v.low, v.high) for v in VARIABLES if not v.words}
"""Unit, lowest and highest value by name."""
WORDS = {v.name: v.words for v in VARIABLES if v.words}
"""Allowed words by name."""
