"""Accepting results that came from elsewhere: data until every line fits."""
