"""Columns of free text: their numbers, what is said of them, and the rows to predict."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import spaces.space
from analysis.datasets.columns import as_rows
from analysis.datasets.tables import findings, table_overview
from analysis.model.load import Model, load_model
from analysis.model.tables import answer_table
from analysis.model.write import export_model
from analysis.scores.features import columns_of_features, permutation_importance
from analysis.wording import percent
from search.forecast.preview import describe_columns, describe_table
from search.session.opening import decide_table
from search.session.rules import parse_types
from tests.tables import NUM_ROWS, A, read, told, trained, write
from trainables.data.dataset import Dataset
from trainables.data.gaps import missing_shares
from trainables.data.options import TableOptions
from trainables.data.texts import BINS, NUMBERS, count_pieces, fit_texts, project
from trainables.sources.load import load_test

GOOD, BAD = ("superb", "lovely", "sturdy", "reliable"), ("broken", "noisy", "fragile", "useless")
FILL = ("the", "lamp", "came", "after", "two", "days", "and", "looks", "like", "that", "shop")


def reviews() -> tuple[list[str], list[float]]:
    """Texts whose share of good words decides the target."""
    random = np.random.default_rng(0)
    texts, stars = [], []
    for _ in range(NUM_ROWS):
        share = random.random()
        words = [str(random.choice(GOOD if random.random() < share else BAD)) for _ in range(8)]
        words += [str(random.choice(FILL)) for _ in range(6)]
        texts.append(" ".join(words[i] for i in random.permutation(len(words))))
        stars.append(10 * sum(word in GOOD for word in words) / 8)
    return texts, stars


TEXTS, STARS = reviews()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("texts")
    cells = [*TEXTS[:-1], ""]
    return read(write(folder / "t.csv", "review,a,y", cells, A, STARS), types={"review": "text"})


def test_the_numbers_are_the_projections_of_latent_semantic_analysis():
    weights = fit_texts(TEXTS)
    assert len(weights) == NUMBERS
    counts = count_pieces(TEXTS)
    lengths = np.sqrt(counts.multiply(counts).sum(axis=1)).A1
    assert lengths == pytest.approx(np.ones(NUM_ROWS))
    rarity = 1 + np.log((1 + NUM_ROWS) / (1 + (counts.toarray() > 0).sum(0)))
    left, values, _ = np.linalg.svd(counts.toarray() * rarity, full_matrices=False)
    for index in range(4):  # those after are too alike in size to be found exactly
        found = project(counts, weights[index])
        assert abs(np.corrcoef(found, left[:, index] * values[index])[0, 1]) > 0.99


def test_a_text_has_the_same_numbers_alone_and_among_others_and_an_empty_one_zeros():
    weights = fit_texts(TEXTS)
    among = np.stack([project(count_pieces([*TEXTS[:3], ""]), one) for one in weights])
    alone = np.stack([project(count_pieces(TEXTS[1:2]), one) for one in weights])
    assert (among[:, 1:2] == alone).all()
    assert (among[:, 3] == 0).all()
    assert count_pieces([]).shape == (0, BINS)


def test_few_or_equal_texts_have_fewer_numbers():
    assert len(fit_texts(["one text", "another text", "a third one"])) == 2
    assert fit_texts(["", "", "one"]) == ()
    assert fit_texts(["same words", "Same words", ""]) == ()
    (nearly,) = fit_texts(["same words", "same  words"])  # of the same pieces
    assert np.isfinite(project(count_pieces(["same words", "others"]), nearly)).all()


def test_a_column_of_one_text_is_refused_in_one_line(tmp_path: Path):
    path = write(tmp_path / "t.csv", "review,a,y", ["nothing to say"] * NUM_ROWS, A, STARS)
    with pytest.raises(
        ValueError, match=r"'review' has fewer than 2 different texts in the training rows.*--drop review"
    ):
        read(path, types={"review": "text"})


def test_a_column_of_text_is_several_numbers_and_one_feature(dataset: Dataset):
    numbers = [column for column in dataset.columns if column.text]
    assert [column.name for column in numbers] == [f"review ~ {number}" for number in range(1, NUMBERS + 1)]
    assert describe_columns(dataset) == "numbers: a; texts: review"
    assert "from 2 columns: 1 of numbers, 0 of categories, 1 of text" in describe_table(dataset)
    assert columns_of_features(dataset.columns) == [tuple(range(NUMBERS)), (NUMBERS,)]
    said = findings(table_overview(dataset))
    assert any(line.startswith("review contains free text; the network reads 16 numbers of it") for line in said)
    decided = decide_table(TableOptions(target="y"), dataset)
    assert decided is not None
    assert decided.types == {"review": "text", "a": "number"}


def test_a_text_that_says_nothing_is_missing_once_in_every_place(tmp_path: Path):
    says_nothing = ["", "NA", "null", "none", " - ", "?", "n/a", "nan"]
    cells = [says_nothing[row % 8] if row < 80 else text for row, text in enumerate(TEXTS)]
    data = read(write(tmp_path / "t.csv", "review,a,y", cells, A, STARS), types={"review": "text"})
    x, columns = data.train.x.numpy(), data.columns
    lost = np.isnan(x[:, :NUMBERS])
    assert (lost.all(1) == lost.any(1)).all()
    share = float(lost[:, 0].mean())
    assert 0 < share < 1
    assert missing_shares(x, columns) == {"review": share, "a": 0.0}
    assert f"1 with gaps (missing: review {100 * share:.1f} %)" in describe_table(data)
    assert [column.gaps for column in columns] == [True] + [False] * NUMBERS  # one input of the network marks them
    overview = table_overview(data)
    assert any(line == f"Missing values in 1 of 2 columns: review {percent(share)}." for line in findings(overview))
    assert overview.features["missing"].tolist() == [share] * NUMBERS + [0.0]
    training = trained(data, epochs=1)
    assert np.isfinite(training.predict(data.train.x).numpy()).all()


def test_a_network_learns_from_a_text_and_its_importance_is_that_of_the_whole(dataset: Dataset):
    training = trained(dataset)
    assert training.history[-1]["r2"] > 0.7

    def predict(x: np.ndarray) -> np.ndarray:
        return training.predict(torch.from_numpy(x))[:, 0].numpy()

    found = permutation_importance([predict], as_rows(dataset.validation, dataset))
    assert [one["features"] for one in found] == [["review"], ["a"]]
    assert found[0]["low"] > 0.2 > abs(found[1]["value"])


def test_texts_are_fitted_without_validation_and_test_rows(tmp_path: Path):
    path = write(tmp_path / "t.csv", "review,a,y", TEXTS, A, STARS)
    dataset = read(path, types={"review": "text"})
    test = load_test("csv", path, like=dataset)
    seen = {TEXTS[row - 1] for row in test.origin if isinstance(row, int)}
    assert len(seen) == len(test) == NUM_ROWS // 5
    weights = [column.weights for column in dataset.columns if column.text]
    expected = np.stack([project(count_pieces([TEXTS[int(row) - 1] for row in test.origin]), one) for one in weights])
    assert np.array_equal(test.x[:, :NUMBERS].numpy(), expected.T.astype(np.float32))
    held_out = {*seen}
    values = {tuple(row) for row in dataset.validation.x[:, :NUMBERS].tolist()}
    held_out |= {
        text
        for text in TEXTS
        if tuple(np.float32([project(count_pieces([text]), one)[0] for one in weights]).tolist()) in values
    }
    path = write(
        tmp_path / "u.csv",
        "review,a,y",
        [f"{text} entirely different" if text in held_out else text for text in TEXTS],
        A,
        STARS,
    )
    other = read(path, types={"review": "text"})
    assert [column.weights for column in other.columns if column.text] == weights


def test_a_text_column_is_offered_where_most_texts_have_several_words(tmp_path: Path):
    with pytest.raises(ValueError, match=r"--drop review, or read it as free text: --types review=text$"):
        read(write(tmp_path / "t.csv", "review,a,y", TEXTS, A, STARS))
    codes = [f"x{number}z" for number in range(NUM_ROWS)]
    with pytest.raises(ValueError, match=r"--drop code$"):
        read(write(tmp_path / "u.csv", "code,a,y", codes, A, STARS))


def test_a_column_with_the_name_of_such_a_number_is_refused_in_one_line(tmp_path: Path):
    path = write(tmp_path / "t.csv", "review,review ~ 2,y", TEXTS, A, STARS)
    with pytest.raises(ValueError, match=r"the table has a column 'review ~ 2'.*rename it$"):
        read(path, types={"review": "text"})


def test_types_of_the_command_line_may_be_text():
    assert parse_types("review=text,a=number") == {"review": "text", "a": "number"}
    with pytest.raises(ValueError, match="the type number, category or text, as in"):
        parse_types("review=words")


def exported(dataset: Dataset, folder: Path) -> Model:
    (folder / "final").mkdir()
    params = spaces.space.load("tabular_mlp").baseline | {"width": 64, "adamw_lr": 2e-2, "batch_size": 64}
    facts = {"space": "tabular_mlp", "params": params, "seed": 0}
    export_model(folder / "final", trained(dataset, epochs=1), facts=facts)
    return load_model(folder)


def test_rows_to_predict_are_read_as_in_training(dataset: Dataset, tmp_path: Path):
    model = exported(dataset, tmp_path)
    path = write(tmp_path / "new.csv", "a,review,note", A[:5], TEXTS[:5], ["x"] * 5)
    answers = answer_table(model, str(path))
    rows = torch.tensor(
        [
            [*(project(count_pieces([text]), column.weights)[0] for column in model.columns if column.text), a]
            for text, a in zip(TEXTS[:5], A[:5], strict=True)
        ],
        dtype=torch.float32,
    )
    assert answers.outputs == pytest.approx(model.predict(rows), rel=1e-5)
    assert answers.notes == ("the model does not use the columns note",)
    cells = ["", "NA", "xkcdwvp", *TEXTS[:2]]
    strange = answer_table(model, str(write(tmp_path / "strange.csv", "a,review", ["", *A[1:5]], cells)))
    assert strange.notes == (
        "column 'review': 'xkcdwvp' has no part of a word that occurred in training; 1 such cell is treated as missing,"
        " the first in row 3 (line 4)",
        "of 5 rows, these have no value: 'review' in 2, 'a' in 1; handled as missing values in training",
    )
    assert np.isfinite(strange.outputs).all()
    lacking = write(tmp_path / "lacking.csv", "a", A[:5])
    with pytest.raises(ValueError, match="must have the 2 columns of the model; it lacks review"):
        answer_table(model, str(lacking))
    stored = json.loads((tmp_path / "final" / "model.json").read_text())["columns"]
    assert len(json.dumps(stored)) < 300_000
    assert "review" not in told(dataset)
