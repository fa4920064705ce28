"""Models whose weights this server's trainers make: version folders, and the networks that they hold."""
