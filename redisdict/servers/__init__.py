"""Real servers: finding their programs, starting and stopping them, alone and in topologies."""
