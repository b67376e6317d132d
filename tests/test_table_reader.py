"""Tables as people write them: read for what they say, or refused with what to do."""

import gzip
import io

import numpy as np
import pandas as pd
import pytest

from msk_jax.errors import UserError
from msk_jax.table_reader import as_number, parse_table, read_table


def _cells(content: str | bytes) -> list[list[str]]:
    """The header and the rows."""
    table = parse_table(content.encode() if isinstance(content, str) else content, "t.csv")
    return [list(table.columns), *table.to_numpy().tolist()]


PLAIN = [["case", "prob", "ward"], ["0012", "0.71", "Süd, A"], ["12.0", "", "NA"]]


@pytest.mark.parametrize(
    "content",
    [
        'case,prob,ward\n0012,0.71,"Süd, A"\n12.0,,NA\n',
        'case, prob ,ward\r\n 0012 , 0.71, "Süd, A"\r\n12.0,,NA',
        'case,prob,ward\r0012,0.71,"Süd, A"\r12.0,,NA\r',
        '\n\n"case","prob","ward"\n"0012","0.71","Süd, A"\n"12.0","","NA"\n\n,,\n',
        "case;prob;ward\n0012;0.71;Süd, A\n12.0;;NA\n",
        "sep=;\ncase;prob;ward\n0012;0,71;Süd, A\n12.0;;NA\n",
        "case\tprob\tward\n0012\t0,71\tSüd, A\n12.0\t\tNA\n",
        'case,prob,ward,\n0012,0.71,"Süd, A",\n12.0,,NA,\n',
        ',case,prob,ward\n0,0012,0.71,"Süd, A"\n1,12.0,,NA\n',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gzip"])
def test_the_same_table_in_many_forms(content, encoding):
    data = content.encode("utf-8" if encoding == "gzip" else encoding)
    assert _cells(gzip.compress(data) if encoding == "gzip" else data) == PLAIN


def test_rows_are_counted_as_a_spreadsheet_does():
    table = parse_table(b"a,b\n1,2\n\n,,,\n3,4\n", "t")
    assert table.index.tolist() == [0, 3]
    assert parse_table(b"\n\na,b\n1,2\n", "t").index.tolist() == [2]
    assert parse_table(b"a,b\n", "t").shape == (0, 2)


def test_numbers_are_touched_only_where_a_decimal_comma_is_certain():
    assert _cells('id,size\n"1,5","1,234"\n')[1] == ["1,5", "1,234"], "a thousand, or 1.234"
    assert _cells("id;size;note\na1;1,5;1,5\na2;-2;about 3\na3;NA;\na4;1,5E-3;,5\n")[1:] == [
        ["a1", "1.5", "1,5"],
        ["a2", "-2", "about 3"],
        ["a3", "NA", ""],
        ["a4", "1.5E-3", ",5"],
    ]
    # Points and commas in one column: one of them separates thousands.
    assert [row[0] for row in _cells("size;b\n1,5;x\n1.250;y\n")[1:]] == ["1,5", "1.250"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        (",,\n1,2,3\n", "no names of columns"),
        ("a,,c\n1,,2\n\n1,x,2\n", "no name for column 2, .* .row 4 holds 'x' there."),
        # One cell more in every row: pandas would take the first column for row names.
        ("label,prob\n0,1,0.2\n1,0,0.8\n", r"one cell more in every row .*\(3, not 2; row 2 is"),
        ('"case","prob"\n"1","a",0.5\n"2","b",0.6\n', r"R's write.table .* row.names = FALSE"),
        ("case,prob\na,0.5,\nb,0.6,\n", "ends in a separator and the header does not"),
        # In some rows.
        ("a,b,c\n1,2,3\n4,5\n6,7,8,9\n", r"2 row\(s\).*row 3 has 2, row 4 has 4 \(row 3 is `4"),
        ("a,b\n\n1,2\nWard A, East,3\n", r"as UTF-8, cells separated by commas\).*row 4 has 3"),
        ("a;b\n1;2;3;4\n", r"cells separated by semicolons\).*1 row\(s\)"),
        ("a\tb\n1\n2\t3\n", r"separated by tabs.*row 2 has 1 "),
        ("a,b\n1;2\n3;4\n", "row 2 has 1, row 3 has 1"),
        ("p,label,p\n1,2,3\n", "'p' names the columns 1 and 3"),
        ("p,label, p \n1,2,3\n", "'p' names the columns 1 and 3"),
        ("a,b;c\n1,2\n", "commas and semicolons in its first row"),
        ('a,b\n1,"x" y\n', "the row that begins in line 2 does not end as one"),
        ('\na,b\n1,2\n3,"x\n4,5\n6,7\n', "the row that begins in line 4 does not end as one"),
        ("case,ward\n1,Süd\n".encode("cp1252"), "line 2 holds the byte 0xFC .'Süd' if it is Win"),
        ("a,b\n1,2\n".encode("utf-16")[:-1], "not the UTF-16 text"),
        ("a,b\n1,2\n".encode("utf-16-le"), "holds bytes of 0"),
        (b"PK\x03\x04....", "an Excel workbook or a zip archive"),
        (b"\xd0\xcf\x11\xe0....", "an old Excel workbook"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0)[:-9], "no whole gzip file"),
        (b"PAR1....", "cannot be read as Parquet"),
    ],
)
def test_what_is_no_table_is_refused_with_its_place(content, message):
    with pytest.raises(UserError, match=message):
        _cells(content)


def test_a_file_that_is_not_there_or_no_file(tmp_path):
    with pytest.raises(UserError, match="Give one"):
        read_table(tmp_path / "none.csv", "Give one.")
    with pytest.raises(UserError, match="cannot be read"):
        read_table(tmp_path, "Give one.")


def test_parquet_gives_what_the_csv_gives():
    table = pd.DataFrame(
        {
            "case": ["0012", "7"],
            "grade": [2.0, None],
            "prob": [1 / 3, 1e-7],
            "single": np.array([0.1, 2], np.float32),
            "sure": [True, False],
        }
    )
    content = io.BytesIO()
    table.set_index("case").to_parquet(content)
    assert _cells(content.getvalue()) == [
        ["case", "grade", "prob", "single", "sure"],
        ["0012", "2", repr(1 / 3), "0.1", "True"],
        ["7", "", "1e-07", "2", "False"],
    ]


def test_names_that_a_program_took_for_numbers():
    assert as_number("0012") == as_number("12.0") == as_number("12") != as_number("120")
    assert as_number("000") == as_number("0.0") == as_number("0") != as_number("")
