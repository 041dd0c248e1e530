"""Reports of a run: records, figures, one HTML page."""
