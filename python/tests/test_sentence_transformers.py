"""hardneg.sentence_transformers on the real library, with a small static model that is made here."""

import random
import warnings

import numpy as np
import pytest

reason = "{} is not installed: hardneg.sentence_transformers is NOT TESTED"
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch", reason=reason.format("PyTorch"))
    st = pytest.importorskip("sentence_transformers", reason=reason.format("sentence-transformers"))
    datasets = pytest.importorskip("datasets", reason=reason.format("datasets"))
from sentence_transformers.util import mine_hard_negatives as of_the_library  # noqa: E402

import hardneg  # noqa: E402
from hardneg.sentence_transformers import ModifiedTripletLoss, mine_hard_negatives  # noqa: E402

TOPICS, WORDS = 12, 9


def sentences(count, seed):
    """Pairs of sentences on a topic: most words of a sentence are those of its topic."""
    generator = random.Random(seed)

    def sentence(topic):
        words = [f"t{topic}w{generator.randrange(WORDS)}" for _ in range(4)]
        return " ".join(words + [f"common{generator.randrange(30)}" for _ in range(3)])

    return [(sentence(index % TOPICS), sentence(index % TOPICS)) for index in range(count)]


def make_model(seed=0):
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    words = [f"t{topic}w{word}" for topic in range(TOPICS) for word in range(WORDS)]
    words += [f"common{word}" for word in range(30)] + ["[UNK]"]
    tokenizer = Tokenizer(WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    weights = np.random.default_rng(seed).standard_normal((len(words), 32)).astype(np.float32)
    return st.SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights)], device="cpu")


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(scope="module")
def dataset():
    """300 pairs; every tenth query is that of the pair before, so that it has two positives."""
    pairs = sentences(300, 1)
    anchors = [pairs[index - (index % 10 == 9)][0] for index in range(300)]
    return datasets.Dataset.from_dict({"anchor": anchors, "positive": [positive for _, positive in pairs]})


def similarities(model, dataset):
    """In float64: unique queries, unique texts, and all cosines."""
    queries, texts = (list(dict.fromkeys(dataset[name])) for name in ("anchor", "positive"))
    a, b = (model.encode(rows).astype(np.float64) for rows in (queries, texts))
    a, b = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (a, b))
    return queries, texts, a @ b.T


def by_query(result):
    found = {}
    for row in result:
        negatives = found.setdefault(row["anchor"], {})
        negatives[row["negative"]] = row["scores"]
    return found


THRESHOLDS = [
    {},
    {"absolute_margin": 0.1},
    {"relative_margin": 0.05},
    {"max_score": 0.6},
    {"min_score": 0.2, "max_score": 0.5},
    {"range_min": 4},
    {"absolute_margin": 0.3, "range_min": 2, "num_negatives": 7},
]


@pytest.mark.parametrize("options", THRESHOLDS, ids=str)
def test_every_difference_is_explained(model, dataset, options):
    """A query of which the library has another list is one whose pool ran short, or a tie in float32."""
    options = {"num_negatives": 5, "output_scores": True, "verbose": False} | options
    ours = by_query(mine_hard_negatives(dataset, model, threads=1, **options))
    theirs = by_query(of_the_library(dataset, model, **options))
    queries, texts, s = similarities(model, dataset)
    place = {text: index for index, text in enumerate(texts)}
    known = {query: set() for query in queries}
    for query, positive in zip(dataset["anchor"], dataset["positive"]):
        known[query].add(place[positive])
    short = 0
    for query, row in zip(queries, s):
        own, other = ours.get(query, {}), theirs.get(query, {})
        expected = exact(row, known[query], options)
        assert len(own) == len(expected)
        assert all(abs(row[place[text]] - row[index]) < 1e-6 for text, index in zip(own, expected))
        if len(other) < len(own):
            short += 1
            continue
        assert len(other) == len(own)
        for one, two in zip(own, other):
            assert one == two or abs(row[place[one]] - row[place[two]]) < 1e-6
    if options.get("absolute_margin") == 0.3:
        assert short > 0, "the case in which the library runs short did not occur"


def exact(row, known, options):
    """The indices of the negatives, in float64."""
    p = min(row[index] for index in known)
    good = np.ones(len(row), bool)
    good[list(known)] = False
    if "absolute_margin" in options:
        good &= row + options["absolute_margin"] <= p
    if "relative_margin" in options:
        good &= row <= p - abs(p) * options["relative_margin"]
    good &= (row <= options.get("max_score", 2)) & (row >= options.get("min_score", -2))
    order = [index for index in np.argsort(-row, kind="stable") if good[index]]
    return order[options.get("range_min", 0) :][: options["num_negatives"]]


