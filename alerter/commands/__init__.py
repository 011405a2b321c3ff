"""The commands, one file each; imported by the command line when they run."""
