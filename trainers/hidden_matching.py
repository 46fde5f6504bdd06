"""Hidden-state distillation beside an objective: which layers are read, and the loss's own weights.

The projections of `trainers.hidden_states` belong to the training and not to the student: the
optimizer moves them, checkpoints keep them, and the finished student knows nothing of them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from generators.errors import ConfigError, InputError
from trainers.added_losses import HiddenSettings
from trainers.fresh_models import override_config
from trainers.hidden_states import HiddenStateMatcher, LayerPair, check_pairs, spread_pairs
from trainers.settings import Student
from trainers.students import read_configuration

WEIGHTS = "projections.safetensors"


class HiddenMatching:
    """The pairs of layers of one student and one teacher, and how much their distance counts."""

    def __init__(
        self,
        settings: HiddenSettings,
        student: Any,
        teacher: Any,
        *,
        seed: int = 0,
        processes: int = 1,
    ) -> None:
        """`student` and `teacher` are models. Raises ConfigError for layers that are not there,
        and for a learned projection in several processes: nobody would average its gradient."""
        pairs = list_pairs(
            settings, count_layers(student, "student"), count_layers(teacher, "teacher")
        )
        self.weight = settings.weight
        self.student_layers = sorted({pair.student for pair in pairs})
        self.teacher_layers = sorted({pair.teacher for pair in pairs})
        self.matcher = HiddenStateMatcher(
            pairs,
            find_width(student),
            find_width(teacher),
            kind=settings.kind,
            learned=settings.learned,
            seed=seed,
        ).to(student.device)
        _check_processes(processes, bool(self.parameters))

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The projections' weights, for the optimizer; often there are none."""
        return list(self.matcher.parameters())

    def measure(self, student: Mapping[int, Tensor], teacher: Mapping[int, Tensor]) -> Tensor:
        """The mean distance of the pairs' states at each token [N]."""
        return self.matcher(student, teacher)

    def save(self, folder: Path) -> None:
        """Keep the projections beside a checkpoint."""
        from safetensors.torch import save_file

        if self.parameters:
            save_file(self.matcher.state_dict(), folder / WEIGHTS)

    def restore(self, folder: Path) -> None:
        """Take the projections of a checkpoint. Raises InputError where it has none."""
        from safetensors.torch import load_file

        if not self.parameters:
            return
        if not (folder / WEIGHTS).is_file():
            raise InputError(
                f"{folder / WEIGHTS}: is missing, so the projections of this training are lost.\n"
                "Delete the checkpoint and train from the beginning."
            )
        self.matcher.load_state_dict(load_file(folder / WEIGHTS))


def list_pairs(
    settings: HiddenSettings, student_layers: int, teacher_layers: int
) -> list[LayerPair]:
    """The pairs of layers between models of so many. Raises ConfigError for one that is not
    there."""
    if settings.pairs == "spread":
        return spread_pairs(student_layers, teacher_layers)
    pairs = [LayerPair(*pair) for pair in settings.pairs]
    check_pairs(pairs, student_layers, teacher_layers)
    return pairs


def check_hidden(
    settings: HiddenSettings, student: Student, teacher: str, *, processes: int
) -> None:
    """Raise ConfigError as `HiddenMatching` does. Only the models' configurations are read; where
    one is not on this machine nothing is known yet."""
    own, followed = read_configuration(student.model), read_configuration(teacher)
    if own is None or followed is None:
        return
    if student.fresh is not None:
        own = override_config(own, student.fresh)
    own, followed = own.get_text_config(), followed.get_text_config()
    layers = len(student.layers) if student.layers is not None else own.num_hidden_layers
    list_pairs(settings, layers, followed.num_hidden_layers)
    _check_processes(processes, settings.learned or own.hidden_size != followed.hidden_size)


def _check_processes(processes: int, learned: bool) -> None:
    if processes > 1 and learned:
        raise ConfigError(
            f"hidden: a projection is learned, and {processes} processes would each learn"
            " their own.\nTrain in one process, or pair layers of one size without learned."
        )


def count_layers(model: Any, role: str) -> int:
    """How many transformer layers a model has. Raises ConfigError where they cannot be found."""
    layers = getattr(model.get_decoder(), "layers", None)
    if layers is None:
        raise ConfigError(
            f"hidden: the {role} ({model.config.model_type}) has no list of layers to read.\n"
            "Choose a decoder of the Llama kind, or leave hidden out."
        )
    return len(layers)


def find_width(model: Any) -> int:
    """The size of a layer's states."""
    return model.config.get_text_config().hidden_size