@pytest.mark.parametrize("output_scores", [False, True])
@pytest.mark.parametrize("output_format", ["triplet", "n-tuple", "labeled-pair", "labeled-list"])
def test_output_formats(model, dataset, output_format, output_scores):
    """Without thresholds no pool runs short, and the data sets are the same."""
    options = {"output_format": output_format, "output_scores": output_scores, "verbose": False}
    ours = mine_hard_negatives(dataset, model, **options)
    theirs = of_the_library(dataset, model, **options)
    assert ours.column_names == theirs.column_names and len(ours) == len(theirs)
    different = 0
    for one, two in zip(ours, theirs):
        for name in ours.column_names:
            if name in ("score", "scores"):
                np.testing.assert_allclose(one[name], two[name], atol=1e-6)
            else:
                assert type(one[name]) is type(two[name])
                different += one[name] != two[name]
    # Two texts whose similarities are the same to seven digits.
    assert different <= len(ours) * 0.02


def test_other_arguments(model, dataset, tmp_path, capsys):
    corpus = [text for pair in sentences(50, 9) for text in pair]
    options = {"corpus": corpus, "num_negatives": 2, "verbose": False}
    ours, theirs = (mine(dataset, model, **options) for mine in (mine_hard_negatives, of_the_library))
    assert len(ours) == len(theirs) and set(ours["negative"]) & set(corpus)
    for _ in range(2):
        cached = mine_hard_negatives(dataset, model, cache_folder=str(tmp_path), **options)
        assert cached.to_dict() == ours.to_dict()
    assert of_the_library(dataset, model, cache_folder=str(tmp_path), **options).to_dict() == theirs.to_dict()
    assert len(list(tmp_path.iterdir())) == 2
    capsys.readouterr()
    mine_hard_negatives(dataset, model, absolute_margin=0.9)
    assert "fewer than 3 texts that qualify" in capsys.readouterr().out
    included = mine_hard_negatives(dataset, model, include_positives=True, num_negatives=10, verbose=False)
    assert included.column_names == ["anchor", "positive", *(f"negative_{place}" for place in range(1, 11))]


def test_random_sampling_is_repeatable(model, dataset):
    options = {"sampling_strategy": "random", "range_max": 30, "num_negatives": 4, "verbose": False}
    one, two, other = (mine_hard_negatives(dataset, model, seed=seed, **options).to_dict() for seed in (1, 1, 2))
    assert one == two and one != other
    top = mine_hard_negatives(dataset, model, num_negatives=30, verbose=False)
    among = {(row["anchor"], row["negative"]) for row in top}
    assert {pair for pair in zip(one["anchor"], one["negative"])} <= among


def test_what_is_refused(model, dataset):
    for options in (
        {"num_negatives": 0},
        {"range_min": -1},
        {"range_min": 5, "range_max": 5},
        {"range_max": 2, "num_negatives": 3},
        {"output_format": "pairs"},
        {"sampling_strategy": "best"},
    ):
        with pytest.raises(ValueError):
            mine_hard_negatives(dataset, model, verbose=False, **options)
    with pytest.raises(ValueError):
        mine_hard_negatives(dataset.select([]), model)


@pytest.mark.parametrize("with_negatives", [False, True])
def test_training_lowers_the_loss(dataset, with_negatives, tmp_path):
    model = make_model(1)
    pairs = datasets.Dataset.from_dict(
        {"anchor": [a for a, _ in sentences(200, 3)], "positive": [p for _, p in sentences(200, 3)]}
    )
    if with_negatives:
        pairs = mine_hard_negatives(pairs, model, num_negatives=1, verbose=False)
    loss = ModifiedTripletLoss(model, margin=0.3)
    arguments = st.SentenceTransformerTrainingArguments(
        output_dir=str(tmp_path),
        num_train_epochs=4,
        per_device_train_batch_size=32,
        learning_rate=0.05,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = st.SentenceTransformerTrainer(model=model, args=arguments, train_dataset=pairs, loss=loss)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) > 20 and np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])
    assert loss.get_config_dict() == {"margin": 0.3, "negatives": "below", "reduction": "mean"}


def test_the_loss_of_a_batch(model):
    pairs = sentences(20, 4)
    features = [model.tokenize([pair[side] for pair in pairs]) for side in (0, 1)]
    rows = [model.encode([pair[side] for pair in pairs]) for side in (0, 1)]
    loss = ModifiedTripletLoss(model, negatives="any")(features, None)
    assert loss.item() == np.float32(hardneg.triplet_loss(*rows, negatives="any", reduction="mean").loss)
    assert torch.is_grad_enabled() and loss.requires_grad
