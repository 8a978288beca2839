//! ctl: the command line of Lazarette.
