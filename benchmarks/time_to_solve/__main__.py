"""The leaderboards of time to solve.

    python -m benchmarks.time_to_solve                        # as they stand in results/
    python -m benchmarks.time_to_solve runs/g2x4_two_cores    # of the runs in a folder, of one track
    python -m benchmarks.time_to_solve runs/g2x4_two_cores --write

With --write, the entries in the folder are put into results/, and tables into README.md.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.time_to_solve.leaderboard import leaderboard, with_table
from benchmarks.time_to_solve.rows import Row, merged, read_rows, row_of, table_of
from benchmarks.time_to_solve.tracks import TRACKS, Track
from unforced.errors import UserError
from unforced.files import write_atomically
from unforced.runs.folder import RunFolder
from unforced.runs.index import find_finished

HERE = Path(__file__).parent


def main(arguments: Sequence[str], here: Path = HERE) -> None:
    """Print tables; with --write, write them. here: the folder of results/ and README.md.

    Raises UserError.
    """
    folders, keep = [Path(each) for each in arguments if each != "--write"], "--write" in arguments
    if len(folders) > 1:
        raise UserError(f"{len(folders)} folders; give one, whose runs are of one track, or none")
    tables = dict([read_folder(folders[0])]) if folders else {name: [] for name in TRACKS}
    for name, rows in tables.items():
        track, known = TRACKS[name], read_rows(here / "results" / f"{name}.csv")
        shown = rows or known
        print(f"{track.title}\n\n{leaderboard(track, shown)}")
        if keep:
            write(track, merged(known, rows), here)


def read_folder(folder: Path) -> tuple[str, list[Row]]:
    """Return the track of a folder's finished runs, and a row of each; other folders are named on stderr.

    Raises UserError: there is none, a run breaks a rule, or not all are of one track.
    """
    index = find_finished([folder])
    for path, reason in index.skipped.items():
        print(f"left out: {path}: {reason}", file=sys.stderr)
    tracks = {track_of(RunFolder(run.path)).name for run in index.runs}
    if len(tracks) > 1:
        raise UserError(f"{folder}: runs of {' and '.join(sorted(tracks))}; give one track at a time")
    track = TRACKS[tracks.pop()]
    return track.name, [row_of(run, track) for run in index.runs]


def track_of(folder: RunFolder) -> Track:
    """Return the track that has the task of a run. Raises UserError if none has."""
    task = folder.run().task
    for track in TRACKS.values():
        if track.base.task == task:
            return track
    tasks = "; ".join(f"{track.name}: {track.base.task}" for track in TRACKS.values())
    raise UserError(f"{folder.path}: no track has the task {task} ({tasks})")


def write(track: Track, rows: Sequence[Row], here: Path) -> None:
    """Write a track's table of results, and its leaderboard into the page. Raises UserError."""
    page, results = here / "README.md", here / "results" / f"{track.name}.csv"
    text = with_table(page.read_text(), track, leaderboard(track, rows))
    if rows:
        results.parent.mkdir(exist_ok=True)
        write_atomically(results, table_of(rows).encode())
    write_atomically(page, text.encode())


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        print(f"time_to_solve: {error}", file=sys.stderr)
        sys.exit(2)
