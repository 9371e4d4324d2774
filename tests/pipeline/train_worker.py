"""``bayesaffect train`` in a process of its own, on trials that are made here instead of recordings.

train_worker.py MAKER WORKSPACE [options of train]; MAKER is the file that has `make_trials`.
"""

import importlib.util
import sys
from pathlib import Path


def main(maker, workspace, *options):
    from bayesaffect import cli
    from bayesaffect.pipeline import prepare, settings

    spec = importlib.util.spec_from_file_location("maker", maker)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    prepare.prepare = lambda *_, **__: module.make_trials(subjects=6, clips=8)
    Path(workspace).mkdir(exist_ok=True)
    if not (Path(workspace) / "study.json").is_file():
        settings.save(settings.Settings("none", "mahnob"), Path(workspace))
    cli.main(["train", workspace, *options])


if __name__ == "__main__":
    main(*sys.argv[1:])
