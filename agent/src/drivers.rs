//! Drivers: one file a kind of component. A new one is a file, and a word in the list.

pub mod definition;
pub mod files;
pub mod postgres;
mod tree;
pub mod volume;

use lazarette_core::component::ComponentKind;

use crate::driver::Driver;

/// Every driver there is.
const ALL: &[&dyn Driver] = &[
    &definition::Definition,
    &files::Files,
    &postgres::Postgres::USUAL,
    &volume::BIND,
    &volume::VOLUME,
];

/// Who knows that kind of component.
pub fn find(kind: &ComponentKind) -> Option<&'static dyn Driver> {
    by_word(kind.word())
}

/// Who makes components with names that begin with `word`.
pub fn by_word(word: &str) -> Option<&'static dyn Driver> {
    ALL.iter().copied().find(|driver| driver.word() == word)
}
