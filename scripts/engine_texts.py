"""Texts that tokenizers are held against each other on, and prompts."""

import json
import random

PIECES = [
    " ", "  ", "    ", "\t", "\n", "\n\n", "\r\n", "\r", "\u00a0", "\u3000", "\u2028", "\u200b", "\u200d", "\ufeff", "\u0085", "\x00", "\x1b", "\x7f",
    "a", "Z", "word", " word", "Ünïcödé", "ß", "ſ", "İ", "ı", "ǅ", "Ω", "naïve", "e\u0301", "\u0301", "\u0327\u0301", "ﬁ", "Å", "\u212b", "가", "각",
    "0", "7", "42", "123", "1234", "12345678901234567890", "3.14", "-1", "1,000", "٣", "४२", "²", "½", "Ⅷ", "①", "１２３",
    "'s", "'S", "'ll", "’t", "can't", "don’T", "'", '"', "`", "``", "''", "_", "__init__", "snake_case", "camelCase", "x=1;", "->", "=>", "!=", "...", "…",
    "!", "!!!", "?", "?!", ",", ".", ";", ":", "(", ")", "[", "]", "{", "}", "<", ">", "<|", "|>", "/", "\\", "\\n", "@", "#", "$", "€", "%", "^", "&", "*",
    "漢字", "日本語", "中文。", "한국어", "ไทย", "العربية", "עברית", "हिन्दी", "தமிழ்", "ქართული", "Ελληνικά", "Русский", "\U00020000", "𝒳", "𝟘",
    "😀", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇫🇷", "👍🏽", "❤️", "\U0010ffff", "\ue000", "\ufffd", "\ufffe", "▁", "▁▁word", "Ġ", "Ċ", "ĉ", "</s>", "<s>", "<unk>", "<0x0A>",
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|im_start", "im_end|>", "<|im_start|><|im_end|>", "<|im_start|>user\n", "<|IM_END|>", "<repo_name>",
    "<file_sep>", "<|begin_of_text|>", "<start_of_turn>", "<end_of_turn>", "<bos>", "<eos>", "[INST]", "[/INST]", "<|user|>", "<|end|>", "<|assistant|>",
]


def hostile():
    """Every piece alone, long runs, and pieces thrown together: more than 600, always the same."""
    draw = random.Random(20_17)
    texts = ["", *PIECES]
    texts += [piece * count for piece in (" ", "\n", "a", "0", "!", "\t", "é", "漢", "😀", "\u0301", " a", "\r\n", "<|im_end|>") for count in (2, 3, 7, 64, 513)]
    texts += [" " + piece + " " for piece in PIECES]
    texts += ["".join(draw.choices(PIECES, k=draw.randint(2, 24))) for _ in range(300)]
    # Any characters that are no surrogates.
    texts += ["".join(chr(draw.choice((draw.randrange(0xD800), draw.randrange(0xE000, 0x110000)))) for _ in range(40)) for _ in range(60)]
    return texts


WORDS = (
    "the of and a to in is you that it he was for on are as with his they at be this have from or one had by word but not what all were we "
    "when your can said there use an each which she do how their if will up other about out many then them these so some her would make like "
    "him into time has look two more write go see number no way could people my than first water been call who oil its now find long down day "
    "did get come made may part Paris London 1969 3.14 NASA iPhone résumé naïve café Zürich don't it's we'll e-mail https://example.org/a?b=c"
).split()


def made_up(count=600):
    draw = random.Random(3)
    mark = lambda: draw.choices(["", ",", ".", "!", "?", ";", "\n", "\n\n- ", ":\n\n```\n"], [30, 4, 4, 1, 1, 1, 1, 1, 1])[0]
    word = lambda: draw.choice([str, str, str, str.title, str.upper])(draw.choice(WORDS)) + mark()
    return [" ".join(word() for _ in range(draw.randint(3, 200))) for _ in range(count)]


def conversations(folder):
    """All texts of the files of a folder, or made-up ones where there is none."""
    if not folder.is_dir():
        return made_up(), "made up"
    found = []
    for path in sorted(folder.glob("*.json")):
        for row in json.loads(path.read_text()):
            found += [turn["value"] for turn in row.get("conversations", [])]
            found += [row[key] for key in ("instruction", "input", "output") if row.get(key)]
    return found, f"of {folder.name}"


def asked(question):
    return f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"


PROMPTS = [
    "The capital of France is", "Once upon a time", "def fibonacci(n):", "The quick brown fox", "In 1969, the first man", "Water boils at",
    "My favourite food is", "1 + 1 = 2, 2 + 2 =", "Les chats sont", "import numpy as np\n", "The meaning of life is", "To be or not to be",
    "It was a dark and stormy night", "The president of the United States", "SELECT name FROM", "Dear Sir or Madam,", "A",
    "The theory of relativity states that",
    asked("What is the capital of France?"), asked("Write a poem about the sea."), asked("Explain gravity to a child."), asked("List three fruits."),
    asked("How do I sort a list in Python?"), asked("Why is the sky blue?"), asked("Translate 'good morning' into Spanish."),
    asked("What is 12 times 12?"),
]
