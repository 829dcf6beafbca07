"""Candidate models, fitted and calibrated."""
