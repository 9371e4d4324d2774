import pytest

from bayesaffect.errors import InputError
from bayesaffect.io import opinions as door
from bayesaffect.io import opinions_write, published

GOOD = """trial,subject,modality,stimulus,mean_v,var_v,low_v,high_v,truth_v,p_a,p_b,truth_mood,x_f
T1,A,face,c,5,1,1,9,7,0.25,0.75,a,1
T1,A,voice,c,5,1,1,9,7,0.25,0.75,a,1
T2,B,face,c,5,1,1,9,7,0.25,0.75,b,1
T2,B,voice,c,5,1,1,9,7,0.25,0.75,b,1
"""
ROW = "T2,B,face,c,5,1,1,9,7,0.25,0.75,b,1"
HEAD = GOOD.splitlines()[0]

FAULTS = {
    "sum": (ROW, ROW.replace("0.75", "1.05"), "row 4: probabilities of 'mood' sum to 1.3, not 1"),
    "negative probability": (ROW, ROW.replace("0.25,0.75", "-0.25,1.25"), "row 4: p_a is -0.25"),
    "negative variance": (ROW, ROW.replace("c,5,1,", "c,5,-2,"), "row 4: var_v is -2"),
    "zero variance": (ROW, ROW.replace("c,5,1,", "c,5,0,"), "row 4: var_v is 0"),
    "NaN": (ROW, ROW.replace("c,5,1,", "c,NaN,1,"), "row 4: mean_v is empty"),
    "empty": (ROW, ROW.replace("0.25,0.75", ",0.75"), "row 4: p_a is empty"),
    "infinite": (ROW, ROW.replace("c,5,1,", "c,inf,1,"), "row 4: mean_v is infinite"),
    "not a number": (ROW, ROW.replace("c,5,1,", "c,five,1,"), "row 4: mean_v is 'five', not a number"),
    "duplicate": ("T2,B,voice", "T2,B,face", "row 5: 'face' of trial 'T2' occurs twice"),
    "two subjects": ("T2,B,voice", "T2,C,voice", "row 5: subject of trial 'T2' is 'C', not B"),
    "two truths": ("T2,B,voice,c,5,1,1,9,7", "T2,B,voice,c,5,1,1,9,6", "row 5: truth_v of trial 'T2' is '6', not 7"),
    "two classes": (
        "T1,A,voice,c,5,1,1,9,7,0.25,0.75,a",
        "T1,A,voice,c,5,1,1,9,7,0.25,0.75,b",
        "row 3: truth_mood of trial",
    ),
    "unknown class": (ROW, ROW.replace(",b,1", ",c,1"), "row 4: truth_mood is 'c', which is no class; classes are"),
    "truth out of bounds": (ROW, ROW.replace("1,9,7", "1,9,11"), "row 4: truth_v is 11, outside 1 to 9"),
    "two scales": (ROW, ROW.replace("1,9,7", "1,7,7"), r"row 4: rating scale of 'v' is \(1.0, 7.0\), not \(1.0, 9.0\)"),
    "empty name": (ROW, ROW.replace("T2,B", "T2,"), "row 4: subject is empty"),
    "half a feature": (ROW, ROW[:-1], "row 4: a feature of 'face' is empty"),
    "no modality column": ("subject,modality", "subject,sensor", r"lacks the columns \['modality'\]; found \['trial',"),
    "no predictions": (HEAD, "trial,subject,modality,a,b,c,d,e,f,g,h,i,j", "has no mean_<target> and no p_<class>"),
    "misspelt": ("var_v", "var_w", "column 'var_w' belongs to no predicted target"),
    "truth of nothing": ("x_f", "truth_w", r"has truth columns of \['mood', 'w'\]"),
    "no scale": ("low_v,high_v", "x_l,x_h", "does not say the rating scale of 'v'; add the columns low_v and high_v"),
    "half a scale": ("high_v", "x_h", "lacks the column high_v"),
    "upside down": ("low_v,high_v", "high_v,low_v", "has bounds"),
    "two forms": ("p_a", "p_mood:a", "mixes p_<class> and p_<target>:<class>"),
    "one level": ("p_a,p_b", "x_a,p_b", "sum to|at least two"),
    "column twice": ("x_f", "p_a", "has two columns 'p_a'"),
    "long row": (ROW, ROW + ",9,9", "is not a CSV table"),
    "semicolons": (",", ";", "has semicolons between its columns, not commas"),
    "tabs": (",", "\t", "has tabs between its columns, not commas"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_told_in_one_sentence(tmp_path, fault):
    old, new, message = FAULTS[fault]
    path = tmp_path / "table.csv"
    path.write_text(GOOD.replace(old, new))
    assert path.read_text() != GOOD
    with pytest.raises(InputError, match=message) as caught:
        door.read_table(path)
    assert "\n" not in str(caught.value)
    if "row" in message:
        assert str(caught.value).startswith(f"{path}, row ") and caught.value.remedy


def test_the_good_table_is_read(tmp_path):
    (tmp_path / "table.csv").write_text(GOOD)
    assert door.read_table(tmp_path / "table.csv").present.all()


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (b"", "t.csv", "is empty"),
        (HEAD.encode(), "t.csv", "has no rows"),
        (b"\x89PNG\r\n\x1a\n\x00\xff\xfe", "t.csv", "is not a CSV table"),
        (b"PAR1 but not really", "t.parquet", "is not a Parquet file"),
    ],
)
def test_files_that_are_something_else(tmp_path, content, name, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        door.read_table(tmp_path / name)


def test_a_spreadsheet_with_decimal_commas_is_told_apart(tmp_path):
    """Excel where commas are decimal: semicolons between columns, a byte-order mark, and rows with more commas."""
    (tmp_path / "t.csv").write_bytes("trial;subject;modality;p_a;p_b\r\nT1;A;face;0,25;0,75\r\n".encode("utf-8-sig"))
    with pytest.raises(InputError, match="has semicolons between its columns, not commas; save it with commas"):
        door.read_table(tmp_path / "t.csv")


def test_a_folder_is_no_table(tmp_path):
    with pytest.raises(InputError, match="is a folder, not a table; name a CSV or Parquet file"):
        door.read_table(tmp_path)


def test_parquet_without_its_package_is_told(tmp_path, monkeypatch):
    (tmp_path / "table.csv").write_text(GOOD)
    opinions = door.read_table(tmp_path / "table.csv")
    opinions_write.write_table(opinions, tmp_path / "t.parquet")

    def absent(*arguments, **options):
        raise ImportError("Unable to find a usable engine")

    monkeypatch.setattr("pandas.read_parquet", absent)
    monkeypatch.setattr("pandas.DataFrame.to_parquet", absent)
    with pytest.raises(InputError, match="reading Parquet needs the package pyarrow"):
        door.read_table(tmp_path / "t.parquet")
    with pytest.raises(InputError, match="writing Parquet needs the package pyarrow"):
        opinions_write.write_table(opinions, tmp_path / "u.parquet")


def test_absent_files(tmp_path):
    for read in (door.read_table, published.read_epic, published.read_crema_d):
        with pytest.raises(InputError, match="absent"):
            read(tmp_path / "absent")


def test_wrong_published_folders(tmp_path):
    (tmp_path / "tabulatedVotes.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="lacks the columns"):
        published.read_crema_d(tmp_path)
    with pytest.raises(InputError, match=r"is not an \.npz archive"):
        published.read_epic(tmp_path / "tabulatedVotes.csv")


def test_a_failed_write_leaves_the_old_table(tmp_path):
    (tmp_path / "t.csv").write_text(GOOD)
    with pytest.raises(AttributeError):
        opinions_write.write_table(None, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == GOOD and len(list(tmp_path.iterdir())) == 1
