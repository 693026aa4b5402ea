"""Metrics of label maps and lesions, and their files and figures."""
