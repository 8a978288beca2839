//! Nouns and decisions of Lazarette: no I/O, no clock.
