"""Checks that the data set of a space is present and undamaged."""

from pathlib import Path

from search.diagnosis.finding import Finding


def check_data(space: str, data_dir: Path) -> Finding:
    """Whether the data set of the space is present and undamaged; missing files are not downloaded."""
    import spaces.space
    from trainables.data.options import ImageOptions
    from trainables.files.download import downloads_refused
    from trainables.sources.catalogue import FOLDER
    from trainables.sources.load import load

    name = spaces.space.load(space).dataset
    if name == "csv":
        there = data_dir.is_file()
        found = f"{str(data_dir)!r} is {'there' if there else 'no file'}"
        return Finding(what="data", found=found, do="" if there else "give --data-dir your.csv", fatal=not there)
    with downloads_refused():
        try:
            dataset = load(name, data_dir, images=ImageOptions() if name == FOLDER else None)
        except (ValueError, OSError) as error:
            reason = " ".join(str(error).split())
            fetched = isinstance(error, FileNotFoundError) and name != FOLDER
            do = "a search downloads it once, if there is a network" if fetched else "see above"
            return Finding(what="data", found=reason, do=do, fatal=not fetched)
    rows = f"{len(dataset.train) + len(dataset.validation):,} rows"
    return Finding(what="data", found=f"{name}: {rows}, verified")
