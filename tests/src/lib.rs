//! Drives agent, controller and ctl against real Docker hosts.
