"""Which stages a run has, and in which order: from seeds to a report, from texts to soft labels,
from these to a classifier, or from any rows to a student.
"""

from flows.annotate_settings import AnnotateConfig
from flows.classify_settings import ClassifyConfig
from flows.config import RunConfig
from flows.run_settings import RunSettings
from flows.stages.annotate import AnnotateStage, TextsStage
from flows.stages.answer import AnswerStage
from flows.stages.calibrate import CalibrateStage
from flows.stages.check import CheckStage
from flows.stages.classify import list_classifier_stages
from flows.stages.consensus import ConsensusStage
from flows.stages.decontaminate import DecontaminateStage
from flows.stages.dedup import DedupStage
from flows.stages.difficulty import DifficultyStage
from flows.stages.embeddings import EmbeddingsStage
from flows.stages.evaluate import RANDOM, EvaluateStage, list_arms
from flows.stages.evolve import EvolveStage
from flows.stages.judge import JudgeStage, TryJudgeStage
from flows.stages.losses import LossesStage
from flows.stages.publish import PublishStage
from flows.stages.random_rows import RandomTrainingStage, compares_with_random
from flows.stages.release import ReleaseStage
from flows.stages.report import ReportStage
from flows.stages.screen import ScreenStage
from flows.stages.seeds import SeedsStage
from flows.stages.selection import SelectStage
from flows.stages.soft_labels import SoftLabelsStage
from flows.stages.synthesise import SynthesiseStage
from flows.stages.teach import list_teaching_stages
from flows.stages.teacher_signal import list_signal_stages
from flows.stages.train import CANDIDATE, TrainingStage
from flows.stages.watch import WatchStage
from flows.teach_settings import TeachConfig
from flows.work import Stage


def choose_stages(config: RunSettings, cycle: int = 1) -> list[Stage]:
    """The stages that a configuration asks for in a cycle, in order."""
    if isinstance(config, AnnotateConfig):
        asked = [AnnotateStage(annotator) for annotator in config.annotators]
        return [TextsStage(), *asked, SoftLabelsStage()]
    if isinstance(config, ClassifyConfig):
        return list_classifier_stages(config)
    if isinstance(config, TeachConfig):
        return list_teaching_stages(config)
    assert isinstance(config, RunConfig)
    return list_stages(config, cycle)


def list_stages(config: RunConfig, cycle: int = 1) -> list[Stage]:
    """The stages from seeds to a report, in order."""
    return [*list_making(config), *list_learning(config, cycle), ReportStage()]


def list_making(config: RunConfig) -> list[Stage]:
    """The stages from seeds to a dataset."""
    stages: list[Stage] = [SeedsStage()]
    if config.seeds.synthesise:
        stages.append(SynthesiseStage(config.seeds.synthesise))
    if config.evolve is not None:
        stages += [CalibrateStage(config.evolve)] if config.evolve.asks_judge else []
        stages += [EvolveStage(config.evolve, r + 1) for r in range(config.evolve.rounds)]
    stages += [CheckStage(), *(AnswerStage(sampler) for sampler in config.samplers)]
    if config.watch is not None:
        stages.append(WatchStage(config.watch))
    if config.consensus is not None:
        stages.append(ConsensusStage(config.consensus))
    if config.judge is not None:
        stages += [TryJudgeStage(config.judge), JudgeStage(config.judge)]
    stages.append(ReleaseStage())
    if config.decontaminate is not None:
        stages.append(DecontaminateStage(config.decontaminate))
    stages.append(DedupStage())
    if config.screen is not None:
        stages.append(ScreenStage(config.screen))
    if config.difficulty is not None:
        stages.append(DifficultyStage(config.difficulty))
    if config.select is not None:
        stages += [LossesStage(config.select)] if config.select.model is not None else []
        stages += [EmbeddingsStage(config.select)] if config.select.by_distance else []
        stages.append(SelectStage(config.select))
    return [*stages, PublishStage()]


def list_learning(config: RunConfig, cycle: int = 1) -> list[Stage]:
    """The stages that teach a student on the dataset and see what it has learned. In a later cycle
    the last student is evaluated, then a candidate is taught and evaluated."""
    train, evaluate = config.train, config.evaluate
    if train is None:
        return []
    later = cycle > 1
    arms = list_arms(config)
    arms = arms if later else arms[:-1]
    stages: list[Stage] = [EvaluateStage(evaluate, arm) for arm in arms if evaluate]
    stages += list_signal_stages(train)
    stages.append(TrainingStage(train, name=CANDIDATE) if later else TrainingStage(train))
    if evaluate is None:
        return stages
    stages.append(EvaluateStage(evaluate, "after", of_candidate=later))
    if compares_with_random(config) and not later:
        stages += [RandomTrainingStage(train), EvaluateStage(evaluate, RANDOM)]
    return stages
