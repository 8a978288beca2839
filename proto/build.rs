//! Compiles the wire types without a `protoc` binary.

use std::{env, error::Error, fs, path::Path};

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    let files = [
        "lazarette/agent/v1/agent_service.proto",
        "lazarette/common/v1/run.proto",
        "lazarette/common/v1/stack.proto",
        "lazarette/controller/v1/audit_service.proto",
        "lazarette/controller/v1/controller_service.proto",
        "lazarette/controller/v1/credential_service.proto",
        "lazarette/controller/v1/host_service.proto",
        "lazarette/controller/v1/repository_service.proto",
        "lazarette/controller/v1/run_service.proto",
        "lazarette/controller/v1/stack_service.proto",
        "lazarette/enrollment/v1/enrollment_service.proto",
        "lazarette/storage/v1/storage_service.proto",
    ];
    println!("cargo::rerun-if-changed=lazarette");
    let described = protox::compile(files, ["."])?;
    let descriptors = Path::new(&env::var("OUT_DIR")?).join("descriptors.bin");
    fs::write(descriptors, described.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".lazarette.storage").compile_fds(described)?;
    Ok(())
}
