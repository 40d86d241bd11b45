"""Mutations of runs over a list: journals, leases, shards, and what is said of them."""

from mutants_entry import Mutation

ROWS = (
    Mutation(
        'b"".join([b"\\n", *lines])',
        'b"".join(lines)',
        "what is noted in another run's journal is lost behind a line that was cut off",
        ("batch/test_journal.py",),
    ),
    Mutation(
        "if self._whole_run == other._whole_run:",
        "if self.fingerprint == other.fingerprint:",
        "one list in two numbers of parts may be run twice at a time",
        ("batch/test_lease.py",),
    ),
    Mutation(
        "return started == self.holder.started",
        "return True",
        "a process that got the number of a dead run keeps others out",
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
        "status tells why jobs failed that were done later",
        ("batch/test_journal.py",),
    ),
    Mutation(
        "if self.left and self.was_interrupted:",
        "if self.was_interrupted:",
        "a run that was complete when it was asked to end says that it was interrupted",
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
        "the journal calls maps done that are not yet in the database",
        ("batch/test_journal.py", "outputs/test_database.py"),
    ),
    Mutation(
        "if error is None and self._fault is not None:",
        "if error is not None and self._fault is not None:",
        "a run whose last maps could not be noted ends as if all were well",
        ("batch/test_journal.py",),
    ),
)
