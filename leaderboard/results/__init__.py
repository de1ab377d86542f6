"""Result files and what is counted from their rows."""
