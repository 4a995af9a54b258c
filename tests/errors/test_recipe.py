"""Bad recipes, and the error that each gets."""

import pytest

from tests.errors.case import OWN, TASK, Case, Parts, meaning, recipe
from tuneproof.methods import METHODS
from tuneproof.settings import TrainSettings

METHOD_NAMES = ", ".join(METHODS)
TRAIN_SETTINGS = ", ".join(TrainSettings.model_fields)


def arms(text: str, parts: Parts, *more: str) -> Case:
    """`check` of a good recipe but for its arms and what follows them; arms stand on line 2."""
    return recipe(f"{TASK}arms: {text}\n", parts, *more)


RECIPES = {
    "missing recipe": Case(
        ["check", "nowhere.yaml"],
        Parts("nowhere.yaml", "does not exist.", do="Name a recipe (.yaml), a task, or your own file."),
    ),
    "folder as recipe": Case(
        ["check", "folder.yaml"],
        Parts("folder.yaml", "is a folder, not a recipe.", do="Name a .yaml file."),
        files={"folder.yaml/x": ""},
    ),
    "binary recipe": recipe(
        b"task: \x00\x01\x02", Parts("recipe.yaml", "contains a zero byte, so it is not a text file.")
    ),
    "recipe in another encoding": recipe(
        "task: caf\u00e9".encode("latin-1"), Parts("recipe.yaml", "is not UTF-8 text (byte 9).")
    ),
    "recipe in utf-16": recipe(
        "task: sst2".encode("utf-16"), Parts("recipe.yaml", "is not UTF-8 text (byte 0).")
    ),
    "not YAML": recipe(
        "task: sst2\narms: [majority\nseeds: [0]\n",
        Parts(
            "recipe.yaml, line 3", "is not valid YAML: expected ',' or ']', but got ':'.", do="Fix the line."
        ),
    ),
    "tab": recipe(
        "task: sst2\narms:\n\t- majority\n",
        Parts(
            "recipe.yaml, line 3",
            "is not valid YAML: found character '\\t' that cannot start any token.",
            do="Fix the line.",
        ),
    ),
    "key twice": recipe(
        "task: sst2\narms: [majority]\ntask: imdb\n",
        Parts(
            "recipe.yaml, line 3",
            'is not valid YAML: found duplicate key "task" with value "imdb" (original value: "sst2").',
            do="Fix the line.",
        ),
    ),
    "anchor": recipe(
        "task: &t sst2\narms: [majority]\n",
        Parts("recipe.yaml, line 1", "contains an anchor or alias.", do="Write the value out."),
    ),
    "alias": recipe(
        "task: sst2\narms: *t\n",
        Parts("recipe.yaml, line 2", "contains an anchor or alias.", do="Write the value out."),
    ),
    "tag": recipe(
        "task: !!python/object:os.system x\n",
        Parts(
            "recipe.yaml, line 1",
            "contains the tag tag:yaml.org,2002:python/object:os.system.",
            do="Remove it.",
        ),
    ),
    "deep": recipe(
        "task: " + "[" * 100 + "]" * 100, Parts("recipe.yaml, line 1", "is nested deeper than 20 levels.")
    ),
    "large": recipe(
        "#" * 1_000_001, Parts("recipe.yaml", "is larger than 1,000,000 bytes, too large for a recipe.")
    ),
    "empty recipe": recipe(
        "", Parts("recipe.yaml", "contains no settings.", do="Start with task: and arms:.")
    ),
    "a list": recipe(
        "- task\n- arms\n", Parts("recipe.yaml", "contains no settings.", do="Start with task: and arms:.")
    ),
    "two documents": recipe(
        "task: sst2\n---\narms: [majority]\n",
        Parts(
            "recipe.yaml, line 2",
            "is not valid YAML: expected a single document in the stream, but found another document.",
            do="Fix the line.",
        ),
    ),
    "number key": recipe(
        "1: 2\n",
        Parts(
            "recipe.yaml",
            "1 is not a key of a recipe.",
            do="Allowed: task, models, arms, seeds, train_sizes, metrics, claim, tests, split, encode, "
            "audit, train, search, predict, decision, score, compute, prices, out.",
        ),
    ),
    "unknown key": recipe(
        TASK + "arms: [majority]\nseed: [0]\n",
        Parts("recipe.yaml, line 3", "seed is not a key of a recipe.", do="Did you mean seeds?"),
    ),
    "no task": recipe(
        "arms: [majority]\n", Parts("recipe.yaml", "task is missing.", do="Add task: ... to the recipe.")
    ),
    "no arms": recipe(TASK, Parts("recipe.yaml", "arms is missing.", do="Add arms: ... to the recipe.")),
    "unknown task": recipe(
        "task: sts2\narms: [majority]\n",
        Parts(
            "recipe.yaml, line 1",
            "task: 'sts2' is not a task.",
            do="Did you mean sst2? Your own file: labels: {path: FILE, text: COLUMN, label: COLUMN}.",
        ),
    ),
    "task list": recipe(
        "task: [sst2]\narms: [majority]\n",
        Parts(
            "recipe.yaml, line 1",
            "task is ['sst2'], not a task.",
            do="Write its name, or {name: {setting: value}}.",
        ),
    ),
    "labels without path": recipe(
        "task: labels\narms: [majority]\n",
        Parts("recipe.yaml, line 1", "task.labels: name either a file with path, or a data set with hub."),
    ),
    "unknown task setting": recipe(
        "task: {sst2: {paht: x}}\narms: [majority]\n",
        Parts("recipe.yaml, line 1", "task.sst2.paht is not a setting of sst2.", do="Did you mean path?"),
    ),
    "template without text": recipe(
        "task: {labels: {path: reviews.csv, template: hello}}\narms: [majority]\n",
        Parts(
            "recipe.yaml, line 1",
            "task.labels.template is 'hello'; it must contain {text} once.",
            do=meaning("task.labels.template"),
        ),
    ),
    "dev without test": recipe(
        "task: {labels: {path: reviews.csv, dev: a.csv}}\narms: [majority]\n",
        Parts("recipe.yaml, line 1", "task.labels: dev also needs test."),
    ),
    "hub without revision": recipe(
        "task: {labels: {hub: a/b}}\narms: [majority]\n",
        Parts(
            "recipe.yaml, line 1",
            "task.labels: hub needs a revision (the commit), so that the rows stay the same.",
        ),
    ),
    "demo with settings": recipe(
        "task: {demo: {path: x}}\narms: [majority]\n",
        Parts("recipe.yaml, line 1", "task.demo.path is not a setting of demo.", do="It has no settings."),
    ),
    "unknown method": arms(
        "[majority, lexicl]",
        Parts("recipe.yaml, line 2", "arms[1]: 'lexicl' is not a method.", do="Did you mean lexical?"),
    ),
    "unknown setting of a method": recipe(
        TASK + "models: [models/llama]\narms:\n  - majority\n  - lexical\n  - zero-shot\n"
        "  - few-shot: {shot: 4}\n",
        Parts(
            "recipe.yaml, line 7",
            "arms[3].few-shot.shot is not a setting of few-shot.",
            do="Did you mean shots?",
        ),
    ),
    "wrong type": arms(
        "[majority, {lexical: {ngrams: two}}]",
        Parts(
            "recipe.yaml, line 2",
            "arms[1].lexical.ngrams is 'two'; it should be a whole number.",
            do=meaning("arms.lexical.ngrams"),
        ),
    ),
    "out of bounds": arms(
        "[majority, {lexical: {ngrams: 9}}]",
        Parts(
            "recipe.yaml, line 2",
            "arms[1].lexical.ngrams is 9; it should be less than or equal to 4.",
            do=meaning("arms.lexical.ngrams"),
        ),
    ),
    "layers misspelt": arms(
        "[majority, {lora: {layers: top 2}}]",
        Parts(
            "recipe.yaml, line 2",
            "arms[1].lora.layers is 'top 2'; it should be all, or last N with N from 1, such as last 4.",
            do=meaning("arms.lora.layers"),
        ),
    ),
    "layers none": arms(
        "[majority, {full: {layers: last 0}}]",
        Parts(
            "recipe.yaml, line 2",
            "arms[1].full.layers is 'last 0'; it should be all, or last N with N from 1, such as last 4.",
            do=meaning("arms.full.layers"),
        ),
    ),
    "layers a number": arms(
        "[majority, {full: {layers: 4}}]",
        Parts(
            "recipe.yaml, line 2",
            "arms[1].full.layers is 4; it should be all, or last N with N from 1, such as last 4.",
            do=meaning("arms.full.layers"),
        ),
    ),
    "disk no amount": arms(
        "[majority]\ncompute: {disk: auto}",
        Parts(
            "recipe.yaml, line 3",
            "compute.disk is 'auto'; it should be an amount, such as 20GB.",
            do=meaning("compute.disk"),
        ),
    ),
    "bool for number": arms(
        "[majority, {lexical: {ngrams: true}}]",
        Parts(
            "recipe.yaml, line 2",
            "arms[1].lexical.ngrams is True; it cannot be true or false.",
            do=meaning("arms.lexical.ngrams"),
        ),
    ),
    "options not a map": arms(
        "[{lexical: 3}]",
        Parts(
            "recipe.yaml, line 2",
            "arms[0].lexical is 3; it should be a mapping of settings.",
            do="Allowed: name, ngrams, characters, strengths.",
        ),
    ),
    "arms not a list": arms(
        "majority", Parts("recipe.yaml, line 2", "arms is 'majority', not a list.", do="Write arms: [...].")
    ),
    "arms a map": arms(
        "{majority: {}}",
        Parts("recipe.yaml, line 2", "arms is {'majority': {}}, not a list.", do="Write arms: [...]."),
    ),
    "arms empty": arms("[]", Parts("recipe.yaml, line 2", "arms is empty.", do=f"Allowed: {METHOD_NAMES}.")),
    "arm a number": arms(
        "[3]",
        Parts(
            "recipe.yaml, line 2",
            "arms[0] is 3, not a method.",
            do="Write its name, or {name: {setting: value}}.",
        ),
    ),
    "arm two keys": arms(
        "[{majority: {}, lexical: {}}]",
        Parts(
            "recipe.yaml, line 2",
            "arms[0] is {'majority': {}, 'lexical': {}}, not a method.",
            do="Write its name, or {name: {setting: value}}.",
        ),
    ),
    "two arms one name": arms(
        "[lexical, {lexical: {ngrams: 1}}]",
        Parts(
            "recipe.yaml, line 2",
            "arms[1]: two arms are called 'lexical'.",
            do="Give one a name: {lexical: {name: ...}}.",
        ),
    ),
    "claim of no arm": arms(
        "[majority, lexical]\nclaim: {arm: lexicl, over: majority}",
        Parts(
            "recipe.yaml, line 3",
            "claim.arm: 'lexicl' is not an arm of this recipe.",
            do="Did you mean lexical?",
        ),
    ),
    "claim with itself": arms(
        "[majority, lexical]\nclaim: {arm: lexical, over: lexical}",
        Parts("recipe.yaml, line 3", "claim compares lexical with itself.", do="Name two arms."),
    ),
    "claim metric": arms(
        "[majority, lexical]\nclaim: {arm: lexical, over: majority, metric: acuracy}",
        Parts("recipe.yaml, line 3", "claim.metric: 'acuracy' is not a metric.", do="Did you mean accuracy?"),
    ),
    "claim half": arms(
        "[majority, lexical]\nclaim: {arm: lexical}",
        Parts("recipe.yaml, line 3", "claim.over is missing.", do="Add it."),
    ),
    "claim word": arms(
        "[majority, lexical]\nclaim: lexical",
        Parts(
            "recipe.yaml, line 3",
            "claim is 'lexical'; it should be a mapping of settings.",
            do="Allowed: arm, over, metric, margin.",
        ),
    ),
    "seeds number": arms(
        "[majority]\nseeds: 3",
        Parts("recipe.yaml, line 3", "seeds is 3, not a list.", do="Write seeds: [...]."),
    ),
    "seeds empty": arms(
        "[majority]\nseeds: []", Parts("recipe.yaml, line 3", "seeds is empty.", do="Write seeds: [0, 1, 2].")
    ),
    "seeds twice": arms(
        "[majority]\nseeds: [1, 1]",
        Parts("recipe.yaml, line 3", "seeds is [1, 1]: it has duplicates.", do="Write each number once."),
    ),
    "train sizes number": arms(
        "[majority]\ntrain_sizes: 50",
        Parts("recipe.yaml, line 3", "train_sizes is 50, not a list.", do="Write train_sizes: [...]."),
    ),
    "train sizes of one": arms(
        "[majority]\ntrain_sizes: [1, 20]",
        Parts(
            "recipe.yaml, line 3",
            "train_sizes contains 1.",
            do="A size is a whole number of items, 2 or more.",
        ),
    ),
    "train sizes twice": arms(
        "[majority]\ntrain_sizes: [20, 20]",
        Parts(
            "recipe.yaml, line 3", "train_sizes is [20, 20]: it has duplicates.", do="Write each number once."
        ),
    ),
    "unknown metric": arms(
        "[majority]\nmetrics: [brier, acuracy]",
        Parts("recipe.yaml, line 3", "metrics[1]: 'acuracy' is not a metric.", do="Did you mean accuracy?"),
    ),
    "class weights by another word": arms(
        "[majority, lexical]\ntrain: {class_weights: inverse}",
        Parts(
            "recipe.yaml, line 3",
            "train.class_weights is 'inverse'; it should be balanced, or weights by label such as {spam: 5, "
            "ham: 1}.",
            do=meaning("train.class_weights"),
        ),
    ),
    "class weight of zero": arms(
        "[majority, lexical]\ntrain: {class_weights: {positive: 0}}",
        Parts(
            "recipe.yaml, line 3",
            "train.class_weights: the weight of positive is 0; it should be a number above 0.",
            do=meaning("train.class_weights"),
        ),
    ),
    "class weight of no label": arms(
        "[majority, lexical]\ntrain: {class_weights: {positiv: 2}}",
        Parts("train.class_weights", "'positiv' is not a label of this study.", do="Did you mean positive?"),
    ),
    "class weights of questions": recipe(
        "task: squad_v2\narms: [majority]\ntrain: {class_weights: balanced}\n",
        Parts(
            "recipe.yaml, line 3",
            "train.class_weights is for tasks with labels, and squad_v2 is one of questions.",
            do="Leave it out.",
        ),
    ),
    "mean cost without costs": arms(
        "[majority, lexical]\nmetrics: [mean_cost]",
        Parts(
            "recipe.yaml, line 3",
            "metrics: mean_cost needs the costs of mistakes.",
            do="Write decision: {costs: {GOLD: {PREDICTED: COST}}}.",
        ),
    ),
    "threshold and costs": arms(
        "[majority, lexical]\ndecision: {threshold: dev, costs: {positive: {negative: 2}}}",
        Parts(
            "recipe.yaml, line 3",
            "decision is {'threshold': 'dev', 'costs': {'positive': {'negative': 2}}}; it has a threshold "
            "and costs: write one of them.",
        ),
    ),
    "negative cost": arms(
        "[majority, lexical]\ndecision: {costs: {positive: {negative: -2}}}",
        Parts(
            "recipe.yaml, line 3",
            "decision.costs: negative for positive costs -2; it should be a number from 0 to 1,000,000.",
            do=meaning("decision.costs"),
        ),
    ),
    "threshold by probabilities": arms(
        "[majority, lexical]\ndecision: {threshold: dev, metric: brier}",
        Parts(
            "decision.metric",
            "brier does not depend on the threshold.",
            do="Write decision: {metric: f1}, or recall_macro.",
        ),
    ),
    "metric of another kind of task": Case(
        ["check", "recipe.yaml"],
        Parts(
            "metrics",
            "squad_exact is for tasks of questions, and this is one of labels.",
            allowed="Allowed: accuracy, precision, precision_macro, precision_weighted, recall, "
            "recall_macro, recall_weighted, f1, f1_macro, f1_weighted, expected_calibration_error, "
            "brier, log_loss, mean_cost.",
        ),
        files={"recipe.yaml": f"{TASK}arms: [majority]\nmetrics: [squad_exact]\n"},
    ),
    "train sizes beyond train": Case(
        ["check", "recipe.yaml"],
        Parts(
            "train_sizes",
            "500 is not a sample of the 28 train items.",
            allowed="Allowed: 2 (one item per label) to 27.",
            do="Arms on all train items always run.",
        ),
        files={"recipe.yaml": f"{TASK}arms: [majority]\ntrain_sizes: [20, 500]\n"},
    ),
    "slices without a column": Case(
        ["check", "reviews.csv", *OWN, "--slices", "sourse", "--arms", "majority"],
        Parts(
            "reviews.csv",
            "there is no column sourse.",
            do="Name one of its columns with slices: review, sentiment.",
        ),
    ),
    "slices twice": Case(
        ["check", "reviews.csv", *OWN, "--slices", "review,review", "--arms", "majority"],
        Parts(
            "command line", "task.labels.slices: one is repeated or empty.", do=meaning("task.labels.slices")
        ),
    ),
    "seeds negative": arms(
        "[majority]\nseeds: [-1]",
        Parts(
            "recipe.yaml, line 3", "seeds contains -1.", do="A seed is a whole number from 0 to 2147483647."
        ),
    ),
    "seeds fraction": arms(
        "[majority]\nseeds: [0.5]",
        Parts(
            "recipe.yaml, line 3", "seeds contains 0.5.", do="A seed is a whole number from 0 to 2147483647."
        ),
    ),
    "seeds null": arms(
        "[majority]\nseeds:",
        Parts("recipe.yaml, line 3", "seeds is None, not a list.", do="Write seeds: [...]."),
    ),
    "out number": arms(
        "[majority]\nout: 3", Parts("recipe.yaml, line 3", "out is 3, not the name of a folder.")
    ),
    "section wrong": arms(
        "[majority]\ntrain: {lr: 3}",
        Parts("recipe.yaml, line 3", "train.lr is not a setting of train.", do=f"Allowed: {TRAIN_SETTINGS}."),
    ),
    "section a word": arms(
        "[majority]\ntrain: fast",
        Parts(
            "recipe.yaml, line 3",
            "train is 'fast'; it should be a mapping of settings.",
            do=f"Allowed: {TRAIN_SETTINGS}.",
        ),
    ),
    "nan": arms(
        "[majority]\ntrain: {clip_norm: .nan}",
        Parts(
            "recipe.yaml, line 3",
            "train.clip_norm is nan; it should be a finite number.",
            do=meaning("train.clip_norm"),
        ),
    ),
    "inf": arms(
        "[{full: {learning_rate: .inf}}]",
        Parts(
            "recipe.yaml, line 2",
            "arms[0].full.learning_rate is inf; it should be a number above 0 and at most 1, or auto.",
            do=meaning("arms.full.learning_rate"),
        ),
    ),
    "literal": arms(
        "[majority]\ntrain: {schedule: liner}",
        Parts(
            "recipe.yaml, line 3",
            "train.schedule is 'liner'; it should be 'linear', 'cosine' or 'constant'.",
            do=meaning("train.schedule"),
        ),
    ),
    "shares neg": arms(
        "[majority]\nsplit: {shares: [80, -20]}",
        Parts("split.shares", "80:-20 has a share that is not above zero.", do="Write [70, 10, 20]."),
    ),
    "shares four": arms(
        "[majority]\nsplit: {shares: [1, 1, 1, 1]}",
        Parts(
            "recipe.yaml, line 3",
            "split.shares is [1, 1, 1, 1]; it should have at most 3 entries.",
            do=meaning("split.shares"),
        ),
    ),
    "shares inf": arms(
        "[majority]\nsplit: {shares: [.inf, 1]}",
        Parts(
            "recipe.yaml, line 3",
            "split.shares[0] is inf; it should be a finite number.",
            do=meaning("split.shares"),
        ),
    ),
    "shares word": arms(
        "[majority]\nsplit: {shares: '80:20'}",
        Parts(
            "recipe.yaml, line 3", "split.shares is '80:20'; it should be a list.", do=meaning("split.shares")
        ),
    ),
    "official without test": arms(
        "[majority]\nsplit: {kind: official}",
        Parts(
            "split.kind",
            "is official, but the source has no test set.",
            do="Set split.kind: shares, or name a test file.",
        ),
    ),
    "train size 1": arms(
        "[majority]\nsplit: {train_size: 1}",
        Parts(
            "recipe.yaml, line 3",
            "split.train_size is 1; it should be greater than or equal to 2.",
            do=meaning("split.train_size"),
        ),
    ),
    "train size word": arms(
        "[majority]\nsplit: {train_size: all}",
        Parts(
            "recipe.yaml, line 3",
            "split.train_size is 'all'; it should be a whole number.",
            do=meaning("split.train_size"),
        ),
    ),
    "set form": arms(
        "[majority]",
        Parts("--set train.epochs", "is not of the form NAME=VALUE.", do="Write it like --set split.seed=1."),
        "--set",
        "train.epochs",
    ),
    "set empty": arms(
        "[majority]",
        Parts("--set =3", "is not of the form NAME=VALUE.", do="Write it like --set split.seed=1."),
        "--set",
        "=3",
    ),
    "set nowhere": arms(
        "[majority]",
        Parts("--set arms.lora.rank=3", "no entry is called lora.", allowed="Allowed: majority."),
        "--set",
        "arms.lora.rank=3",
    ),
    "set below a scalar": arms(
        "[majority]",
        Parts("recipe.yaml", "out is {'a': {'b': 3}}, not the name of a folder."),
        "--set",
        "out.a.b=3",
    ),
    "set unknown": arms(
        "[majority]",
        Parts("--set train.epoch=3", "train.epoch is not a setting of train.", do="Did you mean epochs?"),
        "--set",
        "train.epoch=3",
    ),
    "set bad yaml": arms(
        "[majority]",
        Parts(
            "--set arms=[a, line 1",
            "is not valid YAML: expected ',' or ']', but got '<stream end>'.",
            do="Fix the line.",
        ),
        "--set",
        "arms=[a",
    ),
    "set value": arms(
        "[majority]",
        Parts(
            "--set train.epochs=0",
            "train.epochs is 0; it should be greater than or equal to 1.",
            do=meaning("train.epochs"),
        ),
        "--set",
        "train.epochs=0",
    ),
    "a price without that of the machine": arms(
        "[majority]",
        Parts(
            "recipe.yaml",
            "prices is {'per_label': 1}; it has no per_hour: give the price of an hour of this machine, "
            "0 if it is free.",
        ),
        "--set",
        "prices.per_label=1",
    ),
    "a price of another arm": arms(
        "[majority]\nprices: {per_hour: 1, arms: {gpt: {per_thousand_items: 1}}}",
        Parts(
            "recipe.yaml, line 3",
            "prices.arms.gpt: 'gpt' is not an arm of this recipe.",
            do="Allowed: majority.",
        ),
    ),
    "half a price of tokens": arms(
        "[majority]\nprices: {per_hour: 1, per_million_tokens: {input: 1}}",
        Parts("recipe.yaml, line 3", "prices.per_million_tokens.output is missing.", do="Add it."),
    ),
    "an unknown price of an arm": arms(
        "[majority]\nprices: {per_hour: 1, arms: {majority: {per_thousand_item: 1}}}",
        Parts(
            "recipe.yaml, line 3",
            "prices.arms.majority.per_thousand_item is not a setting of majority.",
            do="Did you mean per_thousand_items?",
        ),
    ),
    "a price that is no number": arms(
        "[majority]\nprices: {per_hour: cheap}",
        Parts(
            "recipe.yaml, line 3",
            "prices.per_hour is 'cheap'; it should be a number.",
            do=meaning("prices.per_hour"),
        ),
    ),
    "set dots": arms(
        "[majority]",
        Parts("recipe.yaml", "train. is not a setting of train.", do=f"Allowed: {TRAIN_SETTINGS}."),
        "--set",
        "train..epochs=0",
    ),
    "no model": arms(
        "[majority, head]",
        Parts(
            "recipe.yaml, line 2",
            "the arm head needs a model, but models is empty.",
            do="Add models: [distilbert] to the recipe, or --models distilbert.",
        ),
    ),
    "models word": arms(
        "[head]\nmodels: distilbert",
        Parts("recipe.yaml, line 3", "models is 'distilbert', not a list.", do="Write models: [...]."),
    ),
    "models setting": arms(
        "[head]\nmodels: [{models/bert: {revison: x}}]",
        Parts(
            "recipe.yaml, line 3",
            "models[0].revison is not a setting of models.",
            do="Did you mean revision?",
        ),
    ),
    "models null": arms(
        "[head]\nmodels: [null]",
        Parts(
            "recipe.yaml, line 3",
            "models[0] is None, not a model.",
            do="Write its name, or {name: {setting: value}}.",
        ),
    ),
    "recipe and arms": Case(
        ["run", "recipe.yaml", "--arms", "majority"],
        Parts(
            "recipe.yaml",
            "a recipe cannot be combined with --arms.",
            do="Edit the recipe, or change one setting with --set.",
        ),
        files={"recipe.yaml": "task: sst2\n"},
    ),
    "recipe and text": Case(
        ["run", "recipe.yaml", "--text", "a"],
        Parts(
            "recipe.yaml",
            "a recipe cannot be combined with --text.",
            do="Edit the recipe, or change one setting with --set.",
        ),
        files={"recipe.yaml": "task: sst2\n"},
    ),
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_bad_recipe_gets_its_error(name, provoke):
    provoke(RECIPES[name])
