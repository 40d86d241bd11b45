"""Resources of this process: limits, memory, processors, threads; and messages if they do not suffice."""
