"""Checkpoints on the Hub: pushed while training goes on, and taken up again on another machine.

A run has a branch of its own in the model repository. On it lie the pipeline, which loads by the repository's name, its
model card and sample videos, and under `training/` the state to resume from; when the run ends, the pipeline becomes
that of the main branch.
"""

import logging
import os
import queue
import shutil
import threading
import time
from concurrent.futures import Future
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, RevisionNotFoundError

logger = logging.getLogger(__name__)

STATE = "training"
WAITS = (5.0, 30.0, 120.0, 600.0)
"""Seconds before a failed push is tried again."""


class HubPusher:
    """Pushes folders to a branch of a model repository in the background, one after the other.

    Args:
        repo_id: owner/name; made where it is missing.
        branch: of this run.
        private: whether a new repository is private.

    Raises:
        ValueError: there is no valid token, or it may not write there; before any training.
    """

    def __init__(self, repo_id: str, branch: str, private: bool) -> None:
        self.repo_id, self.branch = repo_id, branch
        self._api, self._pending, self._queue = HfApi(), [], queue.Queue()
        # A daemon: where training breaks off, the process ends instead of trying again for a quarter of an hour.
        self._worker = threading.Thread(target=self._work, name="hub", daemon=True)
        self._worker.start()
        try:
            self._api.create_repo(repo_id, private=private, exist_ok=True)
            self._api.create_branch(repo_id, branch=branch, exist_ok=True)
        except LocalTokenNotFoundError as error:
            raise ValueError("There is no Hub token: run `hf auth login`, or set HF_TOKEN.") from error
        except (HfHubHTTPError, HFValidationError) as error:
            raise ValueError(f"Cannot push to {repo_id}: {error}") from error

    @property
    def busy(self) -> bool:
        """Whether an earlier push is still under way."""
        self._pending = [push for push in self._pending if not push.done()]
        return bool(self._pending)

    def push(self, folders: dict[str, Path], message: str, branch: str | None = None) -> Future[bool]:
        """Pushes files as they are now, whatever becomes of them afterwards.

        Args:
            folders: paths in the repository ("" is its top) and the folders, or files, to put there.
            message: of the commit.
            branch: instead of the run's.

        Returns:
            Whether it succeeded, in the end. The files stay where they are in any case.
        """
        copy = _frozen_copy(folders)
        push = Future()
        self._queue.put((push, copy, message, branch or self.branch))
        self._pending.append(push)
        return push

    def finish(self) -> None:
        """Waits for what is under way."""
        self._queue.put(None)
        self._worker.join()

    def _work(self) -> None:
        while (task := self._queue.get()) is not None:
            push, *arguments = task
            push.set_result(self._upload(*arguments))

    def _upload(self, folder: Path, message: str, branch: str) -> bool:
        try:
            for wait in (*WAITS, None):
                try:
                    self._api.upload_folder(
                        repo_id=self.repo_id, folder_path=folder, revision=branch, commit_message=message
                    )
                    logger.info("pushed to %s (%s): %s", self.repo_id, branch, message)
                    return True
                except Exception as error:  # whatever it is, training goes on
                    again = "given up; it is kept here" if wait is None else f"next try in {wait:g} s"
                    logger.warning("push to %s (%s) failed, %s: %s", self.repo_id, branch, again, error)
                    time.sleep(wait or 0)
            return False
        finally:
            shutil.rmtree(folder)


def fetch_state(repo_id: str, branch: str, target: Path) -> None:
    """Downloads the state of a run into `target`, as `train.loop.Run` resumes from it.

    Raises:
        ValueError: there is no such run.
    """
    beside = target.with_name(target.name + ".hub")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        snapshot_download(repo_id, revision=branch, allow_patterns=f"{STATE}/*", local_dir=beside)
    except RevisionNotFoundError as error:
        raise ValueError(f"{repo_id} has no branch {branch}: give the run's as hub_branch.") from error
    except HfHubHTTPError as error:
        raise ValueError(f"Cannot resume from {repo_id}: {error}") from error
    if not (beside / STATE / "run.json").exists():
        raise ValueError(f"The branch {branch} of {repo_id} has no training state.")
    shutil.rmtree(target, ignore_errors=True)
    (beside / STATE).rename(target)
    shutil.rmtree(beside)


def _frozen_copy(folders: dict[str, Path]) -> Path:
    """Hard links to all files: they stay as they are when a later save replaces them, and take no room."""
    first = next(iter(folders.values()))
    copy = first.with_name(f".pushing-{time.time_ns()}")
    for place, folder in folders.items():
        files = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else [folder]
        for path in files:
            target = copy / place / (path.relative_to(folder) if folder.is_dir() else path.name)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)
    return copy
