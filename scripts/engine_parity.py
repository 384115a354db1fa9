"""Whether the engine says what llama.cpp says: tokens, continuations of the real model, architectures and types.

In: both sides (`engine_setup`), a report. Out: tables and what is not as it must be, in the report. `next` is the log-probability of
the token that follows, in nat; a difference is the engine's less llama.cpp's.
"""

import json
import random
from itertools import combinations, permutations
from statistics import fmean

from engine_setup import Broken, run
from engine_texts import PROMPTS, asked, conversations, hostile

ARCHITECTURES = ["llama", "phi3", "qwen2", "qwen3", "mistral", "gemma3"]
LENGTH = 64


def tokens(sides, report, folder):
    """Every text, with special tokens read and not: the same tokens. The test models have the other kinds of tokenizers."""
    texts, origin = conversations(folder)
    sets = [("real model", sides.model, f"{len(texts)} texts {origin}", texts), ("real model", sides.model, "hostile", hostile())]
    for name in ARCHITECTURES:
        sets.append((f"test model, {name}", sides.make(f"tokens-{name}", "--architecture", name), "hostile", hostile()))
    rows = []
    for name, model, what, each in sets:
        counts = []
        for special in (True, False):
            file = sides.file("texts.json", {"texts": each, "special": special})
            ours, theirs = (side(model, "tokenize", file)["tokens"] for side in (sides.engine, sides.peer))
            different = [at for at in range(len(each)) if ours[at] != theirs[at]]
            counts.append(f"{len(each) - len(different)} of {len(each)}")
            if different:
                least = min(different, key=lambda at: len(each[at]))
                report.fail(
                    f"tokens, {name}, special tokens {'read' if special else 'not read'}: {len(different)} texts differ, the shortest "
                    f"{each[least][:80]!r}: {ours[least][:12]}, llama.cpp {theirs[least][:12]}"
                )
        rows.append([name, what, *counts])
    report.table("Tokens equal to llama.cpp's", ["tokenizer of", "texts", "special tokens read", "not read"], rows)


def next_ones(answer):
    return [at["next"] for each in answer["lists"] for at in each["positions"] if at["next"] is not None]


def places(answer):
    return [at for each in answer["lists"] for at in each["positions"] if at["next"] is not None]


def apart(one, other):
    """Differences of the following tokens' log-probabilities."""
    return [a - b for a, b in zip(next_ones(one), next_ones(other), strict=True)]


def mean_apart(one, other):
    return fmean(map(abs, apart(one, other)))


def gap(at):
    return at["top"][0][1] - at["top"][1][1]


def turned(one, other, least):
    """The share of places where the best tokens differ and the other's two best are further apart than this."""
    pairs = list(zip(places(one), places(other), strict=True))
    return sum(a["top"][0][0] != b["top"][0][0] and gap(b) > least for a, b in pairs) / len(pairs)


def first_difference(ours, theirs):
    """Of each pair of continuations the first place where they differ, and how far llama.cpp's two best are apart there."""
    found = []
    for one, other in zip(ours["continuations"], theirs["continuations"], strict=True):
        at = next((at for at, pair in enumerate(zip(one["tokens"], other["tokens"])) if pair[0] != pair[1]), None)
        found.append(None if at is None else (at, other["top2"][at][0][1] - other["top2"][at][1][1]))
    return found


def forced(free):
    """Each prompt with its continuation, of which the continuation's places are asked for."""
    return [{"tokens": each["prompt"] + each["tokens"], "from": len(each["prompt"]) - 1} for each in free["continuations"]]


def stress(sides, report):
    """The real model's memory under pressure."""
    answer = json.loads(run([sides.programs / "vramkit", "stress", sides.model, "--ctx", "512", "--prove", "--json"], Broken))
    rows = [[each["name"], each["measured"], each["limit"], each["unit"], "yes" if each["caught"] else "no"] for each in answer["checks"]]
    report.table("The real model's memory under pressure", ["check", "measured", "held to", "unit", "fault caught"], rows)
    report.require(answer["passed"] and len(rows) == 10, "memory under pressure: not all checks passed and caught their fault")


