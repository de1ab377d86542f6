"""What every room may use: errors, the project, text, strict TOML, rules."""
