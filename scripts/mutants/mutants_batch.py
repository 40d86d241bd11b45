"""Mutations of runs over a list: journals, leases, shards, and messages about them."""

from mutants_entry import Mutation

ROWS = (
    Mutation(
        'b"".join([b"\\n", *lines])',
        'b"".join(lines)',
        "records in another run's journal are lost after a truncated line",
        ("batch/test_journal.py",),
    ),
    Mutation(
        "if self._whole_run == other._whole_run:",
        "if self.fingerprint == other.fingerprint:",
        "a list may be run twice at a time with different numbers of shards",
        ("batch/test_lease.py",),
    ),
    Mutation(
        "return started == self.holder.started",
        "return True",
        "a process with the number of a dead run blocks others",
        ("batch/test_lease.py",),
    ),
    Mutation(
        "range(length * self.index // self.count, length * (self.index + 1) // self.count)",
        "range(length // self.count * self.index, length // self.count * (self.index + 1))",
        "the last lines of a list are in no shard",
        ("batch/test_shards.py",),
    ),
    Mutation(
        "for job, reason in reasons.items() if states[job] == FAILED)",
        "for reason in reasons.values())",
        "status gives reasons for failed jobs that were done later",
        ("batch/test_journal.py",),
    ),
    Mutation(
        "if self.left and self.was_interrupted:",
        "if self.was_interrupted:",
        "a run that was already complete when it was asked to end says that it was interrupted",
        ("batch/test_run.py",),
    ),
    Mutation(
        "return max(state.modified, state.changed) > now - least",
        "return state.modified > now - least",
        "the hash of a file that has just been put in place with an old date is remembered",
        ("batch/test_fingerprint.py",),
    ),
    Mutation(
        '"beta", "gamma", "switch_layer",',
        '"beta", "switch_layer",',
        "runs with another γ are taken for the same",
        ("batch/test_fingerprint.py",),
    ),
    Mutation(
        "            self.database.flush()",
        "            pass",
        "maps are done in the journal before they are in the database",
        ("batch/test_journal.py", "outputs/test_database.py"),
    ),
    Mutation(
        "if error is None and self._fault is not None:",
        "if error is not None and self._fault is not None:",
        "a run whose last maps could not be recorded ends as a success",
        ("batch/test_journal.py",),
    ),
)
