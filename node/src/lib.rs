//! Identity, mTLS, channels, tasks and telemetry.
