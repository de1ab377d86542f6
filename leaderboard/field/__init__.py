"""The field's knowledge: taxonomy, literature, formulas, drawings."""