def greedy(sides, report, quick):
    # Without the file's system message, as llama.cpp's own chat asks: with it llama.cpp too says "L'Étoile" at this rounding.
    question = asked("What is the capital of France?")
    answer = run([sides.programs / "vramkit", "generate", sides.model, "--prompt", question, "--max-output-tokens", "32"], Broken)
    report.require("Paris" in answer, f"the capital of France is said to be {answer!r}")

    prompts = sides.file("prompts.json", PROMPTS)
    free = sides.peer_parts(sides.model, "greedy", PROMPTS, "-n", LENGTH)
    all_forced = forced(free)
    lists = sides.file("forced.json", all_forced)
    ours = sides.engine(sides.model, "logits", lists)
    settings = {}
    # Repacking is left on: for Q4_1 the wheel has none.
    for flash in ("on", "off"):
        settings[f"wheel, flash attention {flash}"] = sides.peer_parts(sides.model, "logits", all_forced, flash=flash)
    # Every third prompt is enough for a mean, and 32-bit weights take their time.
    third = slice(None, None, 3)
    some = sides.file("some.json", all_forced[third])
    exact = sides.engine(sides.plain(sides.model), "logits", some, cache="f32")
    others = {}
    if sides.npm:
        others["npm library"] = sides.peer_parts(sides.model, "logits", all_forced, library=sides.npm)

    rows = []
    for name, answer in [("engine", ours), *settings.items(), *others.items()]:
        beside = [other for key, other in settings.items() if key != name]
        rows.append([
            name,
            f"{fmean(fmean(apart(answer, other)) for other in beside):+.4f}",
            f"{fmean(mean_apart(answer, other) for other in beside):.4f}",
            f"{mean_apart({'lists': answer['lists'][third]}, exact):.4f}",
            f"{fmean(turned(answer, other, 0.1) for other in beside):.2%}",
        ])
    count = len(next_ones(ours))
    report.table(
        f"The real model on {len(PROMPTS)} prompts and the wheel's continuations of {LENGTH} tokens ({count} places; nat)",
        ["", "mean difference to the wheel's (other) settings", "mean absolute difference to them", "mean absolute difference to the same weights in f32 (every third prompt)", "best token differs where two best are > .1 apart"],
        rows,
    )
    signed = fmean(fmean(apart(ours, other)) for other in settings.values())
    report.require(abs(signed) < 0.02, f"greedy: log-probabilities differ by {signed:+.4f} nat on average; under .02 is asked")
    # Settings that compute the same thing say nothing about how far apart settings are.
    pairs = [pair for pair in combinations(settings.values(), 2) if mean_apart(*pair) > 0]
    own = fmean(mean_apart(*pair) for pair in pairs)
    mine = fmean(mean_apart(ours, other) for other in settings.values())
    report.require(mine <= 1.25 * own, f"greedy: the engine is {mine:.4f} nat from the wheel's settings, they are {own:.4f} from one another")
    own = fmean(turned(*pair, 0.1) for one in pairs for pair in permutations(one))
    mine = fmean(turned(ours, other, 0.1) for other in settings.values())
    report.require(mine <= own + 0.01, f"greedy: the best token differs in {mine:.2%} of places, between the wheel's settings in {own:.2%}")
    report.say(f"Between the wheel's own settings: best tokens differ in {own:.2%} of places whose two best are more than .1 nat apart.")

    free_ours = sides.engine(sides.model, "greedy", prompts, LENGTH)
    where(report, "free-running, Q4_1", first_difference(free_ours, free))
    alike(report, free_ours, free, ours)
    exactly(sides, report, PROMPTS[third] if quick else PROMPTS)


def where(report, name, differences):
    told = [f"at {each[0]} (two best {each[1]:.4f} apart)" for each in differences if each]
    same = f"{len(differences) - len(told)} of {len(differences)} continuations are the same token by token"
    report.say(f"{name}: {same}" + (f"; the others differ first {', '.join(told)}." if told else "."))


def alike(report, free_ours, free, ours):
    """What the engine says of a place does not depend on what is computed beside it: to the last bit."""
    checked = 0
    for mine, theirs, forced in zip(free_ours["continuations"], free["continuations"], ours["lists"], strict=True):
        for at, (place, token) in enumerate(zip(forced["positions"], theirs["tokens"])):
            checked += 1
            if place["top"][:2] != mine["top2"][at]:
                report.fail(f"greedy: after {len(mine['prompt'])} + {at} tokens the engine says {mine['top2'][at]} and, computed in other company, {place['top'][:2]}")
                return
            if mine["tokens"][at] != token:
                break
    report.say(f"At {checked} places the engine's two best, computed one after the other and all at once, are the same to the last bit.")


