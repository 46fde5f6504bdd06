"""Two teachers of one batch, against each on its own rows."""

import pytest
import torch
from torch import Tensor

from generators.errors import ConfigError, InputError
from tests.trainers.bigram_teacher import BigramTeacher, make_batch
from trainers.routed_teacher import RoutedTeacher, map_domains
from trainers.rows import TokenRow
from trainers.sparse import draw_tokens, keep_top
from trainers.targets import HeadStates, TopTokens, count_targets

VOCABULARY = 30
ROWS = [
    TokenRow([1, 5, 6, 7, 8], 2),
    TokenRow([2, 5, 9], 2),
    TokenRow([3, 5, 6, 6], 2),
    TokenRow([4, 4, 1, 2, 3, 0], 2),
]
DOMAINS = map_domains(ROWS, ["maths", "code", "maths", "code"])
MATHS, CODE = BigramTeacher(VOCABULARY, seed=1), BigramTeacher(VOCABULARY, seed=2)


class Headed:
    """Hidden states of so many dimensions, and a head."""

    def __init__(self, size: int, seed: int, dtype: torch.dtype = torch.float32) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.states_VD = torch.randn(VOCABULARY, size, generator=generator).to(dtype)
        self.weight_VD = torch.randn(VOCABULARY, size, generator=generator).to(dtype)

    def read(
        self, input_ids_BT: Tensor, attention_mask_BT: Tensor, positions_BT: Tensor
    ) -> HeadStates:
        return HeadStates(self.states_VD[input_ids_BT[positions_BT]], self.weight_VD)

    def compute_logits(self, ids_BT: Tensor, mask_BT: Tensor, positions_BT: Tensor) -> Tensor:
        return self.states_VD[ids_BT[positions_BT]] @ self.weight_VD.T


class Listing:
    """A few tokens of a bigram teacher."""

    def __init__(self, teacher: BigramTeacher, top: int, temperature: float = 1.0) -> None:
        self.teacher, self.top, self.temperature = teacher, top, temperature

    def read(
        self, input_ids_BT: Tensor, attention_mask_BT: Tensor, positions_BT: Tensor
    ) -> TopTokens:
        logits_NV = self.teacher.read(input_ids_BT, attention_mask_BT, positions_BT)
        return keep_top(logits_NV, top_k=self.top, temperature=self.temperature)


def split_by_row(each_N: Tensor) -> list[Tensor]:
    return list(each_N.split([len(row.input_ids) - row.prompt_length for row in ROWS]))


def test_each_row_hears_its_own_teacher() -> None:
    routed = RoutedTeacher({"maths": MATHS, "code": CODE}, DOMAINS)
    batch = make_batch(ROWS)
    found = routed.read(*batch)
    assert isinstance(found, Tensor)
    maths, code = split_by_row(MATHS.read(*batch)), split_by_row(CODE.read(*batch))
    assert torch.equal(found, torch.cat([maths[0], code[1], maths[2], code[3]]))


def test_heads_of_unlike_sizes_give_each_rows_own_logits() -> None:
    maths, code = Headed(4, seed=1), Headed(7, seed=2, dtype=torch.bfloat16)
    routed = RoutedTeacher({"maths": maths, "code": code}, DOMAINS)
    batch = make_batch(ROWS)
    found = routed.read(*batch)
    assert isinstance(found, HeadStates)
    assert (found.hidden_ND.shape, found.weight_VD.shape) == ((10, 11), (VOCABULARY, 11))
    wide = Headed(7, seed=2, dtype=torch.bfloat16)
    wide.states_VD, wide.weight_VD = wide.states_VD.float(), wide.weight_VD.float()
    own = split_by_row(maths.compute_logits(*batch)), split_by_row(wide.compute_logits(*batch))
    expected = torch.cat([own[0][0], own[1][1], own[0][2], own[1][3]])
    torch.testing.assert_close(found.hidden_ND @ found.weight_VD.T, expected)


def test_a_head_that_changes_is_read_anew() -> None:
    maths, code = Headed(4, seed=1), Headed(7, seed=2)
    routed = RoutedTeacher({"maths": maths, "code": code}, DOMAINS)
    first, second = routed.read(*make_batch(ROWS)), routed.read(*make_batch(ROWS))
    assert isinstance(first, HeadStates)
    assert isinstance(second, HeadStates)
    assert second.weight_VD is first.weight_VD
    code.weight_VD.mul_(2)
    third = routed.read(*make_batch(ROWS))
    assert isinstance(third, HeadStates)
    expected = torch.cat([code.weight_VD, maths.weight_VD], dim=1)
    assert torch.equal(third.weight_VD, expected)


