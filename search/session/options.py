"""The options of `search.run`: one definition of flag, type, default and help."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

import spaces
from search.process.arguments import Flag, OptionalFloat, OptionalInt, OptionalStr, Several, words_of
from search.runtime.mps import Mode
from search.session.expecting import Expectation, read_priors
from search.session.questions import Words, read_words
from search.session.rules import PRETRAINED, parse_types
from search.session.setting import Wish, read_set
from search.session.taking import From
from search.session.tries import Tries
from search.storage.run import KeptEpoch, Logger, Pruner, Sampler
from spaces.objectives import read_goal
from trainables.data.architectures import locate_backbone
from trainables.data.names import split_names
from trainables.data.options import ImageOptions, Resize, TableOptions, Task
from trainables.data.split import SplitRule, parse_split

FIXED = (
    "space", "seed", "train_size", "pruner", "sampler", "min_epochs", "reduction_factor", "study_url", "storage",
    "target", "task", "split", "folds", "image_size", "resize", "keep_epoch", "keep_best",
)  # fmt: skip
"""Options that a resumed run keeps; stating another value is an error."""
FIELDS = {"try": "tries", "from": "earlier"}
"""Options whose names are keywords of Python, and their fields."""
_NOT_STORED = (
    "runs_dir data_dir concurrent cpus_per_trial gpus_per_trial workers_per_trial mps address max_failures"
    " max_wait trial_timeout"
).split()


@dataclass(frozen=True, kw_only=True)
class Options:
    """Search a space of configurations. All is stored in RUNS_DIR/NAME; an interrupted search can be resumed."""

    space: str = "digits_arch"
    """What to search: a built-in space, a file of your own (my_search.py or my_space.yaml), or package.module:NAME."""
    config: OptionalStr = None
    """Take options from this file (YAML, JSON or TOML): `trials: 40`, `fix: {depth: 2}`. Options on the command line
    replace those of the file."""
    name: OptionalStr = None
    """Name of the run: letters, digits, '.', '_' and '-'. Default: space, date and time."""
    trials: int = 40
    """Number of configurations to try, in total; with --resume, a larger number extends a finished run."""
    time_budget: OptionalFloat = None
    """Minutes after which no new epoch starts; unfinished trials can be resumed. Default: no limit."""
    until_gain: OptionalFloat = None
    """Begin no new trial once the epochs of 10 more full trainings are expected to improve the best value by less than
    this, in the unit of the metric: 0.001 is 0.1 points of accuracy. The most promising trials are still trained to the
    end. Needs --sampler curves; 0 turns it off."""
    repeats: int = 1
    """Trainings of the best configuration, on different seeds. At its end, the search trains the leading configuration
    again until the one with the best mean has been trained this often: 3 costs about four more full trainings, and
    halves the part of its value that is luck. With --resume, also for a finished run."""
    max_epochs: OptionalInt = None
    """Epochs of a fully trained trial. Default: set by the space."""
    min_epochs: OptionalInt = None
    """Epochs that every trial gets before it is first compared (the first rung). Default: set by the space, or 6 % of a
    full training."""
    reduction_factor: int = 3
    """Each rung is this many times longer than the one before. At each rung one in this many trials continues; the
    sampler curves, with one objective and no question, trains one in this many to the end instead."""
    pruner: Pruner = "asha"
    """Early stopping: asha pauses trials at the rungs and continues the best; asha-stop, hyperband and median stop
    trials for good; none trains every trial to the end."""
    sampler: Sampler = "curves"
    """How configurations are chosen: curves fits a model to all learning curves and gives each free slot to the paused
    or new trial that teaches most, per epoch, about which configuration is best; the others are Optuna's samplers."""
    metric: OptionalStr = None
    """What to optimise on data that Rungwise reads: accuracy, balanced_accuracy, macro_f1, auc or log_loss for classes;
    rmse, mae, rmsle, r2 or pinball:Q (a quantile, pinball:0.9) for numbers. Default: accuracy or rmse."""
    objective: Several = ()
    """A second objective beside the metric: a cost known before training (--objective weights), the latency of built-in
    networks in milliseconds per row (--objective latency), or a number that each epoch reports, with its direction
    (--objective delay:min). The search then looks for the best trade-offs."""
    keep_epoch: Annotated[KeptEpoch | None, tyro.conf.arg(metavar="{best,last}", help_behavior_hint="")] = None
    """The epoch whose weights a trial keeps: the last one, or the best, with a value from validation rows that did not
    choose it. Default: best for your own tables and images, else last."""
    fix: Several = ()
    """Give a parameter one value in all trials: --fix lr=0.1. Repeat the option for several parameters."""
    set: Several = ()
    """Search other values of a parameter than the space states: --set lr=1e-4..1e-2:log, --set depth=2..4,
    --set dropout=0..0.3:step=0.1 or --set optimizer=sgd,adamw. With --resume, new trials are drawn from these. Repeat
    the option for several parameters."""
    question: Several = ()
    """Compare values of a parameter: --question batch_norm, or --question depth=2,3,4. Each value gets equally many
    epochs, and the best of each is searched; `rungwise ask` then answers. Repeat the option for several questions."""
    prior: Several = ()
    """Where you expect good values: --prior lr=0.03, --prior lr=0.01..0.1 or --prior optimizer=adamw. One configuration
    made of them is trained after the baseline and --try, and half of the configurations drawn from the whole space
    follow them, or 80 % with --prior lr=0.03:sure=0.8. Repeat the option for several parameters."""
    earlier: From = ()
    """Begin with the best configurations of an earlier run: --from first. Spaces, data and budgets may differ. Repeat
    the option for several runs."""
    tries: Tries = ()
    """Train the configurations in this JSON file first, after the baseline: {"lr": 0.1, "depth": 3}, a list of such, or
    the best.json of a run. Parameters left out are as in the baseline. Repeat the option for several files."""
    seed: int = 0
    """Seed of the sampler, the data split, the initial weights and the batches."""
    data_dir: Path = Path("data")
    """Folder of the data sets; missing ones are downloaded there once and verified. For your own data: a CSV file (with
    --target) or a folder of images."""
    target: OptionalStr = None
    """Column of your CSV file to predict."""
    task: Annotated[Task | None, tyro.conf.arg(metavar="{classification,regression}", help_behavior_hint="")] = None
    """Kind of target. Default: detected from its values."""
    drop: OptionalStr = None
    """Columns of your CSV file to leave out, separated by commas: id,date. Quote a name that contains a comma."""
    types: OptionalStr = None
    """Column types of your CSV file: age=number,zip=category,review=text. Default: detected from the cells."""
    split: OptionalStr = None
    """How test and validation rows are chosen: random; distinct, with equal rows on one side; time or time:COLUMN, the
    latest; group:COLUMN, whole groups; column:COLUMN or file:PATH, which say train, validation or test."""
    folds: OptionalInt = None
    """Train each trial on so many folds of the rows outside the test set; its value is the mean over the folds. 1 is
    one validation split. Default: 5 for small tables and 3 for small image folders of your own, else 1."""
    image_size: OptionalInt = None
    """Side in pixels of the squares that your images become. Default: chosen from the images, at most 128."""
    resize: Annotated[Resize | None, tyro.conf.arg(metavar="{letterbox,crop,stretch}", help_behavior_hint="")] = None
    """How an image becomes a square: letterbox pads it, crop cuts off its longer side, stretch changes its aspect
    ratio. Default: crop if nearly all images are nearly square, else letterbox."""
    backbone: OptionalStr = None
    """File of a pretrained network of torchvision (a state dict) for your images: weights.pth, or resnet18:weights.pth
    to name its architecture. Trials use it frozen, tuned or not at all. With --resume, its new place."""
    runs_dir: Path = Path("runs")
    """Folder that holds all runs."""
    train_size: OptionalInt = None
    """Use a stratified subset of this many rows for training and validation together. Default: all rows."""
    max_weights: OptionalStr = None
    """Largest number of weights of a network, such as 2M. Larger configurations are skipped and do not count as trials;
    a baseline that is too large is reduced to fit."""
    max_macs: OptionalStr = None
    """Largest number of multiply-adds per row or image, such as 60M; otherwise like --max-weights."""
    resume: Flag = False
    """Continue the run --name; unfinished trials continue from their last finished epoch."""
    force: Flag = False
    """Take over a run that another search still holds, if that search is dead or hangs."""
    study_url: OptionalStr = None
    """Store the study in this Optuna database instead of RUNS_DIR/NAME/study.db: postgresql+psycopg://..."""
    storage: OptionalStr = None
    """Store checkpoints here instead of in the run folder, at a URI that every node can reach: s3://bucket/searches or
    file:///shared/searches. Credentials come from the nodes (a role, or ~/.aws), never from the URI."""
    keep_best: int = 1
    """Keep the last checkpoints of so many of the best finished trials, for `rungwise final --ensemble trials`; not for
    trials with folds."""
    address: OptionalStr = None
    """Ray cluster to run on: auto or HOST:PORT. Default: start Ray on this machine."""
    concurrent: OptionalInt = None
    """Number of trials that run at once. Default: as many as fit, which follows the nodes of a cluster. On a cluster
    that scales automatically, the number to scale up to."""
    cpus_per_trial: OptionalInt = None
    """CPUs and threads of each trial. Default: 1, or an equal share if --concurrent or the GPUs determine how many run;
    with --resume, as when the run started."""
    gpus_per_trial: OptionalFloat = None
    """GPUs of each trial; with 0.25, four trials share one GPU; with 2, two workers train a trial together. Default:
    one for each worker if there is a GPU, else 0."""
    workers_per_trial: OptionalInt = None
    """Processes that train a trial together, each on a part of every batch; they share the trial's CPUs, and each uses
    a GPU if there is one. Your own code needs `run.prepare(model)` for this. Default: as many as GPUs per trial, or 1;
    with --resume, as when the run started."""
    env: Several = ()
    """An environment variable that your own training code reads, by its name: --env MY_DATA_ROOT. The run stores the
    name only; the value comes from your environment, also with --resume. Repeat the option for several variables."""
    mps: Mode = "off"
    """NVIDIA's Multi-Process Service: trials that share a GPU (--gpus-per-trial below 1) run at the same time instead
    of taking turns. auto uses it where it works, on fails where it does not."""
    max_failures: int = 2
    """How often a trial is restarted after its worker process was lost. Errors in code are not retried."""
    max_wait: float = 30.0
    """On a cluster, minutes without room for any trial after which the search ends; it can be resumed. Give more if
    nodes wait in a queue: 2880 is two days."""
    trial_timeout: OptionalFloat = None
    """Seconds without a finished epoch after which a trial fails and its worker is stopped. Default: no limit."""
    logger: Logger = "none"
    """Also log to TensorBoard, MLflow or W&B in the run folder, one logger run per trial. A resumed search keeps its
    logger."""
    dry_run: Flag = False
    """Only show what would be searched: sampled configurations, their sizes, the rungs and a forecast of the time."""
    json: Flag = False
    """Print one JSON object for a program at the end, or with --dry-run the preview; all else goes to stderr."""
    debug: Flag = False
    """Show tracebacks and Ray's own messages."""

    def __post_init__(self) -> None:
        if self.backbone is not None and spaces.split_name(self.space)[0] == "image_folder_arch":
            object.__setattr__(self, "space", PRETRAINED)

    @property
    def words(self) -> Words:
        """What --fix and --question say."""
        return read_words(self.fix, self.question)

    @property
    def expectations(self) -> tuple[Expectation, ...]:
        """What --prior says."""
        return read_priors(self.prior, sampler=self.sampler)

    @property
    def wishes(self) -> tuple[Wish, ...]:
        """What --set says."""
        return read_set(self.set)

    @property
    def goal(self) -> str:
        """The name of the metric in --metric; empty without one."""
        return "" if self.metric is None else read_goal(self.metric)

    @property
    def dropped(self) -> tuple[str, ...]:
        """The names in --drop."""
        return split_names(self.drop or "")

    @property
    def rule(self) -> SplitRule:
        """How rows are split."""
        return parse_split(self.split or "random")

    @property
    def images(self) -> ImageOptions | None:
        """What is said of a folder of images; None if nothing is."""
        if self.image_size is None and self.resize is None and self.backbone is None:
            return None
        file = None if self.backbone is None else locate_backbone(self.backbone)
        return ImageOptions(size=self.image_size, resize=self.resize, backbone=file)

    @property
    def table(self) -> TableOptions | None:
        """What is said of a table of the user's own."""
        if self.target is None:
            return None
        return TableOptions(target=self.target, task=self.task, drop=self.dropped, types=parse_types(self.types))


def resume_command(options: Options, name: str) -> str:
    """The command that continues this run, to be pasted."""
    words = [*words_of("search.run"), "--resume", "--name", name]
    for flag in _NOT_STORED:
        if (value := getattr(options, flag)) != getattr(Options, flag):
            words += [f"--{flag.replace('_', '-')}", str(value)]
    return shlex.join(words)
