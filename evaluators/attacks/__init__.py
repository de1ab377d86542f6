"""What attacks share: losses, starts, and runs until a witness is found."""
