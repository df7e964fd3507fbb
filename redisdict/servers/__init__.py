"""Find server programs, and start and stop servers, alone and in topologies."""
