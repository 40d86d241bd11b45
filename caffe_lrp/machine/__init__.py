"""Resources of this process: limits, memory, processors, threads; and messages if they run out."""
