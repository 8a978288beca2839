//! Wire types of Lazarette and their conversions.
//!
//! The types are generated from `proto/lazarette`; only [`convert`] sees them together with the
//! nouns of `lazarette_core`.

pub mod convert;

/// What the agent and the controller must have in common to work together.
pub const PROTOCOL_VERSION: u32 = 1;

/// Every message and service, as an encoded `google.protobuf.FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

macro_rules! package {
    ($(#[$doc:meta])* $name:ident, $file:literal) => {
        $(#[$doc])*
        pub mod $name {
            /// Version 1.
            #[expect(clippy::allow_attributes, reason = "generated code differs by package")]
            #[allow(missing_docs, unused_qualifications, reason = "generated")]
            #[allow(clippy::pedantic, clippy::as_conversions, reason = "generated")]
            #[allow(clippy::allow_attributes_without_reason, reason = "generated")]
            pub mod v1 {
                tonic::include_proto!($file);
            }
        }
    };
}

package! {
    /// Nouns that several services share.
    common, "lazarette.common.v1"
}
package! {
    /// What the agent serves.
    agent, "lazarette.agent.v1"
}
package! {
    /// What `ctl` and, for certificates, agents ask of the controller.
    controller, "lazarette.controller.v1"
}
package! {
    /// What a host without a certificate may ask.
    enrollment, "lazarette.enrollment.v1"
}
package! {
    /// What an agent may do with a repository.
    storage, "lazarette.storage.v1"
}
