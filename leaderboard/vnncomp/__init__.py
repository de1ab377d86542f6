"""VNN-LIB and VNN-COMP's formats: properties, instances, counterexamples."""
