"""Optimizers that update each variable with one fused kernel, behind Keras's interface.

Keras's own Adam makes a dozen element-wise passes over every weight. TensorFlow has a single kernel
for the same update.
"""

from collections.abc import Callable, Sequence
from typing import Any

from atari_dqn.backend.keras_backend import keras, keras_defaults
from atari_dqn.backend.tensorflow_backend import tf
from atari_dqn.config.learning_schema import OptimizerSettings


class DecaysWeights:
    """A mixin for Keras optimizers: decoupled weight decay with a schedule of its own.

    It makes one pass over each variable. Loshchilov and Hutter 2019, Algorithm 2.

    Attributes:
        decay_schedule: weight decay by number of updates, or a constant. The decay of a weight in
            one update is learning rate * weight decay * weight.
    """

    decay_schedule: Callable[[keras.Variable], tf.Tensor] | float = 0.0

    def _apply_weight_decay(self: Any, variables: Sequence[keras.Variable]) -> None:
        schedule = self.decay_schedule
        if not schedule:
            return
        decay = schedule(self.iterations) if callable(schedule) else schedule
        factor = 1 - self.learning_rate * decay
        for variable in variables:
            if self._use_weight_decay(variable):
                # The variable takes over the product without a copy.
                variable.value.assign(variable.value * factor)


class FusedAdam(DecaysWeights, keras.optimizers.Adam):
    """Adam, with epsilon added to the square root of the second moment before bias correction.

    Kingma and Ba 2015, section 2, last paragraph.

    Attributes:
        restart_period: number of updates after which the bias correction restarts, because the
            caller resets the moments to 0; with a period of 0 this never happens.
    """

    restart_period = 0

    def update_step(
        self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor
    ) -> None:
        """Updates one variable and its two moments in place."""
        index = self._get_variable_index(variable)
        updates = self.iterations.value
        if self.restart_period:
            updates %= self.restart_period
        step = tf.cast(updates + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(self.beta_1, step),
            beta2_power=tf.pow(self.beta_2, step),
            lr=learning_rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )


class FusedCenteredRMSprop(DecaysWeights, keras.optimizers.RMSprop):
    """Centered RMSprop without momentum, the optimizer of Mnih et al. 2015.

    The gradient is divided by the square root of the sum of the centered second moment and epsilon.
    Graves 2013, "Generating Sequences With Recurrent Neural Networks", equations 38 to 40.
    """

    def build(self, variables: list[keras.Variable]) -> None:
        """Creates the moving averages, and the momentum slot that the kernel requires."""
        if not self.built:
            super().build(variables)
            self._momentums = self.add_optimizer_variables(variables, "momentum")

    def update_step(
        self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor
    ) -> None:
        """Updates one variable and its moving averages in place."""
        index = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyCenteredRMSProp(
            var=variable.handle,
            mg=self._average_gradients[index].value.handle,
            ms=self._velocities[index].value.handle,
            mom=self._momentums[index].value.handle,
            lr=learning_rate,
            rho=self.rho,
            momentum=self.momentum,
            epsilon=self.epsilon,
            grad=gradient,
        )


def make_optimizer(
    settings: OptimizerSettings, variables: Sequence[keras.Variable], restart_period: int = 0
) -> keras.optimizers.Optimizer:
    """Returns the optimizer that the settings select.

    Args:
        settings: optimizer settings.
        variables: the variables to update; the first one is the first layer's kernel.
        restart_period: number of updates after which the caller resets the moments to 0; with a
            period of 0 this never happens.
    """
    with keras_defaults():
        return _make_optimizer(settings, variables, restart_period)


def _make_optimizer(
    settings: OptimizerSettings, variables: Sequence[keras.Variable], restart_period: int
) -> keras.optimizers.Optimizer:
    rate = _schedule(settings.learning_rate, settings.learning_rate_end, settings)
    options = {"epsilon": settings.epsilon, "name": settings.name}
    if settings.name == "adam":
        optimizer = FusedAdam(rate, beta_1=settings.beta1, beta_2=settings.beta2, **options)
        optimizer.restart_period = restart_period
    else:
        optimizer = FusedCenteredRMSprop(
            rate, rho=settings.decay, momentum=0.0, centered=True, **options
        )
    optimizer.decay_schedule = _schedule(settings.weight_decay, settings.weight_decay_end, settings)
    if settings.weight_decay or settings.weight_decay_end:  # biases and scales do not decay
        first = [] if settings.weight_decay_first else variables[:1]
        optimizer.exclude_from_weight_decay(first, ["bias", "gamma", "beta", "_scale"])
    optimizer.build(variables)
    return optimizer


def _schedule(start: float, end: float, settings: OptimizerSettings) -> Any:
    """Returns a Keras schedule from one value to another, or the first value if it stays.

    Settings with a cosine from 0 are refused, because Keras defines it as a share of the start.
    """
    if not settings.decay_updates or start == end == 0:
        return start
    if settings.decay_shape == "cosine":
        return keras.optimizers.schedules.CosineDecay(start, settings.decay_updates, end / start)
    return keras.optimizers.schedules.PolynomialDecay(start, settings.decay_updates, end)


def clip_by_global_norm(
    gradients: list[tf.Tensor], limit: float
) -> tuple[list[tf.Tensor], tf.Tensor]:
    """Returns gradients whose global norm is at most ``limit``, and their norm before clipping.

    A limit of 0 means no clipping.
    """
    norm = tf.linalg.global_norm(gradients)
    if limit == 0:
        return gradients, norm
    # The condition avoids a pass over all gradients that would multiply them by one.
    clipped = tf.cond(
        norm > limit,
        lambda: [gradient * (limit / norm) for gradient in gradients],
        lambda: gradients,
    )
    return clipped, norm
