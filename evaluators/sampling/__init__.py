"""Drawing noise and counting votes."""
