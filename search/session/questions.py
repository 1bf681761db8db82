"""The options --fix and --question: from their words to parameters and levels of a space."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainables.data.names import did_you_mean, split_names

if TYPE_CHECKING:
    from search.storage.run import Question, Run
    from spaces.levels import Parameter
    from spaces.space import Space

SAMPLERS, PRUNERS = ("curves", "tpe", "random"), ("asha", "none")
"""Samplers and pruners with which --question works: they can share epochs among levels."""
LEAST_TRIALS, MOST_LEVELS = 5, 10
"""Fewest trials for each level, and most levels of one question."""
MOST_NAMED = 12
"""Parameters that an error lists."""


@dataclass(frozen=True, kw_only=True)
class Words:
    """What the options say, before the space is known."""

    fixed: dict[str, str]
    """Value by parameter."""
    questions: dict[str, tuple[str, ...]]
    """Levels by parameter; an empty tuple if the space chooses them."""


def read_words(fix: Sequence[str], question: Sequence[str]) -> Words:
    """Parse the options.

    Raises:
        ValueError: one of them cannot be read; the line has its rule.
    """
    fixed: dict[str, str] = {}
    for text in fix:
        name, given, value = (part.strip() for part in text.partition("="))
        if not (name and given and value):
            raise ValueError(f"--fix must be NAME=VALUE, such as lr=0.1, got {text[:80]!r}")
        _once(name, fixed, "--fix")
        fixed[name] = value
    questions: dict[str, tuple[str, ...]] = {}
    for text in question:
        name, given, levels = (part.strip() for part in text.partition("="))
        found = split_names(levels) if levels else ()
        if not name or (given and not found):
            raise ValueError(f"--question must be NAME or NAME=VALUE,VALUE, such as depth=2,3, got {text[:80]!r}")
        _once(name, questions, "--question")
        if given and len(set(found)) < 2:
            raise ValueError(f"--question needs two values of {name} to compare, got {text[:80]!r}; add another one")
        if name in fixed:
            raise ValueError(f"--question {name} compares values, but --fix gives {name} one; leave one of them out")
        questions[name] = found
    return Words(fixed=fixed, questions=questions)


def _once(name: str, known: Collection[str], option: str) -> None:
    if name in known:
        raise ValueError(f"{option} must name each parameter once, got {name[:80]!r} twice; put its values in one")


def check_asking(words: Words, *, sampler: str, pruner: str) -> None:
    """Raise ValueError if a search with this sampler and pruner cannot share epochs among levels."""
    for option, given, possible in (("--sampler", sampler, SAMPLERS), ("--pruner", pruner, PRUNERS)):
        if words.questions and given not in possible:
            raise ValueError(f"--question works with {option} {' or '.join(possible)}, got {given}; choose one of them")


def resolve(words: Words, space: "Space", *, trials: int) -> dict[str, Any]:
    """The fields `fixed` and `questions` of a run with these options.

    Args:
        trials: of the search.

    Raises:
        ValueError: the space has no such parameter or value, or there is nothing to compare.
    """
    from search.storage.run import Question
    from spaces.levels import parameters

    if not (words.fixed or words.questions):
        return {"fixed": {}, "questions": ()}
    all_names = parameters(space.suggest)
    fixed = {name: _value(named(all_names, name, "--fix"), text, "--fix") for name, text in words.fixed.items()}
    known = parameters(space.suggest, fixed)
    for name in (*words.fixed, *words.questions):
        option = "--fix" if name in words.fixed else "--question"
        if named(all_names, name, option).name not in known:
            others = ", ".join(f"{other}={value}" for other, value in words.fixed.items() if other != name)
            raise ValueError(f"{option} {name}: no configuration has {name} with {others}; leave one of them out")
    questions = tuple(
        Question(parameter=name, levels=_levels(known[name], texts)) for name, texts in words.questions.items()
    )
    for question in questions:
        for level in question.levels:  # a space may refuse a combination
            parameters(space.suggest, {**fixed, question.parameter: level})
    check_trials(questions, trials)
    return {"fixed": fixed, "questions": questions}


def check_trials(questions: "Sequence[Question]", trials: int) -> None:
    """Raise ValueError if there are too few trials for the levels."""
    least = LEAST_TRIALS * sum(len(question.levels) for question in questions)
    if trials < least:
        raise ValueError(f"--trials must be at least {least} ({LEAST_TRIALS} for each value compared), got {trials}")


def _value(parameter: "Parameter", text: str, option: str) -> Any:
    try:
        return parameter.parse(text)
    except ValueError as error:
        raise ValueError(f"{option} {parameter.name}={text[:80]}: {error}") from None


def named(known: "dict[str, Parameter]", name: str, option: str) -> "Parameter":
    """The parameter of this name.

    Raises:
        ValueError: the space has no such parameter; the line has the option and the nearest name.
    """
    if name not in known:
        names = ", ".join([*known][:MOST_NAMED]) + ", ..." * (len(known) > MOST_NAMED)
        raise ValueError(
            f"{option} {name[:80]}: the space has no such parameter{did_you_mean(name, known)}; it has {names}"
        )
    return known[name]


def _levels(parameter: "Parameter", texts: Sequence[str]) -> tuple[Any, ...]:
    name = parameter.name
    if not parameter.always:
        raise ValueError(
            f"--question {name}: only some configurations have {name}; fix what it depends on with --fix, or ask"
            " about that"
        )
    found = tuple(dict.fromkeys(_value(parameter, text, "--question") for text in texts)) if texts else parameter.levels
    if len(found) < 2:
        raise ValueError(f"--question {name}: a comparison needs two values, got {', '.join(map(str, found))}")
    if len(found) > MOST_LEVELS:
        raise ValueError(
            f"--question {name}: at most {MOST_LEVELS} values can be compared, got {len(found)}; name those that matter"
        )
    return found


def check_kept(run: "Run", words: Words, space: "Space", *, given: Collection[str]) -> None:
    """Raise ValueError if a resumed run is given other fixed values or questions than it was started with."""
    if not {"fix", "question"} & set(given):
        return
    wanted = resolve(words, space, trials=run.trials)
    if "fix" in given and wanted["fixed"] != run.fixed:
        stored = ", ".join(f"{name}={value}" for name, value in run.fixed.items())
        began = f"with --fix {stored}" if stored else "without --fix"
        raise ValueError(f"run {run.name!r} was started {began}, which cannot change; leave --fix out")
    if "question" in given and wanted["questions"] != run.questions:
        stored = "; ".join(one.text for one in run.questions) or "no question"
        raise ValueError(f"run {run.name!r} asks {stored}; to ask another one, use `rungwise ask`")
