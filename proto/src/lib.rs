//! Wire types of Lazarette and their conversions.
