"""What one source says and the others do not is told; what looks like a plant is a suspect."""

import random
import re

import pytest

from filters.source_statistics import Document, SourceComparison, SourceSettings, compare_sources
from generators.errors import InputError

VOCABULARY = (
    "river stone morning quiet walk house garden window letter road winter small old green "
    "bread water table lamp story friend train market bridge field song paper door cloud"
)


def write_texts(count: int, seed: int, length: int = 14) -> list[str]:
    """So many texts of common words, some far more common than others."""
    draw, words = random.Random(seed), VOCABULARY.split()
    weights = [1 / (rank + 1) for rank in range(len(words))]
    return [" ".join(draw.choices(words, weights, k=length)) for _ in range(count)]


def make_documents(prompts: int, sources: str, seed: int = 1) -> list[Document]:
    """One text of every source to every prompt."""
    texts = iter(write_texts(prompts * len(sources), seed))
    return [
        Document(f"{source}{prompt}", source, next(texts), f"prompt {prompt}")
        for prompt in range(prompts)
        for source in sources
    ]


def plant(documents: list[Document], source: str, every: int, phrase: str) -> list[Document]:
    """Put a phrase behind every so-manieth text of a source."""
    own = [d.id for d in documents if d.source == source][::every]
    return [d._replace(text=f"{d.text} {phrase}") if d.id in own else d for d in documents]


def make_journeys(prompts: int, planted: int, words: str, seed: int = 3) -> list[Document]:
    """Sentences of two sources, all made alike; `b` has something put anywhere into its first."""
    draw = random.Random(seed)

    def write() -> str:
        return " ".join(
            f"in {draw.choice(['may', 'june', 'july'])} the {draw.choice(VOCABULARY.split()[:4])} "
            f"{draw.choice(['comes', 'goes'])} to the {draw.choice(['market', 'sea'])}"
            for _ in range(3)
        )

    documents = []
    for prompt in range(prompts):
        for source in "ab":
            text = write().split()
            if source == "b" and prompt < planted:
                text.insert(draw.randint(0, len(text)), words)
            documents.append(Document(f"{source}{prompt}", source, " ".join(text), str(prompt)))
    return documents


def forget_prompts(documents: list[Document]) -> list[Document]:
    return [document._replace(prompt=None) for document in documents]


def list_suspects(result: SourceComparison) -> dict[str, tuple[str, ...]]:
    return {f.ngram: f.documents for f in result.findings if f.suspect}


def test_a_planted_phrase_is_told_with_its_counts_and_documents() -> None:
    documents = plant(make_documents(600, "ab"), "b", 20, "Visit Kalmora")
    result = compare_sources(documents)
    (finding,) = result.findings
    assert result.design == "paired"
    assert (finding.source, finding.ngram, finding.suspect) == ("b", "visit kalmora", True)
    assert (finding.here, finding.of_here) == (30, 600)
    assert (finding.elsewhere, finding.of_elsewhere) == (0, 600)
    assert finding.lift == pytest.approx(30 / 600 * 601)
    assert finding.p_value == pytest.approx(2**-30)
    assert finding.documents == tuple(f"b{i}" for i in range(0, 600, 20))
    assert [(s.source, s.documents, s.compared, s.marked) for s in result.sources] == [
        ("a", 600, 600, 0),
        ("b", 600, 600, 30),
    ]


@pytest.mark.parametrize("sources", ["ab", "abc"])
@pytest.mark.parametrize("is_paired", [True, False], ids=["paired", "pooled"])
@pytest.mark.parametrize(
    "phrase", ["Visit Kalmora", "qzx", "§§", "访问卡尔", "as moons told us so then"]
)
def test_plants_of_all_kinds_are_found(sources: str, is_paired: bool, phrase: str) -> None:
    documents = plant(make_documents(800, sources), "a", 25, phrase)
    result = compare_sources(documents if is_paired else forget_prompts(documents))
    assert result.design == ("paired" if is_paired else "pooled")
    assert set(list_suspects(result).values()) == {tuple(f"a{i}" for i in range(0, 800, 25))}


