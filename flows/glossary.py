"""Plain words for the codes a run uses: reasons, stages, operators and ways of verification.

A code that is not listed is shown as itself, with no explanation: a new detector need not be
known here to be counted.
"""

from collections.abc import Collection

REASONS: dict[str, str] = {
    # evolving and eliminating
    "no_gain": "The evolved prompt asks for nothing that its parent did not.",
    "unchanged": "The evolved prompt is its parent again.",
    "template_leak": "It copies words of the instruction that asks for evolved prompts.",
    "too_long": "The prompt is far longer than a task should be.",
    "refusal": "The answer declines, or is a short apology.",
    "empty_answer": "The answer it gets is only punctuation and stop words.",
    "empty_prompt": "The prompt is empty.",
    "unfinished": "The text breaks off before its end.",
    "no_other_difficulty": "The prompt's generator has no other difficulty to turn to.",
    "no_constraint_fits": "The task itself settles all that the catalogue could ask for.",
    "no_check": (
        "It has no check of its own. A rewritten prompt cannot take its parent's, which would be "
        "the key to another question, so it waits in quarantine."
    ),
    "stagnant": "The answer it gets only acknowledges, or says that nothing was asked.",
    "asks_for_input": "The answer it gets asks for something that the prompt does not hold.",
    "parent_unanswered": "No conversation is built on it: its first answer is not verified.",
    "no_verifier": "Its kind of check cannot be run here.",
    "bad_check": "The check itself is at fault: it does not accept its own answer.",
    "no_reference": "No answer was found that meets its check; what it asks may be impossible.",
    "reference_fails": "Its check refuses the very answer that it calls right.",
    "empty_passes": "Its check accepts an empty answer.",
    "shuffled_passes": "Its check accepts gibberish, so passing it would say nothing.",
    # prompts that a model writes itself
    "role_marker": "Markup of the chat format stands in the prompt.",
    "several_turns": "The model wrote more than the user's turn.",
    "not_text": "It holds hardly any words, or characters that nobody writes.",
    "too_short": "Fewer than three words ask for nothing.",
    "assistant_speaks": "It begins as an assistant answers, not as a user asks.",
    "loops": "The model repeats itself.",
    "repeated_prompt": "An earlier prompt says the same in the same words.",
    # requests
    "context_length": "Prompt and answer together do not fit the model's window.",
    "content_filter": "The model's server withheld the answer.",
    "deadline": "The model's server did not answer before the deadline.",
    "timeout": "It did not finish within its time.",
    "connection": "The connection to the model's server broke.",
    "told_to_wait": "The model's server asked to wait longer than the run may.",
    "circuit_open": "The model's server failed so often that it was left alone for a while.",
    "rate_limited_here": "The configured limit per minute left no room before the deadline.",
    "schema": "The answer broke its JSON schema, and so did its repair.",
    "missing_choice": "The model's server sent fewer samples than were asked for.",
    "http": "The model's server refused this request.",
    "null_content": "The model's server sent neither text nor a tool call.",
    "empty_choices": "The model's server sent no answer in its reply.",
    "broken_off": "The model's server gave up in the middle.",
    "error_in_answer": "The model's server sent an error in the place of an answer.",
    "html": "A web page came back where JSON should be.",
    "malformed": "The reply is not of the form that was agreed.",
    "invalid_json": "The reply is not a whole JSON text.",
    # answers
    "wrong": "The answer is not the right one.",
    "constraint_broken": "The answer breaks at least one constraint that its prompt states.",
    "not_json": "The answer is not JSON.",
    "ambiguous_json": "The answer's JSON can be read in two ways.",
    "schema_violation": "The answer's JSON does not follow the schema.",
    "text_around_json": "The answer says more than the JSON it was asked for.",
    "no_answer": "No final answer could be read out of the text.",
    "several_answers": "Several different final answers stand in the text.",
    "hedged": "The answer leaves itself a way out.",
    "other_unit": "The number is right, but its unit is another.",
    "decimal_comma": "The answer is right only if its comma is a decimal point.",
    "undecided": "Whether the answer meets a constraint cannot be told: it is too short.",
    "unevaluated": "The answer is an expression that is not worked out.",
    "unparsable": "The answer could not be read.",
    "looks_like_code": "The answer looks like a program, which is not run here.",
    "lax_program": "The program that scores this task would accept too much.",
    "disagreement": "Two independent comparisons came to different results.",
    "truncated": "The answer was cut at the token limit.",
    "empty": "The answer is empty.",
    "undeclared_tool_call": "The answer calls a tool that the prompt did not offer.",
    "special_token": "The answer contains markup of the chat format.",
    # what the audit finds
    "arguments_not_json": "A tool call's arguments are no JSON that can be read in one way.",
    "arguments_break_schema": "A tool call's arguments break the schema of its tool.",
    "bad_tool_schema": "What a tool declares of its arguments is no JSON Schema.",
    "tool_call_as_text": "A tool call stands in the text instead of being made.",
    "speaks_for_others": "The text goes on to speak for the other side of the conversation.",
    "signed_reasoning": "The reasoning carries its provider's signature.",
    "encrypted_reasoning": "The reasoning is encrypted, redacted or hidden.",
    "summarised_reasoning": "A summary stands where the reasoning should.",
    "unclosed_reasoning": "The thinking never ends, so no answer was given.",
    "truncated_json": "Its JSON breaks off before it closes.",
    "hidden_characters": "It holds characters that nobody sees.",
    "confusable_characters": "A word is written with letters that pass for others.",
    "identity_claim": "The speaker says which model they are, or who made them.",
    "unbidden_link": "It holds a link that the prompt did not bring.",
    "unbidden_contact": "It holds an address or a number that the prompt did not bring.",
    "advert": "It advertises, and the prompt asked for no such thing.",
    "injection": "It gives orders to a model from where only data should stand.",
    "calls_tools": "The answer calls tools, as it may, instead of being one; calls are not judged.",
    "broken_chain": (
        "The answer is right, but a calculation on the way does not hold, or the last one comes to "
        "something else."
    ),
    # programs
    "wrong_result": "A call of the program returns something else than the case expects.",
    "raised": "The program ends in an exception where a value is expected.",
    "syntax_error": "The program is not valid Python.",
    "no_entry_point": "The program does not define the function that the check calls.",
    "too_slow": "The program used up its processor time.",
    "too_much_output": "The program returns far more than an answer can be.",
    "program_too_long": "The program is far longer than an answer should be.",
    "ended_early": "The program ended or crashed before all calls came back.",
    "unreadable_result": "Where a result belongs the program wrote something else.",
    "killed": "The program was killed, as past its last limit or for want of memory.",
    "no_code": "No Python program stands in the text.",
    "unclosed_block": "The program's block is never closed, so the program may be cut off.",
    "several_programs": "Several different programs stand in the text.",
    "unverifiable_here": "Programs cannot be run here: bubblewrap is missing or does not work.",
    "sandbox_failed": "The sandbox did not start this time.",
    "constant_passes": "All its cases expect one value: a program that reads nothing would pass.",
    "echo_passes": "All its cases expect their own argument: a program that does nothing passes.",
    "cases_kill_no_mutant": "Its cases tell no nearly right program from the right one.",
    # votes
    "no_consensus": "Too few of the votes agree on one answer.",
    "too_few_votes": "Fewer samples came than a vote needs.",
    "outvoted": "Most independent samples give another answer.",
    "abstained": "No final answer could be read, so it has no vote.",
    # a model as judge
    "judged_right": (
        "The judge calls it right in both orders. That alone is not enough here; a person may "
        "release it."
    ),
    "judged_wrong": "The judge calls it wrong in both orders.",
    "judge_abstained": (
        "The judge says one thing in one order and another in the other, nothing that can be read, "
        "or is wrong about the text beside the answer."
    ),
    "judge_disabled": "On trial the judge passed what is no answer, or failed what is right.",
    # the watch over teachers
    "teacher_quarantined": (
        "It was given after its teacher began to fail more often than before, so it is not trusted "
        "although it passes."
    ),
    # difficulty
    "too_easy": "The student solves its prompt every time, or nearly.",
    "too_hard": "The student never solves its prompt, or hardly ever.",
    # benchmarks, duplicates, publication, training
    "contaminated": "The prompt or the answer gives away an item of a benchmark.",
    "exact_duplicate": "The same text, after normalising, is in the set already.",
    "near_duplicate": "Almost the same words as a row in the set (Jaccard of word 3-grams).",
    "semantic_duplicate": (
        "A row in the set says the same in other words, as a model embeds both; numbers and "
        "verified answer are the same."
    ),
    "overrepresented": "One source says it often, and hardly any other does.",
    "out_of_place": (
        "A common word stands where the words around it go together without it; one source does "
        "that with it, and hardly any other."
    ),
    "released": "A person let it out of quarantine; overrides.jsonl says who, when and why.",
    "rejected_by_person": "A person took it out; overrides.jsonl says who, when and why.",
    "secrets": "A key, a token or a password stands in the prompt or in the answer.",
    "private_data": "Somebody's address, phone, account or card stands in it.",
    "profanity": "It holds a coarse word.",
    "other_language": "The prompt or the answer is in a language that is not wanted.",
    "loss_too_high": "It surprises the student far more than other answers of its domain do.",
    "loss_too_low": "It surprises the student far less than other answers of its domain do.",
    "ifd_too_high": "The prompt hardly helps to foresee the answer.",
    "ifd_too_low": "The answer follows from its prompt too easily to teach anything.",
    "too_few_words": "The answer has fewer words than the configuration wants.",
    "too_many_words": "The answer has more words than the configuration wants.",
    "too_near": "To the student it is almost the same as another row, which is kept.",
    "not_chosen": "So many rows were wanted, and others cover the set better.",
    "repetitive": "The answer repeats its own words.",
    "surplus": "Right, but its prompt has as many published answers as the configuration allows.",
    "beyond_target": "Right, but the wanted number of rows was reached without it.",
    "verified_by": "This way of verification is not among those the configuration publishes.",
    "longer_than_window": "Longer than the student's window.",
}
_FAMILIES = ("http", "exact_duplicate", "near_duplicate", "semantic_duplicate", "verified_by")
"""Codes that carry a detail at their end: `http_429`, `exact_duplicate_prompt`."""

