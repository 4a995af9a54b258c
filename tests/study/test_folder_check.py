"""What a killed run left in a study's folder is gone after the next one."""

from tests.arms.small import small_recipe
from tests.monitoring import run_recorded
from tuneproof.study.folder_check import remove_workers_of_before, worker_folder


def leave(folder, ranks) -> None:
    for rank in ranks:
        path = worker_folder(folder, rank)
        path.mkdir(parents=True, exist_ok=True)
        (path / "study.json").write_text("{}")


def test_a_study_that_goes_on_alone_removes_the_folders_of_killed_workers(tmp_path) -> None:
    recipe = small_recipe(tmp_path, [], ["majority"])
    leave(tmp_path / "study", (1, 3))
    run_recorded(recipe.model_copy(update={"out": str(tmp_path / "study")}))
    assert (tmp_path / "study" / "report.html").is_file()
    assert not list((tmp_path / "study").glob("process-*"))


def test_only_the_folders_of_workers_that_this_run_does_not_have_are_removed(tmp_path) -> None:
    leave(tmp_path, (1, 2, 3))
    for name in ("process-x", "process-", "process-12a"):
        (tmp_path / name).mkdir()
    (tmp_path / "process-4").symlink_to(tmp_path / "process-x")
    (tmp_path / "process-x" / "own.txt").touch()
    remove_workers_of_before(tmp_path, 3)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"process-1", "process-2", "process-4", "process-x", "process-", "process-12a"}
    assert (tmp_path / "process-x" / "own.txt").exists()