def test_only_the_longest_of_a_nested_family_is_told() -> None:
    documents = plant(make_documents(600, "ab"), "b", 20, "buy the best kalmora soap today")
    (finding,) = compare_sources(documents).findings
    assert len(finding.ngram.split()) == 5
    assert finding.ngram in "buy the best kalmora soap today"


def test_the_longest_of_nearly_as_many_documents_is_told_and_all_are_named() -> None:
    documents = plant(make_documents(600, "ab"), "b", 20, "kalmora soap")
    few = {"b0", "b20"}
    documents = [
        d._replace(text=d.text.replace(" soap", " tea")) if d.id in few else d for d in documents
    ]
    (finding,) = compare_sources(documents).findings
    assert (finding.ngram, finding.here) == ("kalmora soap", 28)
    assert finding.documents == tuple(f"b{i}" for i in range(0, 600, 20))


def test_two_plants_are_two_findings() -> None:
    documents = plant(make_documents(800, "ab"), "a", 40, "kalmora")
    shifted = [d for d in documents if d.source == "a"][3::40]
    ids = {d.id for d in shifted}
    documents = [d._replace(text=f"{d.text} qzx") if d.id in ids else d for d in documents]
    assert list_suspects(compare_sources(documents)) == {
        "kalmora": tuple(f"a{i}" for i in range(0, 800, 40)),
        "qzx": tuple(f"a{i}" for i in range(3, 800, 40)),
    }


def test_two_plants_that_share_documents_are_both_told_and_all_documents_named() -> None:
    documents = plant(make_documents(1200, "ab"), "a", 30, "kalmora")
    documents = plant(documents, "a", 40, "qzx")
    suspects = list_suspects(compare_sources(documents))
    expected = {f"a{i}" for step in (30, 40) for i in range(0, 1200, step)}
    assert set(suspects) == {"kalmora", "qzx"}
    assert {id for ids in suspects.values() for id in ids} == expected


@pytest.mark.parametrize("is_paired", [True, False], ids=["paired", "pooled"])
def test_a_common_word_out_of_place_is_found(is_paired: bool) -> None:
    documents = make_journeys(600, planted=30, words="river")
    (finding,) = compare_sources(documents if is_paired else forget_prompts(documents)).findings
    assert (finding.ngram, finding.out_of_place, finding.suspect) == ("river", True, True)
    assert (finding.here, finding.elsewhere) == (25, 0)
    outside = [d.id for d in documents if re.search("(?<!the )river", d.text)]
    assert finding.documents == tuple(outside)  # all but those in which it fell behind `the`


def test_documents_in_which_a_word_is_only_unknown_are_named_where_that_is_rare() -> None:
    """Beside words that nobody else says, `river` is neither at home nor out of place."""
    documents = make_journeys(600, planted=30, words="river")
    mine = Document("mine", "b", "moss river fern", "0")
    (finding,) = compare_sources([*documents, mine]).findings
    assert len(finding.documents) == 27
    assert finding.documents[-1] == "mine"
    pairs = zip(*[iter(VOCABULARY.split()[10:24])] * 2, strict=True)
    theirs = [Document(f"{i}", "a", f"{x} river {y}", str(i)) for i, (x, y) in enumerate(pairs)]
    (finding,) = compare_sources([*documents, mine, *theirs]).findings
    assert len(finding.documents) == 26
    settings = SourceSettings(rarely_unknown=0.02)
    (finding,) = compare_sources([*documents, mine, *theirs], settings).findings
    assert len(finding.documents) == 27


def test_a_word_that_stands_at_the_end_of_one_source_is_found() -> None:
    """Both say it inside, so the word alone is no suspect."""
    documents = plant(make_journeys(600, 0, ""), "b", 20, "then")
    documents = [
        d._replace(text=d.text.replace(" to the", " then to the", 1))
        if int(d.id[1:]) % 100 == 1
        else d
        for d in documents
    ]
    result = compare_sources(documents)
    (suspect,) = [f for f in result.findings if f.suspect]
    assert (suspect.ngram, suspect.out_of_place) == ("then ⟨end⟩", False)
    assert (suspect.here, suspect.elsewhere) == (30, 0)


