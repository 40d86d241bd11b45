"""What this process may use: limits, memory, processors, threads; and what to say where they fall short."""
