"""Exact SHAP contributions of tree models."""
