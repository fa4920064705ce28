"""Developer tools that are not part of the installed server: measurements and the making of the starter model."""
