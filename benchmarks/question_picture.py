"""Draw docs/how-to/question.png: the figure of a question, from a search replayed on recorded learning curves.

python -m benchmarks.question_picture      # prints the answer as well
"""

import tempfile
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial

from analysis.impact.answers import Answer, LevelFound, Retrained, decide_answer
from analysis.impact.candidates import leaders
from analysis.plots import plot_isolation
from analysis.plots.drawing import draw
from analysis.prose.answers import answer_sentence
from analysis.publish import shrink
from analysis.studies.trials import Trials, read_trials
from benchmarks.questions import SLOTS, NoisyCurves, asked_run, retrain
from benchmarks.replay import Recorded
from search.forecast.retraining import BEST, SEEDS
from search.forecast.simulate import simulate
from search.storage.run import Run
from search.storage.trials import epochs_reached

ROOT = Path(__file__).resolve().parent.parent
GRID, PARAMETER, TRIALS, SEED = "fashion", "num_blocks", 40, 0


def answered() -> tuple[Answer, Trials, str]:
    """The answer, the trials of the search, and the answer in words."""
    noisy = NoisyCurves(Recorded(GRID), GRID)
    run = asked_run(noisy.curves, GRID, parameter=PARAMETER, sampler="tpe", trials=TRIALS, seed=SEED)
    found = simulate(run, noisy.curves.grid.space, noisy, slots=SLOTS, examine=noisy.curves.examine).trials
    levels = [_level(noisy, found, run, number) for number in range(len(run.questions[0].levels))]
    hours = sum(noisy.curves.epoch_seconds(t.params) * epochs_reached(t) for t in found) / 3600
    answer = decide_answer(PARAMETER, levels, run.objective, hours=hours, seeds=SEEDS)
    study = optuna.create_study(direction=run.direction)
    study.add_trials(found)
    trials = read_trials(study, run)
    return answer, trials, answer_sentence(answer, trials, machine={"threads_per_trial": 1})


def _level(noisy: NoisyCurves, found: list[FrozenTrial], run: Run, number: int) -> LevelFound:
    """What was found with one value, its best configurations trained again."""
    question = run.questions[0]
    level = question.levels[number]
    mine = [trial for trial in found if trial.params[PARAMETER] == level]
    chosen = leaders(found, question, level, objective=run.objective, count=BEST)
    again = [Retrained(trial=t.number, values=tuple(retrain(noisy, t, number, SEED)[:SEEDS])) for t in chosen]
    epochs = sum(map(epochs_reached, mine))
    return LevelFound(level=level, trials=len(mine), epochs=epochs, failed=0, configurations=tuple(again))


def main() -> None:
    """Write the picture, and print the answer."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    answer, trials, said = answered()
    out = ROOT / "docs" / "how-to" / "question.png"
    with tempfile.TemporaryDirectory() as scratch:
        draw("question", lambda: plot_isolation(answer, trials), Path(scratch))
        shrink(Path(scratch) / "question.png", out)
    print(said)
    print(out)


if __name__ == "__main__":
    main()