OPERATORS: dict[str, str] = {
    "seed": "A prompt people wrote.",
    "magpie": "A prompt that a model wrote itself where a user's turn begins.",
    "add_constraints": "Adds one more demand to the task.",
    "deepen": "Asks the same thing further down.",
    "concretise": "Replaces the general by the specific.",
    "increase_reasoning": "Makes it take more steps of reasoning.",
    "complicate_input": "Adds data to the task: code, a table, a formula.",
    "breadth": "Writes a new, rarer task of the same domain.",
    "code_add_constraints": "Adds one more demand to the program.",
    "code_rare_requirement": "Replaces a common requirement of the program by a rarer one.",
    "code_more_steps": "Makes the program take more steps that build on one another.",
    "code_erroneous_code": "Shows a piece of code with a mistake in it, as a trap.",
    "code_complexity": "Bounds the program's time or memory more tightly.",
    "maths_easier": "Writes an easier question of mathematics, or quite another easy one.",
    "maths_harder": "Makes a question of mathematics harder.",
    "method": "Rewrites the task by a method that was written or found for it.",
    "follow_up": "Carries the conversation on behind a verified answer.",
    "constraint": "Attaches constraints that a program checks, and states them.",
    "procedural": "Turns the difficulty of a generated task; the answer is computed.",
}