def exactly(sides, report, prompts):
    """The same weights as 32-bit numbers: nothing is rounded in its own way. llama.cpp takes a tenth of a second for a token of
    these; so what it says of its own continuation is not asked for again."""
    plain = sides.plain(sides.model)
    theirs = sides.peer_parts(plain, "greedy", prompts, "-n", LENGTH, cache="f32", flash="off")
    ours = sides.engine(plain, "greedy", sides.file("prompts.json", prompts), LENGTH, cache="f32")
    found = first_difference(ours, theirs)
    where(report, "free-running, the same weights in f32", found)
    for difference in filter(None, found):
        report.require(difference[1] < 0.001, f"greedy, f32: a continuation differs at {difference[0]}, where the two best are {difference[1]:.4f} nat apart")
    parted = [each for each, difference in zip(theirs["continuations"], found) if difference]
    same = [pair for pair, difference in zip(zip(ours["continuations"], theirs["continuations"]), found) if not difference]
    differences = [a[0][1] - b[0][1] for one, other in same for a, b in zip(one["top2"], other["top2"], strict=True)]
    if parted:
        forced_ours = sides.engine(plain, "logits", sides.file("parted.json", forced({"continuations": parted})), cache="f32")
        chosen = [step[0][1] for each in parted for step in each["top2"]]
        differences += [a - b for a, b in zip(next_ones(forced_ours), chosen, strict=True)]
    most = max(map(abs, differences))
    report.say(f"Log-probabilities at {len(differences)} places, the same weights in f32: mean difference {fmean(map(abs, differences)):.6f}, at most {most:.6f} nat.")
    report.require(most < 0.001, f"greedy, f32: log-probabilities differ by up to {most:.6f} nat; under .001 is asked")


# Mean differences that are allowed, by the type of weights. llama.cpp rounds activations to bf16 where weights are, and takes
# gemma3's gelu from a table of 16-bit numbers.
EXACT, TABLE = 0.0005, 0.004
# Wider heads have larger scores before they are made probabilities, and roundings with them.
WIDE = 0.001
# Quantised activations are rounded by each in its own way (the engine per 32 numbers, llama.cpp per 256 beside the K types), so that
# they differ by about the sum of both distances to the exact answer; who is nearer to that is in the second table.
MEANS = {"f16": 0.01, "bf16": 0.05} | dict.fromkeys(["q8_0", "q4_0", "q4_1", "q5_0", "q5_1"], 0.15) | dict.fromkeys(["q4_K", "q5_K", "q6_K"], 0.3)


def random_lists(seed):
    """One list from its beginning, one whose end is behind windows and behind 256 tokens."""
    draw = random.Random(seed)
    some = lambda count: [draw.randrange(3, 500) for _ in range(count)]
    return [{"tokens": some(80)}, {"tokens": some(330), "from": 250}]


def options_of(architecture):
    # Each has weights of its own. llama.cpp heeds windows of gemma3 alone.
    return ["--architecture", architecture, "--seed", ARCHITECTURES.index(architecture), *(["--window", "0"] if architecture in ("mistral", "phi3") else [])]


def architectures(sides, report):
    lists = sides.file("lists.json", random_lists(7))
    rows, ratios = [], {kind: [] for kind in MEANS}
    for name in ARCHITECTURES:
        row = [name]
        for kind in ["f32", *MEANS]:
            model = sides.make(f"{name}-{kind}", *options_of(name), "--type", kind)
            ours = sides.engine(model, "logits", lists, cache="f32")
            theirs = sides.peer(model, "logits", lists, cache="f32", flash="off", threads=1)
            row.append(judge(report, f"{name}, {kind}", name, kind, apart(ours, theirs)))
            if kind not in ("f32", "f16", "bf16"):
                plain = sides.plain(model)
                exact = sides.engine(plain, "logits", lists, cache="f32")
                ratios[kind].append((name, mean_apart(ours, exact), mean_apart(theirs, exact)))
                plain.unlink()
            model.unlink()
        rows.append(row)
    kinds = ["f32 (most)", *MEANS]
    report.table("Mean absolute difference of log-probabilities, test models (nat; f32: the largest)", ["architecture", *kinds], rows)
    quantised(report, {kind: each for kind, each in ratios.items() if each})
    variants(sides, report, lists)
    caches(sides, report, lists)


def judge(report, what, architecture, kind, differences, exact=EXACT):
    """How far apart they are, in words; a fault where it is too far."""
    mean, most = fmean(map(abs, differences)), max(map(abs, differences))
    table = architecture == "gemma3"
    if kind == "f32" and not table:
        report.require(most < exact, f"{what}: log-probabilities differ by up to {most:.5f} nat; under {exact} is asked")
        return f"{most:.5f}"
    allowed = TABLE if kind == "f32" else MEANS[kind]
    report.require(mean < allowed, f"{what}: log-probabilities differ by {mean:.4f} nat on average; under {allowed} is asked")
    return f"{mean:.4f}" + (" (mean)" if kind == "f32" else "")


