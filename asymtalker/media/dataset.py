"""Datasets of video clips, for training and for evaluation."""

import datasets
from huggingface_hub.errors import HfHubHTTPError, HFValidationError


def open_dataset(
    source: str, split: str, streaming: bool = False
) -> tuple[datasets.Dataset | datasets.IterableDataset, str | None]:
    """Opens a dataset; returns it and the name of its first video column, None if it has none.

    Args:
        source: folder or Hub id.
        split: of the dataset.
        streaming: read rows as they are needed.

    Raises:
        ValueError: there is no such dataset or split, or it cannot be read.
    """
    try:
        rows = datasets.load_dataset(source, split=split, streaming=streaming)
    except (OSError, ValueError, HFValidationError, HfHubHTTPError, datasets.exceptions.DatasetsError) as error:
        raise ValueError(
            f"Cannot read the split {split!r} of {source}: {error}\nGive a folder of mp4 clips, or the Hub id "
            "(owner/name) of a dataset that you have access to (`hf auth login` for private ones)."
        ) from error
    videos = (name for name, feature in (rows.features or {}).items() if isinstance(feature, datasets.Video))
    return rows, next(videos, None)
