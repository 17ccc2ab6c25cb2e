"""What a model's outputs are scored by: one entry per metric, for training, search, confirmation and reports alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lstm_bench.data.horizon import Future, n_levels

# Outputs, labels or targets, and which of them count (None: all) -> a number.
Score = Callable[[np.ndarray, np.ndarray, np.ndarray | None], float]
SPLITS = ("train", "val", "test")  # begin the columns of a metric: `val_accuracy`


@dataclass(frozen=True)
class Metric:
    """A score.

    Attributes:
      name: Its columns are `val_<name>` and `test_<name>`, and `train_<name>` where training steps count it.
      of: Computes it, in float64.
      maximize: Whether more is better.
      label: In a table's heading, behind the split: `test accuracy, %`.
      percent: Whether it is a fraction, which tables and figures show in percent.
      sampling: What a finite set leaves open of it: of a `share` of right samples Wilson's interval, of a mean of `squares`
        that of residuals; "" where no such interval is known.
      words: What a predictor in closed form is said to score; "" is the label.
      unit: Of `words`.
      late: Whether it is computed after the last epoch, and after each only where a study aims at it. Such a one is `nan`
        where a split cannot have it, and has no value in the records then.
      needs: Of a late one: what labels it needs of a split, see `unavailable`.
      aim: Whether a study may aim at it: not where neither more nor less of it is better.
    """

    name: str
    of: Score
    maximize: bool
    label: str
    percent: bool = False
    sampling: Literal["share", "squares", ""] = ""
    words: str = ""
    unit: str = ""
    late: bool = False
    needs: Literal["every class", "two values", "every label", "both of every label", "quantiles", ""] = ""
    aim: bool = True

    def value(self, outputs: np.ndarray, y: np.ndarray, mask: np.ndarray | None = None) -> float:
        """`of`; of a late one `nan` where the labels leave it without a value, or an output is not finite."""
        if not self.late:
            return self.of(outputs, y, mask)
        if mask is not None:
            outputs, y = outputs[mask], y[mask]
        y = y if y.ndim == outputs.ndim else y.ravel()  # a row for each sample, or a label for each row of outputs
        outputs = outputs.reshape(-1, outputs.shape[-1]).astype(np.float64)
        if not np.isfinite(outputs).all() or self.unavailable(y, outputs.shape[-1]):
            return math.nan
        return float(self.of(outputs, y, None))

    def unavailable(self, y: np.ndarray, n_outputs: int) -> str:
        """Why labels `y` of a split leave it without a value, "" where they do not.

        A mean over classes of which one is absent is the mean over others: no figure to hold beside another split's.
        """
        if self.needs == "every class":
            missing = np.setdiff1d(np.arange(n_outputs), y)
            return f"it has no sample of class {missing[0]}" if len(missing) else ""
        if self.needs == "quantiles":
            return "" if n_levels(y) else "dataset.quantiles asks for none"
        if self.needs == "two values":
            return "" if len(np.unique(y)) > 1 else "all its targets are the same"
        if self.needs:
            for label, most in enumerate(y.max(axis=0).tolist()):
                if not most:
                    return f"it has no sample with label {label}"
            least = y.min(axis=0) if self.needs == "both of every label" else np.zeros(1)
            return f"it has no sample without label {least.argmax()}" if least.any() else ""
        return ""

    @property
    def direction(self) -> str:
        """As Optuna has it."""
        return "maximize" if self.maximize else "minimize"

    @property
    def column(self) -> str:
        """Of `replicates.csv`: its value on the test set."""
        return f"test_{self.name}"

    def heading(self, split: str = "test") -> str:
        """`test accuracy, %`."""
        return f"{split} {self.label}{', %' if self.percent else ''}"

    @property
    def noun(self) -> str:
        """What a sentence calls it."""
        return self.label if self.maximize else "error"

    @property
    def named(self) -> str:
        """`MSE`, `cross-entropy`."""
        return self.words or self.label

    def text(self, value: float) -> str:
        """A value as a sentence has it, without its sign."""
        return f"{100 * value:.2f}" if self.percent else f"{value:.3g}"

    @property
    def sign(self) -> str:
        """What follows a value."""
        return " %" if self.percent else ""


def log_probability(logits: np.ndarray) -> np.ndarray:
    """Logarithms of the softmax over the last axis, float64."""
    logits = logits.astype(np.float64)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def _mean(values: np.ndarray, mask: np.ndarray | None) -> float:
    return float((values if mask is None else values[mask]).mean())


def cross_entropy(logits: np.ndarray, y: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Mean cross-entropy in nats, over samples, and timesteps where those have labels.

    Args:
      logits: `(samples, n_classes)` or `(samples, timesteps, n_classes)`.
      y: Labels `(samples,)` or `(samples, timesteps)`.
      mask: As `y`: which count.
    """
    picked = np.take_along_axis(log_probability(logits), y[..., None], axis=-1)
    return -_mean(picked, None if mask is None else mask[..., None])


