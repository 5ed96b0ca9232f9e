//! Asks sluiced over its RPC socket, with nothing but the stock ttrpc crate and code generated from sluice.proto.
//!
//!     cargo run -- models
//!     cargo run -- chat MODEL "Why is the sky blue?"     Ctrl-C cancels by request id; the stream is read to its end
//!     cargo run -- embed MODEL TEXT...

use ask::{chat_request, connect, events, pb, socket_path, EngineClient, Failure};
use pb::event::Kind;
use std::io::Write;
use std::time::Duration;
use ttrpc::asynchronous::Client;
use ttrpc::context;

const USAGE: &str = "usage: ask models | chat MODEL PROMPT | embed MODEL TEXT...";
/// A unary call is answered at once: whoever waits longer than this talks to something else.
const UNARY: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match (words.first(), words.len()) {
        (Some(&"models"), 1) => models().await,
        (Some(&"chat"), 3) => chat(words[1], words[2]).await,
        (Some(&"embed"), 3..) => embed(words[1], &args[2..]).await,
        _ => {
            eprintln!("{USAGE}");
            std::process::exit(2);
        }
    };
    if let Err(e) = done {
        eprintln!("ask: {e}");
        std::process::exit(1);
    }
}

async fn models() -> Result<(), Failure> {
    let engine = EngineClient::new(connect(&socket_path()).await?);
    let answer = engine
        .list_models(context::with_duration(UNARY), &pb::ListModelsRequest::new())
        .await?;
    for m in answer.models {
        println!(
            "{}\t{}\t{} of {} available",
            m.name, m.provider, m.available_deployments, m.deployments
        );
    }
    Ok(())
}

async fn chat(model: &str, prompt: &str) -> Result<(), Failure> {
    let client = connect(&socket_path()).await?;
    // Cancel finds the call by this id. A call of one user may not have the id of another of his that runs.
    let mut options = pb::CallOptions::new();
    options.request_id = format!("ask-{}", std::process::id());
    options.deadline_usec = 600_000_000;
    tokio::spawn(cancel_on_interrupt(
        client.clone(),
        options.request_id.clone(),
    ));
    let request = chat_request(model, prompt, options);
    let mut stream = EngineClient::new(client)
        .chat(context::Context::default(), &request)
        .await?;
    let mut out = std::io::stdout();
    events(&mut stream, |event| match event.kind {
        Some(Kind::Queued(q)) => eprintln!("waiting, place {}", q.position),
        Some(Kind::Text(delta)) => {
            // bytes: a delta may end inside a character
            let _ = out.write_all(&delta.text).and_then(|()| out.flush());
        }
        Some(Kind::Done(d)) => println!(
            "\n[{} tokens in, {} out]",
            d.usage.input_tokens, d.usage.output_tokens
        ),
        _ => {}
    })
    .await
}

/// Cancels the call on the first Ctrl-C. The stream then ends by itself, with CANCELLED.
async fn cancel_on_interrupt(client: Client, request_id: String) {
    if tokio::signal::ctrl_c().await.is_ok() {
        let request = pb::CancelRequest {
            request_id,
            ..Default::default()
        };
        let _ = EngineClient::new(client)
            .cancel(context::with_duration(UNARY), &request)
            .await; // the stream tells
    }
}

async fn embed(model: &str, texts: &[String]) -> Result<(), Failure> {
    let engine = EngineClient::new(connect(&socket_path()).await?);
    let request = pb::EmbedRequest {
        model: model.to_owned(),
        inputs: texts.to_vec(),
        ..Default::default()
    };
    let mut stream = engine.embed(context::Context::default(), &request).await?;
    events(&mut stream, |event| {
        if let Some(Kind::Embedding(e)) = event.kind {
            println!("{} {:?}", e.index, e.values);
        }
    })
    .await
}
