"""Answers whether a hyperparameter matters: python -m analysis.ask runs/NAME --question batch_norm."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from search.forecast.retraining import BEST, SEEDS, TRIALS_A_LEVEL
from search.process.answer import add_to_answer
from search.process.arguments import (
    BAD_INPUT,
    DONE,
    NOTHING_USABLE,
    Flag,
    OptionalInt,
    OptionalStr,
    Several,
    answering,
    command,
    parse,
    report_error,
    report_fault,
    run_command,
)
from search.process.signals import SIGNALLED, Stopped, raise_stopped
from search.process.silence import doing

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from analysis.impact.answers import Answer
    from search.storage.run import Run

_SEARCHED = (DONE, 3)
"""Exit codes of a search that has run its course."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compare the best configurations with each value of a hyperparameter, trained again on the same fresh seeds."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of the run, such as runs/digits_arch."""
    question: Several = ()
    """What to compare: batch_norm, or depth=2,3,4. Default: the questions of the search. A new question first adds
    trials to the search. Repeat the option for several questions."""
    budget: OptionalInt = None
    """Trials of the search for each question, in total. Default: 10 for each value of a new question."""
    best: int = BEST
    """Configurations with each value that are trained again."""
    seeds: int = SEEDS
    """Fresh seeds for each of them."""
    data_dir: OptionalStr = None
    """Folder of the data sets. Default: the folder that the search used."""
    dry_run: Flag = False
    """Only show what would be trained, and how long it takes."""
    json: Flag = False
    """Print one JSON object, and everything else on stderr."""
    debug: Flag = False
    """Show the traceback of an error."""

    def check(self) -> None:
        """Raise ValueError at the first option that makes no sense."""
        for name, least, why in (("best", 2, "to judge what the search may have missed"), ("seeds", 2, "an interval")):
            if getattr(self, name) < least:
                raise ValueError(f"--{name} must be at least {least} ({why}), got {getattr(self, name)}")
        if self.budget is not None and self.budget < 1:
            raise ValueError(f"--budget must be at least 1 trial, got {self.budget}")


@answering
def main(argv: list[str]) -> int:
    """Answer the questions of a run; 0 when answered, 1 when broken off, 2 for bad input, 4 without an answer."""
    raise_stopped()
    try:
        options = parse(Options, argv, prog=command("analysis.ask"))
        options.check()
        return ask(options)
    except (ValueError, OSError) as error:
        if "--debug" in argv:
            raise
        return report_error(error)
    except Stopped as stop:
        print(f"{stop}; finished trainings are saved; the same command continues", file=sys.stderr)
        return stop.code
    except Exception as error:  # what broke the trainings as a whole
        return report_fault(error, debug="--debug" in argv)


def ask(options: Options) -> int:
    """Search what is missing, train the best of each level again, and print the verdict; returns the exit code."""
    if not options.run.is_dir():
        raise ValueError(f"{str(options.run)!r} is not a folder; give the folder of a run, such as runs/digits_arch")
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if not (options.run / "run.json").exists():
        return _cannot(options)
    run, is_new = _asked(options)
    if options.dry_run:
        _preview(run, options)
        return DONE
    if is_new:
        _keep(options.run, run)
    if _is_unfinished(options.run, run):
        code = _search(options.run, data_dir=options.data_dir)
        if code not in _SEARCHED:
            return code
    answers = _answer(options, run)
    if any(not one.missing for one in answers):
        return DONE
    add_to_answer(error="no question could be answered")
    return NOTHING_USABLE


def _cannot(options: Options) -> int:
    """Say what a study that plain Optuna made can and cannot tell; returns the exit code."""
    from analysis.impact.plain import describe_levels
    from analysis.studies.trials import read_trials
    from search.storage.study import open_study

    trials = read_trials(open_study(options.run))
    names = [text.partition("=")[0] for text in options.question] or [p.name for p in trials.parameters]
    for line in describe_levels(trials, names):
        print(line)
    reason = (
        f"{options.run} is a study without run.json, so its configurations cannot be trained again, and these values do"
        " not answer the question: each was chosen because it was good, and the levels had unequal effort"
    )
    print(reason, file=sys.stderr)
    add_to_answer(error=reason)
    return BAD_INPUT


def _asked(options: Options) -> "tuple[Run, bool]":
    """The run with all questions, and whether it differs from what is stored.

    Raises:
        ValueError: a question cannot be asked of this run, or there is none.
    """
    from search.session.questions import check_asking, read_words, resolve
    from search.storage.run import read_run
    from search.storage.space import space_of
    from search.storage.study import open_study
    from search.storage.trials import is_infeasible

    run = read_run(options.run)
    if run.second is not None:
        raise ValueError(f"run {run.name!r} has two objectives; a question is about one, so ask it of another run")
    space = space_of(run)
    words = read_words((), options.question)
    check_asking(words, sampler=run.sampler, pruner=run.pruner)
    asked = resolve(replace(words, fixed={name: str(value) for name, value in run.fixed.items()}), space, trials=10**9)
    known = {question.parameter: question for question in run.questions}
    for question in asked["questions"]:
        old = known.get(question.parameter)
        if old is not None and words.questions[question.parameter] and old != question:
            raise ValueError(f"run {run.name!r} compares {old.text}; leave the values out, or start another run")
    new = tuple(question for question in asked["questions"] if question.parameter not in known)
    questions = (*run.questions, *new)
    if not questions:
        raise ValueError(f"run {run.name!r} has no question; name a hyperparameter with --question")
    trials = open_study(options.run).get_trials(deepcopy=False)
    missing = sum(max(0, _wanted(options, one, is_new=one in new) - _begun(one, trials)) for one in questions)
    counted = sum(not is_infeasible(trial) for trial in trials)
    grown = replace(run, questions=questions, trials=max(run.trials, counted + missing) if missing else run.trials)
    return grown, grown != run


def _wanted(options: Options, question: Any, *, is_new: bool) -> int:
    """Trials of the search for this question."""
    if options.budget is not None:
        return options.budget
    return TRIALS_A_LEVEL * len(question.levels) if is_new else 0


def _begun(question: Any, trials: "Sequence[FrozenTrial]") -> int:
    """Trials that the search has begun for this question."""
    from search.scheduling.allocation import ASKED_FOR

    return sum(trial.user_attrs.get(ASKED_FOR) == question.parameter for trial in trials)


def _keep(run_dir: Path, run: "Run") -> None:
    """Store the new questions, while no search writes to the run."""
    from search.storage.lock import RunLock
    from search.storage.run import write_run

    with RunLock(run_dir):
        write_run(run_dir, run)


def _is_unfinished(run_dir: Path, run: "Run") -> bool:
    from search.storage.study import open_study
    from search.storage.trials import is_infeasible

    trials = [t for t in open_study(run_dir).get_trials(deepcopy=False) if not is_infeasible(t)]
    return len(trials) < run.trials or any(not trial.state.is_finished() for trial in trials)


def _search(run_dir: Path, *, data_dir: str | None) -> int:
    """Resume the search in a process of its own; returns its exit code."""
    place = ["--name", run_dir.resolve().name, "--runs-dir", str(run_dir.resolve().parent)]
    place += [] if data_dir is None else ["--data-dir", data_dir]
    sys.stdout.flush()
    with doing(lambda: ""):
        code = subprocess.run([sys.executable, "-m", "search.run", "--resume", *place], check=False).returncode
    return SIGNALLED - code if code < 0 else code


def _preview(run: "Run", options: Options) -> None:
    from search.forecast.retraining import asked, cost, seconds_of
    from search.process.text import counted, duration
    from search.storage.study import open_study
    from search.storage.trials import epochs_reached, is_infeasible

    trials = [t for t in open_study(options.run).get_trials(deepcopy=False) if not is_infeasible(t)]
    for line in asked(run):
        print(line)
    each, more = seconds_of(trials), max(0, run.trials - len(trials))
    epochs = sum(map(epochs_reached, trials)) / len(trials) if trials else run.epochs
    if more:
        time = f", {duration(more * epochs * each)} of training" if each else ""
        print(f"search: {counted(more, 'more trial')}, about {counted(round(more * epochs), 'epoch')}{time}")
    print(f"answer: {cost(run, epoch_seconds=each, best=options.best, seeds=options.seeds)}")
    trainings = options.best * options.seeds * sum(len(question.levels) for question in run.questions)
    add_to_answer(
        questions={question.parameter: question.levels for question in run.questions},
        search={"trials": more, "epochs": round(more * epochs)},
        retraining={"trainings": trainings, "epochs": trainings * run.epochs},
        epoch_seconds=each or None,
    )


def _answer(options: Options, run: "Run") -> "list[Answer]":
    """Train the best of each level again, tell the verdicts and keep them."""
    from analysis.impact.answers import FOLDER, answer_question, plan, write_answers
    from analysis.impact.confirm import resources_like
    from analysis.prose.answers import answer_sentence
    from analysis.studies.trials import read_trials
    from search.session.fixed import FixedTraining
    from search.storage.run import data_of, read_run
    from search.storage.space import space_of
    from search.storage.study import open_study

    folder, study = options.run / FOLDER, open_study(options.run)
    trials = study.get_trials(deepcopy=False)
    stored = read_run(folder).plan if (folder / "run.json").exists() else ()
    planned = plan(trials, run, best=options.best, seeds=options.seeds, stored=stored)
    trained: list[FrozenTrial] = []
    if planned:
        like = replace(run, questions=(), fixed={}, data_dir=options.data_dir or run.data_dir)
        dataset = data_of(like, space_of(run))
        training = FixedTraining(folder=folder, like=like, plan=planned, dataset=dataset, resources=resources_like(run))
        trained = training.train()
    shape = {"best": options.best, "seeds": options.seeds}
    answers = [
        answer_question(question, run, trials=trials, trained=trained, planned=planned, **shape)
        for question in run.questions
    ]
    write_answers(options.run, answers)
    table = read_trials(study, run)
    sentences = [answer_sentence(one, table, machine=run.machine) for one in answers]
    print(*sentences, sep="\n")
    add_to_answer(answers=[{**asdict(one), "sentence": said} for one, said in zip(answers, sentences, strict=True)])
    print(f"for the figure: {command('analysis.report')} {options.run}")
    return answers


if __name__ == "__main__":
    run_command(main)
