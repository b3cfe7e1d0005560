"""The stages of a run, one file each; every stage reads files of the run's folder and leaves some."""
