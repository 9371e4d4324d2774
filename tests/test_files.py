import pickle
import subprocess
import sys

import pytest

from bayesaffect.errors import InputError, first_line
from bayesaffect.files import atomic, claim, file_hash, key, write_json, write_text


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(KeyboardInterrupt), atomic(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_keys_depend_on_content_and_not_on_order_of_names():
    assert key({"a": 1, "b": 2}, "x") == key({"b": 2, "a": 1}, "x") != key({"a": 1, "b": 3}, "x")


def test_equal_content_has_an_equal_hash(tmp_path):
    for name, text in (("a", "1"), ("b", "1"), ("c", "2")):
        write_text(tmp_path / name, text)
    assert file_hash(tmp_path / "a") == file_hash(tmp_path / "b") != file_hash(tmp_path / "c")


def test_nan_is_not_json(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"x": float("nan")})


def test_an_error_tells_what_where_and_what_to_do_and_survives_a_worker():
    error = InputError("probabilities sum to 1.3", where="votes.csv, row 7", remedy="normalise them")
    assert str(error) == "votes.csv, row 7: probabilities sum to 1.3; normalise them"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_what_one_process_claims_no_other_may_work_on(tmp_path):
    lock = tmp_path / "claims.lock"
    ask = (
        "import sys; from bayesaffect.files import claim\n"
        "with claim(sys.argv[1], sys.argv[2], wait=False) as mine: print(mine)"
    )

    def other(name):
        done = subprocess.run([sys.executable, "-c", ask, lock, name], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    with claim(lock, "a", wait=False) as mine:
        assert mine and other("a") == "False" and other("b") == "True"
    assert other("a") == "True"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("bad magic\nand more"), "bad magic"),
        (OSError("\n  no such file\n"), "no such file"),
        (EOFError(), "EOFError"),
        (RuntimeError(" \n"), "RuntimeError"),
    ],
)
def test_an_error_of_a_library_is_told_in_one_line_even_when_it_says_nothing(error, told):
    assert first_line(error) == told