def test_token_lists_of_unlike_widths_are_filled_up() -> None:
    maths, code = Listing(MATHS, 3), Listing(CODE, 5)
    batch = make_batch(ROWS)
    found = RoutedTeacher({"maths": maths, "code": code}, DOMAINS).read(*batch)
    assert isinstance(found, TopTokens)
    assert found.ids_NK.shape == found.log_probs_NK.shape == (10, 5)
    rows = split_by_row(found.log_probs_NK)
    own = split_by_row(maths.read(*batch).log_probs_NK)
    assert torch.equal(rows[0][:, :3], own[0])
    assert torch.equal(rows[2][:, 3:], torch.full((2, 2), -torch.inf))
    assert torch.equal(rows[3], split_by_row(code.read(*batch).log_probs_NK)[3])
    assert torch.equal(split_by_row(found.ids_NK)[1], split_by_row(code.read(*batch).ids_NK)[1])


def test_one_teacher_of_two_domains_reads_once() -> None:
    teacher = BigramTeacher(VOCABULARY)
    batch = make_batch(ROWS)
    found = RoutedTeacher({"maths": teacher, "code": teacher}, DOMAINS).read(*batch)
    assert teacher.asked == 4
    assert isinstance(found, Tensor)
    assert torch.equal(found, teacher.read(*batch))


def test_a_head_beside_plain_logits_becomes_logits() -> None:
    maths = Headed(4, seed=1)
    batch = make_batch(ROWS)
    found = RoutedTeacher({"maths": maths, "code": CODE}, DOMAINS).read(*batch)
    assert isinstance(found, Tensor)
    rows = split_by_row(found)
    torch.testing.assert_close(rows[2], split_by_row(maths.compute_logits(*batch))[2])
    assert torch.equal(rows[1], split_by_row(CODE.read(*batch))[1])


def test_forms_that_cannot_be_put_together_are_refused() -> None:
    batch = make_batch(ROWS)
    mixed = RoutedTeacher({"maths": MATHS, "code": Listing(CODE, 3)}, DOMAINS)
    with pytest.raises(ConfigError) as caught:
        mixed.read(*batch)
    assert str(caught.value) == (
        "teachers: one tells its whole distribution and another only some tokens; cache the signal "
        "of all of them, or of none"
    )
    softer = RoutedTeacher({"maths": Listing(MATHS, 3), "code": Listing(CODE, 3, 2.0)}, DOMAINS)
    with pytest.raises(ConfigError) as caught:
        softer.read(*batch)
    assert str(caught.value) == (
        "teachers: they are cut in different ways (top at temperature 1 and top at temperature 2); "
        "cut all alike"
    )


def test_completions_of_a_known_prompt_are_routed() -> None:
    routed = RoutedTeacher({"maths": MATHS, "code": CODE}, DOMAINS)
    batch = make_batch([TokenRow([2, 5, 17, 18, 19], 2)])
    found = routed.read(*batch)
    assert isinstance(found, Tensor)
    assert torch.equal(found, CODE.read(*batch))
    assert count_targets(found) == 3


def test_domains_are_told_of_prompts_without_completions() -> None:
    assert map_domains([TokenRow([1, 2], 2), TokenRow([3, 4, 5], 1)], ["a", "b"]) == {
        (1, 2): "a",
        (3,): "b",
    }


def test_unknown_prompts_and_domains_are_refused() -> None:
    routed = RoutedTeacher({"maths": MATHS, "code": CODE}, DOMAINS)
    with pytest.raises(InputError) as caught:
        routed.read(*make_batch([TokenRow([9, 9, 1], 2)]))
    assert str(caught.value) == (
        "a prompt of 2 tokens has no domain, so no teacher reads it.\n"
        "Give the domains of all prompts that are trained on (map_domains)."
    )
    with pytest.raises(ConfigError) as caught:
        RoutedTeacher({"maths": MATHS, "codes": CODE}, DOMAINS)
    assert str(caught.value) == (
        "domain 'code': has no teacher (did you mean codes?); there are teachers for codes, maths"
    )
    with pytest.raises(InputError) as caught:
        map_domains([TokenRow([1, 2, 3], 2), TokenRow([1, 2, 4], 2)], ["maths", "code"])
    assert str(caught.value) == (
        "one prompt is in two domains, maths and code, so its teacher is not known.\n"
        "Give equal prompts one domain."
    )


def test_drawn_tokens_keep_their_kind() -> None:
    class Drawing(Listing):
        def read(
            self, input_ids_BT: Tensor, attention_mask_BT: Tensor, positions_BT: Tensor
        ) -> TopTokens:
            logits_NV = self.teacher.read(input_ids_BT, attention_mask_BT, positions_BT)
            return draw_tokens(logits_NV, draws=self.top)

    torch.manual_seed(0)
    drawing = {"maths": Drawing(MATHS, 9), "code": Drawing(CODE, 2)}
    found = RoutedTeacher(drawing, DOMAINS).read(*make_batch(ROWS))
    assert isinstance(found, TopTokens)
    assert found.kept == "sampled"
    torch.testing.assert_close(found.log_probs_NK.exp().sum(dim=1), torch.ones(10))
