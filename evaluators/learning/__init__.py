"""What training methods share: recipes, architectures, augmentation, the loop."""
