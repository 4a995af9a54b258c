"""Bad requests to count parameters, and the error that each gets."""

import pytest

from tests.errors.case import Before, Case, Parts, meaning, offline


def counted(arguments: str, parts: Parts, before: Before = None, **files: str) -> Case:
    """`count` with these arguments; files are configurations, by their stems."""
    named = {f"{stem}.json": text for stem, text in files.items()}
    return Case(["count", *arguments.split()], parts, files=named, before=before)


COUNTS = {
    "unknown model": counted(
        "llama-3.2-1",
        Parts(
            "model",
            "'llama-3.2-1' is not a known name, a hub id (owner/name) or a folder.",
            allowed="Did you mean llama-3.2-1b?",
        ),
    ),
    "hub": counted(
        "models/nowhere",
        Parts(
            "models/nowhere",
            "is not on this machine and could not be downloaded (LocalEntryNotFoundError).",
            do="Connect to the network, or name a folder that holds the model.",
        ),
        before=offline,
    ),
    "another revision": counted(
        "llama-3.2-1b@other",
        Parts(
            "meta-llama/Llama-3.2-1B",
            "is not on this machine and could not be downloaded (LocalEntryNotFoundError).",
            do="Connect to the network, or name a folder that holds the model.",
        ),
        before=offline,
    ),
    "no config": counted(
        "models/none",
        Parts(
            "models/none",
            "holds no config.json, so it is not a model's folder.",
            do="Name the folder that save_pretrained wrote, a hub id, or a name of `tuneproof show models`.",
        ),
    ),
    "adapter": counted(
        "models/adapter",
        Parts(
            "models/adapter",
            "holds a whole model and an adapter beside it.",
            do="If the adapter is merged into the model, take adapter_config.json out of the folder.",
        ),
    ),
    "broken JSON": counted("own.json", Parts("own.json", "is not JSON: <library>."), own="{"),
    "list": counted("own.json", Parts("own.json", "is not a JSON object."), own="[]"),
    "no type": counted(
        "own.json",
        Parts(
            "own.json",
            "model_type null is not an architecture that transformers has.",
            allowed="The checkpoint's own code is never run.",
            do="Name another model.",
        ),
        own="{}",
    ),
    "type as list": counted(
        "own.json",
        Parts(
            "own.json",
            'model_type ["llama"] is not an architecture that transformers has.',
            allowed="The checkpoint's own code is never run.",
            do="Name another model.",
        ),
        own='{"model_type": ["llama"]}',
    ),
    "remote code": counted(
        "own.json",
        Parts(
            "own.json",
            'model_type "own" is not an architecture that transformers has.',
            allowed="The checkpoint's own code is never run.",
            do="Name another model.",
        ),
        own='{"model_type": "own", "auto_map": {"AutoConfig": "code.Own"}}',
    ),
    "misfit": counted(
        "own.json",
        Parts("own.json", "hidden_size is 'wide'; it must be a whole number."),
        own='{"model_type": "llama", "hidden_size": "wide"}',
    ),
    "no heads": counted(
        "own.json",
        Parts("own.json", "num_attention_heads is 0; it must be at least 1."),
        own='{"model_type": "llama", "num_attention_heads": 0}',
    ),
    "negative layers": counted(
        "own.json",
        Parts("own.json", "n_layers is -3; it must be at least 1."),
        own='{"model_type": "distilbert", "n_layers": -3}',
    ),
    "no model": counted(
        "own.json",
        Parts("own.json", "intermediate_size is -3; it must be at least -1."),
        own='{"model_type": "llama", "intermediate_size": -3}',
    ),
    "huge": counted(
        "own.json",
        Parts("own.json", "num_hidden_layers is 1000000; no model has more than 10000."),
        own='{"model_type": "llama", "num_hidden_layers": 1000000}',
    ),
    "quantised": counted(
        "own.json",
        Parts("own.json", "the weights are quantised.", do="Name the model with its full weights."),
        own='{"model_type": "llama", "quantization_config": {"bits": 4}}',
    ),
    "seq2seq": counted(
        "own.json",
        Parts(
            "model",
            "the architecture t5 is neither a causal nor a masked language model.",
            allowed="Models that continue a text or fill in a mask can be used.",
            do="Name another one.",
        ),
        own='{"model_type": "t5"}',
    ),
    "unknown method": counted(
        "demo --method lorra", Parts("--method", "'lorra' is not a method.", do="Did you mean lora?")
    ),
    "prompt method": counted(
        "demo --method zero-shot",
        Parts(
            "--method",
            "zero-shot trains no weights of a model, so there is nothing to count.",
            allowed="Allowed: embeddings, head, lp-ft, lora, qlora, full.",
        ),
    ),
    "set unknown": counted(
        "demo --method lora --set lora.rnk=8",
        Parts("--set lora.rnk=8", "lora.rnk is not a setting of lora.", do="Did you mean rank?"),
    ),
    "set bound": counted(
        "demo --method lora --set lora.rank=0",
        Parts(
            "--set lora.rank=0",
            "lora.rank is 0; it should be greater than or equal to 1.",
            do=meaning("arms.lora.rank"),
        ),
    ),
    "set another method": counted(
        "demo --method lora --set qlora.rank=8",
        Parts(
            "--set qlora.rank=8",
            "qlora is not the requested method, lora.",
            do="Write --set lora.SETTING=VALUE.",
        ),
    ),
    "set without a name": counted(
        "demo --method lora --set rank=8",
        Parts(
            "--set rank=8", "rank is not the requested method, lora.", do="Write --set lora.SETTING=VALUE."
        ),
    ),
    "set without a value": counted(
        "demo --method lora --set lora.rank",
        Parts("--set lora.rank", "is not of the form NAME=VALUE.", do="Write it like --set split.seed=1."),
    ),
    "set without a method": counted(
        "demo --set lora.rank=8",
        Parts(
            "--set lora.rank=8",
            "this sets an option of a method, but no method is named.",
            do="Add --method NAME.",
        ),
    ),
    "unknown task": counted(
        "demo --task sts2", Parts("--task", "'sts2' is not a task.", do="Did you mean sst2?")
    ),
    "own file's task": counted(
        "demo --task labels",
        Parts(
            "--task",
            "the number of labels of labels depends on your file.",
            do="Use --head labels:N instead.",
        ),
    ),
    "unknown head": counted(
        "demo --head labels:1",
        Parts(
            "--head",
            "'labels:1' is not a head.",
            allowed="Allowed: labels:N (N from 2 to 100,000), span, words.",
        ),
    ),
    "task and head": counted(
        "demo --head span --task sst2",
        Parts("--head", "--task already names the head.", do="Give only one of them."),
    ),
    "no head": counted(
        "distilbert --method lora",
        Parts(
            "--task",
            "lora needs a head here, and its size is not given.",
            do="Add --task sst2, --head labels:2 or --head span.",
        ),
    ),
    "encoder words": counted(
        "distilbert --method lora --head words",
        Parts("--method lora", "distilbert is an encoder: it continues no words. Use objective: head."),
    ),
    "encoder words alone": counted(
        "distilbert --head words",
        Parts(
            "--head words",
            "distilbert is an encoder and cannot continue a text.",
            do="Use --head labels:2 or --head span.",
        ),
    ),
    "a head in words": counted(
        "demo --method head --head words",
        Parts(
            "--head",
            "head trains a head, not words.",
            do="Use --head labels:N or --head span, or the method lora or full.",
        ),
    ),
    "words and labels": counted(
        "demo --method lora --set lora.objective=words --head labels:2",
        Parts("--head", "labels contradicts objective: words.", do="Remove one of them."),
    ),
    "a head of no size": counted(
        "demo --method lora --set lora.objective=head",
        Parts(
            "--task",
            "lora needs a head here, and its size is not given.",
            do="Add --task sst2, --head labels:2 or --head span.",
        ),
    ),
    "words and a span": counted(
        "demo --method lora --set lora.objective=words --head span",
        Parts("--head", "span contradicts objective: words.", do="Remove one of them."),
    ),
    "no span class": counted(
        "gemma-2-2b --method lora --head span",
        Parts(
            "gemma-2-2b",
            "it has no span head: transformers <library> has no AutoModelForQuestionAnswering for gemma2.",
            do="Let it answer in words, or use another model.",
        ),
    ),
    "attention unknown": counted(
        "own.json --method lora --set lora.targets=attention --task sst2",
        Parts("--method lora", "the names of own's attention layers are not known. Use targets: all-linear."),
        own='{"model_type": "gpt2"}',
    ),
    "layers all of them": Case(
        ["count", "distilbert", "--method", "full", "--set", "full.layers=last 6", "--task", "sst2"],
        Parts(
            "--method full",
            "distilbert has 6 layers: nothing is below its last 6. Use layers: last 1 to last 5, or all.",
        ),
    ),
    "layers that share weights": Case(
        ["count", "own.json", "--method", "full", "--set", "full.layers=last 2", "--task", "sst2"],
        Parts(
            "AlbertForSequenceClassification",
            "has no list of its 12 layers, each with weights of its own.",
            do="Write layers: all.",
        ),
        files={"own.json": '{"model_type": "albert"}'},
    ),
    "layers read past their adapters": counted(
        "own.json --method lora --set lora.targets=[out_proj]",
        Parts(
            "MambaForCausalLM",
            "has no linear layer out_proj in its blocks.",
            "Allowed in targets: in_proj, x_proj.",
            "Did you mean x_proj?",
        ),
        own='{"model_type": "mamba"}',
    ),
}


@pytest.mark.parametrize("name", COUNTS)
def test_a_bad_count_gets_its_error(name, provoke):
    provoke(COUNTS[name])
