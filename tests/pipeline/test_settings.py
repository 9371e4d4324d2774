import pytest

from bayesaffect.errors import InputError
from bayesaffect.files import write_json
from bayesaffect.io import store
from bayesaffect.pipeline import settings as study_settings


def test_settings_come_back_as_they_were(tmp_path):
    before = study_settings.from_options(tmp_path, "e4", window=40.0, members=2, draws=70, nested=False, seed=9)
    study_settings.save(before, tmp_path)
    assert study_settings.load(tmp_path) == before
    assert before.reading == {"window_s": 40.0, "step_s": 20.0} and before.sampling.tune == 70


def test_an_option_goes_where_it_belongs(tmp_path):
    before = study_settings.from_options(tmp_path, "mahnob")
    after = study_settings.change(before, members=7, epochs=3, chains=2, folds=9)
    assert (after.ensemble.members, after.training.epochs, after.sampling.chains, after.folds) == (7, 3, 2, 9)
    assert after.sampling.draws == before.sampling.draws
    assert study_settings.from_options(tmp_path, "mahnob", eeg_input="raw").extraction.eeg_input == "raw"


def test_an_unknown_setting_is_named(tmp_path):
    study_settings.save(study_settings.from_options(tmp_path, "mahnob"), tmp_path)
    write_json(tmp_path / "study.json", store.read_settings(tmp_path) | {"colour": "blue"})
    with pytest.raises(InputError, match=r"unknown settings \['colour'\]"):
        study_settings.load(tmp_path)


def test_a_workspace_belongs_to_one_data_set(tmp_path):
    study_settings.save(study_settings.from_options(tmp_path / "a", "mahnob"), tmp_path)
    with pytest.raises(InputError, match="name another workspace"):
        study_settings.save(study_settings.from_options(tmp_path / "b", "mahnob"), tmp_path)


def test_two_folds_cannot_be_nested(tmp_path):
    with pytest.raises(InputError, match="--flat"):
        study_settings.from_options(tmp_path, "mahnob", folds=2)
    assert study_settings.from_options(tmp_path, "mahnob", folds=2, nested=False).folds == 2
