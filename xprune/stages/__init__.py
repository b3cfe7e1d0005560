"""The stages of a run, one file each; each reads files of the run's folder and leaves some."""
