"""A search on dev before training: successive halving, equal budgets, resumable, test items unread."""

import json

import pytest

from tests.arms.small import arm_of, folder_of, results, small_recipe, steps_of
from tests.monitoring import run_recorded, run_until
from tests.tiny_models import tiny_model
from tuneproof.arms import search
from tuneproof.context.monitor import Progress
from tuneproof.errors import NonfiniteError, RunError
from tuneproof.objectives.head import HeadObjective

RATES = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]
FAST = {"self_test": False}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("models") / "bert", "distilbert")


def recipe_of(tmp_path, model, arms=("full",), out="study", **values):
    values = {"learning_rate": RATES, **values}
    return small_recipe(tmp_path, [model], list(arms), out=out, seeds=[0], train=FAST, search=values)


def losses_by_hand(monkeypatch, table):
    """Dev losses by learning rate (a list: rung by rung) instead of training; returns (rate, steps)."""
    trained = []

    def dev_loss(self):
        rate = self.context.options.learning_rate
        trained.append((rate, self.steps))
        return table[rate] if not isinstance(table[rate], list) else table[rate].pop(0)

    monkeypatch.setattr(search._TrialTraining, "dev_loss", dev_loss)
    return trained


def test_the_best_third_of_a_rung_goes_on_and_the_last_one_trains(tmp_path, model, monkeypatch):
    table = {1e-4: 0.9, 3e-4: [0.5, 0.3], 1e-3: [0.4, 0.35], 3e-3: 0.6, 1e-2: 0.8}
    trained = losses_by_hand(monkeypatch, table)
    recipe = recipe_of(tmp_path, model)
    run_recorded(recipe)
    about = arm_of(recipe, "full")
    short, long = trained[0][1], trained[-1][1]
    assert trained == [*((rate, short) for rate in RATES), (3e-4, long), (1e-3, long)]
    assert long == short * 5 // 2
    assert about["chosen"]["learning_rate"] == about["options"]["learning_rate"] == 3e-4
    assert about["search"]["chosen"] == {"learning_rate": 3e-4}
    assert about["search"]["settings"] == {"learning_rate": RATES}
    kept = [(t["settings"]["learning_rate"], t["rung"]) for t in about["search"]["trials"] if t["kept"]]
    assert kept == [(3e-4, 0), (1e-3, 0), (3e-4, 1)]
    assert max(step["learning_rate"] for step in steps_of(recipe, "full")) == 3e-4
    assert about["time_s"]["search"] >= 0
    trials_file = folder_of(recipe, "full") / "checkpoints" / "search.json"
    assert trials_file.exists() == ("checkpoint" in about)  # an arm that may go on needs its choice


def test_of_equal_losses_the_first_wins(tmp_path, model, monkeypatch):
    losses_by_hand(monkeypatch, dict.fromkeys(RATES, 0.5))
    recipe = recipe_of(tmp_path, model)
    run_recorded(recipe)
    assert arm_of(recipe, "full")["search"]["chosen"] == {"learning_rate": RATES[0]}


def test_every_arm_has_the_same_budget_however_many_settings_it_tries(tmp_path, model):
    values = {"learning_rate": [1e-3, 3e-3], "rank": [2, 4, 8], "train.batch_size": [4, 8], "budget": 3}
    recipe = recipe_of(tmp_path, model, ["lora", "full"], **values)
    run_recorded(recipe)
    budgets = []
    for name, count in (("lora", 12), ("full", 4)):
        record = arm_of(recipe, name)["search"]
        first = [trial for trial in record["trials"] if trial["rung"] == 0]
        assert len(first) == count
        items = sum(t["steps"] * t["settings"]["train.batch_size"] for t in record["trials"])
        assert items <= 8 * record["budget_steps"]
        assert items >= 0.6 * 8 * record["budget_steps"]  # what is left are remainders of a tiny study
        budgets.append(record["budget_steps"])
    assert budgets[0] == budgets[1]
    assert budgets[0] == 3 * 2 * 5, "three times two epochs of five steps of 8 items"
    assert "full has no rank" in " ".join(arm_of(recipe, "full")["notes"])


def test_the_arm_ends_with_the_bits_of_an_arm_that_sets_what_was_chosen(tmp_path, model):
    searched = recipe_of(tmp_path, model, [{"lora": {"rank": 4}}], rank=[2, 8])
    run_recorded(searched)
    chosen = arm_of(searched, "lora")["search"]["chosen"]
    plain = small_recipe(tmp_path, [model], [{"lora": chosen}], out="plain", seeds=[0], train=FAST)
    run_recorded(plain)
    found, expected = results(searched, "lora"), results(plain, "lora")
    assert {name: found["chosen"].pop(name) for name in chosen} == chosen
    assert found == expected


