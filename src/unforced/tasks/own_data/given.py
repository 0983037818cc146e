"""Own data of which each file is a split as a whole, for models that were trained elsewhere."""

from unforced.tasks.own_data.settings import DataFile
from unforced.tasks.own_data.task import OwnData


class GivenData(OwnData):
    """Own data without splits of its rows: all of `test_path` is held out, all of `path` is known.

    Without `test_path` all of `path` is held out.
    """

    @property
    def files(self) -> list[DataFile]:
        """Where the data are, as the options of `unforced diagnose --model` name them."""
        if not self.test_path:
            return [DataFile(self.path, "--data", "test")]
        return [DataFile(self.path, "--train", "train"), DataFile(self.test_path, "--data", "test")]
