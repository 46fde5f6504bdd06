"""Models that embed texts, as stages use them: found before a run, named in its keys, and loaded
when the first text is to be read."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from filters.paraphrases import SemanticSettings
from flows.decontaminate_settings import DecontaminateSettings
from generators.embedded import LoadedModel, identify_model, locate_model
from generators.errors import ModelError
from generators.text_encoder import VERSION, embed_texts, load_encoder, locate_encoder


class Encoder:
    """A model that embeds texts."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._loaded: LoadedModel | None = None

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors of texts [N, D], at length 1."""
        loaded = self._loaded or load_encoder(self.name)
        self._loaded = loaded
        return embed_texts(loaded, texts)


def name_encoder(name: str) -> list[str]:
    """What decides a text's vector: the model's weights, and how texts are read."""
    return [identify_model(locate_encoder(name)), VERSION]


def find_encoder_problems(
    semantic: SemanticSettings | None, decontaminate: DecontaminateSettings | None
) -> Iterator[tuple[str, str]]:
    """The settings that name a model which is not there."""
    neighbours = decontaminate and decontaminate.neighbours
    named = {"dedup.semantic.model": semantic, "decontaminate.neighbours.model": neighbours}
    for setting, settings in named.items():
        if settings is not None:
            try:
                locate_model(locate_encoder(settings.model))
            except ModelError as error:
                yield setting, " ".join(str(error).splitlines())