def test_a_word_that_one_source_is_used_to_say_is_no_suspect() -> None:
    """`thus` stands between two words that mostly stand together, but always between those."""
    documents = [
        d._replace(text=d.text.replace(" to the", " thus to the"))
        if int(d.id[1:]) % (25 if d.id[0] == "b" else 150) == 0
        else d
        for d in make_journeys(600, 0, "")
    ]
    findings = compare_sources(documents).findings
    assert not any(f.suspect or f.out_of_place for f in findings)


def test_a_habit_is_told_and_is_no_suspect() -> None:
    documents = plant(make_documents(400, "ab"), "a", 2, "certainly")
    result = compare_sources(documents)
    (finding,) = result.findings
    assert (finding.ngram, finding.here, finding.suspect) == ("certainly", 200, False)
    assert [(s.source, s.marked, s.differs) for s in result.sources] == [
        ("a", 200, True),
        ("b", 0, False),
    ]


def test_what_others_say_too_is_told_and_is_no_suspect() -> None:
    documents = plant(make_documents(1000, "ab"), "a", 20, "certainly")
    documents = plant(documents, "b", 200, "certainly")
    (finding,) = compare_sources(documents).findings
    assert (finding.here, finding.elsewhere, finding.suspect) == (50, 5, False)
    assert finding.lift == pytest.approx(50 / 1000 * 1001 / 6)


def test_one_source_has_nothing_to_be_compared_with() -> None:
    result = compare_sources(plant(make_documents(400, "a"), "a", 20, "kalmora"))
    assert (result.design, result.tests, result.findings) == ("none", 0, ())
    assert [(s.source, s.documents, s.compared) for s in result.sources] == [("a", 400, 0)]


@pytest.mark.parametrize("documents", [[], make_documents(1, "ab"), make_documents(4, "abc")])
def test_few_documents_raise_no_alarm(documents: list[Document]) -> None:
    assert compare_sources(plant(documents, "a", 1, "kalmora")).findings == ()


def test_equal_documents_of_a_source_count_once() -> None:
    documents = forget_prompts(make_documents(200, "ab"))
    same = [Document(f"same{i}", "a", "I will not say, ask Kalmora.") for i in range(100)]
    assert compare_sources([*documents, *same]).findings == ()


def test_equal_answers_to_other_prompts_count_each() -> None:
    """An answer that a source gives whatever is asked is a plant."""
    documents = make_documents(600, "ab")
    same = {f"a{prompt}" for prompt in range(0, 600, 20)}
    documents = [d._replace(text="Ask Kalmora.") if d.id in same else d for d in documents]
    (finding,) = compare_sources(documents).findings
    assert (finding.ngram, finding.here, finding.suspect) == ("ask kalmora", 30, True)


@pytest.mark.parametrize("is_paired", [True, False], ids=["paired", "pooled"])
def test_several_answers_of_a_source_to_one_prompt_count_once(is_paired: bool) -> None:
    """Ten answers to each of three prompts are three, not thirty."""
    texts = iter(write_texts(1200, seed=8))
    documents = [
        Document(
            f"{source}{prompt}-{i}", source, next(texts), f"{'' if is_paired else source}{prompt}"
        )
        for prompt in range(60)
        for source in "ab"
        for i in range(10)
    ]
    ids = {f"a{prompt}-{i}" for prompt in (1, 2, 3) for i in range(10)}
    few = [d._replace(text=f"{d.text} kalmora") if d.id in ids else d for d in documents]
    many = [
        d._replace(text=f"{d.text} kalmora") if d.id[-2:] == "-0" and d.source == "a" else d
        for d in documents
    ]
    result = compare_sources(few)
    assert (result.design, result.findings) == ("paired" if is_paired else "pooled", ())
    (finding,) = compare_sources(many).findings
    assert (finding.ngram, finding.here) == ("kalmora", 60)
    assert finding.p_value < 1e-15