def accuracy(logits: np.ndarray, y: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Fraction of labels that the largest logit names; shapes as of `cross_entropy`."""
    return _mean(logits.argmax(axis=-1) == y, mask)


def squared_error(outputs: np.ndarray, y: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Mean squared error of outputs `(..., 1)` for targets `(...,)`."""
    return _mean(np.square(outputs[..., 0].astype(np.float64) - y), mask)


def absolute_error(outputs: np.ndarray, y: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Mean absolute error of outputs `(..., 1)` for targets `(...,)`."""
    return _mean(np.abs(outputs[..., 0].astype(np.float64) - y), mask)


# Of outputs `(labels, n_classes)` or `(labels, 1)`, and labels `(labels,)`: scikit-learn has them, which takes half a second to
# import, and a driver does not score.


def balanced_accuracy(logits: np.ndarray, y: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Mean over the classes of the fraction of each that the largest logit names."""
    from sklearn.metrics import balanced_accuracy_score

    return float(balanced_accuracy_score(y, logits.argmax(axis=-1)))


def macro_f1(logits: np.ndarray, y: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Mean over the classes of the harmonic mean of precision and recall; 0 for one that is never named."""
    from sklearn.metrics import f1_score

    return float(
        f1_score(y, logits.argmax(axis=-1), labels=np.arange(logits.shape[-1]), average="macro", zero_division=0)
    )


def auroc(logits: np.ndarray, y: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Area under the ROC curve of the softmax probability of each class against the rest, mean over the classes."""
    from sklearn.metrics import roc_auc_score

    chances = np.exp(log_probability(logits))
    return float(np.mean([roc_auc_score(y == label, chances[:, label]) for label in range(logits.shape[-1])]))


def calibration_error(logits: np.ndarray, y: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Expected calibration error: the mean distance of accuracy from confidence, over bins of equal width in confidence.

    Guo et al. 2017, arXiv 1706.04599, equation 3, with their 15 bins `(i/15, (i+1)/15]`. scikit-learn has no such figure.
    """
    chances = np.exp(log_probability(logits))
    confidence, right = chances.max(axis=-1), logits.argmax(axis=-1) == y
    bins = np.clip(np.ceil(confidence * _BINS).astype(int) - 1, 0, _BINS - 1)
    return float(np.abs(np.bincount(bins, right - confidence, minlength=_BINS)).sum() / len(y))


def r2(outputs: np.ndarray, y: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Coefficient of determination: 1 less the squared error over that of the targets' mean."""
    from sklearn.metrics import r2_score

    return float(r2_score(y.astype(np.float64), outputs[:, 0]))


# Of several labels per sample: outputs `(samples, labels)`, each the logit of a label, and labels of 0 and 1 of that shape.


def binary_cross_entropy(logits: np.ndarray, y: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Mean cross-entropy in nats of the sigmoid of each logit, over samples and labels."""
    logits = logits.astype(np.float64)
    return _mean(np.maximum(logits, 0) - logits * y + np.log1p(np.exp(-np.abs(logits))), mask)


def _label_f1(average: str, logits: np.ndarray, y: np.ndarray) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(y, logits > 0, average=average, zero_division=0))


def label_macro_f1(logits: np.ndarray, y: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Mean over the labels of the F1 score of each, which is predicted where its probability is above 0.5."""
    return _label_f1("macro", logits, y)


def label_micro_f1(logits: np.ndarray, y: np.ndarray, mask: np.ndarray | None = None) -> float:
    """F1 score of all labels of all samples counted together."""
    return _label_f1("micro", logits, y)


def subset_accuracy(logits: np.ndarray, y: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Fraction of samples of which every label is predicted right."""
    return _mean(((logits > 0) == y).all(axis=-1), mask)


def label_auroc(logits: np.ndarray, y: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Mean over the labels of the area under the ROC curve of the sigmoid probability of each."""
    from scipy.special import expit
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(y, expit(logits), average="macro"))


# Of forecasts: scaled outputs `(samples, horizon)`, and labels that `Future.of` reads; in the series' own units but for the loss.


def scaled_squared_error(outputs: np.ndarray, y: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Mean squared error over series and steps of what is scaled, of quantiles their pinball loss: what training minimises."""
    future = Future.of(y)
    if future.levels.shape[1]:
        return float(_pinball(future.targets, future.quantiles(outputs), future.levels).mean())
    return float(np.square(outputs - future.targets).mean())


def _pinball(targets: np.ndarray, found: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Loss of each quantile `(samples, levels, horizon)`: level * error above it, (1 - level) * error below.

    Koenker and Bassett 1978, "Regression quantiles".
    """
    errors = targets[:, None] - found
    return np.asarray(np.maximum(levels[..., None] * errors, (levels[..., None] - 1) * errors))


def weighted_quantile_loss(outputs: np.ndarray, y: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Twice the sum of the pinball losses over series and steps by the sum of the absolute values, mean over the quantiles.

    Salinas et al. 2020, "DeepAR: Probabilistic forecasting with autoregressive recurrent networks", arXiv 1704.04110, section
    4.1 (their rho-risk without the sum over steps), as GluonTS's `mean_wQuantileLoss`. A value stands for all quantiles.
    """
    future = Future.of(y)
    loss = _pinball(future.targets, future.quantiles(outputs), future.levels) * future.scale[:, None, None]
    size = np.abs(future.own(future.targets)).sum()
    return float(2 * loss.sum() / loss.shape[1] / size) if size > 0 else math.nan


def coverage(outputs: np.ndarray, y: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Share of the values, over series and steps, that lie between the outer quantiles; NaN of outputs that are no quantiles."""
    future = Future.of(y)
    if outputs.shape[1] == future.targets.shape[1]:
        return math.nan
    found = future.quantiles(outputs)
    return float(((future.targets >= found[:, 0]) & (future.targets <= found[:, -1])).mean())


def correlation(outputs: np.ndarray, y: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Pearson's, over series and steps, of forecasts and what came, in the series' own units."""
    future = Future.of(y)
    return _pearson(future.own(future.point(outputs)), future.own(future.targets))


def echo(outputs: np.ndarray, y: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Pearson's, likewise, of forecasts and the last value that was known: that of the naive forecast is 1."""
    future = Future.of(y)
    return _pearson(future.own(future.point(outputs)), future.own(future.naive()))


def _pearson(one: np.ndarray, other: np.ndarray) -> float:
    if one.size < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return math.nan
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def _forecast_errors(outputs: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, Future]:
    future = Future.of(y)
    return future.scale[:, None] * (future.point(outputs) - future.targets), future


def forecast_absolute_error(outputs: np.ndarray, y: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Mean absolute error over series and steps."""
    return float(np.abs(_forecast_errors(outputs, y)[0]).mean())


def forecast_root_squared_error(outputs: np.ndarray, y: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Root of the mean squared error over series and steps."""
    return float(np.sqrt(np.square(_forecast_errors(outputs, y)[0]).mean()))


def scaled_absolute_error(outputs: np.ndarray, y: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Mean absolute scaled error: of each series the error by that of its naive one-step forecasts before, then the mean.

    Hyndman & Koehler 2006, "Another look at measures of forecast accuracy". A series that never changed before has none and
    counts nowhere; NaN where none has one.
    """
    errors, future = _forecast_errors(outputs, y)
    has = future.unit > 0
    return float((np.abs(errors[has]).mean(axis=1) / future.unit[has]).mean()) if has.any() else math.nan


def symmetric_percentage_error(outputs: np.ndarray, y: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Mean over series and steps of 2 * |error| / (|value| + |forecast|), from 0 to 2; 0 where both are 0.

    As in the M4 competition: Makridakis et al. 2020, "The M4 Competition: 100,000 time series and 61 forecasting methods".
    """
    errors, future = _forecast_errors(outputs, y)
    size = np.abs(future.own(future.targets)) + np.abs(future.own(future.point(outputs)))
    return float(np.divide(2 * np.abs(errors), size, out=np.zeros_like(errors), where=size > 0).mean())


_BINS = 15

ACCURACY = Metric("accuracy", accuracy, maximize=True, label="accuracy", percent=True, sampling="share")
CROSS_ENTROPY = Metric("loss", cross_entropy, maximize=False, label="loss", words="cross-entropy", unit="nats")
MSE = Metric("mse", squared_error, maximize=False, label="MSE", sampling="squares")
MAE = Metric("mae", absolute_error, maximize=False, label="MAE")
SQUARED_LOSS = Metric(
    "loss", squared_error, maximize=False, label="loss", sampling="squares"
)  # what `MSE` is trained on
BALANCED_ACCURACY = Metric(
    "balanced_accuracy",
    balanced_accuracy,
    maximize=True,
    label="balanced accuracy",
    percent=True,
    late=True,
    needs="every class",
)
MACRO_F1 = Metric("macro_f1", macro_f1, maximize=True, label="macro F1", late=True, needs="every class")
AUROC = Metric("auroc", auroc, maximize=True, label="AUROC", late=True, needs="every class")
CALIBRATION_ERROR = Metric("ece", calibration_error, maximize=False, label="calibration error", percent=True, late=True)
R2 = Metric("r2", r2, maximize=True, label="R2", late=True, needs="two values")
LABEL_MACRO_F1 = Metric("macro_f1", label_macro_f1, maximize=True, label="macro F1", late=True, needs="every label")
LABEL_MICRO_F1 = Metric("micro_f1", label_micro_f1, maximize=True, label="micro F1", late=True)
SUBSET_ACCURACY = Metric(
    "subset_accuracy", subset_accuracy, maximize=True, label="subset accuracy", percent=True, sampling="share"
)
LABEL_CROSS_ENTROPY = Metric(
    "loss", binary_cross_entropy, maximize=False, label="loss", words="cross-entropy", unit="nats"
)
LABEL_AUROC = Metric("auroc", label_auroc, maximize=True, label="AUROC", late=True, needs="both of every label")
MASE = Metric("mase", scaled_absolute_error, maximize=False, label="MASE")
SMAPE = Metric("smape", symmetric_percentage_error, maximize=False, label="sMAPE", percent=True)
RMSE = Metric("rmse", forecast_root_squared_error, maximize=False, label="RMSE")
FORECAST_MAE = Metric("mae", forecast_absolute_error, maximize=False, label="MAE")
SCALED_LOSS = Metric("loss", scaled_squared_error, maximize=False, label="loss")
WEIGHTED_QUANTILE_LOSS = Metric(
    "wql", weighted_quantile_loss, maximize=False, label="weighted quantile loss", late=True, needs="quantiles"
)
COVERAGE = Metric(
    "coverage", coverage, maximize=True, label="coverage", percent=True, late=True, needs="quantiles", aim=False
)
CORRELATION = Metric("correlation", correlation, maximize=True, label="correlation", late=True, aim=False)
ECHO = Metric("echo", echo, maximize=False, label="correlation with the last value", late=True, aim=False)