def test_a_killed_search_resumes_at_the_next_trial_to_the_same_bits(tmp_path, model, monkeypatch):
    values = {"learning_rate": [1e-3, 3e-3], "rank": [2, 4]}
    whole, killed = (recipe_of(tmp_path, model, ["lora"], out, **values) for out in ("whole", "killed"))
    run_recorded(whole)
    plain, started = search._TrialTraining.dev_loss, []

    def kill_at(number):
        def dev_loss(self):
            started.append(self.context.options.learning_rate)
            loss = plain(self)
            if len(started) == number:
                raise KeyboardInterrupt
            return loss

        monkeypatch.setattr(search._TrialTraining, "dev_loss", dev_loss)

    for number in (1, 3, 8):
        kill_at(number)
        with pytest.raises(KeyboardInterrupt):
            run_recorded(killed)
    kill_at(0)
    run_recorded(killed)
    assert results(killed, "lora") == results(whole, "lora")
    trials = len(arm_of(whole, "lora")["search"]["trials"])
    assert len(started) == trials + 3  # three were cut off
    without_time = [
        [{**trial, "time_s": 0} for trial in arm_of(recipe, "lora")["search"]["trials"]]
        for recipe in (whole, killed)
    ]
    assert without_time[0] == without_time[1]
    assert arm_of(killed, "lora")["search"]["trials"][0]["time_s"] > 0


def test_a_search_stopped_between_two_steps_resumes(tmp_path, model):
    recipe = recipe_of(tmp_path, model)
    run_until(recipe, lambda event: isinstance(event, Progress) and event.note.startswith("loss"))
    folder = folder_of(recipe, "full")
    assert not (folder / "arm.json").exists()
    run_recorded(recipe)
    assert arm_of(recipe, "full")["status"] == "done"


@pytest.mark.parametrize("damage", ["{", '{"fingerprint": "x", "checksum": "x", "trials": []}'])
def test_damaged_trials_are_set_aside_and_run_again(tmp_path, model, monkeypatch, damage):
    recipe = recipe_of(tmp_path, model)
    table = dict.fromkeys(RATES, 0.5)
    monkeypatch.setattr(search, "with_settings", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run_recorded(recipe)
    monkeypatch.undo()
    losses_by_hand(monkeypatch, {**table, 1e-3: [0.1, 0.1]})
    file = folder_of(recipe, "full") / "checkpoints" / "search.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(damage)
    run_recorded(recipe)
    about = arm_of(recipe, "full")
    assert about["search"]["chosen"] == {"learning_rate": 1e-3}
    assert "was renamed bad-search.json; the search starts again." in " ".join(about["notes"])


def test_no_test_item_is_read_before_the_choice(tmp_path, model, monkeypatch):
    order, predict, run = [], HeadObjective.predict, search._Search.run

    def noted(self, model, examples, name):
        ids = {example.id for example in self.context.splits.test}
        order.append("test" if name == "test" or ids & {example.id for example in examples} else "dev")
        return predict(self, model, examples, name)

    def run_alone(self):
        order.clear()  # of what was timed to predict the study's cost
        chosen = run(self)
        order.append("choice")
        return chosen

    monkeypatch.setattr(HeadObjective, "predict", noted)
    monkeypatch.setattr(search._Search, "run", run_alone)
    run_recorded(recipe_of(tmp_path, model))
    assert set(order[: order.index("choice")]) == {"dev"}
    assert order.count("test") == 1
    assert order[-1] == "test"


def test_a_diverged_trial_loses_and_is_recorded(tmp_path, model, monkeypatch):
    plain = search.fit

    def fit(model, batches, loss, count, optimizer, *rest, **options):
        rate = optimizer.param_groups[0]["lr"]
        for step in plain(model, batches, loss, count, optimizer, *rest, **options):
            if rate >= 3e-3:
                raise NonfiniteError("step 1", "the loss is nan.")
            yield step

    monkeypatch.setattr(search, "fit", fit)
    recipe = recipe_of(tmp_path, model)
    run_recorded(recipe)
    record = arm_of(recipe, "full")["search"]
    assert [trial["dev_loss"] is None for trial in record["trials"]][:5] == [False] * 3 + [True] * 2
    assert record["chosen"]["learning_rate"] < 3e-3
    json.dumps(record, allow_nan=False)


def test_where_every_trial_diverges_the_arm_fails_and_says_so(tmp_path, model, monkeypatch):
    losses_by_hand(monkeypatch, dict.fromkeys(RATES))
    recipe = recipe_of(tmp_path, model)
    with pytest.raises(RunError):
        run_recorded(recipe)
    about = arm_of(recipe, "full")
    assert about["reason"] == "full: all 5 trials of its search diverged. Search lower learning rates."