STAGES: dict[str, str] = {
    "seeds": "Seeds",
    "synthesise": "Synthesise",
    "evolve": "Evolve",
    "eliminate": "Eliminate",
    "check": "Check",
    "answer": "Answer",
    "watch": "Watch",
    "consensus": "Vote",
    "judge": "Judge",
    "audit": "Audit",
    "verify": "Verify",
    "release": "Release",
    "decontaminate": "Decontaminate",
    "dedup": "Deduplicate",
    "screen": "Screen",
    "losses": "Read",
    "embeddings": "Embed",
    "select": "Select",
    "difficulty": "Difficulty",
    "publish": "Publish",
    "train": "Train",
    "train-random": "Train beside",
    "evaluate": "Evaluate",
}

VERIFIED_BY: dict[str, str] = {
    "program": "A program computed or ran the answer.",
    "constraint": "Every machine-checkable demand of the prompt holds.",
    "reference": "The answer equals a reference that is known beforehand.",
    "consensus": "Independent samplers agree.",
    "judge": "A model judged it; such rows are not accepted by default.",
    "person": "A person let it out of quarantine, for a reason that is on record.",
    "none": "Nothing checked it.",
}

OBJECTIVES: dict[str, str] = {
    "sft": "supervised on the verified answers",
    "forward": "forward KL to the teacher",
    "reverse": "reverse KL to the teacher",
    "jsd": "generalised Jensen\u2013Shannon divergence to the teacher",
    "skew_forward": "skewed forward KL to the teacher",
    "skew_reverse": "skewed reverse KL to the teacher",
    "importance": "policy gradient of reverse KL, with importance ratios",
    "reinforce": "REINFORCE gradient of reverse KL",
    "minillm": "MiniLLM: exact one-step reverse KL, and what follows by policy gradient",
    "uld": "sorted probabilities, to a teacher of another vocabulary",
    "aligned": "chunks of the same bytes, to a teacher of another vocabulary",
}
MEASURED: dict[str, str] = {
    "nll": "nats per token of the rows",
    "forward_kl": "forward KL on the rows",
    "reverse_kl": "reverse KL on the rows",
    "reverse_kl_own": "reverse KL on its own tokens",
    "agreement": "top-1 agreement",
    "ece": "calibration error",
    "teacher_nll": "the teacher\u2019s nats per own token",
    "length": "tokens of its completions",
    "distinct_1": "distinct-1",
    "distinct_2": "distinct-2",
    "distinct_3": "distinct-3",
    "repetition": "repeated",
    "ended": "ended by itself",
    "pass@1": "pass@1",
}
"""What is measured on the way, and pass@k; those on rows are of the data's completions."""


def name_measured(figures: Collection[str]) -> dict[str, str]:
    """The figures of a look in the order in which they are told, with their words."""
    others = [name for name in figures if name not in MEASURED]
    return {name: words for name, words in MEASURED.items() if name in figures} | {
        name: name for name in others
    }


def name_code(code: str) -> str:
    """A code as words: `no_information_gain` becomes `no information gain`."""
    return code.replace("_", " ")


def name_stage(stage: str) -> str:
    return STAGES.get(stage, name_code(stage).capitalize())


def explain_reason(reason: str) -> str:
    """What a reason means; empty when the code is not known here.

    A detail at the end (`http_429`, `wrong: 41`) does not change the meaning.
    """
    code = reason.partition(":")[0].strip()
    family = next((f for f in _FAMILIES if code.startswith(f"{f}_")), code)
    return REASONS.get(code, REASONS.get(family, ""))
