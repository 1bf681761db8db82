"""The command `rungwise`: one name for all that a search needs, from any working directory.

rungwise search --space my_search.py --trials 40
rungwise report runs/NAME
"""

import os
import signal
import sys

COMMANDS = {
    "search": ("search.run", "search a space, or resume a run"),
    "report": ("analysis.report", "create a report on a run: one HTML page"),
    "ask": ("analysis.ask", "compare the best configurations with each value of a hyperparameter"),
    "final": ("analysis.final", "retrain the best configurations and evaluate them once on the test set"),
    "predict": ("analysis.predict", "predict with the winner of a final evaluation"),
    "doctor": ("search.doctor", "check whether a search can run here, and check your own training code"),
    "rerun": ("search.rerun", "train one trial again and compare its values"),
    "publish": ("analysis.publish", "copy the results of a run, without checkpoints, to a folder for publication"),
    "ctl": ("search.ctl", "steer a running search: pause, stop or clone a trial, add one, change slots or time limit"),
    "runs": ("rungwise.listing", "list all runs"),
    "show": ("rungwise.listing", "show a run or one of its trials"),
    "logs": ("rungwise.listing", "print the output of a trial"),
    "export": ("rungwise.keeping", "write the trials of a run as CSV, JSON or Parquet"),
    "rm": ("rungwise.keeping", "remove runs"),
    "watch": ("analysis.watch", "show a search in the browser while it runs"),
    "compare": ("analysis.compare", "compare runs: the best against the best, effects that hold in all, cost"),
    "mcp": ("rungwise.mcp", "serve these commands to an assistant by the Model Context Protocol"),
}
"""By name: the module whose `main` is called, and what it does."""

GROUPS = ("rungwise.listing", "rungwise.keeping")
"""Modules with several commands, whose `main` takes the name of the command as its first word."""


def main(argv: list[str] | None = None) -> None:
    """Run a command, and end the process with its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_help())
        sys.exit(0 if argv else 2)
    if argv[0] in ("-V", "--version", "version"):
        from importlib.metadata import version

        print(f"rungwise {version('rungwise')}")
        sys.exit(0)
    if argv[0] not in COMMANDS:
        print(f"error: {_unknown(argv[0])}", file=sys.stderr)
        sys.exit(2)
    os.environ["RUNGWISE_PROGRAM"] = "rungwise"
    _run(argv[0], argv[1:])


def _run(name: str, words: list[str]) -> None:
    from rungwise.packages import check_packages

    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the command is imported Ctrl-C needs no traceback
    check_packages()
    import importlib

    from search.process.arguments import run_command

    def main(words: list[str]) -> int:
        module = importlib.import_module(COMMANDS[name][0])
        return module.main([name, *words] if module.__name__ in GROUPS else words)

    run_command(main, words)


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(
        ["usage: rungwise COMMAND [OPTIONS]", "", *lines, "", "rungwise COMMAND --help lists the options of a command."]
    )


def _unknown(name: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, COMMANDS, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"there is no command {name[:40]!r}; available: {', '.join(COMMANDS)}{hint}"


if __name__ == "__main__":
    main()
