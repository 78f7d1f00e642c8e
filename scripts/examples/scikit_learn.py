"""Tune a Pipeline of scikit-learn with SpotSearchCV, as with GridSearchCV.

    python scikit_learn.py

Nothing is downloaded, and there is no study and no cluster.
"""

import os

from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from spot_dask import Real, SpotSearchCV

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
X, X_test, y, y_test = train_test_split(X, y, stratify=y, random_state=0)

pipeline = Pipeline([("scale", StandardScaler()), ("clf", SVC())])
space = {
    "clf__C": Real(1e-2, 1e3, scale="log"),
    "clf__gamma": Real(1e-5, 1, scale="log"),
    "clf__kernel": ["rbf", "sigmoid"],
}
evaluations = int(os.environ.get("SPOT_DASK_EVALUATIONS", "25"))
search = SpotSearchCV(pipeline, space, n_iter=evaluations, cv=5, scoring="roc_auc").fit(X, y)

print(f"best: {search.best_params_}")
print(f"area under the curve by folds: {search.best_score_:.4f}")
print(f"area under the curve on test data: {search.score(X_test, y_test):.4f}")
print(f"report: {search.run_.report('scikit_learn.html')}")
