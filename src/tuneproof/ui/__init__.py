"""A page to run, watch and try studies: the commands of the command line with a face."""
