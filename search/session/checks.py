"""Which options a search can run with: checked together, before anything slow is imported."""

import os

import spaces
from search.execution.loggers import check_logger
from search.process.environment import check_names, named
from search.runtime.resources import plan_resources
from search.session.expecting import read_priors
from search.session.options import Options
from search.session.questions import check_asking
from search.session.rules import (
    PRETRAINED,
    check_address,
    check_backbone,
    check_min_epochs,
    check_numbers,
    check_storage,
    check_target,
    check_url,
    parse_types,
)
from search.session.setting import read_set
from search.session.taking import folders_of
from search.session.tradeoffs import check_objectives
from search.session.tries import read_tries
from search.storage.folder import check_exists, check_free, check_name, check_writable
from search.storage.lock import RunLock
from spaces.objectives import read_goal
from trainables.data.names import split_names
from trainables.data.split import check_folds, check_split, parse_split
from trainables.sources.catalogue import FOLDER, check_image_options, check_table_options, check_train_size, size_of

_OF_DATA = ("train_size", "target", "split", "folds", "metric", "keep_epoch", "image_size", "resize", "backbone")
"""Options for built-in data sets and for data of the user's own that we read."""


def check(options: Options) -> None:
    """Raise ValueError at the first option that no search could run with; needs neither torch nor Ray."""
    check_numbers(options)
    if options.name is not None:
        check_name(options.name)
    if options.resume and options.name is None:
        raise ValueError("--resume needs --name; `rungwise runs` lists the names")
    if options.study_url is not None:
        check_url(options.study_url)
    if options.address is not None:
        check_address(options.address)
    if options.storage is not None:
        check_storage(options.storage)
    _check_env(options)
    if not options.resume:
        check_target(options.target, task=options.task, drop=options.drop, types=options.types)
    parse_types(options.types)
    split_names(options.drop or "")
    check_folds(parse_split(options.split or "random"), options.folds)
    if options.tries and options.resume:
        raise ValueError("--try is for a new run; add a configuration to this one with: rungwise ctl RUN add FILE")
    read_tries(options.tries)
    if options.metric is not None:
        read_goal(options.metric, options.task or "")
    if options.backbone is not None:
        check_backbone(options.backbone)
    read_set(options.set)
    read_priors(options.prior, sampler=options.sampler)
    check_asking(options.words, sampler=options.sampler, pruner=options.pruner)
    spaces.check_name(options.space)
    check_objectives(options, metric=None if options.resume else spaces.stated(options.space).get("metric"))
    if not options.resume:
        _check_against_space(options)


def _check_env(options: Options) -> None:
    check_names(options.env)
    if options.env and options.address is not None:
        names = " and ".join(options.env)
        raise ValueError(f"--env is for this machine; on a cluster, set {names} where the nodes run `ray start`")
    named(options.env, os.environ)


def _check_against_space(options: Options) -> None:
    """Raise ValueError where the file of the space alone tells that an option cannot be meant."""
    stated = spaces.stated(options.space)
    if stated.get("own") and any(getattr(options, name) is not None for name in _OF_DATA):
        given = next(f"--{name.replace('_', '-')}" for name in _OF_DATA if getattr(options, name) is not None)
        raise ValueError(f"{given} is for built-in data sets, but {options.space} reads its own data; leave it out")
    if "dataset" in stated:
        check_split(stated["dataset"], options.rule, options.folds)
    if options.max_epochs is None and "epochs" in stated:
        check_min_epochs(options.min_epochs, stated["epochs"])
    if spaces.split_name(options.space)[0] == PRETRAINED and options.backbone is None:
        raise ValueError(f"{PRETRAINED} needs --backbone FILE; without a file, use --space image_folder_arch")
    check_image_options(stated.get("dataset", FOLDER), options.images)
    if (size := size_of(stated.get("dataset"))) is not None:
        check_table_options(stated["dataset"], options.table)
        if options.metric is not None:
            read_goal(options.metric, "classification" if size[1] else "regression")
        if options.train_size is not None:
            check_train_size(options.train_size, *size)


def check_here(options: Options) -> None:
    """Raise ValueError at what the folder of runs or this machine does not allow; as quick."""
    run_dir = options.runs_dir / (options.name or "new")
    if options.resume:
        check_exists(run_dir)
        RunLock(run_dir).check()
    else:
        check_writable(options.runs_dir)
    if options.name is not None and not options.resume:
        check_free(run_dir)
    if not options.resume:
        folders_of(options.earlier, options.runs_dir)
    check_logger(options.logger)
    if options.address is None:
        plan_resources(
            concurrent=options.concurrent,
            cpus_per_trial=options.cpus_per_trial,
            gpus_per_trial=options.gpus_per_trial,
            workers_per_trial=options.workers_per_trial,
        )
