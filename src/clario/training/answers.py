"""The loss of answers, with the logits of few positions at a time.

Gemma's vocabulary has 262,144 words: the logits of a batch of 24 diaries took 62 GB of a GPU. Here only the
positions whose next token belongs to an answer are multiplied with the output layer, `chunk` of them at a time,
and their gradients are made at once, so that no logits are kept for the way back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from clario.training.prepared import PAD, Array


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded token ids, and for each token of an answer: where it is told from, what it is, what its loss weighs.

    Shapes: ids (examples, longest); rows, columns, targets and weights (answer tokens). `owners` gives the number
    of each answer token's example in the list that the batch was made of.
    """

    ids: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor
    owners: Array


def collate(
    ids: Sequence[Array], answers: Sequence[int], weights: Sequence[float], device: torch.device | str = "cpu"
) -> Batch:
    """A batch of examples, padded on the right, where a causal model needs no mask.

    Args:
        ids: the tokens of each example.
        answers: the place of each example's first answer token.
        weights: what the loss of each of its answer tokens is multiplied with.
    """
    padded = np.full((len(ids), max(map(len, ids))), PAD, np.int64)
    for row, own in zip(padded, ids, strict=True):
        row[: len(own)] = own
    counts = [len(own) - first for own, first in zip(ids, answers, strict=True)]
    owners = np.repeat(np.arange(len(ids)), counts)
    columns = np.concatenate([np.arange(first, len(own)) for own, first in zip(ids, answers, strict=True)])
    arrays = (
        padded,
        owners,
        columns - 1,
        padded[owners, columns],
        np.repeat(np.asarray(weights, np.float32), counts),
    )
    padded_ids, rows, before, targets, own = (torch.from_numpy(array).to(device) for array in arrays)
    return Batch(padded_ids, rows, before, targets, own, owners)


def loss_of(model: Any, batch: Batch, chunk: int, use_cache: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """The weighted sum of the losses, to go back from, and the loss of each answer token.

    Args:
        model: a causal language model of transformers, without PEFT's wrapping.
        chunk: positions whose logits exist at once.
    """
    told = model.get_decoder()(input_ids=batch.ids, use_cache=use_cache).last_hidden_state
    head = model.get_output_embeddings().weight
    cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
    found = _Losses.apply(told[batch.rows, batch.columns], head, batch.targets, batch.weights, cap, chunk)
    return found[0], found[1]


class _Losses(torch.autograd.Function):
    """Cross entropy over a large vocabulary. The gradient by the hidden states is made on the way forward."""

    @staticmethod
    def forward(
        ctx: Any, told: torch.Tensor, head: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor,
        cap: float | None, chunk: int,
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        losses, slopes = torch.empty(len(targets), device=told.device), torch.zeros_like(told)
        for start in range(0, len(targets), chunk):
            part = slice(start, start + chunk)
            with torch.enable_grad():
                own = told[part].detach().requires_grad_(ctx.needs_input_grad[0])
                logits = functional.linear(own, head.to(own.dtype)).float()
                if cap:
                    logits = cap * torch.tanh(logits / cap)
                found = functional.cross_entropy(logits, targets[part], reduction="none")
                losses[part] = found.detach()
                if ctx.needs_input_grad[0]:
                    (slopes[part],) = torch.autograd.grad((found * weights[part]).sum(), own)
            del logits, found
        ctx.save_for_backward(slopes)
        ctx.mark_non_differentiable(losses)
        return (losses * weights).sum(), losses

    @staticmethod
    def backward(ctx: Any, *slopes: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (own,) = ctx.saved_tensors
        return own * slopes[0].to(own.dtype), None, None, None, None, None