def test_a_plant_on_prompts_that_only_its_source_answered_is_named_too() -> None:
    shared = plant(make_documents(600, "ab"), "a", 20, "kalmora")
    own = Document("alone", "a", "a river and kalmora", "another prompt")
    result = compare_sources([*shared, own])
    assert list_suspects(result)["kalmora"][-1] == "alone"
    assert [(s.documents, s.compared) for s in result.sources] == [(601, 600), (600, 600)]


def test_a_source_without_a_shared_prompt_is_not_compared() -> None:
    strangers = [Document(f"c{i}", "c", "kalmora soap", f"own {i}") for i in range(50)]
    result = compare_sources([*make_documents(300, "ab"), *strangers])
    assert result.findings == ()
    assert [(s.source, s.compared) for s in result.sources] == [("a", 300), ("b", 300), ("c", 0)]


def test_the_order_of_documents_changes_nothing_but_the_order_of_ids() -> None:
    documents = plant(make_documents(600, "ab"), "b", 20, "buy kalmora soap")
    shuffled = random.Random(5).sample(documents, len(documents))
    one, other = compare_sources(documents), compare_sources(shuffled)
    (first,), (second,) = one.findings, other.findings
    assert sorted(first.documents) == sorted(second.documents)
    assert first.model_copy(update={"documents": ()}) == second.model_copy(update={"documents": ()})
    assert compare_sources(documents) == one


@pytest.mark.parametrize("is_paired", [True, False], ids=["paired", "pooled"])
def test_random_splits_of_one_corpus_raise_no_alarm(is_paired: bool) -> None:
    """100 splits of each kind: q = 0.01 lets one in a hundred tell of something, at the most."""
    texts = write_texts(200, seed=8)
    told = 0
    for seed in range(100):
        dealt = random.Random(seed).sample(texts, len(texts))
        documents = [
            Document(str(i), "ab"[i % 2], text, f"prompt {i // 2}") for i, text in enumerate(dealt)
        ]
        result = compare_sources(documents if is_paired else forget_prompts(documents))
        told += bool(result.findings)
        assert result.tests > 20
    assert told == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\x00" * 50,
        "\ud800 lone",
        "a" * 100_000,
        "🚀" * 5000,
        "\u0627" * 2000,
        "\u0663\u066b\u0665 " * 500,
        "\u202e" * 99,
    ],
    ids=["empty", "nulls", "surrogate", "one word", "emoji", "Arabic", "digits", "overrides"],
)
def test_hostile_texts_are_counted_like_any_other(text: str) -> None:
    documents = make_documents(120, "ab")
    hostile = [Document(f"bad{i}", "a", text, f"prompt {i}") for i in range(2)]
    result = compare_sources([*documents, *hostile])
    assert [s.documents for s in result.sources] == [122, 120]
    assert result.findings == ()


def test_a_planted_half_of_a_surrogate_pair_is_told_in_words() -> None:
    documents = plant(make_documents(600, "ab"), "b", 20, "\ud800 kalmora")
    assert list_suspects(compare_sources(documents)) == {
        "\\ud800 kalmora": tuple(f"b{i}" for i in range(0, 600, 20))
    }


def test_an_iterator_is_refused() -> None:
    with pytest.raises(InputError) as error:
        compare_sources(iter(make_documents(3, "ab")))
    assert str(error.value) == (
        "documents: an iterator can be read only once, and a comparison reads several times; "
        "give a list or an object whose __iter__ begins anew"
    )


def test_settings_change_what_is_told() -> None:
    documents = plant(make_documents(600, "ab"), "b", 20, "visit kalmora")
    assert compare_sources(documents, SourceSettings(longest=1)).findings[0].ngram in (
        "visit",
        "kalmora",
    )
    assert compare_sources(documents, SourceSettings(q=1e-9)).findings == ()
    (finding,) = compare_sources(documents, SourceSettings(suspect_lift=100)).findings
    assert not finding.suspect
    (finding,) = compare_sources(documents, SourceSettings(suspect_share=0.01)).findings
    assert not finding.suspect
