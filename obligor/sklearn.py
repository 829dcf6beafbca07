"""Obligor's models as estimators of scikit-learn.

Examples
--------
>>> from obligor.sklearn import PdClassifier
>>> PdClassifier(candidate="blend").get_params()["candidate"]
'blend'
"""

from obligor.estimators.pd_classifier import (
    EXPECTED_FAILED_CHECKS,
    PdClassifier,
)
from obligor.estimators.scorecard_classifier import Scorecard

__all__ = ["EXPECTED_FAILED_CHECKS", "PdClassifier", "Scorecard"]
