"""The encoder of `mini` in PyTorch: a BERT of six layers, and the heads on top of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

HEADS = 12
DIMENSIONS = 256  # of the vectors that mentions and terms are compared by
EPSILON = 1e-12
DROPOUT = 0.1


@dataclass(frozen=True, slots=True)
class Settings:
    """How long and how fast to learn, and how much of each kind a step has."""

    steps: int = 800
    rate: float = 2.5e-4
    heads: float = 4.0  # the heads' rate is so many times the encoder's
    diaries: int = 96
    moved: float = 0.3  # the share of spans whose ends are moved for the assertion
    assertion: float = 0.3  # the weight of the assertions' loss
    linking: float = 0.3  # the weight of the linker's loss where tags are learnt, too
    lay: int = 1024
    alone: int = 256
    sentences: int = 512
    names: int = 512
    definitions: int = 128
    renew: int = 50  # steps between two readings of the bank
    seed: int = 0


def half(device: torch.device) -> torch.autocast:
    """Half precision where there is a GPU."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


class Layer(nn.Module):
    """One layer of BERT: attention and two linear maps, each with its residual and norm."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.attend = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.norm1 = nn.LayerNorm(width, EPSILON)
        self.wide = nn.Linear(width, inner)
        self.narrow = nn.Linear(inner, width)
        self.norm2 = nn.LayerNorm(width, EPSILON)
        self.drop = nn.Dropout(DROPOUT)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """`states` [batch, pieces, width]; `mask` [batch, 1, 1, pieces], True where there is a piece."""
        batch, pieces, width = states.shape
        heads = self.attend(states).view(batch, pieces, 3, HEADS, width // HEADS).permute(2, 0, 3, 1, 4)
        dropout = DROPOUT if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(*heads.unbind(0), attn_mask=mask, dropout_p=dropout)
        mixed = self.mix(mixed.transpose(1, 2).reshape(batch, pieces, width))
        states = self.norm1(states + self.drop(mixed))
        return self.norm2(states + self.drop(self.narrow(functional.gelu(self.wide(states)))))


class Encoder(nn.Module):
    """Word pieces to states. The embeddings of words keep the base's values: few texts would only bend them."""

    def __init__(self, words: int, positions: int, width: int, inner: int, layers: int) -> None:
        super().__init__()
        self.words = nn.Embedding(words, width)
        self.words.weight.requires_grad_(False)
        self.positions = nn.Embedding(positions, width)
        self.norm = nn.LayerNorm(width, EPSILON)
        self.layers = nn.ModuleList(Layer(width, inner) for _ in range(layers))
        self.drop = nn.Dropout(DROPOUT)

    def forward(self, ids: Tensor) -> Tensor:
        """`ids` [batch, pieces], 0 after the end of a text; gives [batch, pieces, width]."""
        places = torch.arange(ids.shape[1], device=ids.device)
        states = self.drop(self.norm(self.words(ids) + self.positions(places)))
        mask = (ids != 0)[:, None, None, :]
        for layer in self.layers:
            states = layer(states, mask)
        return states  # type: ignore[no-any-return]

    @property
    def width(self) -> int:
        """The length of a state."""
        return self.words.embedding_dim


def from_arrays(arrays: Mapping[str, Any], layers: int | None = None) -> Encoder:
    """An encoder with the weights of base.npz (or of a trained encoder), or with its first `layers`."""
    words, width = arrays["words"].shape
    inner = arrays["layers.0.wide.weight"].shape[0]
    found = 1 + max(int(name.split(".")[1]) for name in arrays if name.startswith("layers."))
    encoder = Encoder(words, arrays["positions"].shape[0], width, inner, layers or found)
    state = {_name(name): torch.from_numpy(np.asarray(array, np.float32)) for name, array in arrays.items()}
    encoder.load_state_dict({name: state[name] for name in encoder.state_dict()})
    return encoder


def _name(name: str) -> str:
    return f"{name}.weight" if name in ("words", "positions") else name


def to_arrays(encoder: Encoder) -> dict[str, Any]:
    """The weights of an encoder under the names of base.npz, float32."""
    arrays = {name: value.detach().float().cpu().numpy() for name, value in encoder.state_dict().items()}
    for name in ("words", "positions"):
        arrays[name] = arrays.pop(f"{name}.weight")
    return arrays


class Linker(nn.Module):
    """Vectors of phrases and of spans in their diary, to be compared by their cosine."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.project = nn.Linear(encoder.width, DIMENSIONS)
        nn.init.orthogonal_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def phrases(self, ids: Tensor) -> Tensor:
        """[batch, pieces] to unit vectors [batch, DIMENSIONS]: the mean state between [CLS] and [SEP]."""
        inside = ids != 0
        ends = inside.sum(1) - 1
        inside[:, 0] = False
        inside[torch.arange(len(ids), device=ids.device), ends] = False
        states = self.encoder(ids)
        weights = inside[..., None].to(states.dtype)
        return self.unit((states * weights).sum(1) / weights.sum(1).clamp(min=1))

    def spans(self, ids: Tensor, spans: Tensor) -> Tensor:
        """Unit vectors of `spans` [n, 3] (text, first piece, piece after the last) of the texts `ids`."""
        return self.unit(mean_of(self.encoder(ids), spans))

    def unit(self, means: Tensor) -> Tensor:
        """Mean states, projected and scaled to length one."""
        return functional.normalize(self.project(means).float(), dim=-1)


def mean_of(states: Tensor, spans: Tensor) -> Tensor:
    """The mean state of each span [n, 3] (text, first, after the last) of `states` [batch, pieces, width]."""
    sums = functional.pad(states.float().cumsum(1), (0, 0, 1, 0))
    text, first, last = spans.unbind(1)
    return (sums[text, last] - sums[text, first]) / (last - first)[:, None]


def padded(texts: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """Texts as one array of ids, 0 after the end of each."""
    array = np.zeros((len(texts), max(map(len, texts))), np.int64)
    for row, text in zip(array, texts, strict=True):
        row[: len(text)] = text
    return torch.from_numpy(array).to(device, non_blocking=True)
