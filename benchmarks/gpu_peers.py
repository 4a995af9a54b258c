"""What Part D runs in processes of its own: labels scored and answers written by us and by the peers in turn.

In: prompts' sizes, a model's folder, a device. Out: how far the results lie apart, and ratios of times.
Knows nothing of: bars, rows.
"""

import statistics
from collections import Counter
from importlib.util import find_spec
from typing import Any

import numpy as np

from benchmarks.alternating import alternate, timed
from benchmarks.gpu_prompts import Prompts

LABELS = 2
TOKENS = (200, 780)  # each of them one word of the stand-in's tokenizer, so that lm-eval reads as many
KERNELS = ("fmha", "flash", "attention", "sdpa", "softmax")


class Loaded:
    """A model of the product's own loading, on its device, and prompts of random tokens."""

    def __init__(self, prompts: dict[str, Any], folder: str, device: str) -> None:
        import torch

        from tuneproof.context.compute import make_compute
        from tuneproof.context.model_spec import make_model_spec
        from tuneproof.models.load import load_model
        from tuneproof.recipe.recipe import recipe_from

        self.prompts, self.device = Prompts(**prompts), device
        compute = {"device": device, "precision": self.prompts.precision}
        recipe = recipe_from(
            {
                "task": "demo",
                "models": [folder],
                "arms": ["zero-shot"],
                "compute": compute,
                "encode": {"max_length": 4096},
            }
        )
        self.spec = make_model_spec(recipe.models[0], recipe.encode)
        self.compute = make_compute(recipe.compute, 512)
        spec, dtype = self.spec, self.compute.frozen_dtype
        torch.manual_seed(0)
        loaded = load_model(spec.source, spec.config, spec.tokenizer, spec.family, head="words", dtype=dtype)
        self.model = loaded.model.to(self.compute.device).eval()
        self.model.generation_config.eos_token_id = None  # an answer has all its tokens
        self.model.generation_config.pad_token_id = 0
        self.encoded = self._encoded()

    def _encoded(self) -> Any:
        """EncodedPrompts: `shared` tokens, then `own` different ones; labels of `new` tokens."""
        from tuneproof.data.encode import EncodedPrompts

        draw, sizes = np.random.default_rng(0), self.prompts
        start = draw.integers(*TOKENS, sizes.shared)
        lengths = draw.integers(max(2, sizes.own // 2), sizes.own + 1, sizes.items)
        rows = [np.concatenate([[1], start, draw.integers(*TOKENS, length)]) for length in lengths]
        labels = [draw.integers(*TOKENS, sizes.new) for _ in range(LABELS)]
        for number, label in enumerate(labels):
            label[0] = TOKENS[1] + number
        tokens_N = np.array([len(row) + sizes.new for row in rows])
        return EncodedPrompts(
            rows,
            [tuple(labels)] * sizes.items,
            rows,
            tokens_N,
            tokens_N,
            np.zeros(sizes.items, bool),
            counts={},
            chat=False,
            first="",
        )

    def peer(self) -> Any:
        """lm-evaluation-harness on the same model; None where it is not installed."""
        if find_spec("lm_eval") is None:
            return None
        from lm_eval.models.huggingface import HFLM

        sizes = {"batch_size": self.prompts.batch, "max_length": 4096}
        return HFLM(pretrained=self.model, tokenizer=self.spec.tokenizer, device=self.device, **sizes)

    def alternate(self, ours: Any, peers: dict[str, Any]) -> tuple[dict[str, str], float]:
        """Each peer's time over ours, and our seconds, after one call of each that does not count."""
        spreads, seconds = {}, []
        for name, theirs in peers.items():
            ours(), theirs()
            turns = alternate(
                3 if self.device == "cuda" else 1,
                lambda: timed(ours, self.device),
                lambda work=theirs: timed(work, self.device),
            )
            spreads[name] = turns.spread
            seconds += turns.seconds
        return spreads, statistics.median(seconds)


def score_beside(prompts: dict[str, Any], folder: str, device: str) -> dict[str, Any]:
    """Score labels by us, by whole rows and by lm-eval: differences in nats, ties, ratios of times."""
    from benchmarks.label_scoring import scores_by_peer
    from tuneproof.inference.label_likelihood import score_labels
    from tuneproof.models.oom import AdaptiveBatchSize

    loaded = Loaded(prompts, folder, device)
    batch, peer = loaded.prompts.batch, loaded.peer()

    def ours() -> Any:
        with loaded.compute.autocast():
            size = AdaptiveBatchSize(batch)
            return score_labels(loaded.model, loaded.encoded, 0, size, loaded.compute.device)

    peers: dict[str, Any] = {"whole rows": lambda: _whole_rows(loaded)}
    if peer is not None:
        peers["lm-eval"] = lambda: scores_by_peer(peer, loaded.encoded)
    mine, theirs = ours(), _whole_rows(loaded)
    ratios, _ = loaded.alternate(ours, peers)
    return {
        "far": float(np.abs(mine - theirs).max()),
        "finite": bool(np.isfinite(mine).all()),
        "ties": int((mine[:, 0] == mine[:, 1]).sum()),
        "other_labels": int((mine.argmax(1) != theirs.argmax(1)).sum()),
        "ratios": ratios,
    }


def _whole_rows(loaded: Loaded) -> Any:
    """The labels' log-likelihoods from a row for each prompt and label: [N, C]."""
    import torch

    from tuneproof.data.tokens import pad_batch

    encoded, new = loaded.encoded, loaded.prompts.new
    rows = [
        (item, label, np.concatenate([encoded.contexts[item], tokens]))
        for item, labels in enumerate(encoded.continuations)
        for label, tokens in enumerate(labels)
    ]
    scores_NC = np.zeros((len(encoded.contexts), LABELS))
    for at in range(0, len(rows), loaded.prompts.batch):
        part = rows[at : at + loaded.prompts.batch]
        batch = pad_batch([ids for _, _, ids in part], 0, "left")
        batch = {name: tensor.to(loaded.compute.device) for name, tensor in batch.items()}
        with torch.inference_mode(), loaded.compute.autocast():
            logits = loaded.model(**batch, use_cache=False, logits_to_keep=new + 1).logits
        logs = logits[:, :-1].float().log_softmax(-1)
        golds = batch["input_ids"][:, -new:, None]
        sums = logs.gather(2, golds).sum((1, 2)).cpu().numpy()
        for (item, label, _), value in zip(part, sums, strict=True):
            scores_NC[item, label] = value
    return scores_NC


def write_beside(prompts: dict[str, Any], folder: str, device: str) -> dict[str, Any]:
    """Write answers by us, by `generate` and by lm-eval: how many are equal, tokens/s, ratios of times."""
    from types import SimpleNamespace

    from benchmarks.question_generation import generated_tokens
    from tuneproof.inference.generate import generate_answers
    from tuneproof.models.oom import AdaptiveBatchSize

    loaded = Loaded(prompts, folder, device)
    sizes, tokenizer, peer = loaded.prompts, loaded.spec.tokenizer, loaded.peer()

    def ours() -> list[str]:
        size, target = AdaptiveBatchSize(sizes.batch), loaded.compute.device
        with loaded.compute.autocast():
            return generate_answers(loaded.model, tokenizer, loaded.encoded, 0, size, sizes.new, target)

    def generate() -> list[str]:
        with loaded.compute.autocast():
            rows = generated_tokens(loaded.model, loaded.encoded.prompt_ids, sizes.batch, sizes.new, device)
        return [tokenizer.decode(row, skip_special_tokens=True).strip() for row in rows]

    peers: dict[str, Any] = {"generate": generate}
    if peer is not None:
        settings = {"until": ["\n\n"], "max_gen_toks": sizes.new, "do_sample": False}
        texts = [tokenizer.decode(row[1:]) for row in loaded.encoded.prompt_ids]
        requests = [SimpleNamespace(args=(text, settings)) for text in texts]
        peers["lm-eval"] = lambda: peer.generate_until(requests, disable_tqdm=True)
    mine, theirs = ours(), generate()
    ratios, seconds = loaded.alternate(ours, peers)
    pairs = list(zip(mine, theirs, strict=True))
    return {
        "equal": sum(a == b for a, b in pairs),
        "equal_beginnings": sum(a.split()[:1] == b.split()[:1] for a, b in pairs),
        "tokens_per_s": sizes.items * sizes.new / seconds,
        "ratios": ratios,
    }


def count_kernels(prompts: dict[str, Any], folder: str, device: str) -> dict[str, int]:
    """The names of attention kernels that scoring runs, and how often."""
    from torch.profiler import ProfilerActivity, profile

    from tuneproof.inference.label_likelihood import score_labels
    from tuneproof.models.oom import AdaptiveBatchSize

    loaded = Loaded(prompts, folder, device)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]

    def score() -> None:
        with loaded.compute.autocast():
            size = AdaptiveBatchSize(loaded.prompts.batch)
            score_labels(loaded.model, loaded.encoded, 0, size, loaded.compute.device)

    score()
    with profile(activities=activities) as profiled:
        score()
    names = Counter(
        event.name[:80] for event in profiled.events() if any(word in event.name.lower() for word in KERNELS)
    )
    return dict(names.most_common())
