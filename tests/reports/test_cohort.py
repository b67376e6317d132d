from msk_jax.reports.cohort import class_names, classes_table, cohort_rows

COHORT = {
    "name": "demo",
    "rejected": 0,
    "pixel_mm": [0.7, 0.85],
    "spacing_mm": [2.5, 2.5],
    "sites": {"A": 2, "B": 1},
    "by_label": {"slice": {"no": 9}, "patient": {"no": 2, "yes": 1}},
    "by_site": {"A": {"no": 2}, "B": {"yes": 1}},
    "age_by_label": {"no": {"median": None}, "yes": {"median": 40.5, "q1": 40.0, "q3": 41}},
    "fingerprint": {"config": {"fields": [{"name": "image"}, {"classes": ["no", "yes"]}]}},
}


def test_rows_leave_out_what_is_missing_but_keep_zero():
    assert cohort_rows(COHORT) == [
        ("Cohort", "demo"),
        ("Patients", "3"),
        ("Slice stacks", "9"),
        ("Sites", "A 2, B 1"),
        ("Pixel in mm", "0.7 to 0.85"),
        ("Slice spacing in mm", "2.5"),
        ("Studies rejected", "0"),
    ]
    assert cohort_rows({}) == []


def test_table_by_class():
    assert classes_table(COHORT) == {
        "classes": ["no", "yes"],
        "rows": [
            ("slice stacks", ["9", "0"]),
            ("patients", ["2", "1"]),
            ("patients of site A", ["2", "0"]),
            ("patients of site B", ["0", "1"]),
            ("age in years", ["unknown", "median 40.5, quartiles 40 to 41"]),
        ],
    }
    assert classes_table({}) is None and classes_table(None) is None


def test_class_names_are_those_of_the_cohort():
    assert class_names(COHORT) == ("no", "yes")
    assert class_names(None) == ("negative", "positive")
