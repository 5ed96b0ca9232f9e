//! What every client of sluiced needs first: the generated code, where the daemon listens, what its errors say.

use protobuf::Message;
use std::path::PathBuf;
use ttrpc::asynchronous::{Client, ClientStreamReceiver};

include!(concat!(env!("OUT_DIR"), "/api.rs"));
pub use sluice as pb;
pub use sluice_ttrpc::{ControlClient, EngineClient};

/// Why a call failed.
#[derive(Debug)]
pub enum Failure {
    /// The daemon said no: google.rpc.Code, a sentence, and what sluiced adds (the code that programs compare, ...).
    Status(i32, String, Option<Box<pb::ErrorDetail>>),
    /// The connection, or this library.
    Transport(ttrpc::Error),
    /// The stream ended without Done: what came is not the whole answer.
    Cut,
}

impl From<ttrpc::Error> for Failure {
    fn from(e: ttrpc::Error) -> Self {
        let ttrpc::Error::RpcStatus(status) = e else {
            return Failure::Transport(e);
        };
        let detail = status
            .details
            .iter()
            .find(|any| any.type_url.ends_with("/sluice.v1.ErrorDetail"))
            .and_then(|any| pb::ErrorDetail::parse_from_bytes(&any.value).ok());
        Failure::Status(status.code.value(), status.message, detail.map(Box::new))
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Status(_, message, Some(d)) => write!(f, "{message} ({})", d.code),
            Failure::Status(code, message, None) => write!(f, "{message} (status {code})"),
            Failure::Transport(e) => write!(f, "{e}"),
            Failure::Cut => write!(f, "the answer was cut"),
        }
    }
}

impl std::error::Error for Failure {}

/// Where libsluice looks: SLUICE_SOCKET, then the user's own daemon, then the system's.
pub fn socket_path() -> PathBuf {
    if let Some(path) = std::env::var_os("SLUICE_SOCKET").filter(|p| !p.is_empty()) {
        return path.into();
    }
    std::env::var_os("XDG_RUNTIME_DIR")
        .map(|dir| PathBuf::from(dir).join("sluice/rpc.sock"))
        .filter(|path| path.exists())
        .unwrap_or_else(|| "/run/sluice/rpc.sock".into())
}

pub async fn connect(path: &std::path::Path) -> Result<Client, Failure> {
    Ok(Client::connect(&format!("unix://{}", path.display())).await?)
}

/// Hands every event of a stream to `take`. Ok: the answer is complete.
pub async fn events(
    stream: &mut ClientStreamReceiver<pb::Event>,
    mut take: impl FnMut(pb::Event),
) -> Result<(), Failure> {
    let mut is_done = false;
    while let Some(event) = stream.recv().await? {
        is_done = event.has_done();
        take(event);
    }
    if is_done {
        Ok(())
    } else {
        Err(Failure::Cut)
    }
}

/// A chat with one message of the user.
pub fn chat_request(model: &str, text: &str, options: pb::CallOptions) -> pb::ChatRequest {
    let mut message = pb::Message::new();
    message.role = pb::Role::ROLE_USER.into();
    message.text = text.to_owned();
    pb::ChatRequest {
        options: Some(options).into(),
        model: model.to_owned(),
        messages: vec![message],
        ..Default::default()
    }
}
