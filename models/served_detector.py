"""The detector as MLflow serves it: a model logged from this code, which carries the detector's directory.

Rows of raw columns in, named as the detector's features, null or NaN for missing; scores in [0, 1] out, one column a
tag.
"""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from models.detector import Detector

ARTIFACT = "detector"


class ServedDetector(PythonModel):
    """Loads the detector's directory once and scores data frames."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the detector that was logged with the model."""
        self.detector = Detector.load(Path(context.artifacts[ARTIFACT]))

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002 (MLflow's signature)
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> pd.DataFrame:
        """Return scores, one column a tag, one row a flow."""
        card = self.detector.card
        features = model_input[list(card.feature_names)].to_numpy(np.float32, na_value=np.nan)
        return pd.DataFrame(self.detector.score(features), columns=list(card.tag_names), index=model_input.index)


mlflow.models.set_model(ServedDetector())
