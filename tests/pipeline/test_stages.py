from bayesaffect.pipeline import stages


def test_cost_of_every_stage_is_kept_and_told(tmp_path):
    with stages.timed(tmp_path, "prepare") as facts:
        facts["peak_bytes"] = 2**30
    with stages.timed(tmp_path, "train"):
        pass
    (tmp_path / "prepared").mkdir()
    (tmp_path / "prepared" / "a").write_bytes(bytes(3 * 2**20))
    assert set(stages.read(tmp_path)) == {"prepare", "train"}
    time, disk = stages.sentences(tmp_path)
    assert "prepare 0.0 s, at most 1 GiB per process; train" in time
    assert disk == "disk: 3 MB (prepared 3 MB)"


def test_a_damaged_record_is_started_anew(tmp_path):
    (tmp_path / stages.FILE).write_text("{half")
    with stages.timed(tmp_path, "fuse"):
        pass
    assert set(stages.read(tmp_path)) == {"fuse"}


def test_commands_are_remembered_in_the_order_in_which_they_made_the_workspace(tmp_path):
    for command in ("fuse --draws 50", "fuse --draws 50", "fuse --draws 100", "fuse --draws 50"):
        stages.note_command(tmp_path, command)
    assert stages.commands(tmp_path) == ["fuse --draws 50", "fuse --draws 100", "fuse --draws 50"]


def test_memory_of_this_process_is_plausible():
    before = stages.peak_memory()
    block = bytearray(200 * 2**20)
    block[::4096] = b"x" * len(block[::4096])
    assert 20 * 2**20 < before and stages.peak_memory() > 150 * 2**20
