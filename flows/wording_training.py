"""How a student was taught, and whether its teacher was the better one, in words.

A divergence and the tokens at which it is taken are named apart: forward KL on the student's own
tokens is not reverse KL.
"""

from flows.facts_learning import Arm, EvaluationFacts, SignalFacts
from flows.wording import count_noun, format_range, format_share
from trainers.settings import ContextSignal, RemoteSignal, Student, TopSignal, TrainSettings

MINIMISED = {
    "sft": "cross-entropy",
    "forward": "forward KL",
    "reverse": "reverse KL",
    "jsd": "generalised Jensen\u2013Shannon divergence (\u03b2 = {0.beta:g})",
    "skew_forward": "skewed forward KL (\u03b1 = {0.alpha:g})",
    "skew_reverse": "skewed reverse KL (\u03b1 = {0.alpha:g})",
    "importance": "reverse KL by a policy gradient with importance ratios",
    "reinforce": "reverse KL by REINFORCE",
    "minillm": "reverse KL by MiniLLM's policy gradient",
    "uld": "distance of sorted probabilities (ULD)",
    "aligned": "divergence of chunks of the same bytes",
}


def describe_part(part: TrainSettings) -> str:
    """What is minimised, on whose tokens, and how the teacher is heard."""
    told = [f"{MINIMISED[part.objective].format(part)} on {_name_tokens(part)}"]
    if part.temperature != 1:
        told.append(f"at temperature {part.temperature:g}")
    if part.ce_weight:
        told.append(f"with {format_share(part.ce_weight)} of cross-entropy")
    if part.mixing is not None:
        told.append(f"mixed with cross-entropy step by step ({part.mixing.kind})")
    if isinstance(part.signal, TopSignal):
        told.append("the teacher read from disk")
    if isinstance(part.signal, RemoteSignal):
        told.append(f"the teacher's {part.signal.top} likeliest tokens asked of its server")
    if part.rollouts is not None and part.rollouts.serve is not None:
        told.append("a vLLM server writing with its weights")
    if isinstance(part.teacher, dict):
        told.append(f"a teacher for each domain ({', '.join(part.teacher)})")
    if isinstance(part.signal, ContextSignal):
        told.append("the student behind worked examples as its own teacher")
    if part.hidden is not None:
        told.append("its layers following the teacher's")
    if part.corpus is not None:
        told.append("beside plain text")
    if part.lora is not None:
        told.append(f"by adapters of rank {part.lora.rank}")
    return ", ".join(told)


def describe_making(student: Student) -> str | None:
    """How a student was made of its model; None where it is that model itself."""
    if student.layers is not None:
        noun = "layer" if len(student.layers) == 1 else "layers"
        return f"{noun} {', '.join(map(str, student.layers))} of it"
    if student.fresh is None:
        return None
    changed = ", ".join(f"{name} {value}" for name, value in student.fresh.items())
    told = f"untrained weights of seed {student.seed}, its configuration "
    told += f"with {changed}" if changed else "as it is"
    return f"{told}; its embeddings where shapes agree" if student.reuse_embeddings else told


def _name_tokens(part: TrainSettings) -> str:
    share = part.rollouts.share if part.rollouts is not None else 0.0
    if share == 0 or part.rollouts is None:
        return "the rows' tokens"
    mixed = part.rollouts.teacher_mix
    writer = "the student and its teacher write together" if mixed else "the student writes itself"
    whole = f"tokens that {writer}"
    return whole if share == 1 else f"{whole} in {format_share(share)} of the rows, else the rows'"


def tell_signal(signal: SignalFacts) -> str:
    """What a written signal holds and costs."""
    told = (
        f"{signal.kept_per_token:.1f} entries at each of {count_noun(signal.tokens, 'token')}, "
        f"{signal.bytes_per_token:.0f} bytes a token, {signal.bytes / 1e6:,.1f} MB in all"
    )
    if signal.kept == "sampled":
        return f"{told}; drawn from the teacher"
    return f"{told}; {format_share(signal.tail_mass)} of the probability is not kept"


def tell_teacher(evaluation: EvaluationFacts) -> str | None:
    """A warning where the teacher did not do better than the untrained student; None where it
    did, or was not asked."""
    teacher, before = evaluation.arm("teacher", "zero-shot"), evaluation.arm("before", "zero-shot")
    if teacher is None or before is None:
        return None
    one, other = teacher.pass_at_1, before.pass_at_1
    if one.value > other.value and not one.overlaps(other):
        return None
    worse = one.value < other.value and not one.overlaps(other)
    verdict = "does worse than" if worse else "is not better, beyond chance, than"
    return (
        f"the teacher {verdict} the untrained student: pass@1 {_tell(teacher)} against "
        f"{_tell(before)}; following it may teach nothing, or undo what the student knows"
    )


def _tell(arm: Arm) -> str:
    return f"{format_share(arm.pass_at_1.value)} ({format_range(arm.pass_at_1)})"
