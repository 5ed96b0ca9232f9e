//! Makes Rust out of sluice.proto. Pure Rust: no protoc is needed. SLUICE_PROTO names another sluice.proto.

use std::path::{Path, PathBuf};
use std::{env, fs};
use ttrpc_codegen::{Codegen, Customize};

fn main() {
    let proto = env::var_os("SLUICE_PROTO")
        .map(PathBuf::from)
        .unwrap_or_else(|| {
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../proto/sluice.proto")
        });
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    println!("cargo:rerun-if-changed={}", proto.display());
    println!("cargo:rerun-if-env-changed=SLUICE_PROTO");
    Codegen::new()
        .out_dir(&out)
        .include(proto.parent().expect("a file has a folder"))
        .input(&proto)
        .rust_protobuf()
        .customize(Customize {
            async_all: true,
            ..Default::default()
        })
        .run()
        .unwrap_or_else(|e| panic!("{}: {e}", proto.display()));
    // The generated files begin with inner attributes, so they have to be modules with files of their own.
    fs::write(
        out.join("api.rs"),
        "pub mod sluice;\npub mod sluice_ttrpc;\n",
    )
    .expect("writing api.rs");
}
