"""What this machine is missing is said before anything trains."""

from tuneproof.recipe.recipe import recipe_from
from tuneproof.study.checks import missing_for_metrics


def test_a_metric_that_will_not_be_scored_is_named_once_before_training(monkeypatch):
    monkeypatch.setenv("WORDNET", "/nowhere")
    task = {"questions": {"path": "faq.jsonl"}}
    findings = missing_for_metrics(recipe_from({"task": task, "arms": ["majority"]}))
    assert [finding.level for finding in findings] == ["warning"]
    assert "meteor is not computed: WordNet" in findings[0].message
    assert missing_for_metrics(recipe_from({"task": "sst2", "arms": ["majority"]})) == []
