"""Train a LoRA adapter on Gemma from a prepared folder.

    python -m clario.training.qlora PREPARED OUTPUT [--resume] [--smoke] [--seed N] [--minutes M] [--base BASE]
        [--recipe RECIPE]

runs on a machine that has PyTorch, transformers, PEFT, safetensors and NumPy (bitsandbytes for 4 bits), and this
package's source, and nothing else of Clario.

The loop is our own rather than TRL's SFTTrainer or transformers' Trainer, for what those cannot be told without
overriding private parts: several kinds of example in every step, each with its weight; passes filled up to a
number of tokens; logits at the answers' positions only; a learning rate that follows the clock when time is short;
and checkpoints that are whole or not there, from which a run goes on to the very same weights.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from clario.errors import InputError, ModelError
from clario.training import adapter, answers, base_model, batches, checkpoints, recipes
from clario.training.prepared import VALIDATION, Prepared, read
from clario.training.recipes import Optimizer

SMOKE_STEPS: Final = 2
SMOKE_BATCH: Final = 2
_TOLD: Final = 10  # steps between two lines of the log
_MARGIN: Final = 0.03  # of a loss of the same tokens computed in two ways, in bfloat16
Log = Callable[[str], None]


def train(
    prepared: Path,
    output: Path,
    *,
    resume: bool = False,
    smoke: bool = False,
    seed: int = 0,
    minutes: float | None = None,
    base: str | None = None,
    recipe: str | None = None,
    log: Log = print,
) -> dict[str, Any]:
    """Write output/adapter, an adapter of PEFT with training.json and a model card; gives what training.json says.

    Args:
        prepared: see `clario.training.prepared`.
        resume: go on from the last whole checkpoint in `output`, if there is one.
        smoke: two steps on a few examples.
        minutes: of training, of all runs that were resumed together, after which the schedule must be over.
        base: where the base is, if not where the prepared folder says.
        recipe: another recipe than the one prepared for, if it takes the same examples.

    Raises:
        InputError: `prepared` is broken, or the checkpoints belong to another run.
        ModelError: not the expected base, a package or memory that is missing, or a loss that is not finite.
    """
    course = Course(_with(read(prepared), recipe), output, smoke, seed, minutes, base, log)
    if resume:
        course.resume()
    else:
        checkpoints.clear(output / "checkpoints")
    try:
        course.run()
    except torch.OutOfMemoryError:
        raise ModelError("out of memory: lower `tokens` of the recipe, then `chunk`, and train anew") from None
    return adapter.save(course.model, output / "adapter", course.record())


class Course:
    """A run: model, optimiser, streams of examples, and what was measured so far."""

    def __init__(
        self, prepared: Prepared, output: Path, smoke: bool, seed: int, minutes: float | None, base: str | None,
        log: Log,
    ) -> None:  # fmt: skip
        self.prepared, self.recipe, self.output, self.log = prepared, prepared.recipe, output, log
        self.smoke, self.seed, self.limit = smoke, seed, minutes * 60 if minutes else None
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.set_float32_matmul_precision("high")
        torch.manual_seed(seed)
        self.base = _base(prepared, output, base, self.device)
        self.model = adapter.wrap(self.base, self.recipe.lora)
        self._check_ways()
        self.parameters = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        self.optimizer = _optimizer(self.recipe.optimizer, list(self.parameters.values()), self.device)
        kinds = prepared.examples
        self.sizes = [min(s.batch, SMOKE_BATCH) if smoke else s.batch for s in self.recipe.sources]
        self.streams = [
            batches.Stream(kinds[source.kind].lengths, size, seed, number)
            for number, (source, size) in enumerate(zip(self.recipe.sources, self.sizes, strict=True))
        ]
        first = len(kinds[self.recipe.sources[0].kind])
        self.steps = SMOKE_STEPS if smoke else -(-first * self.recipe.epochs // self.sizes[0])
        self.step, self.seconds, self.tokens = 0, 0.0, 0
        self.losses: list[dict[str, float]] = []
        self.validation: list[dict[str, float]] = []
        self.size = sum(weight.numel() for weight in self.parameters.values())
        log(f"{self.steps} steps on {self.device}; {self.size:,} weights learn")

    @property
    def progress(self) -> float:
        """How much of the schedule is over, by steps or by the clock, whichever is further."""
        clock = self.seconds / self.limit if self.limit else 0.0
        return max(self.step / self.steps, clock)

    def run(self) -> None:
        """Learn until the schedule is over, with a checkpoint now and then."""
        recent: list[Mapping[str, float]] = []
        while self.progress < 1:
            started = time.monotonic()
            recent.append(self._learn())
            self.step += 1
            self.seconds += time.monotonic() - started
            if self.step % _TOLD == 0 or self.progress >= 1:
                self._tell(recent)
                recent = []
            if self.step % self.recipe.save_every == 0 and self.progress < 1:
                self._measure()
                self._save()
        self._measure()

    def _learn(self) -> dict[str, float]:
        """One step; the mean loss of each kind's answer tokens."""
        examples, kinds, weights = self._drawn()
        scale = self.recipe.optimizer.rate * _scale(self.recipe.optimizer, self.progress, 1 / self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = scale
        sums = torch.zeros(len(self.streams), device=self.device)
        self.model.train()
        for own in batches.passes([len(ids) for ids, _ in examples], self.recipe.tokens):
            ids, first = zip(*(examples[n] for n in own), strict=True)
            batch = answers.collate(ids, first, [weights[n] for n in own], self.device)
            with self._half():
                loss, each = answers.loss_of(self.base, batch, self.recipe.chunk)
            loss.backward()
            owners = torch.from_numpy(kinds[np.array(own)[batch.owners]]).to(self.device)
            sums.index_add_(0, owners, each)
            self.tokens += batch.ids.numel()
        torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.recipe.optimizer.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return self._means(sums.tolist(), examples, kinds)

    def _drawn(self) -> tuple[list[tuple[Any, int]], Any, list[float]]:
        """The step's examples (ids, first answer token), each one's kind's number, and its tokens' weight."""
        examples: list[tuple[Any, int]] = []
        kinds: list[int] = []
        weights: list[float] = []
        for number, (source, stream) in enumerate(zip(self.recipe.sources, self.streams, strict=True)):
            found = self.prepared.examples[source.kind]
            own = [(found.ids[n], found.answers[n]) for n in stream.at(self.step)]
            told = sum(len(ids) - first for ids, first in own)
            examples += own
            kinds += [number] * len(own)
            weights += [source.weight / told] * len(own)
        return examples, np.array(kinds), weights

    def _means(self, sums: list[float], examples: list[tuple[Any, int]], kinds: Any) -> dict[str, float]:
        counts = np.bincount(kinds, [len(ids) - first for ids, first in examples], len(sums))
        means = {s.kind: sums[n] / counts[n] for n, s in enumerate(self.recipe.sources)}
        if not all(np.isfinite(list(means.values()))):
            raise ModelError(f"the loss of step {self.step + 1} is not finite: lower the recipe's rate")
        return means

    def _tell(self, recent: list[Mapping[str, float]]) -> None:
        means = {kind: round(float(np.mean([one[kind] for one in recent])), 4) for kind in recent[0]}
        self.losses.append({"step": self.step, **means})
        told = ", ".join(f"{kind} {loss:.3f}" for kind, loss in means.items())
        self.log(f"step {self.step}/{self.steps}, loss: {told}; {self.seconds:.0f} s")

    def _measure(self) -> None:
        """The mean loss of the validation diaries' answer tokens."""
        found = self.prepared.examples[VALIDATION]
        numbers = range(min(len(found), SMOKE_BATCH) if self.smoke else len(found))
        if not numbers:
            return
        total, count = 0.0, 0
        self.model.eval()
        for own in batches.passes([len(found.ids[n]) for n in numbers], self.recipe.tokens):
            ids, first = [found.ids[n] for n in own], [found.answers[n] for n in own]
            batch = answers.collate(ids, first, [1.0] * len(own), self.device)
            with torch.no_grad(), self._half():
                total += float(answers.loss_of(self.base, batch, self.recipe.chunk)[0])
            count += len(batch.targets)
        self.validation.append({"step": self.step, "loss": round(total / count, 4)})
        self.log(f"step {self.step}, validation loss {total / count:.4f}")

    def _check_ways(self) -> None:
        """Assert one loss with a cache, without, and with activations computed again: some versions differ."""
        found = self.prepared.examples[self.recipe.sources[0].kind]
        count = len(found.ids[0]) - found.answers[0]
        batch = answers.collate(found.ids[:1], found.answers[:1], [1 / count], self.device)
        chunk = self.recipe.chunk
        self.model.eval()
        with torch.no_grad(), self._half():
            ways = [float(answers.loss_of(self.base, batch, chunk, cached)[0]) for cached in (False, True)]
            if self.recipe.checkpointing:
                _compute_again(self.base)
                self.model.train()
                with torch.enable_grad():
                    ways.append(answers.loss_of(self.base, batch, chunk)[0].item())
        if max(ways) - min(ways) > _MARGIN * max(ways):
            told = ", ".join(f"{way:.3f}" for way in ways)
            raise ModelError(
                f"this transformers gives one text several losses ({told}: without a cache, with one, with "
                "checkpointing): take another version"
            )

    def _half(self) -> Any:
        """Multiplies in bfloat16 on a GPU; the adapter itself is kept in float32."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda")

    def _identity(self) -> dict[str, Any]:
        recipe = json.loads(json.dumps(self.recipe.record()))
        return {"prepared": self.prepared.sha256, "recipe": recipe, "seed": self.seed, "smoke": self.smoke}

    def _save(self) -> None:
        rng = {"cpu": torch.get_rng_state()}
        if self.device == "cuda":
            rng["cuda"] = torch.cuda.get_rng_state()
        weights = {name: weight.detach() for name, weight in self.parameters.items()}
        tensors = {"weights": weights, "optimizer": self.optimizer.state_dict(), "rng": rng}
        state = {
            "identity": self._identity(), "seconds": self.seconds, "tokens": self.tokens,
            "losses": self.losses, "validation": self.validation,
        }  # fmt: skip
        checkpoints.save(self.output / "checkpoints", self.step, tensors, state)

    def resume(self) -> None:
        """Go on where the last whole checkpoint was made, if there is one."""
        found = checkpoints.latest(self.output / "checkpoints", self.log)
        if found is None:
            self.log("no checkpoint: from the beginning")
            return
        tensors, state = found
        if state["identity"] != self._identity():
            raise InputError(f"{self.output} holds checkpoints of other data, recipe or seed; name another folder")
        with torch.no_grad():
            for name, weight in self.parameters.items():
                weight.copy_(tensors["weights"][name])
        self.optimizer.load_state_dict(tensors["optimizer"])
        torch.set_rng_state(tensors["rng"]["cpu"])
        if self.device == "cuda" and "cuda" in tensors["rng"]:
            torch.cuda.set_rng_state(tensors["rng"]["cuda"])
        self.step, self.seconds, self.tokens = state["step"], state["seconds"], state["tokens"]
        self.losses, self.validation = state["losses"], state["validation"]
        self.log(f"resumed after step {self.step}")

    def record(self) -> dict[str, Any]:
        """What training.json says."""
        cuda = self.device == "cuda"
        return {
            "recipe": self.recipe.record(),
            "data": {k: v for k, v in self.prepared.record.items() if k not in ("recipe", "base")},
            "base": {"name": self.recipe.base, **self.prepared.record["base"]},
            "seed": self.seed, "smoke": self.smoke, "steps": self.step, "planned_steps": self.steps,
            "weights": self.size,
            "tokens": self.tokens, "seconds": round(self.seconds, 1), "losses": self.losses,
            "validation": self.validation, "device": torch.cuda.get_device_name() if cuda else "cpu",
            "peak_gigabytes": round(torch.cuda.max_memory_allocated() / 1e9, 2) if cuda else None,
        }  # fmt: skip


def _with(prepared: Prepared, name: str | None) -> Prepared:
    """The prepared folder with another recipe, which must read the same tokens."""
    if name is None:
        return prepared
    recipe, own = recipes.load(name), prepared.recipe
    same = all(getattr(recipe, f) == getattr(own, f) for f in ("base", "system_turn", "shots", "length"))
    if not same or not {source.kind for source in recipe.sources} <= set(prepared.examples):
        raise InputError(f"the recipe {recipe.name} needs other examples than were prepared; prepare them")
    return replace(prepared, recipe=recipe)


def _base(prepared: Prepared, output: Path, base: str | None, device: str) -> Any:
    recipe = prepared.recipe
    place = base or base_model.find(prepared.folder / "base", output / "base")
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    model = base_model.load(place, dtype, recipe.quantization, device)
    if recipe.base == base_model.GEMMA3_270M or base_model.is_270m(model):
        base_model.check_loss(model)
    model.requires_grad_(False)
    return model


def _compute_again(model: Any) -> None:
    """Turn checkpointing of activations on, by its name since transformers 5.23 or the one before."""
    told = {"use_reentrant": False}
    if hasattr(model, "activation_checkpointing_enable"):
        model.activation_checkpointing_enable(activation_checkpointing_kwargs=told)
    else:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=told)


def _optimizer(told: Optimizer, weights: list[Any], device: str) -> Any:
    if told.name == "adamw_torch":
        return torch.optim.AdamW(weights, lr=told.rate, weight_decay=told.decay, fused=device == "cuda")
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError:
        raise ModelError("adamw_8bit needs bitsandbytes: pip install 'clario[gemma]'") from None
    return AdamW8bit(weights, lr=told.rate, weight_decay=told.decay)


def _scale(told: Optimizer, progress: float, one: float) -> float:
    """What the highest rate is multiplied with, for the step (`one` of the run long) that begins at `progress`."""
    if progress < told.warmup:
        return min(1.0, (progress + one) / told.warmup)
    rest = (progress - told.warmup) / (1 - told.warmup)
    return {"cosine": 0.5 + 0.5 * float(np.cos(np.pi * rest)), "linear": 1 - rest, "constant": 1.0}[told.schedule]


def main() -> None:
    """The command line of a machine that has no more of Clario than this."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("output", type=Path)
    for flag in ("--smoke", "--resume"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--recipe", help="another recipe for the same examples, as a .toml file")
    parser.add_argument("--base", help="a folder, GGUF file or hub id, instead of the prepared folder's")
    given = vars(parser.parse_args())
    try:
        train(given.pop("prepared"), given.pop("output"), log=lambda line: print(line, flush=True), **given)
    except (InputError, ModelError) as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