def quantised(report, ratios):
    """Who is nearer to the same weights in f32: over all architectures not further than 1.25 times llama.cpp, nowhere twice."""
    rows = []
    for kind, each in ratios.items():
        ours, theirs = fmean(e[1] for e in each), fmean(e[2] for e in each)
        worst = max(each, key=lambda e: e[1] / e[2])
        rows.append([kind, f"{ours:.4f}", f"{theirs:.4f}", f"{ours / theirs:.2f}", f"{worst[1] / worst[2]:.2f} ({worst[0]})"])
        report.require(ours <= 1.25 * theirs, f"{kind}: the engine is {ours:.4f} nat from the same weights in f32, llama.cpp {theirs:.4f}")
        report.require(worst[1] <= 2 * worst[2], f"{worst[0]}, {kind}: the engine is {worst[1]:.4f} nat from the same weights in f32, llama.cpp {worst[2]:.4f}")
    report.table("Mean absolute difference to the same weights in f32 (nat)", ["type", "engine", "llama.cpp", "ratio", "largest ratio"], rows)


VARIANTS = [
    ("llama", ["--rope-scaling", "linear:4"]),
    ("llama", ["--rope-scaling", "yarn:4:128"]),
    ("llama", ["--rope-scaling", "divisors:8"]),
    ("qwen2", ["--rope-scaling", "yarn:4:128"]),
    ("qwen3", ["--rope-scaling", "linear:2"]),
    ("mistral", ["--rope-scaling", "yarn:8:256"]),
    ("gemma3", ["--rope-scaling", "linear:8"]),
    ("phi3", ["--rope-scaling", "none"]),
    ("phi3", ["--rope-scaling", "long:1024:1.19"]),
    ("phi3", ["--head", "96", "--hidden", "384"]),
    ("llama", ["--biases", "yes"]),
    ("mistral", ["--biases", "yes"]),
    ("llama", ["--tied", "yes"]),
    ("qwen3", ["--tied", "yes"]),
    ("qwen2", ["--tied", "no"]),
    ("llama", ["--head", "96"]),
    ("llama", ["--head", "128", "--heads", "6", "--kv-heads", "1"]),
    ("qwen3", ["--head", "128"]),
    ("gemma3", ["--head", "256", "--heads", "2", "--kv-heads", "1"]),
    ("gemma3", ["--window", "0"]),
    ("gemma3", ["--window", "100"]),
    ("llama", ["--rope-base", "500000", "--smol", "yes"]),
]
def variants(sides, report, lists):
    rows = []
    for name, options in VARIANTS:
        model = sides.make("variant", *options_of(name), *options)
        ours = sides.engine(model, "logits", lists, cache="f32")
        theirs = sides.peer(model, "logits", lists, cache="f32", flash="off", threads=1)
        what = f"{name} {' '.join(options)}"
        rows.append([what, judge(report, what, name, "f32", apart(ours, theirs), WIDE)])
        model.unlink()
    report.table("Shapes and rotations, weights in f32: the largest difference (nat)", ["test model", "difference"], rows)


def caches(sides, report, lists):
    """Keys and values in fewer bits: not further from those in 32 bits than 1.25 times llama.cpp."""
    rows = []
    for cache in ("f16", "q8_0"):
        each = []
        for name in ("llama", "qwen3"):
            model = sides.make("variant", *options_of(name))
            exact = sides.engine(model, "logits", lists, cache="f32")
            # llama.cpp has values in q8_0 with flash attention alone.
            theirs = sides.peer(model, "logits", lists, cache=cache, flash="on", threads=1)
            each.append((mean_apart(sides.engine(model, "logits", lists, cache=cache), exact), mean_apart(theirs, exact)))
        ours, theirs = (fmean(side) for side in zip(*each))
        rows.append([cache, f"{ours:.5f}", f"{theirs:.5f}", f"{ours / theirs:.2f}"])
        report.require(ours <= 1.25 * theirs, f"cache {cache}: the engine is {ours:.5f} nat from a cache in f32, llama.cpp {theirs:.5f}")
    report.table("Mean absolute difference to a cache in f32, weights in f32, `llama` and `qwen3` (nat)", ["cache", "engine", "llama.cpp", "ratio"], rows)
