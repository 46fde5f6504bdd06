"""Small tokenizers of three families, trained on a few sentences: no two cut a text alike."""

from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.trainers import BpeTrainer, WordPieceTrainer
from transformers import PreTrainedTokenizerFast

SENTENCES = (
    "The cat sat on the mat and the dog sat by the door.",
    "A naïve café owner drinks tea.",
    "Sow early, water often, and harvest what you have sown.",
    "What is two and two? It is four.",
)
TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def make_byte_level(size: int = 300) -> Any:
    """As GPT-2: every byte is a character of its own alphabet, a space opens a word."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(vocab_size=size, special_tokens=["</s>"], initial_alphabet=alphabet)
    return _train(tokenizer, trainer, eos_token="</s>")


def make_byte_fallback() -> Any:
    """As SentencePiece: ▁ for a space, and <0xE2> for the bytes of a character it does not know."""
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = BpeTrainer(
        vocab_size=340, special_tokens=["<unk>", "</s>", *bytes_], limit_alphabet=40
    )
    return _train(tokenizer, trainer, eos_token="</s>", unk_token="<unk>")


def make_word_piece() -> Any:
    """As BERT: lower case, no accents, spaces dropped, ## before what continues a word."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # pyright: ignore[reportCallIssue]
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = WordPieceTrainer(vocab_size=90, special_tokens=["[UNK]", "[SEP]"])
    return _train(tokenizer, trainer, eos_token="[SEP]", unk_token="[UNK]")


def _train(tokenizer: Tokenizer, trainer: Any, **special: str) -> Any:
    trainer.show_progress = False
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        chat_template=TEMPLATE,
        **special,  # pyright: ignore
    )
